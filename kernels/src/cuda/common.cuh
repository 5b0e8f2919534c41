// What every kernel shares: names of types, the activations' element, guards, reductions in a fixed
// order, and the scalar functions of the model. No include but our own: NVRTC compiles these alone.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Marks a test that keeps an access inside its bounds. With MARK_GUARDS the mark is in the PTX too,
// with a number that is the test's text, where tests let it hold in turn always, which must not go
// unnoticed.
#if MARK_GUARDS
__host__ __device__ constexpr u32 number_of(const char* text) {
    u32 number = 0;
    while (*text != 0) {
        number = number * 31 + *text++;
    }
    return number & 0x7fffffff;
}
template <u32 NUMBER>
__device__ __forceinline__ bool guard(bool holds) {
    u32 kept = holds;
    asm("// guard %0 %1" : "+r"(kept) : "n"(NUMBER));
    return kept != 0;
}
#define GUARD(condition) guard<number_of(#condition)>(condition)
#else
#define GUARD(condition) (condition)
#endif

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xffffffffu;

// bfloat16: the upper half of a float.
struct bf16 {
    u16 bits;
};

__device__ inline float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ inline float to_float(float x) { return x; }

// Two floats rounded to nearest even, `low` in the lower half.
__device__ inline u32 pack_bf16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}
__device__ inline float low_half(u32 packed) { return __uint_as_float(packed << 16); }
__device__ inline float high_half(u32 packed) { return __uint_as_float(packed & 0xffff0000u); }

__device__ inline void from_float(bf16& to, float x) { to.bits = (u16)pack_bf16(x, 0.0f); }
__device__ inline void from_float(float& to, float x) { to = x; }

// Operands of matrix products and what they are computed from: matrices of weights, inputs and
// outputs of attention. Residual streams, and vectors of weights, are floats in either mode.
#if ELEMENT_BF16
typedef bf16 element;
#else
typedef float element;
#endif

__device__ inline element to_element(float x) {
    element y;
    from_float(y, x);
    return y;
}

// Elements of a 16-byte access.
constexpr int VECTOR = 16 / sizeof(element);
// Floats of a 16-byte access: what a thread takes of a row of floats, also where it becomes
// elements.
constexpr int QUAD = 4;

// Whether N neighbours can be read and written at once.
template <int N, class T>
__device__ inline bool aligned(const T* pointer) {
    constexpr u64 BYTES = N * sizeof(T) < 16 ? N * sizeof(T) : 16;
    return ((u64)pointer & (BYTES - 1)) == 0;
}
// Whether every row of a matrix starts at a multiple of 16 bytes.
__device__ inline bool aligned16(const element* base, int stride) {
    return aligned<VECTOR>(base) && stride % VECTOR == 0;
}

// Neighbours at a multiple of their bytes, or of 16 where they are more.
__device__ inline void load_vector(float (&to)[8], const bf16* from) {
    const uint4 packed = *reinterpret_cast<const uint4*>(from);
    const u32 words[4] = {packed.x, packed.y, packed.z, packed.w};
    for (int i = 0; i < 4; i++) {
        to[2 * i] = low_half(words[i]);
        to[2 * i + 1] = high_half(words[i]);
    }
}
__device__ inline void load_vector(float (&to)[4], const bf16* from) {
    const uint2 packed = *reinterpret_cast<const uint2*>(from);
    to[0] = low_half(packed.x);
    to[1] = high_half(packed.x);
    to[2] = low_half(packed.y);
    to[3] = high_half(packed.y);
}
__device__ inline void load_vector(float (&to)[4], const float* from) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
}
__device__ inline void load_vector(float (&to)[8], const float* from) {
    const float4 halves[2] = {reinterpret_cast<const float4*>(from)[0],
                              reinterpret_cast<const float4*>(from)[1]};
    for (int i = 0; i < 2; i++) {
        to[4 * i] = halves[i].x;
        to[4 * i + 1] = halves[i].y;
        to[4 * i + 2] = halves[i].z;
        to[4 * i + 3] = halves[i].w;
    }
}
__device__ inline void store_vector(bf16* to, const float (&from)[8]) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]),
                   pack_bf16(from[4], from[5]), pack_bf16(from[6], from[7]));
}
__device__ inline void store_vector(bf16* to, const float (&from)[4]) {
    *reinterpret_cast<uint2*>(to) =
        make_uint2(pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]));
}
__device__ inline void store_vector(float* to, const float (&from)[4]) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}

