//! Whose rows a step of the decoder has, on the host and where the device reads it.

use crate::Context;
use crate::error::{Result, check, ensure};
use crate::kv_cache::{KvCache, PAGE};
use crate::ops::Source;
use crate::table::{Indices, Integers, write};
use crate::tensor::{Tensor, View};
use std::iter::repeat_n;
use std::ops::Range;

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

impl<'a> Sequence<'a> {
    fn positions(&self) -> Range<usize> {
        self.start..self.start + self.rows
    }

    /// The pages up to the last position.
    fn seen_pages(&self) -> &'a [u32] {
        &self.pages[..self.positions().end.div_ceil(PAGE)]
    }
}

/// Positions of a prompt that a kernel attends from at a time.
const TILE: usize = 64;
/// Keys that a kernel attends to at a time from a generated row, fixed so that company changes no
/// bits.
pub(crate) const SPLIT: usize = 256;

/// The rows of one step.
#[derive(Debug)]
pub struct Batch<'a> {
    sequences: &'a [Sequence<'a>],
    /// Rows, with those that fill up a bucket.
    rows: usize,
    /// All tables, one after the other.
    values: Integers,
    device: Memory<'a>,
    parts: Parts,
    splits: usize,
}

/// Where a GPU finds the tables.
#[derive(Debug)]
enum Memory<'a> {
    Own(Tensor),
    Lent(View<'a>),
}

/// Where the tables are, in integers.
#[derive(Debug)]
struct Parts {
    sequences: Range<usize>,
    rows: Range<usize>,
    tiles: Range<usize>,
    pages: Range<usize>,
    decodes: Range<usize>,
    sources: Range<usize>,
    wanted: Range<usize>,
}

/// What a step of generated tokens is filled up to, so that few CUDA graphs serve all steps: powers
/// of two of sequences, each with one row, and of the splits that their attention takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    rows: usize,
    splits: usize,
}

