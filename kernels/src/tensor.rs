//! Activations: row-major f32 matrices in a device's workspace, and views of them.

use crate::arena::Region;
use std::ops::Range;

/// A matrix `[rows, cols]` in the workspace of the [`Context`](crate::Context) that made it; its
/// memory is given back when it is dropped.
#[derive(Debug)]
pub struct Tensor {
    region: Region,
    rows: usize,
    cols: usize,
}

impl Tensor {
    pub(crate) fn new(region: Region, rows: usize, cols: usize) -> Tensor {
        debug_assert_eq!(region.len(), rows * cols);
        Tensor { region, rows, cols }
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The whole matrix, to read.
    pub fn view(&self) -> View<'_> {
        self.block(0, self.rows, 0, self.cols)
    }

    /// The whole matrix, to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        self.block_mut(0, self.rows, 0, self.cols)
    }

    /// Columns `from .. from + cols`, to read.
    ///
    /// # Panics
    /// If the columns do not exist.
    pub fn columns(&self, from: usize, cols: usize) -> View<'_> {
        self.block(0, self.rows, from, cols)
    }

    /// Columns `from .. from + cols`, to write.
    ///
    /// # Panics
    /// If the columns do not exist.
    pub fn columns_mut(&mut self, from: usize, cols: usize) -> ViewMut<'_> {
        self.block_mut(0, self.rows, from, cols)
    }

    /// Rows `from .. from + rows`, to read.
    ///
    /// # Panics
    /// If the rows do not exist.
    pub fn rows_from(&self, from: usize, rows: usize) -> View<'_> {
        self.block(from, rows, 0, self.cols)
    }

    /// Rows `from .. from + rows`, to write.
    ///
    /// # Panics
    /// If the rows do not exist.
    pub fn rows_from_mut(&mut self, from: usize, rows: usize) -> ViewMut<'_> {
        self.block_mut(from, rows, 0, self.cols)
    }

    /// `rows` rows from `row` on, of each `cols` columns from `col` on, to read.
    ///
    /// # Panics
    /// If the rows or columns do not exist.
    pub fn block(&self, row: usize, rows: usize, col: usize, cols: usize) -> View<'_> {
        self.check(row, rows, col, cols);
        let (offset, stride) = (row * self.cols + col, self.cols);
        View {
            region: &self.region,
            offset,
            rows,
            cols,
            stride,
        }
    }

    /// `rows` rows from `row` on, of each `cols` columns from `col` on, to write.
    ///
    /// # Panics
    /// If the rows or columns do not exist.
    pub fn block_mut(&mut self, row: usize, rows: usize, col: usize, cols: usize) -> ViewMut<'_> {
        self.check(row, rows, col, cols);
        let (offset, stride) = (row * self.cols + col, self.cols);
        ViewMut {
            region: &mut self.region,
            offset,
            rows,
            cols,
            stride,
        }
    }

    fn check(&self, row: usize, rows: usize, col: usize, cols: usize) {
        assert!(
            row + rows <= self.rows,
            "rows {row}+{rows} of {}",
            self.rows
        );
        assert!(
            col + cols <= self.cols,
            "columns {col}+{cols} of {}",
            self.cols
        );
    }

    /// One row, on the host.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.region.data()[row * self.cols..][..self.cols]
    }

    /// The elements, copied to host memory; none on a dry run.
    pub fn to_vec(&self) -> Vec<f32> {
        self.region.data().to_vec()
    }

    pub(crate) fn data(&self) -> &[f32] {
        self.region.data()
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.region.data_mut()
    }
}

/// A matrix `[rows, cols]` whose rows start `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    region: &'a Region,
    offset: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> View<'a> {
    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Rows `from .. from + rows`.
    ///
    /// # Panics
    /// If the rows do not exist.
    pub fn rows_from(&self, from: usize, rows: usize) -> View<'a> {
        assert!(
            from + rows <= self.rows,
            "rows {from}+{rows} of {}",
            self.rows
        );
        View {
            offset: self.offset + from * self.stride,
            rows,
            ..*self
        }
    }

    /// One row, on the host.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.region.data()[self.offset + row * self.stride..][..self.cols]
    }

    /// Some rows, on the host.
    pub(crate) fn host_rows(&self, rows: Range<usize>) -> Rows<'a> {
        self.host_block(rows, 0..self.cols)
    }

    /// Some columns of some rows, on the host.
    pub(crate) fn host_block(&self, rows: Range<usize>, cols: Range<usize>) -> Rows<'a> {
        Rows {
            data: &self.region.data()[self.offset + rows.start * self.stride + cols.start..],
            stride: self.stride,
            rows: rows.len(),
            cols: cols.len(),
        }
    }

    /// The elements, copied to host memory row after row; none on a dry run.
    pub fn to_vec(&self) -> Vec<f32> {
        if self.region.data().is_empty() {
            return Vec::new();
        }
        (0..self.rows)
            .flat_map(|r| self.row(r).iter().copied())
            .collect()
    }
}

/// Rows of an f32 matrix on the host.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// From the first element of the first row on.
    pub(crate) data: &'a [f32],
    /// Elements from one row's start to the next one's.
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.cols]
    }
}

impl<'a> From<&'a Tensor> for View<'a> {
    fn from(tensor: &'a Tensor) -> View<'a> {
        tensor.view()
    }
}

/// A matrix `[rows, cols]`, to write, whose rows start `stride` elements apart.
#[derive(Debug)]
pub struct ViewMut<'a> {
    region: &'a mut Region,
    offset: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> ViewMut<'a> {
    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The same matrix, to read.
    pub fn as_view(&self) -> View<'_> {
        let ViewMut {
            ref region,
            offset,
            rows,
            cols,
            stride,
        } = *self;
        View {
            region,
            offset,
            rows,
            cols,
            stride,
        }
    }

    /// On the host: the elements from the first of the matrix on, and the stride of its rows.
    pub(crate) fn host_mut(&mut self) -> (&mut [f32], usize) {
        (&mut self.region.data_mut()[self.offset..], self.stride)
    }
}

impl<'a> From<&'a mut Tensor> for ViewMut<'a> {
    fn from(tensor: &'a mut Tensor) -> ViewMut<'a> {
        tensor.view_mut()
    }
}
