// Per-head normalisation, where there is a norm, and rotation of queries and keys, and the write of
// keys and values into their pages: `rope_kv.rs` has the formula.
//
// Grid (rows, ceil((heads + 2 kv_heads) / 4)), 128 threads, no dynamic shared memory: a warp for a
// head. `qkv` [rows, (heads + 2 kv_heads) * head_dim] as floats, `q` [rows, heads * head_dim], both
// contiguous; head_dim is even and at most 128.
// `table` [positions, head_dim]: the cosines of a position, then its sines.
// `kv_layer` [pages, 2, kv_heads, 64, head_dim]: keys, then values.
// `rows`: sequence and position of each row; `sequences`: start, rows, first row, first of its
// `pages`. Each is rounded once, where it is stored. A row at position -1, which only fills up a
// batch, is left out.
#include "common.cuh"

constexpr int HEADS = 4;
constexpr int THREADS = HEADS * WARP;
constexpr int MAX_HEAD_DIM = 128;
// Positions of a page.
constexpr int PAGE = 64;

// A head in the registers of a warp: of each lane, pairs that are half a head apart.
struct Head {
    static constexpr int PAIRS = MAX_HEAD_DIM / 2 / WARP;
    float low[PAIRS], high[PAIRS];
    // Length of half a head.
    int half;

    // Where a pair stands in either half.
    __device__ int at(int pair) const { return threadIdx.x % WARP + pair * WARP; }

    __device__ void load(const float* from) {
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            const int i = at(pair);
            low[pair] = GUARD(i < half) ? from[i] : 0.0f;
            high[pair] = GUARD(i < half) ? from[i + half] : 0.0f;
        }
    }

    __device__ void store(element* to) const {
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            const int i = at(pair);
            if (GUARD(i < half)) {
                to[i] = to_element(low[pair]);
                to[i + half] = to_element(high[pair]);
            }
        }
    }

    __device__ void normalise(const float* norm, float eps) {
        float squares = 0.0f;
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            squares = fmaf(low[pair], low[pair], squares);
            squares = fmaf(high[pair], high[pair], squares);
        }
        const float scale = 1.0f / sqrtf(warp_sum(squares) / (2 * half) + eps);
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            const int i = at(pair);
            if (GUARD(i < half)) {
                low[pair] = low[pair] * scale * norm[i];
                high[pair] = high[pair] * scale * norm[i + half];
            }
        }
    }

    __device__ void rotate(const float* angles) {
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            const int i = at(pair);
            if (GUARD(i < half)) {
                const float a = low[pair], b = high[pair];
                const float cos = angles[i], sin = angles[i + half];
                low[pair] = fmaf(a, cos, -(b * sin));
                high[pair] = fmaf(b, cos, a * sin);
            }
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
rope_kv(element* __restrict__ q, const float* __restrict__ qkv, const float* __restrict__ q_norm,
        float q_eps, const float* __restrict__ k_norm, float k_eps, const float* __restrict__ table,
        element* __restrict__ kv_layer, const int2* __restrict__ rows,
        const int4* __restrict__ sequences, const int* __restrict__ pages, int heads, int kv_heads,
        int head_dim) {
    const int number = blockIdx.y * HEADS + threadIdx.x / WARP;
    const bool query = number < heads, value = number >= heads + kv_heads;
    const int sequence = rows[blockIdx.x].x, position = rows[blockIdx.x].y;
    if (GUARD(number < heads + 2 * kv_heads) && GUARD(position >= 0)) {
        const int all_heads = heads + 2 * kv_heads;
        Head head;
        head.half = head_dim / 2;
        head.load(qkv + ((size_t)blockIdx.x * all_heads + number) * head_dim);
        if (!value) {
            const float* norm = query ? q_norm : k_norm;
            if (norm != nullptr) {
                head.normalise(norm, query ? q_eps : k_eps);
            }
            head.rotate(table + (size_t)position * head_dim);
        }
        if (query) {
            head.store(q + ((size_t)blockIdx.x * heads + number) * head_dim);
        } else {
            const size_t page = pages[sequences[sequence].w + position / PAGE];
            const int kv_head = number - heads - (value ? kv_heads : 0);
            const size_t slots = (page * 2 + value) * kv_heads + kv_head;
            head.store(kv_layer + (slots * PAGE + position % PAGE) * head_dim);
        }
    }
}
