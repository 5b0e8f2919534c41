// Average pooling by two over time, of floats: y[t] = (x[2t] + x[2t + 1]) / 2.
//
// Grid (rows of y), 256 threads, no dynamic shared memory.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
avg_pool(float* __restrict__ y, int y_stride, const float* __restrict__ x, int x_stride,
         int cols) {
    x += (size_t)blockIdx.x * 2 * x_stride;
    y += (size_t)blockIdx.x * y_stride;
    for (int i = threadIdx.x * QUAD; i < cols; i += THREADS * QUAD) {
        float even[QUAD], odd[QUAD];
        load_part(even, x + i, cols - i);
        load_part(odd, x + x_stride + i, cols - i);
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            even[j] = (even[j] + odd[j]) * 0.5f;
        }
        store_part(y + i, even, cols - i);
    }
}
