//! The operations of the model's forward pass, at the sizes of a song.

use crate::error::Result;
use crate::row::{BlasPeer, Peer, Row, Then};
use crate::sizes::Sizes;
use gamut_kernels::ops::{
    ConvStem, Distribution, Draw, LayerNorm, MelBank, QkNorm, Qkv, Random, RmsNorm, Rope, Source,
    TAPS, attention, attention_paged, avg_pool, conv_stem, embed, gather, gemm, gemm_add, gemm_f32,
    gemm_gate, gemm_gelu, gemm_swiglu, layer_norm, log_mel, random, random_f32, rms_norm, rope_kv,
    sample,
};
use gamut_kernels::{Context, History, KvCache, Linear, PAGE, Sampling, Sequence, Tensor, Weight};
use gamut_loader::{AudioEncoderConfig, Config, EncoderConfig, GammaConfig, TextConfig};
use serde_json::json;

/// Samples of a window, a second, and from one frame of the spectrogram to the next.
const SAMPLES: (usize, usize, usize) = (480_000, 16_000, 160);

/// Every row for a model.
///
/// # Errors
/// If the model has no such spectrogram.
pub(crate) fn rows(config: &Config, sizes: &Sizes) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if let Some(audio) = &config.audio {
        // The experts of GaMMA differ in depth alone.
        let (encoder, gamma) = match &audio.encoder {
            AudioEncoderConfig::Gamma(gamma) => (&gamma.temporal, Some(gamma)),
            AudioEncoderConfig::Tower(tower) => (&tower.encoder, None),
        };
        rows.push(mel(encoder, sizes)?);
        let mut windows = vec![1, sizes.windows];
        windows.dedup();
        for windows in windows {
            rows.extend(expert(encoder, sizes, windows));
        }
        if let Some(gamma) = gamma {
            rows.extend(fusion(gamma, config.text.hidden_size, sizes));
        }
    }
    rows.extend(prefill(&config.text, sizes));
    for batch in sizes.batches {
        rows.extend(decode(&config.text, sizes, batch));
    }
    Ok(rows)
}

fn mel(config: &EncoderConfig, sizes: &Sizes) -> Result<Row> {
    let (bins, seconds) = (config.num_mel_bins, sizes.seconds);
    let samples = noise(seconds * SAMPLES.1);
    let windows = samples.len().div_ceil(SAMPLES.0);
    let frames = windows * SAMPLES.0 / SAMPLES.2;
    let torch = json!({ "op": "log_mel", "windows": windows, "bins": bins });
    // Its tables are loaded once.
    let bank = MelBank::new(bins)?;
    Ok(Row::new(
        format!("log_mel {seconds} s, samples copied"),
        Peer::Fft(frames, torch),
        move |cx, bench| bench.run(cx, &mut || done(log_mel(cx, &samples, &bank))),
    ))
}

