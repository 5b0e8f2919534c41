// y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, row by row, from floats to elements, and as
// `layer_norm_f32` to floats.
//
// Grid (rows), 256 threads, no dynamic shared memory. y is contiguous; w and b are at multiples of
// 16 bytes and readable up to the next one. The variance is the mean of the squared differences, in
// a pass of its own. A thread sums the quads that it holds in ascending order, then the block its
// threads: the order depends on `cols` alone.
#include "common.cuh"

constexpr int THREADS = 256;

template <class Out>
__device__ inline void normalise(Out* __restrict__ y, const float* __restrict__ x, int x_stride,
                                 const float* __restrict__ w, const float* __restrict__ b,
                                 int cols, float eps) {
    const KeptRow<THREADS> row(x + (size_t)blockIdx.x * x_stride, cols);
    y += (size_t)blockIdx.x * cols;
    float sum = 0.0f;
    row.each([&](int, const float (&v)[QUAD]) {
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            sum += v[j];
        }
    });
    const float mean = block_sum<THREADS>(sum) / cols;
    __syncthreads();  // All have read the sums that the next ones will lie over.
    float squares = 0.0f;
    row.each([&](int i, const float (&v)[QUAD]) {
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            const float centred = GUARD(i + j < cols) ? v[j] - mean : 0.0f;
            squares = fmaf(centred, centred, squares);
        }
    });
    const float scale = 1.0f / sqrtf(block_sum<THREADS>(squares) / cols + eps);
    row.each([&](int i, const float (&v)[QUAD]) {
        float weight[QUAD], bias[QUAD], out[QUAD];
        load_vector(weight, w + i);
        load_vector(bias, b + i);
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            out[j] = fmaf((v[j] - mean) * scale, weight[j], bias[j]);
        }
        store_part(y + i, out, cols - i);
    });
}

#if ELEMENT_BF16
extern "C" __global__ void __launch_bounds__(THREADS)
layer_norm(element* __restrict__ y, const float* __restrict__ x, int x_stride,
           const float* __restrict__ w, const float* __restrict__ b, int cols, float eps) {
    normalise(y, x, x_stride, w, b, cols, eps);
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS)
layer_norm_f32(float* __restrict__ y, const float* __restrict__ x, int x_stride,
               const float* __restrict__ w, const float* __restrict__ b, int cols, float eps) {
    normalise(y, x, x_stride, w, b, cols, eps);
}
