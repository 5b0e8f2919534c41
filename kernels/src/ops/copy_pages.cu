// Whole pages of keys and values copied in every layer, for sequences that go on apart from one
// beginning.
//
// Grid (copies, layers, parts of a page), 256 threads, no dynamic shared memory. A page of a layer is
// `page` vectors of 16 bytes, whatever the type of its elements. `copies` is {from, to}, no page in
// both places.
#include "common.cuh"

constexpr int THREADS = 256;
// Vectors of a thread, all of which it reads before it writes.
constexpr int EACH = 4;

extern "C" __global__ void __launch_bounds__(THREADS)
copy_pages(uint4* kv, const int2* __restrict__ copies, int pages, int page) {
    const int2 copy = copies[blockIdx.x];
    kv += (size_t)blockIdx.y * pages * page;
    const uint4* from = kv + (size_t)copy.x * page;
    uint4* to = kv + (size_t)copy.y * page;
    const int first = blockIdx.z * (EACH * THREADS) + threadIdx.x;
    uint4 kept[EACH];
#pragma unroll
    for (int n = 0; n < EACH; n++) {
        const int i = first + n * THREADS;
        if (GUARD(i < page)) {
            kept[n] = from[i];
        }
    }
#pragma unroll
    for (int n = 0; n < EACH; n++) {
        const int i = first + n * THREADS;
        if (GUARD(i < page)) {
            to[i] = kept[n];
        }
    }
}
