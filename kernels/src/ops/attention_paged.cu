// Causal grouped-query attention over pages of 64 keys and values: query head h reads key-value
// head h / (heads / kv_heads), and a row sees the positions up to its own.
//
// kv_layer is [pages][2][kv_heads][64][HEAD_DIM], keys before values, at a multiple of 16 bytes. A
// sequence is {start, rows, first_row, first_page}: the position of its first row, its rows in the
// batch, where they are in q and y, and where its pages are in `pages`.
// Prompted rows and generated rows are two classes: a row's arithmetic is fixed within its class.
#include "attention.cuh"

// A key-value head of a page.
__device__ inline Block page_block(const element* kv_layer, int page, int kv_heads, int kv_head) {
    constexpr int SIZE = KEYS * HEAD_DIM;
    constexpr bool VECTORS = HEAD_DIM % VECTOR == 0;
    const element* keys = kv_layer + ((size_t)page * 2 * kv_heads + kv_head) * SIZE;
    return {{keys, HEAD_DIM, VECTORS}, {keys + (size_t)kv_heads * SIZE, HEAD_DIM, VECTORS}};
}

// Prompted rows. A block takes one of `tiles`, {sequence, first row within its rows}: up to 64 rows
// of one head; a warp takes 16 of them. Masked keys weigh 0, so cuts into chunks change no bits.
// y is [rows, heads * HEAD_DIM], contiguous, at a multiple of 16 bytes.
// Grid: (tiles, heads). Block: 128.
// Dynamic shared memory: a tile of keys and one of values, 2 x [64][WIDTH + 8] elements, where
// WIDTH is HEAD_DIM rounded up to a multiple of 16.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    attention_paged_prefill(element* __restrict__ y, const element* __restrict__ q, int q_stride,
                            const element* __restrict__ kv_layer, const int2* __restrict__ tiles,
                            const int4* __restrict__ sequences, const int* __restrict__ pages,
                            int heads, int kv_heads) {
    // The last tiles of a prompt see the most keys: they start first.
    const int2 tile = tiles[gridDim.x - 1 - blockIdx.x];
    const int4 sequence = sequences[tile.x];
    const int head = blockIdx.y, kv_head = head / (heads / kv_heads), width = heads * HEAD_DIM;
    const int start = sequence.x + tile.y, rows = min(sequence.y - tile.y, KEYS);
    const size_t first_row = sequence.z + tile.y;
    attend(
        y + first_row * width + head * HEAD_DIM, width,
        any_matrix(q + first_row * q_stride + head * HEAD_DIM, q_stride), rows, start + rows,
        [&](int block) {
            return page_block(kv_layer, pages[sequence.w + block], kv_heads, kv_head);
        },
        [&](int row) { return start + row + 1; });
}

// Keys of a split, a page for each warp.
constexpr int SPLIT = WARPS * KEYS;
// A partial result of a row: HEAD_DIM sums of weights times values, the greatest score, and the sum
// of the weights, all weights relative to the greatest score. In memory it takes whole sectors.
constexpr int MOST = HEAD_DIM;
constexpr int WEIGHT = HEAD_DIM + 1;
constexpr int COLUMNS = HEAD_DIM + 2;
constexpr int PARTIAL = div_up(COLUMNS, 8) * 8;
static_assert(COLUMNS <= PITCH);

// One column, not MOST, of partial results put together: `count` of them, not 0, `stride` floats
// apart, of which loads of AT_ONCE are under way.
template <int AT_ONCE>
__device__ inline float merge(const float* partial, int stride, int count, int column, float most) {
    float sum = 0.0f;
    int i = 0;
#pragma unroll AT_ONCE
    do {
        const float* part = partial + i * stride;
        sum = fmaf(power_of_2(part[MOST] - most), part[column], sum);
    } while (++i < count);
    return sum;
}

// The greatest score of partial results, likewise.
template <int AT_ONCE>
__device__ inline float greatest(const float* partial, int stride, int count) {
    float most = minus_infinity();
    int i = 0;
#pragma unroll AT_ONCE
    do {
        most = fmaxf(most, partial[i * stride + MOST]);
    } while (++i < count);
    return most;
}

