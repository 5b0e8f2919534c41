//! The kernels: one warp with `mma.sync`, or one warpgroup with `wgmma`, for a tile of
//! `d = left right^T + c`, adding along k in order.
//!
//! All kernels have the arguments `(left, right, c, d, row_bytes, row_stride, column_stride, lbo,
//! sbo)`. Rows of `left` and `right` are `row_bytes` long, of which a step takes 32 (16 elements
//! of 16 bits, 32 of 8). Element (i, j) of c and d is at `i * row_stride + j * column_stride`, so
//! that the transposed product only needs swapped arguments.

use std::fmt::Write;

/// Operand types, as PTX calls them.
pub(crate) const TYPES: [&str; 3] = ["bf16", "f16", "e4m3"];

/// Columns of the `wgmma` tiles.
pub(crate) const COLUMNS: [usize; 5] = [8, 16, 64, 128, 256];

const PARAMETERS: &str = "(const unsigned char* left, const unsigned char* right, const float* c, \
    float* d, unsigned row_bytes, unsigned row_stride, unsigned column_stride, unsigned lbo, \
    unsigned sbo)";

const HELPERS: &str = r#"
__device__ __forceinline__ unsigned word(const unsigned char* p) { return *(const unsigned*)p; }

// PTX ISA, "Matrix descriptor": no swizzle; addresses and offsets in units of 16 bytes.
__device__ __forceinline__ unsigned long long descriptor(const void* tile, unsigned lbo, unsigned sbo) {
  unsigned address = (unsigned)__cvta_generic_to_shared(tile);
  return (unsigned long long)((address & 0x3ffff) >> 4) | (unsigned long long)(lbo >> 4) << 16 |
         (unsigned long long)(sbo >> 4) << 32;
}

// 32 bytes of each row, as core matrices of 8 rows by 16 bytes: those of the same rows follow each
// other (128 bytes), the next 8 rows' come after both (256 bytes).
__device__ __forceinline__ void stage(unsigned char* tile, const unsigned char* rows, unsigned count,
                                      unsigned row_bytes, unsigned start) {
  for (unsigned i = threadIdx.x; i < 2 * count; i += 128) {
    unsigned row = i / 2, half = i % 2;
    *(uint4*)(tile + row / 8 * 256 + half * 128 + row % 8 * 16) =
        *(const uint4*)(rows + (unsigned long long)row * row_bytes + start + half * 16);
  }
}
"#;

/// The whole module.
pub(crate) fn source() -> String {
    let mut source = HELPERS.to_owned();
    for kind in TYPES {
        source += &mma(&format!("mma_{kind}"), kind, depth(kind));
        if kind != "e4m3" {
            source += &mma_pair(&format!("mma_k8_{kind}"), kind);
        }
        for columns in COLUMNS {
            source += &wgmma(kind, columns, false);
            source += &wgmma(kind, columns, true);
        }
    }
    source
}

/// Elements in the 32 bytes of a step.
pub(crate) fn depth(kind: &str) -> usize {
    if kind == "e4m3" { 32 } else { 16 }
}

fn mma(name: &str, kind: &str, depth: usize) -> String {
    let product = format!(
        "    asm volatile(\"mma.sync.aligned.m16n8k{depth}.row.col.f32.{kind}.{kind}.f32 \
         {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};\" : \
         \"+f\"(acc[0]), \"+f\"(acc[1]), \"+f\"(acc[2]), \"+f\"(acc[3]) : \"r\"(a[0]), \
         \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1]));\n"
    );
    warp_kernel(name, &product)
}

fn mma_pair(name: &str, kind: &str) -> String {
    let half = |first: usize, b: usize| {
        format!(
            "    asm volatile(\"mma.sync.aligned.m16n8k8.row.col.f32.{kind}.{kind}.f32 \
             {{%0, %1, %2, %3}}, {{%4, %5}}, {{%6}}, {{%0, %1, %2, %3}};\" : \"+f\"(acc[0]), \
             \"+f\"(acc[1]), \"+f\"(acc[2]), \"+f\"(acc[3]) : \"r\"(a[{first}]), \"r\"(a[{}]), \
             \"r\"(b[{b}]));\n",
            first + 1
        )
    };
    warp_kernel(name, &(half(0, 0) + &half(2, 1)))
}

