//! Keys and values of the decoder, in pages.

use crate::batch::Sequence;
use crate::error::{Result, ensure};
use crate::tensor::{Rows, Tensor, View};
use crate::{Context, DType};

/// Tokens in a page.
pub const PAGE: usize = 64;

/// Keys and values of every layer: `[layers, pages, 2, kv_heads, PAGE, head_dim]` in the type of
/// activations, keys before values. A page belongs to one sequence in all layers; which, its owner keeps.
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

    /// Bytes that `pages` pages take in all layers, in a type of activations.
    pub fn bytes(
        dtype: DType,
        layers: usize,
        pages: usize,
        kv_heads: usize,
        head_dim: usize,
    ) -> usize {
        let page = KvCache::page_elements(kv_heads, head_dim);
        [layers, pages, dtype.size()]
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

    /// Writes one position's keys and values of all heads, `[kv_heads, head_dim]` each, on the host;
    /// nothing on a dry run.
    pub(crate) fn write(
        &mut self,
        layer: usize,
        pages: &[u32],
        position: usize,
        [keys, values]: [&[f32]; 2],
    ) {
        let (columns, head_dim) = (self.data.cols(), self.head_dim);
        let row = layer * self.pages + pages[position / PAGE] as usize;
        let data = self.data.data_mut();
        if data.is_empty() {
            return;
        }
        let page = &mut data[row * columns..];
        // The page has them in the same order.
        let heads = keys.chunks_exact(head_dim);
        for (head, x) in heads.chain(values.chunks_exact(head_dim)).enumerate() {
            page[(head * PAGE + position % PAGE) * head_dim..][..head_dim].copy_from_slice(x);
        }
    }

    /// The pages of a layer as rows, to be read by a kernel.
    pub(crate) fn layer(&self, layer: usize) -> View<'_> {
        self.data.rows_from(layer * self.pages, self.pages)
    }

    /// One position's keys of all heads and then values of all heads, `[2 * kv_heads, head_dim]`,
    /// copied to the host.
    pub(crate) fn read(&self, layer: usize, pages: &[u32], position: usize) -> Result<Vec<f32>> {
        let row = layer * self.pages + pages[position / PAGE] as usize;
        let page = self.data.rows_from(row, 1).to_vec()?;
        let heads = page.chunks_exact(PAGE * self.head_dim);
        let slot = position % PAGE * self.head_dim;
        Ok(heads
            .flat_map(|head| head[slot..][..self.head_dim].to_vec())
            .collect())
    }

    /// Puts keys and values `[tokens, kv_heads * head_dim]` of a sequence's first tokens into its
    /// pages, on any device. Slots behind them get NaN, so that it shows who reads them.
    pub(crate) fn fill(&mut self, layer: usize, pages: &[u32], k: &[f32], v: &[f32]) -> Result<()> {
        let width = self.kv_heads * self.head_dim;
        let columns = self.data.cols();
        let tokens: Vec<_> = k.chunks_exact(width).zip(v.chunks_exact(width)).collect();
        for (tokens, index) in tokens.chunks(PAGE).zip(pages) {
            let mut page = vec![f32::NAN; columns];
            for (slot, (k, v)) in tokens.iter().enumerate() {
                let heads = k
                    .chunks_exact(self.head_dim)
                    .chain(v.chunks_exact(self.head_dim));
                for (head, x) in heads.enumerate() {
                    page[(head * PAGE + slot) * self.head_dim..][..self.head_dim]
                        .copy_from_slice(x);
                }
            }
            let row = layer * self.pages + *index as usize;
            self.data.write_rows(row, &page)?;
        }
        Ok(())
    }

    /// Checks that the cache is on the context's device, in its type, and has heads.
    pub(crate) fn check_device(&self, cx: &Context, op: &'static str) -> Result<()> {
        cx.check(op, "the keys and values", self.data.view())?;
        let some = self.kv_heads > 0 && self.head_dim > 0;
        let found = format_args!("{} of {}", self.kv_heads, self.head_dim);
        ensure(
            op,
            some,
            "heads of keys and values",
            found,
            "at least 1 of at least 1",
        )
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
            let needed = sequence.start.saturating_add(sequence.rows).div_ceil(PAGE);
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
