// Attention of query rows over blocks of 64 keys, on tensor cores, with an online softmax.
//
// A warp has 16 rows. A row's bits depend on its own query and keys alone: a score is one chain
// over the head's width; after every block of keys, ascending, the row's sums are rescaled, also
// where that changes nothing; a key that the row does not see weighs 0. Scores are taken in units
// of ln 2, so that weights are powers of 2.
// HEAD_DIM, even and at most 128, is defined by the host; tiles pad it with zeros.
// Sources: Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691.
#pragma once
#include "common.cuh"
#include "mma.cuh"

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / WARP;
// Query rows of a warp.
constexpr int WARP_ROWS = 16;
// Keys of a block: a page of the cache.
constexpr int KEYS = 64;
// The head's width in fragments.
constexpr int STEPS = div_up(HEAD_DIM, 16);
constexpr int WIDTH = STEPS * 16;
// Blocks on a multiprocessor at once, for which registers are given out.
constexpr int RESIDENT = ELEMENT_BF16 ? 3 : 2;
constexpr int PITCH = tile_pitch(WIDTH);
// Elements of a tile of keys or values.
constexpr int KEY_TILE = KEYS * PITCH;

// All of a block's shared memory.
extern __shared__ __align__(16) element tiles[];

// Rows of a head in global memory.
struct Matrix {
    const element* data;
    int stride;
    // Whether rows consist of whole, aligned vectors of 16 bytes.
    bool vectors;
};

__device__ inline Matrix any_matrix(const element* data, int stride) {
    return {data, stride, HEAD_DIM % VECTOR == 0 && aligned16(data, stride)};
}

// The least power of 2 that is not below n.
__device__ constexpr int power_of_2_from(int n) {
    return n <= 1 ? 1 : 2 * power_of_2_from(div_up(n, 2));
}

// Loads `rows` rows, or ROWS if that is less, into a tile of ROWS, by every GROUP threads of the
// block; zeros past the rows and past HEAD_DIM. They are there once each thread has waited for its
// copies and met the others at a barrier.
template <int ROWS, int GROUP>
__device__ __forceinline__ void load_tile(element* tile, const Matrix& from, int rows) {
    const int thread = threadIdx.x % GROUP;
    if (from.vectors) {
        // Threads side by side in a row, a power of 2.
        constexpr int ACROSS = power_of_2_from(WIDTH / VECTOR);
        const int col = thread % ACROSS * VECTOR;
#pragma unroll
        for (int first = 0; first < ROWS; first += GROUP / ACROSS) {
            const int row = first + thread / ACROSS;
            if (row < ROWS && col < WIDTH) {
                const bool inside = GUARD(row < rows) && GUARD(col < HEAD_DIM);
                copy_async(tile + row * PITCH + col,
                           from.data + (inside ? row * from.stride + col : 0), inside ? 16 : 0);
            }
        }
    } else {
        for (int i = thread; i < ROWS * WIDTH; i += GROUP) {
            const int row = i / WIDTH, col = i % WIDTH;
            const bool inside = GUARD(row < rows) && GUARD(col < HEAD_DIM);
            const element* const x = from.data + row * from.stride + col;
            tile[row * PITCH + col] = inside ? *x : to_element(0.0f);
        }
    }
}

// The queries of a warp.
typedef FragmentA Queries[STEPS];

__device__ __forceinline__ void load_queries(Queries& queries, const element* tile) {
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
        load_a(queries[step], tile + step * 16, PITCH);
    }
}

// Scores of a warp's rows for a block of keys, and the weights that they become.
typedef Accumulator Scores[KEYS / 8];

// scores = queries keys^T
__device__ __forceinline__ void score(Scores& scores, const Queries& queries, const element* keys) {
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++) {
        for (int i = 0; i < 4; i++) {
            scores[n][i] = 0.0f;
        }
    }
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
        for (int n = 0; n < KEYS / 8; n += 2) {
            FragmentB b[2];
            load_b(b, keys + n * 8 * PITCH + step * 16, PITCH);
            multiply(scores[n], queries[step], b[0]);
            multiply(scores[n + 1], queries[step], b[1]);
        }
    }
}


// Hides all but the first `seen` keys of the block from the lane's two rows.
__device__ __forceinline__ void mask(Scores& scores, const int (&seen)[2]) {
    const int column = threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            scores[n][i] = n * 8 + column + i % 2 < seen[i / 2] ? scores[n][i] : minus_infinity();
        }
    }
}

// What a warp has gathered from the keys so far. A lane has parts of two rows, lane / 4 and that
// plus 8, as in an accumulator.
struct Rows {
    // Of weights times values.
    Accumulator sums[WIDTH / 8];
    // Greatest scores.
    float most[2] = {minus_infinity(), minus_infinity()};
    // Of the weights of the lane's own columns.
    float weight[2] = {};

