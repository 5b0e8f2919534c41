// Linear layers: out = epilogue(x W^T + bias), for x [rows, depth] and W [n, depth].
//
// Kernels `gemm_cast`, which rounds an x of floats, and `gemm_<tile>_<epilogue>(Gemm)`:
//   tile      rows x columns of products, threads, shared bytes (bf16 / f32), for
//   128       128 x 128, 256 threads, 110,592 / 122,880, prompts and encoders
//   16        16 x 32, 128 threads, 78,336 / 82,944, generated rows: a stream of weights
//   epilogue  out [rows, cols]
//   store     x W^T + bias
//   f32       the same as floats
//   gelu      gelu(x W^T + bias)
//   add       out + x W^T + bias, floats
//   swiglu    silu(x W_gate^T + b_gate) (x W_up^T + b_up), W the two stacked, [2 cols, depth]
//   gate_channel  g T + (1 - g) G, floats, g = sigmoid(x W^T + bias), x = [T, G], depth = 2 cols
//   gate_token    the same with a single row of W for all columns
//   conv_gelu, conv_gelu_positions    the two layers of a convolution stem, see conv_stem.cu, in
//                                     the first tile alone; the second layer gives floats
// Grid: ceil(rows / tile rows) x ceil(cols / tile columns) blocks in one dimension; a tile of
// swiglu has half the columns. Shared memory: a ring of STAGES stages, each rows of x, then rows of
// W, DEPTH elements in a pitch of tile_pitch(DEPTH); after the last one, the products as floats in
// a pitch of tile_pitch(COLS).
//
// A product is one chain over blocks of 16 of depth, in ascending order, whatever the tile (in f32
// mode one over chains of CHAIN columns): a row's bits do not depend on the rows beside it.
#include "common.cuh"
#include "mma.cuh"

struct Gemm {
    const element* x;          // Rows at any alignment, may overlap.
    const element* w;          // Rows at multiples of 16 bytes.
    const float* bias;         // One for each row of W, readable up to a multiple of 16; or null.
    const element* positions;  // conv_gelu_positions: [period - 1, cols], rows as those of w.
    const float* streams;      // gate_*: what x is rounded from; cols > 1.
    void* out;
    int x_stride;
    int w_pitch;
    int positions_pitch;
    int streams_stride;
    int out_stride;
    int rows;
    int cols;
    int depth;
    int period;  // conv_*: rows of x from one window to the next.
};

// Columns that tensor cores sum in f32 mode before a rounding addition takes over.
constexpr int CHAIN = 32;

// Row tiles that share the weights in the second-level cache while blocks go over the columns.
constexpr int GROUP = 16;

// ROW_WARPS x COL_WARPS warps compute A x B fragments each.
template <int ROW_WARPS_, int COL_WARPS_, int A_, int B_, int DEPTH_, int STAGES_, int BLOCKS_>
struct Tile {
    static constexpr int ROW_WARPS = ROW_WARPS_, COL_WARPS = COL_WARPS_, A = A_, B = B_;
    static constexpr int ROWS = ROW_WARPS * A * 16, COLS = COL_WARPS * B * 8;
    static constexpr int THREADS = ROW_WARPS * COL_WARPS * WARP;
    static constexpr int DEPTH = DEPTH_, STAGES = STAGES_;
    static constexpr int PITCH = tile_pitch(DEPTH);
    static constexpr int STAGE = (ROWS + COLS) * PITCH;
    static constexpr int BLOCKS = BLOCKS_;  // A multiprocessor should hold so many.
    static_assert(ROWS * tile_pitch(COLS) * sizeof(float) <= STAGES * STAGE * sizeof(element));
};

#if ELEMENT_BF16
typedef Tile<2, 4, 4, 4, 64, 3, 2> Tile128;
typedef Tile<1, 4, 1, 1, 128, 6, 2> Tile16;
#else
typedef Tile<2, 4, 4, 4, 32, 3, 1> Tile128;
typedef Tile<1, 4, 1, 1, 64, 6, 2> Tile16;
#endif

