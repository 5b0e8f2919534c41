// Rows picked by number: y[i] = x[rows[i]], of elements, and as `gather_f32` of floats.
//
// Grid (rows of y), 256 threads, no dynamic shared memory. y is contiguous.
#include "common.cuh"

constexpr int THREADS = 256;

template <class T>
__device__ inline void copy_picked(T* __restrict__ y, const T* __restrict__ x, int x_stride,
                                   const int* __restrict__ rows, int cols) {
    const T* row = x + (size_t)rows[blockIdx.x] * x_stride;
    copy_row<THREADS>(y + (size_t)blockIdx.x * cols, row, cols);
}

#if ELEMENT_BF16
extern "C" __global__ void __launch_bounds__(THREADS)
gather(element* __restrict__ y, const element* __restrict__ x, int x_stride,
       const int* __restrict__ rows, int cols) {
    copy_picked(y, x, x_stride, rows, cols);
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS)
gather_f32(float* __restrict__ y, const float* __restrict__ x, int x_stride,
           const int* __restrict__ rows, int cols) {
    copy_picked(y, x, x_stride, rows, cols);
}
