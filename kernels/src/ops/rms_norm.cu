// y = x / sqrt(mean(x^2) + eps) * w, row by row, from floats to elements.
//
// Grid (rows), 256 threads, no dynamic shared memory. y is contiguous; w is at a multiple of 16
// bytes and readable up to the next one. A thread sums the quads that it holds in ascending
// order, then the block its threads: the order depends on `cols` alone.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
rms_norm(element* __restrict__ y, const float* __restrict__ x, int x_stride,
         const float* __restrict__ w, int cols, float eps) {
    const KeptRow<THREADS> row(x + (size_t)blockIdx.x * x_stride, cols);
    y += (size_t)blockIdx.x * cols;
    float squares = 0.0f;
    row.each([&](int, const float (&v)[QUAD]) {
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            squares = fmaf(v[j], v[j], squares);
        }
    });
    const float scale = 1.0f / sqrtf(block_sum<THREADS>(squares) / cols + eps);
    row.each([&](int i, const float (&v)[QUAD]) {
        float weight[QUAD], out[QUAD];
        load_vector(weight, w + i);
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            out[j] = v[j] * scale * weight[j];
        }
        store_part(y + i, out, cols - i);
    });
}