    __device__ __forceinline__ Rows() : sums{} {}
};

// 2^x within 2 units in the last place, but 0 below the normal numbers.
__device__ inline float power_of_2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Over the four lanes that share a row.
__device__ inline float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}
__device__ inline float row_sum(float x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

// Turns a block's scores into weights, relative to the greatest score so far, and rescales what
// was gathered before.
__device__ __forceinline__ void weigh(Rows& rows, Scores& scores) {
    const float scale = 1.44269504f / sqrtf(HEAD_DIM);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most = minus_infinity();
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
            most = fmaxf(most, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
        }
        most = fmaxf(rows.most[half], row_max(most) * scale);
        const float rescale = power_of_2(rows.most[half] - most);
        rows.most[half] = most;
        float weight = 0.0f;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                scores[n][i] = power_of_2(fmaf(scores[n][i], scale, -most));
                weight += scores[n][i];
            }
        }
        rows.weight[half] = fmaf(rows.weight[half], rescale, weight);
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++) {
            rows.sums[n][2 * half] *= rescale;
            rows.sums[n][2 * half + 1] *= rescale;
        }
    }
}

// sums += weights values
__device__ __forceinline__ void add_values(Rows& rows, const Scores& weights,
                                           const element* values) {
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++) {
        FragmentA a;
        fragment_a(a, weights[2 * step], weights[2 * step + 1]);
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n += 2) {
            FragmentB b[2];
            load_b_transposed(b, values + step * 16 * PITCH + n * 8, PITCH);
            multiply(rows.sums[n], a, b[0]);
            multiply(rows.sums[n + 1], a, b[1]);
        }
    }
}

// Two neighbours of a row at an even column, in a matrix of even width at an aligned address.
__device__ inline void store_pair(element* to, float x, float y) {
#if ELEMENT_BF16
    *reinterpret_cast<u32*>(to) = pack_bf16(x, y);
#else
    *reinterpret_cast<float2*>(to) = make_float2(x, y);
#endif
}

// Keys and values of a block.
struct Block {
    Matrix keys, values;
};

// Attention of `rows` queries, up to 64, of a head by a block of 128 threads. `keys` is how many
// keys there are, `block_at(i)` has those from 64 i on, and `seen(row)` is how many of them, from
// the first on, a row sees: at least one, and no fewer than the row before. `y` is where the first
// row's result goes; see `store_pair`.
// Shared: the tiles of keys and of values, [64][PITCH] elements each.
template <class BlockAt, class Seen>
__device__ __forceinline__ void attend(element* y, int y_stride, const Matrix& q, int rows,
                                       int keys, BlockAt block_at, Seen seen) {
    element* const key_tile = tiles;
    element* const value_tile = tiles + KEY_TILE;
    const int lane = threadIdx.x % WARP, warp_row = threadIdx.x / WARP * WARP_ROWS;
    const int row = warp_row + lane / 4;

    // The queries pass through the values' tile on their way to registers.
    Block block = block_at(0);
    load_tile<KEYS, THREADS>(value_tile, q, rows);
    load_tile<KEYS, THREADS>(key_tile, block.keys, keys);
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    Queries queries;
    load_queries(queries, value_tile + warp_row * PITCH);

    Rows gathered;
    for (int first = 0; first < keys; first += KEYS) {
        const int left = keys - first;
        wait_copies<0>();
        __syncthreads();  // The keys are there, the values' tile is free.
        load_tile<KEYS, THREADS>(value_tile, block.values, left);
        commit_copies();
        if (left > KEYS) {
            block = block_at(first / KEYS + 1);
        }
        Scores scores;
        score(scores, queries, key_tile);
        if (seen(0) < first + KEYS) {
            mask(scores, {seen(row) - first, seen(row + 8) - first});
        }
        wait_copies<0>();
        __syncthreads();  // The values are there, the keys' tile is free.
        if (left > KEYS) {
            load_tile<KEYS, THREADS>(key_tile, block.keys, left - KEYS);
        }
        commit_copies();
        weigh(gathered, scores);
        add_values(gathered, scores, value_tile);
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float by = 1.0f / row_sum(gathered.weight[half]);
        if (GUARD(row + 8 * half < rows)) {
            element* const to = y + (row + 8 * half) * y_stride;
#pragma unroll
            for (int n = 0; n < WIDTH / 8; n++) {
                const int col = n * 8 + lane % 4 * 2;
                if (GUARD(col < HEAD_DIM)) {
                    const Accumulator& sums = gathered.sums[n];
                    store_pair(to + col, sums[2 * half] * by, sums[2 * half + 1] * by);
                }
            }
        }
    }
}