/// A layer of an expert over the frames of some windows; the stem takes one window.
fn expert(config: &EncoderConfig, sizes: &Sizes, windows: usize) -> Vec<Row> {
    let (d, ffn, heads) = (
        config.d_model,
        config.encoder_ffn_dim,
        config.encoder_attention_heads,
    );
    let (frames, bins) = (sizes.frames, config.num_mel_bins);
    let rows = windows * frames;
    let mut list = Vec::new();
    if windows == 1 {
        let torch = json!({ "op": "conv_stem", "bins": bins, "frames": frames, "d": d });
        list.push(Row::new(
            format!("conv_stem {bins}x{} to {frames}x{d}", 2 * frames),
            Peer::Torch(torch),
            move |cx, bench| {
                let stem = ConvStem {
                    conv1: linear(TAPS * bins, &[(d, true)])?,
                    conv2: linear(TAPS * d, &[(d, true)])?,
                    positions: weight(frames, d, 0.1),
                };
                let mel = cx.upload_f32(&noise(bins * 2 * frames), 2 * frames)?;
                bench.run(cx, &mut || done(conv_stem(cx, &mel, &stem, frames)))
            },
        ));
    }
    let torch = json!({
        "op": "attention", "batch": windows, "heads": heads, "kv_heads": heads,
        "queries": frames, "keys": frames, "head_dim": d / heads, "causal": false,
    });
    list.extend([
        layer_norm_row("expert", rows, d),
        product(
            "expert qkv",
            Kind::Gemm,
            rows,
            d,
            vec![(d, true), (d, false), (d, true)],
        ),
        Row::new(
            format!(
                "attention {windows} x {frames}, {heads} heads of {}",
                d / heads
            ),
            Peer::Torch(torch),
            move |cx, bench| {
                let qkv = normal(cx, rows, 3 * d)?;
                let problem = |window: usize| {
                    let [q, k, v] =
                        [0, d, 2 * d].map(|column| qkv.block(window * frames, frames, column, d));
                    Qkv { q, k, v }
                };
                let problems: Vec<Qkv<'_>> = (0..windows).map(problem).collect();
                bench.run(cx, &mut || done(attention(cx, heads, &problems)))
            },
        ),
        product("expert out", Kind::Add, rows, d, vec![(d, true)]),
        product("expert fc1", Kind::Gelu, rows, d, vec![(ffn, true)]),
        product("expert fc2", Kind::Add, rows, ffn, vec![(d, true)]),
        Row::new(
            format!("avg_pool {rows}x{d}"),
            Peer::Torch(json!({ "op": "avg_pool", "rows": rows, "cols": d })),
            move |cx, bench| {
                let x = stream(cx, rows, d)?;
                let mut y = cx.tensor_f32(rows / 2, d)?;
                bench.run(cx, &mut || done(avg_pool(cx, &x, &mut y)))
            },
        ),
    ]);
    list
}

/// The fusion network and the projector over the song's tokens.
fn fusion(config: &GammaConfig, out: usize, sizes: &Sizes) -> Vec<Row> {
    let (n, d, ffn) = (sizes.tokens, config.temporal.d_model, config.fusion.ffn_dim);
    let heads = config.fusion.num_attention_heads;
    let hidden = config.projector.hidden_size;
    let torch = json!({
        "op": "attention", "batch": 2, "heads": heads, "kv_heads": heads,
        "queries": n, "keys": n, "head_dim": d / heads, "causal": false,
    });
    vec![
        layer_norm_row("fusion", n, d),
        product("fusion q", Kind::Gemm, n, d, vec![(d, true)]),
        product("fusion kv", Kind::Gemm, n, d, vec![(d, false), (d, true)]),
        Row::new(
            format!("attention 2 x {n}, {heads} heads of {}", d / heads),
            Peer::Torch(torch),
            move |cx, bench| {
                let (q, kv) = (normal(cx, 2 * n, d)?, normal(cx, 2 * n, 2 * d)?);
                let problems = [0, n].map(|row| Qkv {
                    q: q.block(row, n, 0, d),
                    k: kv.block(row, n, 0, d),
                    v: kv.block(row, n, d, d),
                });
                bench.run(cx, &mut || done(attention(cx, heads, &problems)))
            },
        ),
        product("fusion out", Kind::Add, n, d, vec![(d, true)]),
        product("fusion gate", Kind::Gate, n, 2 * d, vec![(d, true)]),
        product("fusion fc1", Kind::Gelu, n, d, vec![(ffn, true)]),
        product("fusion fc2", Kind::Add, n, ffn, vec![(d, true)]),
        product("projector 1", Kind::Gelu, n, d, vec![(hidden, true)]),
        product("projector 2", Kind::F32, n, hidden, vec![(out, true)]),
    ]
}

/// A layer of the decoder over a prompt, in the engine's chunk and whole.
fn prefill(text: &TextConfig, sizes: &Sizes) -> Vec<Row> {
    let Sizes {
        positions, chunk, ..
    } = *sizes;
    // The chunk in the middle takes the mean of all.
    let middle = positions / 2 / PAGE * PAGE;
    let d = text.hidden_size;
    let mut rows = Vec::new();
    for (start, count) in [(middle, chunk), (0, positions)] {
        let span = Spans {
            sequences: 1,
            start,
            rows: count,
        };
        rows.push(embed_row(text, count));
        rows.extend(layer(text, "prefill", span));
    }
    rows.push(Row::new(
        format!("gather 1 of {positions}x{d}"),
        Peer::Torch(json!({ "op": "gather", "rows": positions, "cols": d })),
        move |cx, bench| {
            let x = normal(cx, positions, d)?;
            let last = cx.table([positions as i32 - 1])?;
            bench.run(cx, &mut || done(gather(cx, &x, last.indices())))
        },
    ));
    rows
}

