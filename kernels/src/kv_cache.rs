//! Keys and values of the decoder, in pages.

use crate::error::{Result, check, ensure};
use crate::tensor::{Rows, Tensor};
use crate::{Context, DType};

/// Tokens in a page.
pub const PAGE: usize = 64;

/// Keys and values of every layer: `[layers, pages, 2, kv_heads, PAGE, head_dim]` f32, keys before
/// values. A page belongs to one sequence in all layers; which, its owner keeps.
#[derive(Debug)]
pub struct KvCache {
    data: Tensor,
    layers: usize,
    pages: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl KvCache {
    /// Room for `pages` pages in the context's workspace.
    ///
    /// # Errors
    /// If the workspace is used up.
    pub fn new(
        cx: &Context,
        layers: usize,
        pages: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> Result<KvCache> {
        let page = KvCache::page_elements(kv_heads, head_dim);
        let data = cx.tensor(layers.saturating_mul(pages), page)?;
        Ok(KvCache {
            data,
            layers,
            pages,
            kv_heads,
            head_dim,
        })
    }

    /// Bytes that `pages` pages take in all layers.
    pub fn bytes(layers: usize, pages: usize, kv_heads: usize, head_dim: usize) -> usize {
        let page = KvCache::page_elements(kv_heads, head_dim);
        [layers, pages, DType::F32.size()]
            .into_iter()
            .fold(page, usize::saturating_mul)
    }

    fn page_elements(kv_heads: usize, head_dim: usize) -> usize {
        [kv_heads, PAGE, head_dim]
            .into_iter()
            .fold(2, usize::saturating_mul)
    }

    /// Pages of the cache.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Key-value heads.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Keys and values of the first `slots` slots of a page, `[slots, head_dim]` each, on the host.
    #[inline(always)]
    pub(crate) fn slots(
        &self,
        layer: usize,
        page: u32,
        head: usize,
        slots: usize,
    ) -> [Rows<'_>; 2] {
        let row = self.data.row(layer * self.pages + page as usize);
        let (keys, values) = row.split_at(self.data.cols() / 2);
        [keys, values].map(|part| Rows {
            data: &part[head * PAGE * self.head_dim..],
            stride: self.head_dim,
            rows: slots,
            cols: self.head_dim,
        })
    }

    /// Writes one position's keys of all heads and then values of all heads,
    /// `[2 * kv_heads, head_dim]`, on the host; nothing on a dry run.
    pub(crate) fn write(&mut self, layer: usize, pages: &[u32], position: usize, x: &[f32]) {
        let (columns, head_dim) = (self.data.cols(), self.head_dim);
        let row = layer * self.pages + pages[position / PAGE] as usize;
        let data = self.data.data_mut();
        if data.is_empty() {
            return;
        }
        let page = &mut data[row * columns..];
        // The page has them in the same order.
        for (head, x) in x.chunks_exact(head_dim).enumerate() {
            page[(head * PAGE + position % PAGE) * head_dim..][..head_dim].copy_from_slice(x);
        }
    }

    /// Checks that every position of `batch` lies in a page of this cache.
    pub(crate) fn check(
        &self,
        op: &'static str,
        layer: usize,
        batch: &[Sequence<'_>],
    ) -> Result<()> {
        ensure(
            op,
            layer < self.layers,
            "layer",
            layer,
            format!("less than {}", self.layers),
        )?;
        for sequence in batch {
            let needed = (sequence.start + sequence.rows).div_ceil(PAGE);
            let enough = sequence.pages.len() >= needed;
            ensure(
                op,
                enough,
                "pages of a sequence",
                sequence.pages.len(),
                format!("{needed}"),
            )?;
            let limit = format_args!("less than {}", self.pages);
            for page in sequence.pages {
                ensure(op, (*page as usize) < self.pages, "page", page, limit)?;
            }
        }
        Ok(())
    }
}

/// Rows of a batch that are successive positions of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Position of the first row; the ones before it are in the cache.
    pub start: usize,
    /// Rows of the batch.
    pub rows: usize,
    /// The sequence's pages, in order.
    pub pages: &'a [u32],
}

/// Checks that the sequences make up the rows of a batch.
pub(crate) fn check_rows(op: &'static str, rows: usize, batch: &[Sequence<'_>]) -> Result<()> {
    check(
        op,
        "rows of the batch",
        rows,
        batch.iter().map(|s| s.rows).sum(),
    )
}
