// Rows picked by number: y[i] = x[rows[i]].
//
// Grid (rows of y), 256 threads, no dynamic shared memory. y is contiguous.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
gather(element* __restrict__ y, const element* __restrict__ x, int x_stride,
       const int* __restrict__ rows, int cols) {
    const element* row = x + (size_t)rows[blockIdx.x] * x_stride;
    copy_row<THREADS>(y + (size_t)blockIdx.x * cols, row, cols);
}
