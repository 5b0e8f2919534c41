// The most probable token of each row of logits, with its log-probability.
//
// Grid (rows), 1024 threads, no dynamic shared memory. `out` [rows, 2]: the token, the lowest of
// equal ones, or -1 if a logit is NaN, or -2 if the greatest is not finite; and
// x - ln(sum exp x), the terms summed in an order that depends on `vocabulary` alone.
#include "common.cuh"

constexpr int THREADS = 1024;

constexpr float NOT_A_NUMBER = -1.0f;
constexpr float NO_TOKEN = -2.0f;

// Grows with the logit and, where logits are equal, falls with the token. NaN has the greatest.
__device__ inline u64 rank(float logit, int token) {
    if (isnan(logit)) {
        return ~0ull;
    }
    const u32 bits = __float_as_uint(logit + 0.0f);  // -0 as 0
    const u32 order = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (u64)order << 32 | ~(u32)token;
}

__device__ inline u64 block_max_rank(u64 x) {
    __shared__ u64 parts[THREADS / WARP];
#pragma unroll
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        x = max(x, __shfl_xor_sync(ALL_LANES, x, apart));
    }
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    u64 most = parts[0];
    for (int warp = 1; warp < THREADS / WARP; warp++) {
        most = max(most, parts[warp]);
    }
    return most;
}

extern "C" __global__ void __launch_bounds__(THREADS)
sample_greedy(float* __restrict__ out, const float* __restrict__ logits, int stride,
              int vocabulary) {
    logits += (size_t)blockIdx.x * stride;
    out += (size_t)blockIdx.x * 2;
    u64 most = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
        most = max(most, rank(logits[i], i));
    }
    most = block_max_rank(most);
    const bool is_number = most != ~0ull;
    const int token = is_number ? ~(u32)most : 0;
    const float greatest = logits[token];
    if (is_number && isfinite(greatest)) {
        // The token's own term is 1.
        float others = 0.0f;
#pragma unroll 4
        for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
            others += i == token ? 0.0f : expf(logits[i] - greatest);
        }
        others = block_sum<THREADS>(others);
        if (threadIdx.x == 0) {
            out[0] = (float)token;
            out[1] = -log1pf(others);
        }
    } else if (threadIdx.x == 0) {
        out[0] = is_number ? NO_TOKEN : NOT_A_NUMBER;
        out[1] = 0.0f;
    }
}
