//! Activations: row-major matrices in a device's workspace, and views of them.

use crate::DType;
use crate::arena::Region;
use crate::cuda::Output;
use crate::error::{Result, check, ensure};
use std::ops::Range;

/// A matrix `[rows, cols]` in the workspace of the [`Context`](crate::Context) that made it; its
/// memory is given back when it is dropped.
#[derive(Debug)]
pub struct Tensor {
    region: Region,
    dtype: DType,
    rows: usize,
    cols: usize,
}

impl Tensor {
    pub(crate) fn new(region: Region, dtype: DType, rows: usize, cols: usize) -> Tensor {
        debug_assert_eq!(region.len(), rows * cols * dtype.size());
        Tensor {
            region,
            dtype,
            rows,
            cols,
        }
    }

    /// Type of the elements: f32 on the host.
    pub fn dtype(&self) -> DType {
        self.dtype
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
            dtype: self.dtype,
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
            dtype: self.dtype,
            offset,
            rows,
            cols,
            stride,
        }
    }

    fn check(&self, row: usize, rows: usize, col: usize, cols: usize) {
        assert!(
            fits(row, rows, self.rows),
            "rows {row}+{rows} of {}",
            self.rows
        );
        assert!(
            fits(col, cols, self.cols),
            "columns {col}+{cols} of {}",
            self.cols
        );
    }

    /// One row, on the host.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.region.data()[row * self.cols..][..self.cols]
    }

    /// The elements, copied to host memory and widened; none on a dry run.
    ///
    /// # Errors
    /// If a copy, or what was to compute the elements, failed.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        self.view().to_vec()
    }

    /// Whether it is a dry run's, without memory.
    pub(crate) fn is_nowhere(&self) -> bool {
        !self.region.is_on_host() && self.region.device().is_none()
    }

    /// Copies the elements of an f32 tensor to host memory of exactly their number.
    ///
    /// # Errors
    /// If a copy, or what was to compute the elements, failed.
    pub(crate) fn read(&self, to: &mut [f32]) -> Result<()> {
        check(
            "read",
            "number of elements",
            to.len(),
            self.rows * self.cols,
        )?;
        check("read", "type", self.dtype, DType::F32)?;
        match self.region.device() {
            Some((block, start)) => block.read(start, bytemuck::cast_slice_mut(to)),
            None => {
                to.copy_from_slice(&self.region.data()[..to.len()]);
                Ok(())
            }
        }
    }

    /// Where in its arena it is, for a graph to remember.
    pub(crate) fn place(&self) -> Output {
        Output {
            offset: self.region.offset(),
            dtype: self.dtype,
            rows: self.rows,
            cols: self.cols,
        }
    }

    /// Puts `values`, rounded to the tensor's type, into the head of the tensor; nothing on a dry
    /// run.
    pub(crate) fn write(&mut self, values: &[f32]) -> Result<()> {
        self.write_rows(0, values)
    }

    /// Copies the rows of `x` `[x.rows(), self.cols()]`, of this tensor's type and on its device,
    /// over the rows from `row` on; on a GPU behind all work before it. Nothing on a dry run.
    ///
    /// # Errors
    /// If `x` is of another type, width or device, the rows do not exist, or the copy fails.
    pub fn copy_rows(&mut self, row: usize, x: View<'_>) -> Result<()> {
        const OP: &str = "copy_rows";
        ensure(OP, x.dtype == self.dtype, "type of x", x.dtype, self.dtype)?;
        check(OP, "columns of x", x.cols, self.cols)?;
        let (found, all) = (format_args!("{row}+{}", x.rows), self.rows);
        let inside = fits(row, x.rows, all);
        ensure(OP, inside, "rows", found, format_args!("up to {all}"))?;
        let here = self.region.is_beside(x.region);
        ensure(OP, here, "device of x", "another one", "the tensor's")?;
        if let Some((to, start)) = self.region.device()
            && let Some((from, offset)) = x.region.device()
        {
            let size = self.dtype.size();
            // All rows at once where nothing lies between them.
            let (rows, cols) = match x.stride == x.cols {
                true => (x.rows.min(1), x.cols * x.rows),
                false => (x.rows, x.cols),
            };
            for i in 0..rows {
                let from = (from, offset + (x.offset + i * x.stride) * size);
                let at = start + (row * self.cols + i * cols) * size;
                to.copy(at, from, cols * size)?;
            }
        } else if self.cols > 0 && !x.region.data().is_empty() {
            let rows = self.region.data_mut().chunks_exact_mut(self.cols);
            let rows = rows.skip(row).zip(0..x.rows);
            rows.for_each(|(to, i)| to.copy_from_slice(x.row(i)));
        }
        Ok(())
    }

    /// Puts `values`, rounded to the tensor's type, over the rows from `row` on.
    pub(crate) fn write_rows(&mut self, row: usize, values: &[f32]) -> Result<()> {
        let start = row.saturating_mul(self.cols);
        let room = (self.rows * self.cols).saturating_sub(start);
        let most = format_args!("at most {room}");
        ensure(
            "write",
            values.len() <= room,
            "number of values",
            values.len(),
            most,
        )?;
        if let Some((block, offset)) = self.region.device() {
            let mut bytes = Vec::with_capacity(values.len() * self.dtype.size());
            self.dtype.narrow(values, &mut bytes);
            return block.write(offset + start * self.dtype.size(), &bytes);
        }
        let rows = self.region.data_mut().iter_mut().skip(start);
        rows.zip(values).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    /// Puts `bytes` into the head of a tensor on a GPU; nothing elsewhere.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        let Some((block, offset)) = self.region.device() else {
            return Ok(());
        };
        let (found, room) = (bytes.len(), self.region.len());
        let most = format_args!("at most {room}");
        ensure("write", found <= room, "number of bytes", found, most)?;
        block.write(offset, bytes)
    }

    /// Fills the tensor with NaN.
    pub(crate) fn poison(&mut self) -> Result<()> {
        // All ones is a NaN in every type.
        self.fill(u8::MAX)
    }

    /// Fills the tensor with a byte.
    pub(crate) fn fill(&mut self, byte: u8) -> Result<()> {
        let value = f32::from_ne_bytes([byte; size_of::<f32>()]);
        self.region.data_mut().fill(value);
        match self.region.device() {
            Some((block, offset)) => block.fill(offset, self.region.len(), byte),
            None => Ok(()),
        }
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.region.data_mut()
    }
}

