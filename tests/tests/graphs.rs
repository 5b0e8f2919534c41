//! A step of generated tokens as a CUDA graph: the bits of each sequence alone, whatever fills up
//! the bucket, and at every launch those of the tables that it finds.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use bytes::Bytes;
use gamut_kernels::ops::{
    QkNorm, RmsNorm, Rope, Source, attention_paged, embed, gemm, gemm_f32, rope_kv,
};
use gamut_kernels::{
    Batch, Bucket, Context, Cuda, DType, Device, Driver, Graph, KvCache, Linear, PAGE, Result,
    Sequence, Tensor, Weight,
};
use gamut_tests::nvrtc::NEWEST;

const ROOM: usize = 64 << 20;
const WIDTH: usize = 96;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 32;
const VOCABULARY: usize = 500;
/// Pages of each sequence.
const PAGES: usize = 16;

fn weight(rows: usize, cols: usize, seed: u64) -> Weight {
    let value = |i: usize| {
        let x = (i as u64 + 1)
            .wrapping_mul(seed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 40;
        (x as f32 / (1 << 23) as f32 - 1.0) / (cols as f32).sqrt()
    };
    let bytes: Vec<u8> = (0..rows * cols)
        .flat_map(|i| value(i).to_le_bytes())
        .collect();
    Weight::new(DType::F32, rows, cols, Bytes::from(bytes)).unwrap()
}

/// A layer's attention between an embedding and logits.
struct Decoder {
    table: Weight,
    qkv: Linear,
    norm: QkNorm,
    logits: Linear,
    rope: Rope,
    kv: KvCache,
}

impl Decoder {
    fn new(device: &Device, cx: &Context, sequences: usize) -> Decoder {
        let linear = |rows, cols, seed| Linear::new(weight(rows, cols, seed), None).unwrap();
        let norm = || RmsNorm {
            weight: weight(1, HEAD_DIM, 5),
            eps: 1e-6,
        };
        let columns = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
        let mut decoder = Decoder {
            table: weight(VOCABULARY, WIDTH, 3),
            qkv: linear(columns, WIDTH, 7),
            norm: QkNorm {
                q: norm(),
                k: norm(),
            },
            logits: linear(VOCABULARY, HEADS * HEAD_DIM, 11),
            rope: Rope::new(cx, 1e6, HEAD_DIM, PAGES * PAGE).unwrap(),
            kv: KvCache::new(cx, 1, sequences * PAGES, KV_HEADS, HEAD_DIM).unwrap(),
        };
        let plan = Context::plan(device.target());
        let pages: Vec<u32> = (0..PAGES as u32).collect();
        for generated in [false, true] {
            let sequence = [sequence(&pages, 0, 1, generated)];
            let sources = [Source::Token(0)];
            let batch = plan.step(&sequence, &sources, &[0]).unwrap();
            decoder.forward(&plan, &batch).unwrap();
        }
        device.load(&[&plan]).unwrap();
        decoder
    }

    fn forward(&mut self, cx: &Context, batch: &Batch<'_>) -> Result<Tensor> {
        let x = embed(cx, &self.table, None, batch.sources())?;
        let mut qkv = gemm(cx, &x, &self.qkv)?;
        rope_kv(cx, &mut qkv, batch, &self.norm, &self.rope, &mut self.kv, 0)?;
        let q = qkv.columns(0, HEADS * HEAD_DIM);
        let attended = attention_paged(cx, q, batch, &self.kv, 0)?;
        gemm_f32(cx, &attended, &self.logits)
    }

    /// One generated token of each sequence, each in a step of its own.
    fn alone(&mut self, cx: &Context, sequences: &[Sequence<'_>], tokens: &[Source]) -> Vec<u32> {
        let mut all = Vec::new();
        for (sequence, token) in sequences.iter().zip(tokens) {
            let batch = cx
                .step(std::slice::from_ref(sequence), &[*token], &[0])
                .unwrap();
            all.extend(self.forward(cx, &batch).unwrap().to_vec().unwrap());
        }
        bits(&all)
    }
}

fn sequence(pages: &[u32], start: usize, rows: usize, generated: bool) -> Sequence<'_> {
    Sequence {
        generated,
        start,
        rows,
        pages,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

fn tokens(seed: usize, count: usize) -> Vec<Source> {
    let token = |i| ((seed * 31 + i * 17) % VOCABULARY) as u32;
    (0..count).map(|i| Source::Token(token(i))).collect()
}

fn gpu(dtype: DType) -> Device {
    NEWEST.nvrtc();
    Device::Cuda(Cuda::open(Driver::Virtual, dtype).unwrap())
}

#[test]
fn a_graph_gives_the_bits_of_each_sequence_alone() {
    // One key, one past a page, at and one past the border of a split.
    const LENGTHS: [usize; 5] = [0, 64, 255, 256, 700];
    for dtype in [DType::BF16, DType::F32] {
        let device = gpu(dtype);
        let own = Context::new(&device, ROOM).unwrap();
        let cx = Context::new(&device, ROOM).unwrap();
        let mut decoder = Decoder::new(&device, &own, LENGTHS.len());
        let pages: Vec<Vec<u32>> = (0..LENGTHS.len() as u32)
            .map(|i| {
                (0..PAGES as u32)
                    .map(|page| page * LENGTHS.len() as u32 + i)
                    .collect()
            })
            .collect();
        for (i, (length, pages)) in LENGTHS.into_iter().zip(&pages).enumerate() {
            let prompt = [sequence(pages, 0, length, false)];
            let sources = tokens(i, length);
            let batch = cx.step(&prompt, &sources, &[]).unwrap();
            decoder.forward(&cx, &batch).unwrap();
        }
        let bucket = Bucket::holding(LENGTHS.len(), 703);
        assert_eq!(bucket.rows(), 8);
        let mut tables = own.table_memory(bucket.table_len()).unwrap();
        let mut graph: Option<Graph> = None;
        // The last step has fewer sequences than the one that was recorded.
        for (step, count) in [(0, 5), (1, 5), (2, 3)] {
            let sequences: Vec<Sequence<'_>> = LENGTHS[5 - count..]
                .iter()
                .zip(&pages[5 - count..])
                .map(|(length, pages)| sequence(pages, length + step, 1, true))
                .collect();
            let sources = tokens(100 + step, count);
            let expected = decoder.alone(&cx, &sequences, &sources);
            let known = (&decoder.kv, VOCABULARY);
            let batch = Batch::in_bucket(bucket, &mut tables, known, &sequences, &sources).unwrap();
            if graph.is_none() {
                graph = Some(cx.record(|cx| decoder.forward(cx, &batch)).unwrap());
            }
            let logits = cx.launch(graph.as_mut().unwrap()).unwrap();
            let found = logits.rows_from(0, count).to_vec().unwrap();
            assert_eq!(bits(&found), expected, "{dtype}, step {step}");
        }
    }
}

fn message<T>(result: Result<T>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn what_a_graph_cannot_hold_is_refused() {
    let device = gpu(DType::BF16);
    let cx = Context::new(&device, ROOM).unwrap();
    let linear = Linear::new(weight(8, 64, 3), None).unwrap();
    let x = cx.upload(&[1.0; 64], 64).unwrap();
    let copies = message(cx.record(|cx| cx.upload(&[1.0], 1)));
    assert!(copies.contains("a graph is being recorded"), "{copies}");
    let waits = message(cx.record(|cx| {
        let y = gemm(cx, &x, &linear)?;
        y.to_vec()?;
        Ok(y)
    }));
    assert!(waits.contains("a graph is being recorded"), "{waits}");
    // The device goes on after each.
    let own = Context::new(&device, ROOM).unwrap();
    let mut graph = own.record(|cx| gemm(cx, &x, &linear)).unwrap();
    let first = own.launch(&mut graph).unwrap();
    assert_eq!(first.to_vec().unwrap().len(), 8);
    // The first output lies where the graph writes.
    let occupied = message(own.launch(&mut graph));
    assert!(occupied.contains("start of the workspace"), "{occupied}");
    drop(first);
    own.launch(&mut graph).unwrap();
}

#[test]
fn a_step_that_a_bucket_cannot_hold_is_refused() {
    let device = gpu(DType::BF16);
    let cx = Context::new(&device, ROOM).unwrap();
    let kv = KvCache::new(&cx, 1, 8, 1, 32).unwrap();
    let bucket = Bucket::holding(2, 256);
    let mut tables = cx.table_memory(bucket.table_len()).unwrap();
    let mut fail = |sequences: &[Sequence<'_>], sources: &[Source]| {
        message(Batch::in_bucket(
            bucket,
            &mut tables,
            (&kv, 10),
            sequences,
            sources,
        ))
    };
    let token = Source::Token(3);
    let pages = [0, 1, 2, 3, 4, 5];
    let long = fail(&[sequence(&pages, 256, 1, true)], &[token]);
    assert!(long.contains("the bucket needed"), "{long}");
    let one = sequence(&pages, 2, 1, true);
    assert!(fail(&[one; 3], &[token; 3]).contains("the bucket needed"));
    assert!(fail(&[sequence(&pages, 2, 2, true)], &[token; 2]).contains("the bucket needed"));
    assert!(fail(&[sequence(&pages, 2, 1, false)], &[token]).contains("the bucket needed"));
    let page = fail(&[sequence(&[8], 2, 1, true)], &[token]);
    assert!(page.contains("page is 8, expected less than 8"), "{page}");
    let unknown = fail(&[one], &[Source::Token(10)]);
    assert!(unknown.contains("a token below 10"), "{unknown}");
    assert!(fail(&[one], &[Source::Audio(0)]).contains("a token below 10"));
    assert!(fail(&[one], &[]).contains("sources"));
}