// Partial results of generated rows over 256 keys each. `decodes` names the rows, `rows` has
// {sequence, position} of every row. A block has up to 16 query heads that share a key-value head;
// a warp takes one page. partial is [decodes][heads][splits][PARTIAL]; splits past a row's position
// are left as they are.
// Grid: (splits, kv_heads * ceil(heads / kv_heads / 16), decodes). Block: 128.
// Dynamic shared memory: [4][64][WIDTH + 8] elements, each warp's page, first keys, then values, at
// last its partial results [16][PITCH] in floats; then the queries, [16][WIDTH + 8] elements.
extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
    attention_paged_decode(float* __restrict__ partial, const element* __restrict__ q, int q_stride,
                           const element* __restrict__ kv_layer, const int* __restrict__ decodes,
                           const int2* __restrict__ rows, const int4* __restrict__ sequences,
                           const int* __restrict__ pages, int heads, int kv_heads, int splits) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    element* const tile = tiles + warp * KEY_TILE;
    element* const query_tile = tiles + WARPS * KEY_TILE;

    const int row = decodes[blockIdx.z], split = blockIdx.x;
    const auto [sequence, position] = rows[row];
    // The row sees its own position and those before it.
    const int keys = position + 1 - split * SPLIT;
    if (keys <= 0) {
        return;
    }
    const int group = heads / kv_heads, blocks = div_up(group, WARP_ROWS);
    const int kv_head = blockIdx.y / blocks, first = blockIdx.y % blocks * WARP_ROWS;
    const int count = min(group - first, WARP_ROWS), head = kv_head * group + first;
    q += (size_t)row * q_stride + head * HEAD_DIM;
    load_tile<WARP_ROWS, THREADS>(query_tile, any_matrix(q, HEAD_DIM), count);

    const int parts = div_up(min(keys, SPLIT), KEYS), warp_keys = keys - warp * KEYS;
    Block page = {};
    if (warp < parts) {
        const int index = sequences[sequence].w + split * WARPS + warp;
        page = page_block(kv_layer, pages[index], kv_heads, kv_head);
        load_tile<KEYS, WARP>(tile, page.keys, warp_keys);
    }
    commit_copies();
    wait_copies<0>();
    __syncthreads();
    float* const results = reinterpret_cast<float*>(tiles);
    constexpr int STRIDE = KEY_TILE * sizeof(element) / sizeof(float);
    if (warp < parts) {
        Queries queries;
        load_queries(queries, query_tile);
        Scores scores;
        score(scores, queries, tile);
        __syncwarp();  // The tile is free.
        load_tile<KEYS, WARP>(tile, page.values, warp_keys);
        commit_copies();
        mask(scores, {warp_keys, warp_keys});
        Rows gathered;
        weigh(gathered, scores);
        wait_copies<0>();
        __syncwarp();
        add_values(gathered, scores, tile);
        __syncwarp();  // The tile is free.
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float* const result = results + warp * STRIDE + (lane / 4 + 8 * half) * PITCH;
            const float weight = row_sum(gathered.weight[half]);
            if (lane % 4 == 0) {
                *reinterpret_cast<float2*>(result + MOST) = make_float2(gathered.most[half], weight);
            }
#pragma unroll
            for (int n = 0; n < WIDTH / 8; n++) {
                const int col = n * 8 + lane % 4 * 2;
                if (GUARD(col < HEAD_DIM)) {
                    const Accumulator& sums = gathered.sums[n];
                    *reinterpret_cast<float2*>(result + col) =
                        make_float2(sums[2 * half], sums[2 * half + 1]);
                }
            }
        }
    }
    __syncthreads();
    partial += (((size_t)blockIdx.z * heads + head) * splits + split) * PARTIAL;
    for (int query = warp; query < count; query += WARPS) {
        const float* const result = results + query * PITCH;
        const float most = greatest<1>(result, STRIDE, parts);
        float* const to = partial + query * splits * PARTIAL;
#pragma unroll
        for (int first = 0; first < COLUMNS; first += WARP) {
            const int column = first + lane;
            if (GUARD(column < COLUMNS)) {
                to[column] =
                    column == MOST ? most : merge<1>(result, STRIDE, parts, column, most);
            }
        }
    }
}

// Puts a generated row's partial results together, in ascending order of its own splits. A row at
// position -1, which only fills up a batch, gets zeros.
// y is [rows, heads * HEAD_DIM], contiguous; partial, decodes and rows as above.
// Grid: (heads, decodes). Block: 128, a column for each thread.
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_paged_combine(element* __restrict__ y, const float* __restrict__ partial,
                            const int* __restrict__ decodes, const int2* __restrict__ rows,
                            int heads, int splits) {
    const int head = blockIdx.x, column = threadIdx.x, row = decodes[blockIdx.y];
    const int count = div_up(rows[row].y + 1, SPLIT);
    partial += ((size_t)blockIdx.y * heads + head) * splits * PARTIAL;
    if (GUARD(column < HEAD_DIM)) {
        float mean = 0.0f;
        if (GUARD(count > 0)) {
            const float most = greatest<4>(partial, PARTIAL, count);
            const float weight = merge<4>(partial, PARTIAL, count, WEIGHT, most);
            mean = merge<4>(partial, PARTIAL, count, column, most) / weight;
        }
        y[((size_t)row * heads + head) * HEAD_DIM + column] = to_element(mean);
    }
}