/// A layer and the end of a step that generates a token for each of `batch` sequences.
fn decode(text: &TextConfig, sizes: &Sizes, batch: usize) -> Vec<Row> {
    let (d, vocab) = (text.hidden_size, text.vocab_size);
    let span = Spans {
        sequences: batch,
        start: sizes.positions,
        rows: 1,
    };
    let mut rows = vec![embed_row(text, batch)];
    rows.extend(layer(text, "decode", span));
    rows.push(product(
        "decode lm_head",
        Kind::F32,
        batch,
        d,
        vec![(vocab, false)],
    ));
    rows.push(Row::new(
        format!("sample {batch}x{vocab}, temperature 0.6, top_k 20, top_p 0.95, token copied"),
        Peer::Torch(json!({ "op": "sample", "rows": batch, "cols": vocab })),
        move |cx, bench| {
            let logits = cx.upload_f32(&noise(batch * vocab), vocab)?;
            let sampling = Sampling {
                temperature: 0.6,
                top_k: 20,
                top_p: 0.95,
                ..Sampling::default()
            };
            let history = History::default();
            let draw = |position| Draw::new(&sampling, &history, position);
            let draws: Vec<Draw<'_>> = (0..batch as u64).map(draw).collect();
            bench.run(cx, &mut || done(sample(cx, &logits, &draws)))
        },
    ));
    rows
}

/// Sequences of a step, all alike.
#[derive(Clone, Copy)]
struct Spans {
    sequences: usize,
    start: usize,
    rows: usize,
}

impl Spans {
    fn rows(self) -> usize {
        self.sequences * self.rows
    }

    /// Pages of one sequence.
    fn pages(self) -> usize {
        (self.start + self.rows).div_ceil(PAGE)
    }

    /// The pages of each sequence, scattered over the cache.
    fn tables(self) -> Vec<Vec<u32>> {
        let all = self.sequences * self.pages();
        // A prime beyond any number of pages here.
        let scattered: Vec<u32> = (0..all).map(|i| (i * 104_729 % all) as u32).collect();
        scattered
            .chunks(self.pages())
            .map(<[u32]>::to_vec)
            .collect()
    }

    fn name(self) -> String {
        match self {
            Spans {
                sequences: 1,
                start: 0,
                rows,
            } => format!("{rows} at 0"),
            Spans {
                sequences: 1,
                start,
                rows,
            } => format!("{rows} at {start}"),
            Spans {
                sequences,
                start,
                rows,
            } => format!("{sequences} x {rows} at {start}"),
        }
    }
}

