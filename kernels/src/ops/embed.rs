//! Embeddings of the prompt: a row of the table for a token, a row of the projected audio for a
//! position of the placeholder.
//!
//! `table` `[V, D]` as stored; `audio` `[N, D]` and `y` `[sources.len(), D]`, f32 on every device.
//! Source: LLaVA, arXiv 2304.08485, section 4.1: projected features stand among word embeddings.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, check, ensure};
use crate::tensor::{Tensor, View};
use crate::weight::Weight;
use crate::{Context, DType, Host, Indices, Work, reference};

/// Where the embedding of a position comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A token of the vocabulary.
    Token(u32),
    /// A row of the projected audio.
    Audio(u32),
}

/// The embeddings of some positions, whose sources are as [`Source::index`] has them. `audio` may be
/// left out where no source asks for it.
///
/// # Errors
/// If a token is not in the table, an audio row does not exist, or the workspace is used up.
pub fn embed(
    cx: &Context,
    table: &Weight,
    audio: Option<View<'_>>,
    sources: Indices<'_>,
) -> Result<Tensor> {
    sources.check(cx, "embed", "the sources")?;
    if let Some(audio) = &audio {
        cx.check_f32("embed", "the audio", *audio)?;
        check("embed", "columns of the audio", audio.cols(), table.cols())?;
    }
    let audio_rows = audio.map_or(0, |a| a.rows());
    let source = |i: usize| Source::from_index(sources.values()[i]);
    for i in 0..sources.len() {
        let (what, index, limit) = match source(i) {
            Source::Token(t) => ("token", t as usize, table.rows()),
            Source::Audio(a) => ("audio row", a as usize, audio_rows),
        };
        ensure(
            "embed",
            index < limit,
            what,
            index,
            format_args!("less than {limit}"),
        )?;
    }
    let mut y = cx.tensor_f32(sources.len(), table.cols())?;
    let row = table.bytes_on(cx.target()) / table.rows().max(1);
    let audio_row = table.cols() * size_of::<f32>();
    let read = (0..sources.len()).map(|i| match source(i) {
        Source::Token(_) => row,
        Source::Audio(_) => audio_row,
    });
    let read: usize = read.sum();
    let work = Work::new(0, read + sources.len() * (audio_row + size_of::<i32>()));
    cx.run(
        "embed",
        work,
        &mut y,
        |host, y| host_embed(host, table, audio, source, y),
        |gpu, y| launch(gpu, table, audio, sources, y),
    )?;
    Ok(y)
}

/// The formula at the head of this file.
fn reference(table: &[f64], audio: &[f64], d: usize, sources: &[Source]) -> Vec<f64> {
    let row = |source: &Source| match *source {
        Source::Token(t) => table[t as usize * d..][..d].to_vec(),
        Source::Audio(a) => audio[a as usize * d..][..d].to_vec(),
    };
    sources.iter().flat_map(row).collect()
}

fn host_embed(
    host: &Host,
    table: &Weight,
    audio: Option<View<'_>>,
    source: impl Fn(usize) -> Source + Sync,
    y: &mut Tensor,
) {
    host.for_rows(&mut y.view_mut(), |i, y| match (source(i), &audio) {
        (Source::Token(token), _) => table.widen_row(token as usize, y),
        (Source::Audio(row), Some(audio)) => y.copy_from_slice(audio.row(row as usize)),
        (Source::Audio(_), None) => unreachable!("checked above: there are no audio rows"),
    });
}

impl Source {
    /// A token as it is, a row of audio counted down from -1.
    pub fn index(self) -> i32 {
        match self {
            Source::Token(token) => token as i32,
            Source::Audio(row) => !(row as i32),
        }
    }

    fn from_index(index: i32) -> Source {
        match index {
            0.. => Source::Token(index as u32),
            _ => Source::Audio(!index as u32),
        }
    }
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "embed.cu",
    text: include_str!("embed.cu"),
    variants: &[&[]],
};

/// Threads of a row's block.
const THREADS: u32 = 256;

fn launch(
    gpu: &Launcher<'_>,
    table: &Weight,
    audio: Option<View<'_>>,
    sources: Indices<'_>,
    y: &Tensor,
) -> Result<()> {
    let (table, pitch) = gpu.matrix(table)?;
    let (audio, stride) = audio.map_or((0, 0), |audio| (audio.address(), audio.stride()));
    gpu.launch(
        (&CUDA, "embed"),
        &[],
        Grid::new([y.rows(), 1, 1], THREADS),
        [
            y.into(),
            table.into(),
            pitch.into(),
            audio.into(),
            stride.into(),
            sources.into(),
            y.cols().into(),
        ],
    )
}

pub(super) const EMBED: Op = Op {
    name: "embed",
    cuda: &CUDA,
    cases,
};

fn cases() -> Vec<Case> {
    let case = |(d, dtype): (usize, DType)| {
        Case::new(format!("{d} {dtype}"), 0.0, move |cx| {
            let mut inputs = Inputs::new(cx, d as u64);
            let table = inputs.weight(dtype, (50, d), 0.0, 1.0)?;
            let audio = inputs.floats(21 * d, 1.0);
            let mut sources = vec![Source::Token(49), Source::Token(0)];
            sources.extend((3..21).map(Source::Audio));
            sources.push(Source::Token(7));
            let device_audio = cx.upload_f32(&audio, d)?;
            let (table64, audio64) = (reference::widen_weight(&table), reference::widen(&audio));
            let expected = sources.clone();
            Ok(Trial::new(
                move |cx| {
                    let sources = cx.table(sources.iter().map(|s| s.index()))?;
                    let audio = Some(device_audio.view());
                    embed(cx, &table, audio, sources.indices())?.to_vec()
                },
                move || reference(&table64, &audio64, d, &expected),
            ))
        })
    };
    // The last row of audio begins at a vector, and with 10 columns ends within one.
    [
        (64, DType::F32),
        (128, DType::BF16),
        (33, DType::F16),
        (10, DType::F32),
        (4099, DType::BF16),
    ]
    .map(case)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn what_does_not_exist_is_named() {
        let cx = Context::plan(Target::Host { threads: 1 });
        let table = Inputs::plain(1)
            .weight(DType::F32, (4, 8), 0.0, 1.0)
            .unwrap();
        let error = |source: Source| {
            let sources = cx.table([source.index()]).unwrap();
            let embedded = embed(&cx, &table, None, sources.indices());
            embedded.unwrap_err().to_string()
        };
        assert_eq!(
            error(Source::Token(4)),
            "embed: token is 4, expected less than 4"
        );
        assert_eq!(
            error(Source::Audio(0)),
            "embed: audio row is 0, expected less than 0"
        );
    }
}