/// A block is one warp: 16 rows of left (`blockIdx.x`) by 8 of right (`blockIdx.y`).
fn warp_kernel(name: &str, products: &str) -> String {
    format!(
        r#"
extern "C" __global__ void {name}{PARAMETERS} {{
  const unsigned group = threadIdx.x / 4, member = threadIdx.x % 4;
  const unsigned char* l = left + (unsigned long long)(blockIdx.x * 16 + group) * row_bytes + member * 4;
  const unsigned char* r = right + (unsigned long long)(blockIdx.y * 8 + group) * row_bytes + member * 4;
  float acc[4];
  unsigned long long at[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {{
    at[i] = (unsigned long long)(blockIdx.x * 16 + group + 8 * (i / 2)) * row_stride +
            (unsigned long long)(blockIdx.y * 8 + member * 2 + i % 2) * column_stride;
    acc[i] = c[at[i]];
  }}
  for (unsigned k = 0; k < row_bytes; k += 32) {{
    unsigned a[4] = {{word(l + k), word(l + 8 * row_bytes + k), word(l + k + 16),
                     word(l + 8 * row_bytes + k + 16)}};
    unsigned b[2] = {{word(r + k), word(r + k + 16)}};
{products}  }}
#pragma unroll
  for (int i = 0; i < 4; i++) d[at[i]] = acc[i];
}}
"#
    )
}

/// A block is one warpgroup: 64 rows of left (`blockIdx.x`) by `columns` of right (`blockIdx.y`).
/// The left operand comes from shared memory, or with `registers` from mma-like fragments.
fn wgmma(kind: &str, columns: usize, registers: bool) -> String {
    let sums = columns / 2;
    let depth = depth(kind);
    let list = |range: std::ops::Range<usize>| {
        range
            .map(|i| format!("%{i}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut outputs = String::new();
    for i in 0..sums {
        // Writing to a String cannot fail.
        let _ = write!(
            outputs,
            "{}\"+f\"(acc[{i}])",
            if i == 0 { "" } else { ", " }
        );
    }
    let (left, next, left_input) = if registers {
        (
            format!("{{{}}}", list(sums..sums + 4)),
            sums + 4,
            "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])",
        )
    } else {
        (
            format!("%{sums}"),
            sums + 1,
            "\"l\"(descriptor(left_tile, lbo, sbo))",
        )
    };
    // 16-bit types also say, for each operand in shared memory, that it is not transposed.
    let transposes = match (kind, registers) {
        ("e4m3", _) => "",
        (_, true) => ", 0",
        (_, false) => ", 0, 0",
    };
    let suffix = if registers { "rs" } else { "ss" };
    let stage_left = if registers {
        "    unsigned a[4] = {word(l + k), word(l + 8 * row_bytes + k), word(l + k + 16),\n      \
         word(l + 8 * row_bytes + k + 16)};\n"
    } else {
        "    stage(left_tile, left + (unsigned long long)blockIdx.x * 64 * row_bytes, 64, row_bytes, k);\n"
    };
    let tile = if registers {
        "  const unsigned char* l = left + (unsigned long long)(blockIdx.x * 64 + warp * 16 + group) * \
         row_bytes + member * 4;\n"
    } else {
        "  __shared__ __align__(1024) unsigned char left_tile[64 * 32];\n"
    };
    format!(
        r#"
extern "C" __global__ void __launch_bounds__(128) wgmma_{kind}_n{columns}_{suffix}{PARAMETERS} {{
  const unsigned warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
{tile}  __shared__ __align__(1024) unsigned char right_tile[{columns} * 32];
  float acc[{sums}];
  const unsigned long long row = blockIdx.x * 64 + warp * 16 + group;
  const unsigned long long column = blockIdx.y * {columns} + member * 2;
#pragma unroll
  for (int i = 0; i < {sums}; i++)
    acc[i] = c[(row + 8 * (i / 2 % 2)) * row_stride + (column + 8 * (i / 4) + i % 2) * column_stride];
  for (unsigned k = 0; k < row_bytes; k += 32) {{
    __syncthreads();
{stage_left}    stage(right_tile, right + (unsigned long long)blockIdx.y * {columns} * row_bytes, {columns}, row_bytes, k);
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("{{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n{columns}k{depth}.f32.{kind}.{kind} {{{accumulators}}}, {left}, %{next}, p, 1, 1{transposes}; }}"
                 : {outputs} : {left_input}, "l"(descriptor(right_tile, lbo, sbo)) : "memory");
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }}
#pragma unroll
  for (int i = 0; i < {sums}; i++)
    d[(row + 8 * (i / 2 % 2)) * row_stride + (column + 8 * (i / 4) + i % 2) * column_stride] = acc[i];
}}
"#,
        accumulators = list(0..sums),
    )
}