/// A layer of the decoder.
fn layer(text: &TextConfig, place: &str, span: Spans) -> Vec<Row> {
    let (rows, d, ffn) = (span.rows(), text.hidden_size, text.intermediate_size);
    let (heads, kv_heads, head_dim) = (
        text.num_attention_heads,
        text.num_key_value_heads,
        text.head_dim,
    );
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let width = q + 2 * kv;
    let (theta, name) = (text.rope_theta as f32, span.name());
    let attention_peer = json!({
        "op": "attention", "batch": span.sequences, "heads": heads, "kv_heads": kv_heads,
        "queries": span.rows, "keys": span.start + span.rows, "head_dim": head_dim,
        "causal": span.rows > 1,
    });
    let rope_peer = json!({
        "op": "rope_kv", "rows": rows, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim,
    });
    let id = move |what: &str| format!("{what} {name}, {heads}/{kv_heads} heads of {head_dim}");
    let norm = move || QkNorm {
        q: RmsNorm {
            weight: ones(head_dim),
            eps: 1e-6,
        },
        k: RmsNorm {
            weight: ones(head_dim),
            eps: 1e-6,
        },
    };
    vec![
        Row::new(
            format!("rms_norm {place} {rows}x{d}"),
            Peer::Torch(json!({ "op": "rms_norm", "rows": rows, "cols": d })),
            move |cx, bench| {
                let x = stream(cx, rows, d)?;
                let norm = RmsNorm {
                    weight: ones(d),
                    eps: 1e-6,
                };
                bench.run(cx, &mut || done(rms_norm(cx, &x, &norm)))
            },
        ),
        product(
            &format!("{place} qkv"),
            Kind::F32,
            rows,
            d,
            vec![(q, false), (kv, false), (kv, false)],
        ),
        Row::new(id("rope_kv"), Peer::Torch(rope_peer), move |cx, bench| {
            let tables = span.tables();
            let pages = span.sequences * span.pages();
            let mut cache = KvCache::new(cx, 1, pages, kv_heads, head_dim)?;
            let rope = Rope::new(cx, theta, head_dim, span.pages() * PAGE)?;
            let qkv = stream(cx, rows, width)?;
            let (sequences, norm) = (sequences(span, &tables), norm());
            let batch = cx.batch(&sequences)?;
            bench.run(cx, &mut || {
                done(rope_kv(cx, &qkv, &batch, Some(&norm), &rope, &mut cache, 0))
            })
        }),
        Row::new(
            id("attention_paged"),
            Peer::Torch(attention_peer),
            move |cx, bench| {
                let tables = span.tables();
                let pages = span.sequences * span.pages();
                let mut cache = KvCache::new(cx, 1, pages, kv_heads, head_dim)?;
                let length = span.start + span.rows;
                {
                    let rope = Rope::new(cx, theta, head_dim, span.pages() * PAGE)?;
                    let (qkv, norm) = (stream(cx, length, width)?, norm());
                    for pages in &tables {
                        let sequence = Sequence {
                            generated: false,
                            start: 0,
                            rows: length,
                            pages,
                        };
                        let whole = [sequence];
                        let batch = cx.batch(&whole)?;
                        rope_kv(cx, &qkv, &batch, Some(&norm), &rope, &mut cache, 0)?;
                    }
                }
                let x = normal(cx, rows, q)?;
                let sequences = sequences(span, &tables);
                let batch = cx.batch(&sequences)?;
                bench.run(cx, &mut || done(attention_paged(cx, &x, &batch, &cache, 0)))
            },
        ),
        product(&format!("{place} o"), Kind::Add, rows, q, vec![(d, false)]),
        product(
            &format!("{place} gate_up"),
            Kind::SwiGlu,
            rows,
            d,
            vec![(ffn, false), (ffn, false)],
        ),
        product(
            &format!("{place} down"),
            Kind::Add,
            rows,
            ffn,
            vec![(d, false)],
        ),
    ]
}

fn sequences(span: Spans, tables: &[Vec<u32>]) -> Vec<Sequence<'_>> {
    let sequence = |pages| Sequence {
        generated: span.rows == 1,
        start: span.start,
        rows: span.rows,
        pages,
    };
    tables.iter().map(|pages| sequence(pages)).collect()
}

fn embed_row(text: &TextConfig, rows: usize) -> Row {
    let (vocab, d) = (text.vocab_size, text.hidden_size);
    Row::new(
        format!("embed {rows} of {vocab}x{d}"),
        Peer::Torch(json!({ "op": "embed", "rows": rows, "vocab": vocab, "cols": d })),
        move |cx, bench| {
            let table = weight(vocab, d, 1.0);
            let token = |i: usize| Source::Token((i * 7919 % vocab) as u32).index();
            let sources = cx.table((0..rows).map(token))?;
            bench.run(cx, &mut || done(embed(cx, &table, None, sources.indices())))
        },
    )
}

fn layer_norm_row(place: &str, rows: usize, d: usize) -> Row {
    Row::new(
        format!("layer_norm {place} {rows}x{d}"),
        Peer::Torch(json!({ "op": "layer_norm", "rows": rows, "cols": d })),
        move |cx, bench| {
            let x = stream(cx, rows, d)?;
            let norm = LayerNorm {
                weight: ones(d),
                bias: weight(1, d, 0.05),
                eps: 1e-5,
            };
            bench.run(cx, &mut || done(layer_norm(cx, &x, &norm)))
        },
    )
}

/// A linear layer's operation.
#[derive(Clone, Copy)]
enum Kind {
    Gemm,
    F32,
    Gelu,
    Add,
    SwiGlu,
    Gate,
}

