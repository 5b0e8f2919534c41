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
    /// A row for every slot of a head.
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
        let rows = [layers, pages, kv_heads, PAGE]
            .into_iter()
            .fold(2, usize::saturating_mul);
        let data = cx.tensor(rows, head_dim)?;
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
        [layers, pages, kv_heads, PAGE, head_dim, dtype.size()]
            .into_iter()
            .fold(2, usize::saturating_mul)
    }

    /// Fills all pages with zeros. Copies of whole pages also take slots that nobody wrote, which a
    /// virtual GPU reports as an error, unless the cache was cleared once.
    ///
    /// # Errors
    /// If the device fails.
    pub fn clear(&mut self) -> Result<()> {
        self.data.fill(0)
    }

    /// Layers.
    pub(crate) fn layers(&self) -> usize {
        self.layers
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
        let row = |head| self.row(layer, page, head);
        [row(head), row(self.kv_heads + head)]
            .map(|row| self.data.rows_from(row, slots).host_rows(0..slots))
    }

    /// The row of a page's first slot, of keys of a head or, behind all of those, values.
    #[inline(always)]
    fn row(&self, layer: usize, page: u32, head: usize) -> usize {
        let heads = 2 * self.kv_heads;
        ((layer * self.pages + page as usize) * heads + head) * PAGE
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
        let head_dim = self.head_dim;
        let first = self.row(layer, pages[position / PAGE], 0) + position % PAGE;
        let data = self.data.data_mut();
        if data.is_empty() {
            return;
        }
        // The page has them in the same order.
        let heads = keys.chunks_exact(head_dim);
        for (head, x) in heads.chain(values.chunks_exact(head_dim)).enumerate() {
            data[(first + head * PAGE) * head_dim..][..head_dim].copy_from_slice(x);
        }
    }

    /// Elements of a page in one layer.
    pub(crate) fn page_len(&self) -> usize {
        2 * self.kv_heads * PAGE * self.head_dim
    }

    /// All elements, to write, on the host; none on a dry run.
    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.data.data_mut()
    }

    /// The pages of all layers.
    pub(crate) fn all(&self) -> View<'_> {
        self.data.view()
    }

    /// The pages of a layer, to be read by a kernel.
    pub(crate) fn layer(&self, layer: usize) -> View<'_> {
        let rows = self.row(1, 0, 0);
        self.data.rows_from(layer * rows, rows)
    }

    /// One position's keys of all heads and then values of all heads, `[2 * kv_heads, head_dim]`,
    /// copied to the host.
    pub(crate) fn read(&self, layer: usize, pages: &[u32], position: usize) -> Result<Vec<f32>> {
        let mut all = Vec::new();
        for head in 0..2 * self.kv_heads {
            let row = self.row(layer, pages[position / PAGE], head) + position % PAGE;
            all.extend(self.data.rows_from(row, 1).to_vec()?);
        }
        Ok(all)
    }

    /// Puts keys and values `[tokens, kv_heads * head_dim]` of a sequence's first tokens into its
    /// pages, on any device. Slots behind them stay as they are, so that it shows who reads them.
    pub(crate) fn fill(&mut self, layer: usize, pages: &[u32], k: &[f32], v: &[f32]) -> Result<()> {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        let page = PAGE * kv_heads * head_dim;
        for ((k, v), index) in k.chunks(page).zip(v.chunks(page)).zip(pages) {
            for (part, x) in [k, v].into_iter().enumerate() {
                for head in 0..kv_heads {
                    let heads = x.chunks_exact(head_dim).skip(head).step_by(kv_heads);
                    let slots: Vec<f32> = heads.flatten().copied().collect();
                    let row = self.row(layer, *index, part * kv_heads + head);
                    self.data.write_rows(row, &slots)?;
                }
            }
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
            format_args!("less than {}", self.layers),
        )?;
        for sequence in batch {
            let needed = sequence.start.saturating_add(sequence.rows).div_ceil(PAGE);
            let enough = sequence.pages.len() >= needed;
            let found = sequence.pages.len();
            ensure(op, enough, "pages of a sequence", found, needed)?;
            let mut pages = sequence.pages.iter().copied();
            let unknown = pages.find(|page| *page as usize >= self.pages);
            let found = unknown.unwrap_or_default();
            let limit = format_args!("less than {}", self.pages);
            ensure(op, unknown.is_none(), "page", found, limit)?;
        }
        Ok(())
    }
}
