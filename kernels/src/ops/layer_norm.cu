// y = (x - mean(x)) / sqrt(var(x) + eps) * w + b, row by row, in f32 and rounded once.
//
// Grid (rows), 256 threads, no dynamic shared memory. y is contiguous; w and b are at multiples of
// 16 bytes and readable up to the next one. The variance is the mean of the squared differences, in
// a pass of its own. A thread sums the vectors that it holds in ascending order, then the block its
// threads: the order depends on `cols` alone.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
layer_norm(element* __restrict__ y, const element* __restrict__ x, int x_stride,
           const element* __restrict__ w, const element* __restrict__ b, int cols, float eps) {
    const KeptRow<THREADS> row(x + (size_t)blockIdx.x * x_stride, cols);
    y += (size_t)blockIdx.x * cols;
    float sum = 0.0f;
    row.each([&](int, const float (&v)[VECTOR]) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            sum += v[j];
        }
    });
    const float mean = block_sum<THREADS>(sum) / cols;
    __syncthreads();  // All have read the sums that the next ones will lie over.
    float squares = 0.0f;
    row.each([&](int i, const float (&v)[VECTOR]) {
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            const float centred = GUARD(i + j < cols) ? v[j] - mean : 0.0f;
            squares = fmaf(centred, centred, squares);
        }
    });
    const float scale = 1.0f / sqrtf(block_sum<THREADS>(squares) / cols + eps);
    row.each([&](int i, const float (&v)[VECTOR]) {
        float weight[VECTOR], bias[VECTOR], out[VECTOR];
        load_vector(weight, w + i);
        load_vector(bias, b + i);
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            out[j] = fmaf((v[j] - mean) * scale, weight[j], bias[j]);
        }
        store_part(y + i, out, cols - i);
    });
}
