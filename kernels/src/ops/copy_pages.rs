//! Whole pages of keys and values, for sequences that go on apart from one beginning:
//! `kv[l, to] = kv[l, from]` in every layer `l`, for every copy `{from, to}`.
//!
//! `kv` `[layers, pages, 2, kv_heads, PAGE, head_dim]`, as [`KvCache`] has it. Source: vLLM, arXiv
//! 2309.06180, section 4.4: parallel samples share a page until one of them writes to it.

use super::Op;
use crate::case::{Case, Inputs, Trial};
use crate::cuda::{CudaSource, Grid, Launcher};
use crate::error::{Result, ensure};
use crate::{Context, Host, Indices, KvCache, PAGE, Work, reference};
use rayon::prelude::*;

const OP: &str = "copy_pages";

/// Copies pages `{from, to}` of the cache in all layers, with slots that nobody wrote as well: see
/// [`KvCache::clear`].
///
/// # Errors
/// If a page does not exist, is a target twice or both source and target, or the workspace is used
/// up.
pub fn copy_pages(cx: &Context, kv: &mut KvCache, copies: &[(u32, u32)]) -> Result<()> {
    kv.check_device(cx, OP)?;
    check_copies(copies, kv.pages())?;
    let words = copies.iter().flat_map(|(from, to)| [*from, *to]);
    // Below the number of pages, which a kernel takes as an `i32`.
    let table = cx.table(words.map(|page| page as i32))?;
    let bytes = KvCache::bytes(
        cx.dtype(),
        kv.layers(),
        copies.len(),
        kv.kv_heads(),
        kv.head_dim(),
    );
    cx.run(
        OP,
        Work::new(0, bytes.saturating_mul(2)),
        kv,
        |host, kv| host_copy_pages(host, kv, copies),
        |gpu, kv| launch(gpu, kv, table.indices()),
    )
}

/// Checks that the copies can be made in any order, all at once.
fn check_copies(copies: &[(u32, u32)], pages: usize) -> Result<()> {
    let mut targets: Vec<u32> = copies.iter().map(|(_, to)| *to).collect();
    targets.sort_unstable();
    for pair in targets.windows(2) {
        let once = pair[0] != pair[1];
        ensure(OP, once, "target", pair[0], "every page at most once")?;
    }
    let limit = format_args!("less than {pages}");
    for (from, to) in copies {
        for page in [from, to] {
            ensure(OP, (*page as usize) < pages, "page", page, limit)?;
        }
        let apart = targets.binary_search(from).is_err();
        ensure(OP, apart, "source", from, "a page that is no target")?;
    }
    Ok(())
}

/// The formula at the head of this file, of layers of `layer` elements with pages of `page`.
fn reference(kv: &[f64], layer: usize, page: usize, copies: &[(u32, u32)]) -> Vec<f64> {
    let mut y = kv.to_vec();
    for (y, kv) in y.chunks_exact_mut(layer).zip(kv.chunks_exact(layer)) {
        for (from, to) in copies {
            let [from, to] = [from, to].map(|index| *index as usize * page);
            y[to..to + page].copy_from_slice(&kv[from..from + page]);
        }
    }
    y
}

fn host_copy_pages(host: &Host, kv: &mut KvCache, copies: &[(u32, u32)]) {
    let page = kv.page_len();
    let layer = kv.pages() * page;
    if copies.is_empty() {
        return;
    }
    host.install(|| {
        let layers = kv.data_mut().par_chunks_exact_mut(layer);
        layers.for_each(|layer| {
            for (from, to) in copies {
                let from = *from as usize * page;
                layer.copy_within(from..from + page, *to as usize * page);
            }
        });
    });
}

/// The kernels of this operation.
const CUDA: CudaSource = CudaSource {
    file: "copy_pages.cu",
    text: include_str!("copy_pages.cu"),
    variants: &[&[]],
};

/// Threads of a block.
const THREADS: u32 = 256;
/// Vectors of a block.
const VECTORS: usize = 4 * THREADS as usize;

fn launch(gpu: &Launcher<'_>, kv: &KvCache, copies: Indices<'_>) -> Result<()> {
    // Whole ones, since a page has a multiple of 128 elements.
    let page = kv.page_len() * gpu.dtype().size() / 16;
    let blocks = [copies.len() / 2, kv.layers(), page.div_ceil(VECTORS)];
    gpu.launch(
        (&CUDA, "copy_pages"),
        &[],
        Grid::new(blocks, THREADS),
        [
            kv.all().into(),
            copies.into(),
            kv.pages().into(),
            page.into(),
        ],
    )
}

pub(super) const COPY_PAGES: Op = Op {
    name: OP,
    cuda: &CUDA,
    cases,
};

/// None, one and several copies, two of them from one page; to the first page and the last one, from
/// the last one; of pages that fill their blocks and that do not.
fn cases() -> Vec<Case> {
    let case = |(kv_heads, head_dim, copies): (usize, usize, &'static [(u32, u32)])| {
        const LAYERS: usize = 3;
        const PAGES: usize = 6;
        let name = format!("{} of {PAGES}, {kv_heads}x{head_dim}", copies.len());
        Case::new(name, 0.0, move |cx| {
            let mut inputs = Inputs::new(cx, (kv_heads * head_dim) as u64);
            let mut kv = KvCache::new(cx, LAYERS, PAGES, kv_heads, head_dim)?;
            let pages: Vec<u32> = (0..PAGES as u32).collect();
            for layer in 0..LAYERS {
                let [k, v] =
                    [(); 2].map(|()| inputs.normal(PAGES * PAGE * kv_heads * head_dim, 1.5));
                kv.fill(layer, &pages, &k, &v)?;
            }
            let before = reference::widen(&kv.all().to_vec()?);
            let page = kv.page_len();
            Ok(Trial::new(
                move |cx| {
                    copy_pages(cx, &mut kv, copies)?;
                    kv.all().to_vec()
                },
                move || reference(&before, PAGES * page, page, copies),
            ))
        })
    };
    [
        (2, 16, &[][..]),
        (1, 16, &[(5, 0)]),
        (3, 20, &[(0, 5)]),
        (1, 128, &[(5, 2)]),
        (3, 64, &[(1, 4), (5, 0), (1, 3)]),
        (5, 128, &[(2, 3), (0, 1), (4, 5)]),
    ]
    .map(case)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn copies_that_depend_on_their_order_are_refused() {
        let cx = Context::plan(Target::Host { threads: 1 });
        let mut kv = KvCache::new(&cx, 2, 4, 1, 16).unwrap();
        let mut error = |copies: &[(u32, u32)]| {
            let copied = copy_pages(&cx, &mut kv, copies);
            copied.unwrap_err().to_string()
        };
        for copies in [[(4, 0)], [(0, 4)]] {
            let expected = "copy_pages: page is 4, expected less than 4";
            assert_eq!(error(&copies), expected);
        }
        assert_eq!(
            error(&[(0, 2), (1, 3), (1, 2)]),
            "copy_pages: target is 2, expected every page at most once"
        );
        for copies in [&[(0, 1), (1, 2)][..], &[(1, 2), (0, 1)], &[(1, 1)]] {
            let expected = "copy_pages: source is 1, expected a page that is no target";
            assert_eq!(error(copies), expected);
        }
    }
}
