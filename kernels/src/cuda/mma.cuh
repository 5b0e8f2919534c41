// Tensor-core products of 16 x 16 by 16 x 8 fragments, and the copies that feed them.
//
// Fragments are loaded from tiles of elements in shared memory. Rows of a tile are `tile_pitch`
// apart, so that no load of a fragment meets a bank twice. Where elements are bf16 a product is one
// mma. Where they are floats each operand is split into a high and a low bf16 and a product is
// three: low x high, high x low, high x high, into one accumulator.
// Source: PTX ISA, "Warp-level matrix instructions" and "cp.async".
#pragma once
#include "common.cuh"

// Elements from one row of a shared tile to the next, for `cols` columns, a multiple of 16.
__host__ __device__ constexpr int tile_pitch(int cols) { return cols + 8; }

__device__ inline u32 shared_address(const void* pointer) {
    return (u32)__cvta_generic_to_shared(pointer);
}

// Starts a copy of 16 bytes to shared memory, both addresses aligned: the first `bytes` (0 to 16)
// are read, the rest become zeros.
__device__ inline void copy_async(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(
                     shared_address(to)),
                 "l"(from), "r"(bytes)
                 : "memory");
}
// Ends a group of this thread's copies.
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most the PENDING latest groups of this thread are unfinished.
template <int PENDING>
__device__ inline void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// One accumulator of 16 x 8: a lane holds, for row = lane / 4 and column = 2 (lane % 4), the
// elements (row, column), (row, column + 1), (row + 8, column), (row + 8, column + 1).
typedef float Accumulator[4];

// The left operand, 16 rows by 16 of depth.
struct FragmentA {
    u32 high[4];
#if !ELEMENT_BF16
    u32 low[4];
#endif
};

// The right operand, 16 of depth by 8 columns.
struct FragmentB {
    u32 high[2];
#if !ELEMENT_BF16
    u32 low[2];
#endif
};

__device__ inline void mma(Accumulator& d, const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b
__device__ inline void multiply(Accumulator& d, const FragmentA& a, const FragmentB& b) {
#if !ELEMENT_BF16
    mma(d, a.low, b.high);
    mma(d, a.high, b.low);
#endif
    mma(d, a.high, b.high);
}

#if ELEMENT_BF16

__device__ inline void ldmatrix(u32& r0, u32& r1, u32& r2, u32& r3, const element* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
                 : "r"(shared_address(row)));
}
__device__ inline void ldmatrix(u32& r0, u32& r1, const element* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r0), "=r"(r1)
                 : "r"(shared_address(row)));
}
__device__ inline void ldmatrix_transposed(u32& r0, u32& r1, u32& r2, u32& r3, const element* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
                 : "r"(shared_address(row)));
}
__device__ inline void ldmatrix_transposed(u32& r0, u32& r1, const element* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r0), "=r"(r1)
                 : "r"(shared_address(row)));
}

// The 16 x 16 corner at `tile` of a tile [rows][depth].
__device__ inline void load_a(FragmentA& a, const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    const element* row = tile + (lane % 16) * pitch + lane / 16 * 8;
    ldmatrix(a.high[0], a.high[1], a.high[2], a.high[3], row);
}

// N fragments side by side: the corner of 8 N columns by 16 of depth of a tile [columns][depth].
template <int N>
__device__ inline void load_b(FragmentB (&b)[N], const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    const element* row = tile + (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 8;
#pragma unroll
    for (int n = 0; n + 1 < N; n += 2) {
        ldmatrix(b[n].high[0], b[n].high[1], b[n + 1].high[0], b[n + 1].high[1],
                 row + n * 8 * pitch);
    }
    if constexpr (N % 2 == 1) {
        row = tile + ((N - 1) * 8 + lane % 8) * pitch + lane / 8 % 2 * 8;
        ldmatrix(b[N - 1].high[0], b[N - 1].high[1], row);
    }
}

// The same of a tile [depth][columns].
template <int N>
__device__ inline void load_b_transposed(FragmentB (&b)[N], const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    const element* row = tile + lane % 16 * pitch;
#pragma unroll
    for (int n = 0; n + 1 < N; n += 2) {
        ldmatrix_transposed(b[n].high[0], b[n].high[1], b[n + 1].high[0], b[n + 1].high[1],
                            row + (n + lane / 16) * 8);
    }
    if constexpr (N % 2 == 1) {
        ldmatrix_transposed(b[N - 1].high[0], b[N - 1].high[1], row + (N - 1) * 8);
    }
}

// Two accumulators side by side as a left operand, rounded.
__device__ inline void fragment_a(FragmentA& a, const Accumulator& left, const Accumulator& right) {
    a.high[0] = pack_bf16(left[0], left[1]);
    a.high[1] = pack_bf16(left[2], left[3]);
    a.high[2] = pack_bf16(right[0], right[1]);
    a.high[3] = pack_bf16(right[2], right[3]);
}

#else

// Two floats as the sum of two pairs of bf16.
__device__ inline void split(u32& high, u32& low, float x, float y) {
    high = pack_bf16(x, y);
    low = pack_bf16(x - low_half(high), y - high_half(high));
}

__device__ inline void load_a(FragmentA& a, const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i % 2 * 8, col = lane % 4 * 2 + i / 2 * 8;
        const float2 x = *reinterpret_cast<const float2*>(tile + row * pitch + col);
        split(a.high[i], a.low[i], x.x, x.y);
    }
}

template <int N>
__device__ inline void load_b(FragmentB (&b)[N], const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = n * 8 + lane / 4, col = lane % 4 * 2 + i * 8;
            const float2 x = *reinterpret_cast<const float2*>(tile + row * pitch + col);
            split(b[n].high[i], b[n].low[i], x.x, x.y);
        }
    }
}

template <int N>
__device__ inline void load_b_transposed(FragmentB (&b)[N], const element* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = lane % 4 * 2 + i * 8, col = n * 8 + lane / 4;
            // Half of the lanes take the odd row first, which lies in the banks that are left.
            const bool odd_first = lane % 4 >= 2;
            const element* x = tile + row * pitch + col;
            const float first = x[odd_first ? pitch : 0], second = x[odd_first ? 0 : pitch];
            split(b[n].high[i], b[n].low[i], odd_first ? second : first,
                  odd_first ? first : second);
        }
    }
}

__device__ inline void fragment_a(FragmentA& a, const Accumulator& left, const Accumulator& right) {
    split(a.high[0], a.low[0], left[0], left[1]);
    split(a.high[1], a.low[1], left[2], left[3]);
    split(a.high[2], a.low[2], right[0], right[1]);
    split(a.high[3], a.low[3], right[2], right[3]);
}

#endif