impl Bucket {
    /// The smallest one that holds a step, if that is one generated row of each sequence.
    pub fn of(sequences: &[Sequence<'_>]) -> Option<Bucket> {
        let single = sequences.iter().all(|s| s.generated && s.rows == 1);
        let longest = sequences.iter().map(|s| s.start + s.rows).max()?;
        single.then(|| Bucket::holding(sequences.len(), longest))
    }

    /// The smallest one that holds `rows` sequences of at most `positions` positions.
    pub fn holding(rows: usize, positions: usize) -> Bucket {
        Bucket {
            rows: rows.next_power_of_two(),
            splits: positions.div_ceil(SPLIT).next_power_of_two(),
        }
    }

    /// Sequences.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Pages of each sequence.
    fn pages(self) -> usize {
        self.splits * (SPLIT / PAGE)
    }

    /// Integers of its tables.
    pub fn table_len(self) -> usize {
        // Sequence, row, pages, decode, source, wanted.
        self.rows * (4 + 2 + self.pages() + 1 + 1 + 1)
    }
}

impl Parts {
    /// Appends the tables of a step to `values`, wide records first, so that all are aligned. In a
    /// bucket, places that no sequence takes have a row at position -1, which sees and leaves
    /// nothing.
    fn append(
        values: &mut Vec<i32>,
        sequences: &[Sequence<'_>],
        sources: &[Source],
        wanted: impl Iterator<Item = usize>,
        bucket: Option<Bucket>,
    ) -> Parts {
        let of = |n: usize| n as i32;
        let room = bucket.map_or(0, Bucket::pages);
        let empty = sequences.len()..bucket.map_or(0, Bucket::rows);
        let numbered = || sequences.iter().enumerate();
        let prompted = || numbered().filter(|(_, s)| !s.generated);
        let generated = sequences.iter().flat_map(|s| repeat_n(s.generated, s.rows));

        let (mut row, mut page) = (0, 0);
        let heads = sequences.iter().map(|s| {
            let head = [s.start, s.rows, row, page];
            row += s.rows;
            page += s.seen_pages().len().max(room);
            head
        });
        let empty_heads = empty.clone().map(|row| [0, 0, row, row * room]);
        let rows = numbered().flat_map(|(i, s)| s.positions().map(move |position| [i, position]));
        let tiles =
            prompted().flat_map(|(i, s)| (0..s.rows).step_by(TILE).map(move |row| [i, row]));
        // By far the largest table.
        let append_pages = |values: &mut Vec<i32>| {
            let start = values.len();
            for pages in sequences.iter().map(Sequence::seen_pages) {
                let end = values.len() + pages.len().max(room);
                values.extend(pages.iter().map(|page| *page as i32));
                values.resize(end, 0);
            }
            values.resize(values.len() + room * empty.len(), 0);
            start..values.len()
        };
        let decodes = generated
            .enumerate()
            .filter_map(|(row, generated)| generated.then_some(row));
        let sources = sources.iter().map(|source| source.index());
        let nothing = empty.clone().flat_map(|row| [of(row), -1]);
        Parts {
            sequences: append(values, heads.chain(empty_heads).flatten().map(of)),
            rows: append(values, rows.flatten().map(of).chain(nothing)),
            tiles: append(values, tiles.flatten().map(of)),
            pages: append_pages(values),
            decodes: append(values, decodes.chain(empty.clone()).map(of)),
            sources: append(values, sources.chain(empty.map(|_| 0))),
            wanted: append(values, wanted.map(of)),
        }
    }
}

/// Appends a table; where it is.
fn append(values: &mut Vec<i32>, table: impl Iterator<Item = i32>) -> Range<usize> {
    let start = values.len();
    values.extend(table);
    start..values.len()
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        cx: &Context,
        sequences: &'a [Sequence<'a>],
        sources: &[Source],
        wanted: &[usize],
    ) -> Result<Batch<'a>> {
        let rows = check_sequences(sequences)?;
        let mut values = cx.integers();
        let parts = Parts::append(
            &mut values,
            sequences,
            sources,
            wanted.iter().copied(),
            None,
        );
        let mut device = cx.table_memory(values.len())?;
        write(&mut device, &values)?;
        let generated = sequences.iter().filter(|s| s.generated);
        let longest = generated.map(|s| s.start + s.rows).max().unwrap_or(0);
        Ok(Batch {
            sequences,
            rows,
            values,
            device: Memory::Own(device),
            parts,
            splits: longest.div_ceil(SPLIT),
        })
    }

    /// One generated row of each sequence, filled up to a bucket. Its tables go to `device`, and
    /// are in the same places for all batches of the bucket. All rows are wanted.
    ///
    /// Operations that were recorded check only the batch that they were recorded with. So this
    /// checks that the sequences' pages are in `kv`, and sources tokens of `vocabulary`.
    ///
    /// # Errors
    /// If a page or token does not exist, the bucket or `device` is too small, or a copy fails.
    pub fn in_bucket(
        cx: &Context,
        bucket: Bucket,
        device: &'a mut Tensor,
        (kv, vocabulary): (&KvCache, usize),
        sequences: &'a [Sequence<'a>],
        sources: &[Source],
    ) -> Result<Batch<'a>> {
        const OP: &str = "batch";
        let rows = check_sequences(sequences)?;
        kv.check(OP, 0, sequences)?;
        check(OP, "sources", sources.len(), rows)?;
        for source in sources {
            let known = matches!(source, Source::Token(token) if (*token as usize) < vocabulary);
            let expected = format_args!("a token below {vocabulary}");
            ensure(OP, known, "source", format_args!("{source:?}"), expected)?;
        }
        let needed = Bucket::of(sequences);
        let fits = |b: Bucket| b.rows <= bucket.rows && b.splits <= bucket.splits;
        let fits = sequences.is_empty() || needed.is_some_and(fits);
        let (found, most) = (
            format_args!("{needed:?}"),
            format_args!("at most {bucket:?}"),
        );
        ensure(OP, fits, "the bucket needed", found, most)?;
        let mut values = cx.integers();
        let wanted = 0..bucket.rows;
        let parts = Parts::append(&mut values, sequences, sources, wanted, Some(bucket));
        write(device, &values)?;
        Ok(Batch {
            sequences,
            rows: bucket.rows,
            values,
            device: Memory::Lent(device.view()),
            parts,
            splits: bucket.splits,
        })
    }

    /// The sequences, in the order of their rows.
    pub fn sequences(&self) -> &'a [Sequence<'a>] {
        self.sequences
    }

    /// The embedding of every row, as [`Source::index`] has it.
    pub fn sources(&self) -> Indices<'_> {
        self.indices(&self.parts.sources)
    }

    /// The rows whose logits are wanted.
    pub fn wanted(&self) -> Indices<'_> {
        self.indices(&self.parts.wanted)
    }

    /// Whether these are all rows, in their order.
    pub fn wants_all(&self) -> bool {
        let wanted = self.wanted().values();
        wanted.len() == self.rows && (0..).zip(wanted).all(|(row, wanted)| row == *wanted)
    }

    /// The sequence of a row that does not only fill up, and the row's position in it.
    pub(crate) fn place(&self, row: usize) -> (&'a Sequence<'a>, usize) {
        let place = &self.values[self.parts.rows.start + 2 * row..][..2];
        (&self.sequences[place[0] as usize], place[1] as usize)
    }

    /// For a kernel: `{start, rows, first row, first page}` of every sequence.
    pub(crate) fn sequence_table(&self) -> u64 {
        self.indices(&self.parts.sequences).address()
    }

    /// For a kernel: `{sequence, position}` of every row. A row at position -1 only fills up.
    pub(crate) fn row_table(&self) -> u64 {
        self.indices(&self.parts.rows).address()
    }

    /// For a kernel: the sequences' pages.
    pub(crate) fn page_table(&self) -> u64 {
        self.indices(&self.parts.pages).address()
    }

    /// For a kernel: `{sequence, first of its rows}` of every tile of prompted rows, and how many
    /// there are.
    pub(crate) fn tile_table(&self) -> (u64, usize) {
        let tiles = self.indices(&self.parts.tiles);
        (tiles.address(), tiles.len() / 2)
    }

    /// For a kernel: the generated rows, and how many there are.
    pub(crate) fn decode_table(&self) -> (u64, usize) {
        let decodes = self.indices(&self.parts.decodes);
        (decodes.address(), decodes.len())
    }

    /// Pages that the tiles of prompted rows see, in sum, and those that generated rows see.
    pub(crate) fn seen_pages(&self) -> (usize, usize) {
        let (mut tiles, mut rows) = (0, 0);
        for s in self.sequences {
            let pages = |row: usize| (s.start + row).div_ceil(PAGE);
            match s.generated {
                true => rows += (1..=s.rows).map(pages).sum::<usize>(),
                false => {
                    let first = (0..s.rows).step_by(TILE);
                    let last = first.map(|first| (first + TILE).min(s.rows));
                    tiles += last.map(pages).sum::<usize>();
                }
            }
        }
        (tiles, rows)
    }

    /// Splits of [`SPLIT`] keys that hold every generated row's.
    pub(crate) fn splits(&self) -> usize {
        self.splits
    }

    /// Checks that the batch has as many rows as `rows`, and is for this device.
    pub(crate) fn check(&self, cx: &Context, op: &'static str, rows: usize) -> Result<()> {
        self.indices(&self.parts.rows).check(cx, op, "the batch")?;
        check(op, "rows of the batch", rows, self.rows)
    }

    fn indices(&self, part: &Range<usize>) -> Indices<'_> {
        let device = match &self.device {
            Memory::Own(tensor) => tensor.view(),
            Memory::Lent(view) => *view,
        };
        Indices::new(&self.values, device).part(part.clone())
    }
}

/// Checks that nothing is longer than its pages and that every number is an `i32`, and counts the
/// rows.
fn check_sequences(sequences: &[Sequence<'_>]) -> Result<usize> {
    const OP: &str = "batch";
    for s in sequences {
        let end = s.start.saturating_add(s.rows);
        let room = s.pages.len().saturating_mul(PAGE).min(i32::MAX as usize);
        let most = format_args!("at most {room}, in {} pages", s.pages.len());
        ensure(OP, end <= room, "positions of a sequence", end, most)?;
    }
    let rows = sequences
        .iter()
        .map(|s| s.rows)
        .fold(0, usize::saturating_add);
    let most = i32::MAX as usize;
    let expected = format_args!("at most {most}");
    ensure(OP, rows <= most, "rows", rows, expected)?;
    Ok(rows)
}
