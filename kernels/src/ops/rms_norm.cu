// y = x / sqrt(mean(x^2) + eps) * w, row by row, in f32 and rounded once.
//
// Grid (rows), 256 threads, no dynamic shared memory. y is contiguous; w is at a multiple of 16 bytes and
// readable up to the next one. A thread sums the vectors
// that it holds in ascending order, then the block its threads: the order depends on `cols` alone.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
rms_norm(element* __restrict__ y, const element* __restrict__ x, int x_stride,
         const element* __restrict__ w, int cols, float eps) {
    x += (size_t)blockIdx.x * x_stride;
    y += (size_t)blockIdx.x * cols;
    const int first = threadIdx.x * VECTOR;
    float squares = 0.0f;
    for (int i = first; i < cols; i += THREADS * VECTOR) {
        float v[VECTOR];
        load_part(v, x + i, cols - i);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            squares = fmaf(v[j], v[j], squares);
        }
    }
    const float scale = 1.0f / sqrtf(block_sum<THREADS>(squares) / cols + eps);
    for (int i = first; i < cols; i += THREADS * VECTOR) {
        float v[VECTOR], weight[VECTOR];
        load_part(v, x + i, cols - i);
        load_vector(weight, w + i);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            v[j] = v[j] * scale * weight[j];
        }
        store_part(y + i, v, cols - i);
    }
}