/// A linear layer `[m, k]` to the stacked outputs, each with a bias or without.
fn product(place: &str, kind: Kind, m: usize, k: usize, outputs: Vec<(usize, bool)>) -> Row {
    let n = outputs.iter().map(|(n, _)| n).sum();
    let (op, then) = match kind {
        Kind::Gemm => ("gemm", Then::Store),
        Kind::F32 => ("gemm_f32", Then::F32),
        Kind::Gelu => ("gemm_gelu", Then::Gelu),
        Kind::Add => ("gemm_add", Then::Add),
        // cuBLASLt fuses neither.
        Kind::SwiGlu => ("gemm_swiglu", Then::Store),
        Kind::Gate => ("gemm_gate", Then::Store),
    };
    let bias = outputs.iter().any(|(_, bias)| *bias);
    Row::new(
        format!("{op} {place} {m}x{k}x{n}"),
        Peer::Blas(BlasPeer {
            m,
            k,
            n,
            bias,
            then,
        }),
        move |cx, bench| {
            let w = linear(k, &outputs)?;
            let x = match kind {
                Kind::Gate => stream(cx, m, k)?,
                _ => normal(cx, m, k)?,
            };
            let mut sum = match kind {
                Kind::Add => stream(cx, m, n)?,
                _ => cx.tensor_f32(0, 0)?,
            };
            bench.run(cx, &mut || {
                match kind {
                    Kind::Gemm => drop(gemm(cx, &x, &w)?),
                    Kind::F32 => drop(gemm_f32(cx, &x, &w)?),
                    Kind::Gelu => drop(gemm_gelu(cx, &x, &w)?),
                    Kind::SwiGlu => drop(gemm_swiglu(cx, &x, &w)?),
                    Kind::Gate => drop(gemm_gate(cx, &x, &w)?),
                    Kind::Add => gemm_add(cx, &x, &w, &mut sum)?,
                }
                Ok(())
            })
        },
    )
}

/// Of an operation only whether it was queued.
pub(crate) fn done<T>(result: gamut_kernels::Result<T>) -> Result<()> {
    result?;
    Ok(())
}

/// Activations as they come.
pub(crate) fn normal(cx: &Context, rows: usize, cols: usize) -> gamut_kernels::Result<Tensor> {
    random(cx, rows, cols, Random::normal((rows ^ cols) as u64, 1.0))
}

/// A residual stream.
fn stream(cx: &Context, rows: usize, cols: usize) -> gamut_kernels::Result<Tensor> {
    random_f32(cx, rows, cols, Random::normal((rows ^ cols) as u64, 1.0))
}

/// Noise on the host, uniform in [-0.5, 0.5).
pub(crate) fn noise(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn linear(inputs: usize, outputs: &[(usize, bool)]) -> gamut_kernels::Result<Linear> {
    let deviation = (inputs as f32).sqrt().recip();
    let parts = outputs.iter().map(|(outputs, bias)| {
        let bias = bias.then(|| weight(1, *outputs, 0.02));
        (weight(*outputs, inputs, deviation), bias)
    });
    Linear::stack(parts.collect())
}

fn weight(rows: usize, cols: usize, deviation: f32) -> Weight {
    Weight::random(
        rows,
        cols,
        Random::normal((rows * 31 + cols) as u64, deviation),
    )
}

/// A norm's scale, near one.
fn ones(cols: usize) -> Weight {
    let random = Random {
        offset: 1.0,
        distribution: Distribution::Uniform,
        ..Random::normal(cols as u64, 0.1)
    };
    Weight::random(1, cols, random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gamut_loader::synthetic::demo_config;
    use std::collections::HashSet;
    use std::path::Path;

    #[test]
    fn rows_have_names_of_their_own() {
        let config = Config::from_json(Path::new("c"), &demo_config()).unwrap();
        for sizes in [Sizes::SONG, Sizes::DRY] {
            let rows = rows(&config, &sizes).unwrap();
            let names: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(names.len(), rows.len());
        }
    }

    #[test]
    fn every_page_has_one_owner() {
        let spans = Spans {
            sequences: 32,
            start: 7600,
            rows: 1,
        };
        let pages: HashSet<u32> = spans.tables().into_iter().flatten().collect();
        assert_eq!(pages.len(), 32 * 119);
        assert_eq!(pages.iter().max(), Some(&(32 * 119 - 1)));
    }
}
