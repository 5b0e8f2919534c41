// Full attention of up to 16 problems in one launch: softmax(Q K^T / sqrt(HEAD_DIM)) V by head.
//
// A block takes 64 queries of one problem and head; a warp takes 16 of them over all keys.
// y is [sum of queries, heads * HEAD_DIM], contiguous, at a multiple of 16 bytes.
// Grid: (64-query tiles of all problems, heads). Block: 128.
// Dynamic shared memory: a tile of keys and one of values, 2 x [64][WIDTH + 8] elements, where
// WIDTH is HEAD_DIM rounded up to a multiple of 16.
#include "attention.cuh"

constexpr int PROBLEMS = 16;

struct Problem {
    const element *q, *k, *v;
    int q_stride, k_stride, v_stride;
    int queries, keys;
    // Rows of y and tiles of the grid before this problem's.
    int first_row, first_tile;
};

struct Problems {
    Problem at[PROBLEMS];
};

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    attention(element* __restrict__ y, const __grid_constant__ Problems problems, int count) {
    const int tile = blockIdx.x, head = blockIdx.y, width = gridDim.y * HEAD_DIM;
    int i = 0;
    while (i + 1 < count && problems.at[i + 1].first_tile <= tile) {
        i++;
    }
    const Problem& p = problems.at[i];
    const int first = (tile - p.first_tile) * KEYS, column = head * HEAD_DIM;
    const auto head_of = [=](const element* x, int stride, int row) {
        return any_matrix(x + (size_t)row * stride + column, stride);
    };
    attend(
        y + (size_t)(p.first_row + first) * width + column, width,
        head_of(p.q, p.q_stride, first), p.queries - first, p.keys,
        [&](int block) {
            return Block{head_of(p.k, p.k_stride, block * KEYS),
                         head_of(p.v, p.v_stride, block * KEYS)};
        },
        [&](int) { return p.keys; });
}
