//! Keys and values of the decoder, in pages, and whose rows a step has.

use crate::error::{Result, check, ensure};
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

    /// The pages of a layer as rows, to be read by a kernel.
    pub(crate) fn layer(&self, layer: usize) -> View<'_> {
        self.data.rows_from(layer * self.pages, self.pages)
    }

    /// Keys and values of one position, as [`KvCache::write`] takes them, copied to the host.
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
    /// pages, on any device.
    pub(crate) fn fill(&mut self, layer: usize, pages: &[u32], k: &[f32], v: &[f32]) -> Result<()> {
        let width = self.kv_heads * self.head_dim;
        let columns = self.data.cols();
        let mut page = vec![0.0; columns];
        let tokens: Vec<_> = k.chunks_exact(width).zip(v.chunks_exact(width)).collect();
        for (tokens, index) in tokens.chunks(PAGE).zip(pages) {
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
///
/// A row's arithmetic depends on its sequence and on whether it was prompted or generated, on
/// nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    /// Whether the rows were generated, and not part of a prompt.
    pub generated: bool,
    /// Position of the first row; the ones before it are in the cache.
    pub start: usize,
    /// Rows of the batch.
    pub rows: usize,
    /// The sequence's pages, in order.
    pub pages: &'a [u32],
}

/// Positions of a prompt that a kernel attends from at a time.
const TILE: usize = 64;

/// The rows of one step: whose they are, on the host and where the device reads it.
#[derive(Debug)]
pub struct Batch<'a> {
    sequences: &'a [Sequence<'a>],
    /// On a GPU: all tables, one after the other, as 32-bit integers.
    tables: Tensor,
    /// Where in it, in integers: rows, pages, tiles, decodes. Sequences come first.
    offsets: [usize; 4],
    tiles: usize,
    decodes: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(cx: &Context, sequences: &'a [Sequence<'a>]) -> Result<Batch<'a>> {
        let (mut heads, mut rows, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tiles, mut decodes) = (Vec::new(), Vec::new());
        let mut first_row = 0;
        for (index, sequence) in sequences.iter().enumerate() {
            let of = |n: usize| n as i32;
            heads.extend([sequence.start, sequence.rows, first_row, pages.len()].map(of));
            let positions = sequence.start..sequence.start + sequence.rows;
            rows.extend(positions.flat_map(|position| [of(index), of(position)]));
            pages.extend(sequence.pages.iter().map(|page| *page as i32));
            match sequence.generated {
                true => decodes.extend((0..sequence.rows).map(|row| of(first_row + row))),
                false => {
                    let starts = (0..sequence.rows).step_by(TILE);
                    tiles.extend(starts.flat_map(|row| [of(index), of(row)]));
                }
            }
            first_row += sequence.rows;
        }
        let parts = [&heads, &rows, &tiles, &pages, &decodes];
        let mut ends = [0; 5];
        let mut end = 0;
        for (part, at) in parts.iter().zip(&mut ends) {
            end += part.len();
            *at = end;
        }
        let [heads_end, rows_end, tiles_end, pages_end, _] = ends;
        Ok(Batch {
            sequences,
            tables: cx.integers(&parts.map(Vec::as_slice).concat())?,
            offsets: [heads_end, tiles_end, rows_end, pages_end],
            tiles: tiles.len() / 2,
            decodes: decodes.len(),
        })
    }

    /// The sequences, in the order of their rows.
    pub fn sequences(&self) -> &'a [Sequence<'a>] {
        self.sequences
    }

    /// For a kernel: `{start, rows, first row, first page}` of every sequence.
    pub(crate) fn sequence_table(&self) -> u64 {
        self.table(0)
    }

    /// For a kernel: `{sequence, position}` of every row.
    pub(crate) fn row_table(&self) -> u64 {
        self.table(self.offsets[0])
    }

    /// For a kernel: the sequences' pages.
    pub(crate) fn page_table(&self) -> u64 {
        self.table(self.offsets[1])
    }

    /// For a kernel: `{sequence, first of its rows}` of every tile of prompted rows, and how many
    /// there are.
    pub(crate) fn tile_table(&self) -> (u64, usize) {
        (self.table(self.offsets[2]), self.tiles)
    }

    /// For a kernel: the generated rows, and how many there are.
    pub(crate) fn decode_table(&self) -> (u64, usize) {
        (self.table(self.offsets[3]), self.decodes)
    }

    /// The longest sequence of generated rows, in tokens.
    pub(crate) fn longest_generated(&self) -> usize {
        let generated = self.sequences.iter().filter(|s| s.generated);
        generated.map(|s| s.start + s.rows).max().unwrap_or(0)
    }

    fn table(&self, offset: usize) -> u64 {
        match self.tables.view().address() {
            0 => 0,
            address => address + (offset * size_of::<i32>()) as u64,
        }
    }
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
