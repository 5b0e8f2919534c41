//! A matrix written by many threads at once, each its own tile.
#![allow(unsafe_code)]

use super::Host;
use crate::tensor::ViewMut;
use std::marker::PhantomData;
use std::ops::Range;

/// The part of a matrix that one task owns.
pub(crate) struct Tile<'a> {
    start: *mut f32,
    stride: usize,
    rows: Range<usize>,
    cols: Range<usize>,
    owner: PhantomData<&'a mut [f32]>,
}

impl Tile<'_> {
    /// Rows of the matrix that the tile covers.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Columns of the matrix that the tile covers.
    pub(crate) fn cols(&self) -> Range<usize> {
        self.cols.clone()
    }

    /// The tile's part of a row, named by its number in the matrix.
    ///
    /// # Panics
    /// If the row is not the tile's.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(
            self.rows.contains(&row),
            "row {row} is not in {:?}",
            self.rows
        );
        // SAFETY: `for_tiles` checked that the matrix holds every row and column of the grid; the
        // tile's columns of this row belong to no other tile.
        unsafe {
            let first = self.start.add(row * self.stride + self.cols.start);
            std::slice::from_raw_parts_mut(first, self.cols.len())
        }
    }
}

/// The start of a matrix, to be shared between threads that write different tiles.
struct Start(*mut f32);

// SAFETY: only `for_tiles` uses it, to make tiles that do not overlap.
unsafe impl Sync for Start {}

impl Host {
    /// Calls `task` once for each tile of at most `tile` (rows, columns) of `out`, on all threads,
    /// each with its own part of `scratch`. Tiles of the same rows follow each other.
    pub(crate) fn for_tiles(
        &self,
        out: &mut ViewMut<'_>,
        tile: (usize, usize),
        scratch: &mut [f32],
        task: impl Fn(Tile<'_>, &mut [f32]) + Sync,
    ) {
        let (rows, cols) = (out.rows(), out.cols());
        if rows == 0 || cols == 0 {
            return;
        }
        let (data, stride) = out.host_mut();
        assert!(data.len() >= (rows - 1) * stride + cols && (rows == 1 || stride >= cols));
        let start = Start(data.as_mut_ptr());
        let down = rows.div_ceil(tile.0);
        let across = cols.div_ceil(tile.1);
        self.threads.for_each(down * across, scratch, |i, scratch| {
            // Captures the wrapper, which may be shared, and not its pointer.
            let start = &start;
            let (row, col) = (i / across * tile.0, i % across * tile.1);
            let tile = Tile {
                start: start.0,
                stride,
                rows: row..(row + tile.0).min(rows),
                cols: col..(col + tile.1).min(cols),
                owner: PhantomData,
            };
            task(tile, scratch);
        });
    }

    /// Calls `task` once for each row of `out`, on all threads.
    pub(crate) fn for_rows(&self, out: &mut ViewMut<'_>, task: impl Fn(usize, &mut [f32]) + Sync) {
        /// Rows that a thread takes at once.
        const ROWS: usize = 16;
        let cols = out.cols();
        self.for_tiles(out, (ROWS, cols.max(1)), &mut [], |mut tile, _| {
            for row in tile.rows() {
                task(row, tile.row_mut(row));
            }
        });
    }
}