// Fetches ROWS x DEPTH elements into shared memory, zeros past `rows` and `depth`. With `vectors`,
// rows start at multiples of 16 bytes and are readable, and zero, up to the next one after `depth`.
template <class T, int ROWS>
__device__ inline void fetch(element* to, const element* from, int stride, int rows, int depth,
                             bool vectors) {
    constexpr int VECTORS = T::DEPTH / VECTOR, STEP = T::THREADS / VECTORS;
    static_assert(T::THREADS % VECTORS == 0 && ROWS % STEP == 0);
    const int row = threadIdx.x / VECTORS, col = threadIdx.x % VECTORS * VECTOR;
    from += (size_t)row * stride + col;
    to += row * T::PITCH + col;
    if (vectors) {
#pragma unroll
        for (int i = 0; i < ROWS; i += STEP) {
            const bool inside = GUARD(row + i < rows) && GUARD(col < depth);
            copy_async(to + i * T::PITCH, from + (size_t)i * stride, inside ? 16 : 0);
        }
    } else {
#pragma unroll 1
        for (int i = 0; i < ROWS; i += STEP) {
            const int count = GUARD(row + i < rows) ? depth - col : 0;
            float elements[VECTOR];
            load_part(elements, from + (size_t)i * stride, count);
            store_vector(to + i * T::PITCH, elements);
        }
    }
}

// Adds the products of DEPTH columns.
template <class T, int DEPTH>
__device__ inline void multiply_columns(Accumulator (&sums)[T::A][T::B], const element* x,
                                        const element* w) {
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
        FragmentA a[T::A];
        FragmentB b[T::B];
#pragma unroll
        for (int i = 0; i < T::A; i++) {
            load_a(a[i], x + i * 16 * T::PITCH + k, T::PITCH);
        }
        load_b(b, w + k, T::PITCH);
#pragma unroll
        for (int i = 0; i < T::A; i++) {
#pragma unroll
            for (int j = 0; j < T::B; j++) {
                multiply(sums[i][j], a[i], b[j]);
            }
        }
    }
}

// Adds the products of one stage.
template <class T>
__device__ inline void multiply_stage(Accumulator (&sums)[T::A][T::B], const element* x,
                                      const element* w) {
#if ELEMENT_BF16
    multiply_columns<T, T::DEPTH>(sums, x, w);
#else
    // Tensor cores truncate where they add, which would show after some hundred columns.
#pragma unroll
    for (int k = 0; k < T::DEPTH; k += CHAIN) {
        Accumulator chain[T::A][T::B] = {};
        multiply_columns<T, CHAIN>(chain, x + k, w + k);
#pragma unroll
        for (int i = 0; i < T::A; i++) {
#pragma unroll
            for (int j = 0; j < T::B; j++) {
#pragma unroll
                for (int n = 0; n < 4; n++) {
                    sums[i][j][n] += chain[i][j][n];
                }
            }
        }
    }
#endif
}

// An epilogue says what becomes of N neighbouring products of a row, biases added, 16 bytes of an
// output of type Out; `count` of them lie inside the matrix. PARTS: matrices stacked in W that an
// output needs. ONE_ROW: W has a single row, whose products serve every column.
template <class Out_>
struct Linear {
    typedef Out_ Out;
    static constexpr int PARTS = 1, N = 16 / sizeof(Out);
    static constexpr bool ONE_ROW = false;

    static __device__ inline void bias(float (&to)[N], const Gemm& g, int col) {
        load_vector(to, g.bias + col);
    }
    static __device__ inline Out* at(const Gemm& g, int row, int col) {
        return static_cast<Out*>(g.out) + (size_t)row * g.out_stride + col;
    }
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
        store_part(at(g, row, col), y[0], count);
    }
};

typedef Linear<element> Store;
typedef Linear<float> Floats;

struct Gelu : Linear<element> {
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            y[0][i] = gelu(y[0][i]);
        }
        store_part(at(g, row, col), y[0], count);
    }
};

struct Add : Linear<float> {
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
        float out[N];
        load_part(out, at(g, row, col), count);
#pragma unroll
        for (int i = 0; i < N; i++) {
            out[i] += y[0][i];
        }
        store_part(at(g, row, col), out, count);
    }
};

