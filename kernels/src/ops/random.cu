// Numbers that are a function of a seed and an index, on the page of random.rs:
// y[r, c] = bf16(offset + scale * u(r * cols + c)), as elements, and by `random_f32` as floats.
//
// Grid (rows), 256 threads, no dynamic shared memory. With more than one tap, y holds the weights
// of a convolution: [rows, channels, taps] counted, [rows, taps, channels] written.
#include "common.cuh"

constexpr int THREADS = 256;

// The output function of splitmix64.
__device__ inline u64 mix(u64 x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

__device__ inline float uniform(u64 bits) {
    return ((float)(u32)(bits >> 40) - 8388608.0f) * (1.0f / 8388608.0f);
}

__device__ inline float normal(u64 bits) {
    const int sum = (int)(bits & 0xffff) + (int)(bits >> 16 & 0xffff) +
                    (int)(bits >> 32 & 0xffff) + (int)(bits >> 48);
    return (float)(sum - 131070) / 37837.0f;
}

template <class T>
__device__ inline void fill(T* y, int y_stride, u64 state, float offset, float scale,
                            int is_normal, int cols, int taps) {
    const int channels = cols / taps;
    for (int c = threadIdx.x; GUARD(c < cols); c += THREADS) {
        const int from = c % channels * taps + c / channels;
        const u64 index = (u64)blockIdx.x * cols + from;
        const u64 bits = mix(state + (index + 1) * 0x9e3779b97f4a7c15ull);
        const float u = is_normal ? normal(bits) : uniform(bits);
        bf16 rounded;
        from_float(rounded, offset + scale * u);
        from_float(y[(size_t)blockIdx.x * y_stride + c], to_float(rounded));
    }
}

#if ELEMENT_BF16
extern "C" __global__ void __launch_bounds__(THREADS)
random(element* __restrict__ y, int y_stride, u64 state, float offset, float scale, int is_normal,
       int cols, int taps) {
    fill(y, y_stride, state, offset, scale, is_normal, cols, taps);
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS)
random_f32(float* __restrict__ y, int y_stride, u64 state, float offset, float scale,
           int is_normal, int cols, int taps) {
    fill(y, y_stride, state, offset, scale, is_normal, cols, taps);
}