/// A matrix `[rows, cols]` whose rows start `stride` elements apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    region: &'a Region,
    dtype: DType,
    offset: usize,
    rows: usize,
    cols: usize,
    stride: usize,
}

impl<'a> View<'a> {
    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The memory that the elements lie in.
    pub(crate) fn region(&self) -> &'a Region {
        self.region
    }

    /// Elements from one row's start to the next one's.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// Where the first element is on the GPU; 0 elsewhere.
    pub fn address(&self) -> u64 {
        let offset = (self.offset * self.dtype.size()) as u64;
        match self.region.device() {
            Some((block, start)) => block.address() + start as u64 + offset,
            None => 0,
        }
    }

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
            fits(from, rows, self.rows),
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

    /// Waits until the elements are computed.
    ///
    /// # Errors
    /// If what was to compute them failed.
    pub fn wait(&self) -> Result<()> {
        match self.region.device() {
            Some((block, _)) => block.wait(),
            None => Ok(()),
        }
    }

    /// The elements, copied to host memory row after row and widened; none on a dry run.
    ///
    /// # Errors
    /// If a copy, or what was to compute the elements, failed.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let rows = || 0..if self.cols == 0 { 0 } else { self.rows };
        if let Some((block, start)) = self.region.device() {
            let size = self.dtype.size();
            let span = rows().len().saturating_sub(1) * self.stride + self.cols;
            let mut bytes = vec![0; if self.rows == 0 { 0 } else { span * size }];
            block.read(start + self.offset * size, &mut bytes)?;
            let values = self.dtype.widen(&bytes);
            let row = |r: usize| values[r * self.stride..][..self.cols].iter().copied();
            return Ok(rows().flat_map(row).collect());
        }
        if self.region.data().is_empty() {
            return Ok(Vec::new());
        }
        Ok(rows().flat_map(|r| self.row(r).iter().copied()).collect())
    }
}

/// Whether `count` from `from` on are among `all`.
fn fits(from: usize, count: usize, all: usize) -> bool {
    from <= all && count <= all - from
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
    dtype: DType,
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
            dtype,
            offset,
            rows,
            cols,
            stride,
        } = *self;
        View {
            region,
            dtype,
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