struct SwiGlu : Linear<element> {
    static constexpr int PARTS = 2;

    // The second matrix's may begin anywhere.
    static __device__ inline void bias(float (&to)[N], const Gemm& g, int col) {
        load_elements(to, g.bias + col);
    }
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[2][N]) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            y[0][i] = silu(y[0][i]) * y[1][i];
        }
        store_part(at(g, row, col), y[0], count);
    }
};

struct Gate : Linear<float> {
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
        const float* streams = g.streams + (size_t)row * g.streams_stride + col;
        float first[N], second[N];
        load_elements(first, streams);  // The second stream's follow.
        load_part(second, streams + g.cols, count);
#pragma unroll
        for (int i = 0; i < N; i++) {
            y[0][i] = fmaf(sigmoid(y[0][i]), first[i] - second[i], second[i]);
        }
        store_part(at(g, row, col), y[0], count);
    }
};

struct TokenGate : Gate {
    static constexpr bool ONE_ROW = true;

    static __device__ inline void bias(float (&to)[N], const Gemm& g, int) {
        const float bias = g.bias[0];
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = bias;
        }
    }
};

// Rows are frames of windows, of `period` each; a window's first and last are its border of zeros.
struct ConvGelu : Linear<element> {
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
        const int frame = row % g.period;
        const bool border = frame == 0 || frame == g.period - 1;
#pragma unroll
        for (int i = 0; i < N; i++) {
            y[0][i] = border ? 0.0f : gelu(y[0][i]);
        }
        store_part(at(g, row, col), y[0], count);
    }
};

// Rows are frames of windows, of `period` each; the last one lies between two windows and is left
// out.
struct ConvGeluPositions : Linear<float> {
    static __device__ inline void finish(const Gemm& g, int row, int col, int count,
                                         float (&y)[1][N]) {
        const int window = row / g.period, frame = row % g.period;
        if (frame < g.period - 1) {
            float position[N];
            load_vector(position, g.positions + (size_t)frame * g.positions_pitch + col);
#pragma unroll
            for (int i = 0; i < N; i++) {
                y[0][i] = gelu(y[0][i]) + position[i];
            }
            store_part(at(g, row - window, col), y[0], count);
        }
    }
};