// N neighbours at any address.
template <int N, class T>
__device__ inline void load_elements(float (&to)[N], const T* from) {
    if (aligned<N>(from)) {
        load_vector(to, from);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = to_float(from[i]);
        }
    }
}

// Up to N neighbours at any address, zeros past `count`.
template <int N, class T>
__device__ inline void load_part(float (&to)[N], const T* from, int count) {
    if (GUARD(count >= N) && aligned<N>(from)) {
        load_vector(to, from);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            to[i] = GUARD(i < count) ? to_float(from[i]) : 0.0f;
        }
    }
}
template <int N, class T>
__device__ inline void store_part(T* to, const float (&from)[N], int count) {
    if (GUARD(count >= N) && aligned<N>(to)) {
        store_vector(to, from);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (GUARD(i < count)) {
                from_float(to[i], from[i]);
            }
        }
    }
}

__host__ __device__ constexpr int div_up(int a, int b) { return (a + b - 1) / b; }

struct Sum {
    template <class T>
    __device__ inline T operator()(T a, T b) const { return a + b; }
};
struct Max {
    __device__ inline float operator()(float a, float b) const { return fmaxf(a, b); }
    __device__ inline u64 operator()(u64 a, u64 b) const { return max(a, b); }
};

// Reduces over a warp, to the same bits in every lane.
template <class Combine, class T>
__device__ inline T warp_reduce(T x) {
#pragma unroll
    for (int apart = WARP / 2; apart > 0; apart /= 2) {
        x = Combine()(x, __shfl_xor_sync(ALL_LANES, x, apart));
    }
    return x;
}
__device__ inline float warp_sum(float x) { return warp_reduce<Sum>(x); }
__device__ inline float warp_max(float x) { return warp_reduce<Max>(x); }

// Reduces over a block of THREADS, all of which must call; warps in ascending order. Between two
// calls with the same arguments of the template there must be a barrier.
template <int THREADS, class Combine, class T>
__device__ inline T block_reduce(T x) {
    __shared__ T parts[THREADS / WARP];
    x = warp_reduce<Combine>(x);
    if (threadIdx.x % WARP == 0) {
        parts[threadIdx.x / WARP] = x;
    }
    __syncthreads();
    T all = parts[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / WARP; warp++) {
        all = Combine()(all, parts[warp]);
    }
    return all;
}
template <int THREADS>
__device__ inline float block_sum(float x) {
    return block_reduce<THREADS, Sum>(x);
}
template <int THREADS>
__device__ inline float block_max(float x) {
    return block_reduce<THREADS, Max>(x);
}

__device__ inline float minus_infinity() { return __int_as_float(0xff800000); }
__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline float silu(float x) { return x * sigmoid(x); }
// The exact form, x times the normal distribution function.
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

// A row that the THREADS of a block pass over several times, and read once up to KEPT quads each.
template <int THREADS>
struct KeptRow {
    static constexpr int STEP = THREADS * QUAD, KEPT = 6144 / STEP;

    const float* x;
    int cols;
    float kept[KEPT][QUAD];

    __device__ inline KeptRow(const float* x, int cols) : x(x), cols(cols) {
#pragma unroll
        for (int n = 0; n < KEPT; n++) {
            const int i = n * STEP + threadIdx.x * QUAD;
            if (i < cols) {
                load_part(kept[n], x + i, cols - i);
            }
        }
    }

    // Calls visit(column, quad) for the thread's quads in ascending order.
    template <class Visit>
    __device__ inline void each(Visit visit) const {
#pragma unroll
        for (int n = 0; n < KEPT; n++) {
            const int i = n * STEP + threadIdx.x * QUAD;
            if (i < cols) {
                visit(i, kept[n]);
            }
        }
        for (int i = KEPT * STEP + threadIdx.x * QUAD; i < cols; i += STEP) {
            float v[QUAD];
            load_part(v, x + i, cols - i);
            visit(i, v);
        }
    }
};

// Copies a row by all THREADS of a block, from one type to the same or another.
template <int THREADS, class To, class From>
__device__ inline void copy_row(To* to, const From* from, int cols) {
    for (int i = threadIdx.x * QUAD; i < cols; i += THREADS * QUAD) {
        float v[QUAD];
        load_part(v, from + i, cols - i);
        store_part(to + i, v, cols - i);
    }
}
