//! Whose rows a step of the decoder has, on the host and where the device reads it.

use crate::Context;
use crate::error::{Result, check, ensure};
use crate::kv_cache::PAGE;
use crate::tensor::Tensor;

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

/// The rows of one step.
#[derive(Debug)]
pub struct Batch<'a> {
    sequences: &'a [Sequence<'a>],
    /// On a GPU: the tables, one after the other, as 32-bit integers.
    tables: Tensor,
    /// Where in them each but the first begins, in integers.
    starts: Starts,
    tiles: usize,
    decodes: usize,
}

#[derive(Debug)]
struct Starts {
    rows: usize,
    tiles: usize,
    pages: usize,
    decodes: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(cx: &Context, sequences: &'a [Sequence<'a>]) -> Result<Batch<'a>> {
        const OP: &str = "batch";
        for s in sequences {
            let end = s.start.saturating_add(s.rows);
            let room = s.pages.len().saturating_mul(PAGE).min(i32::MAX as usize);
            let most = format_args!("at most {room}, in {} pages", s.pages.len());
            ensure(OP, end <= room, "positions of a sequence", end, most)?;
        }
        // Now nothing is longer than the pages, and every number is an i32.
        let (mut table, mut rows, mut tiles) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pages, mut decodes) = (Vec::new(), Vec::new());
        let mut first_row = 0;
        for (index, s) in sequences.iter().enumerate() {
            let of = |n: usize| n as i32;
            table.extend([s.start, s.rows, first_row, pages.len()].map(of));
            let positions = s.start..s.start + s.rows;
            rows.extend(positions.flat_map(|position| [of(index), of(position)]));
            pages.extend(s.pages.iter().map(|page| *page as i32));
            match s.generated {
                true => decodes.extend((0..s.rows).map(|row| of(first_row + row))),
                false => {
                    let starts = (0..s.rows).step_by(TILE);
                    tiles.extend(starts.flat_map(|row| [of(index), of(row)]));
                }
            }
            first_row += s.rows;
        }
        let most = i32::MAX as usize;
        ensure(
            OP,
            first_row <= most,
            "rows",
            first_row,
            format_args!("at most {most}"),
        )?;
        // Wide records first, so that each table's records are aligned.
        let starts = Starts {
            rows: table.len(),
            tiles: table.len() + rows.len(),
            pages: table.len() + rows.len() + tiles.len(),
            decodes: table.len() + rows.len() + tiles.len() + pages.len(),
        };
        let tables = [&table, &rows, &tiles, &pages, &decodes].map(Vec::as_slice);
        Ok(Batch {
            sequences,
            tables: cx.integers(&tables.concat())?,
            starts,
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
        self.table(self.starts.rows)
    }

    /// For a kernel: the sequences' pages.
    pub(crate) fn page_table(&self) -> u64 {
        self.table(self.starts.pages)
    }

    /// For a kernel: `{sequence, first of its rows}` of every tile of prompted rows, and how many
    /// there are.
    pub(crate) fn tile_table(&self) -> (u64, usize) {
        (self.table(self.starts.tiles), self.tiles)
    }

    /// For a kernel: the generated rows, and how many there are.
    pub(crate) fn decode_table(&self) -> (u64, usize) {
        (self.table(self.starts.decodes), self.decodes)
    }

    /// The longest sequence of generated rows, in tokens.
    pub(crate) fn longest_generated(&self) -> usize {
        let generated = self.sequences.iter().filter(|s| s.generated);
        generated.map(|s| s.start + s.rows).max().unwrap_or(0)
    }

    /// Checks that the batch has as many rows as `rows`, and is for this device.
    pub(crate) fn check(&self, cx: &Context, op: &'static str, rows: usize) -> Result<()> {
        cx.check_f32(op, "the batch", self.tables.view())?;
        let expected = self.sequences.iter().map(|s| s.rows).sum();
        check(op, "rows of the batch", rows, expected)
    }

    fn table(&self, offset: usize) -> u64 {
        match self.tables.view().address() {
            0 => 0,
            address => address + (offset * size_of::<i32>()) as u64,
        }
    }
}