template <class T, class Epilogue>
__device__ inline void gemm(const Gemm& g) {
    constexpr int WIDTH = T::COLS / Epilogue::PARTS, N = Epilogue::N;
    extern __shared__ uint4 shared[];
    element* stages = reinterpret_cast<element*>(shared);

    // This block's tile: row tiles of a group first, then the columns, then the next group.
    const int row_tiles = div_up(g.rows, T::ROWS), col_tiles = div_up(g.cols, WIDTH);
    const int first_tile = blockIdx.x / (GROUP * col_tiles) * GROUP;
    const int in_group = blockIdx.x % (GROUP * col_tiles);
    const int tiles = min(GROUP, row_tiles - first_tile);
    const int first_row = (first_tile + in_group % tiles) * T::ROWS;
    const int first_col = in_group / tiles * WIDTH;

    const int w_row = Epilogue::ONE_ROW ? 0 : first_col;
    const int w_rows = Epilogue::ONE_ROW ? 1 : g.cols - first_col;
    const element* x = g.x + (size_t)first_row * g.x_stride;
    const element* w = g.w + (size_t)w_row * g.w_pitch;
    const bool vectors = aligned16(g.x, g.x_stride) && g.depth % VECTOR == 0;
    const int steps = div_up(g.depth, T::DEPTH);

    auto fetch_step = [&](int step) {
        if (step < steps) {
            const int k = step * T::DEPTH;
            element* to = stages + step % T::STAGES * T::STAGE;
            fetch<T, T::ROWS>(to, x + k, g.x_stride, g.rows - first_row, g.depth - k, vectors);
            to += T::ROWS * T::PITCH;
#pragma unroll
            for (int part = 0; part < Epilogue::PARTS; part++) {
                const element* from = w + (size_t)part * g.cols * g.w_pitch + k;
                fetch<T, WIDTH>(to, from, g.w_pitch, w_rows, g.depth - k, true);
                to += WIDTH * T::PITCH;
            }
        }
        commit_copies();
    };

    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int warp_row = warp / T::COL_WARPS * T::A * 16;
    const int warp_col = warp % T::COL_WARPS * T::B * 8;
    Accumulator sums[T::A][T::B] = {};
#pragma unroll 1
    for (int step = 0; step < T::STAGES - 1; step++) {
        fetch_step(step);
    }
    for (int step = 0; step < steps; step++) {
        wait_copies<T::STAGES - 2>();
        __syncthreads();  // The stage is whole, and the one before it is free.
        fetch_step(step + T::STAGES - 1);
        const element* stage = stages + step % T::STAGES * T::STAGE;
        multiply_stage<T>(sums, stage + warp_row * T::PITCH,
                          stage + (T::ROWS + warp_col) * T::PITCH);
    }
    __syncthreads();

    // Through shared memory, so that a thread has whole vectors of a row and both parts of swiglu.
    constexpr int PITCH = tile_pitch(T::COLS);
    float* products = reinterpret_cast<float*>(shared);
#pragma unroll
    for (int i = 0; i < T::A; i++) {
#pragma unroll
        for (int j = 0; j < T::B; j++) {
            const int row = warp_row + i * 16 + lane / 4, col = warp_col + j * 8 + lane % 4 * 2;
            float2* to = reinterpret_cast<float2*>(products + row * PITCH + col);
            to[0] = make_float2(sums[i][j][0], sums[i][j][1]);
            to[8 * PITCH / 2] = make_float2(sums[i][j][2], sums[i][j][3]);
        }
    }
    __syncthreads();

    constexpr int VECTORS = WIDTH / N;
    for (int i = threadIdx.x; i < T::ROWS * VECTORS; i += T::THREADS) {
        const int tile_row = i / VECTORS, tile_col = i % VECTORS * N;
        const int row = first_row + tile_row, col = first_col + tile_col;
        const int count = g.cols - col;
        if (GUARD(row < g.rows) && count > 0) {
            float y[Epilogue::PARTS][N];
#pragma unroll
            for (int part = 0; part < Epilogue::PARTS; part++) {
                const float* from = products + tile_row * PITCH + part * WIDTH;
                float bias[N] = {};
                if (g.bias != nullptr) {
                    Epilogue::bias(bias, g, part * g.cols + col);
                }
#pragma unroll
                for (int i = 0; i < N; i++) {
                    y[part][i] = from[Epilogue::ONE_ROW ? 0 : tile_col + i] + bias[i];
                }
            }
            Epilogue::finish(g, row, col, count, y);
        }
    }
}

#if ELEMENT_BF16
// Floats as elements, for x. Grid (rows), 256 threads; y is contiguous.
constexpr int CAST_THREADS = 256;

extern "C" __global__ void __launch_bounds__(CAST_THREADS)
gemm_cast(element* __restrict__ y, const float* __restrict__ x, int x_stride, int cols) {
    const float* row = x + (size_t)blockIdx.x * x_stride;
    copy_row<CAST_THREADS>(y + (size_t)blockIdx.x * cols, row, cols);
}
#endif

#define GEMM_TILE(tile, name, Epilogue)                                                           \
    extern "C" __global__ void __launch_bounds__(Tile##tile::THREADS, Tile##tile::BLOCKS)         \
        gemm_##tile##_##name(const Gemm g) {                                                      \
        gemm<Tile##tile, Epilogue>(g);                                                            \
    }
#define GEMM(name, Epilogue)          \
    GEMM_TILE(128, name, Epilogue)    \
    GEMM_TILE(16, name, Epilogue)

GEMM(store, Store)
GEMM(f32, Floats)
GEMM(gelu, Gelu)
GEMM(add, Add)
GEMM(swiglu, SwiGlu)
GEMM(gate_channel, Gate)
GEMM(gate_token, TokenGate)
GEMM_TILE(128, conv_gelu, ConvGelu)
GEMM_TILE(128, conv_gelu_positions, ConvGeluPositions)
