// Kernels that do what hardware must refuse.

extern "C" __global__ void harmless(unsigned* out) { out[threadIdx.x] = threadIdx.x; }

extern "C" __global__ void read_at(const unsigned* address, unsigned* out) {
  out[0] = *(const volatile unsigned*)address;
}

extern "C" __global__ void write_at(unsigned* address) { *(volatile unsigned*)address = 1; }

extern "C" __global__ void read_16_bytes_at(const char* address, unsigned* out) {
  uint4 v;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address));
  out[0] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void shared_at(unsigned offset, unsigned* out) {
  extern __shared__ unsigned tile[];
  unsigned value;
  unsigned address = (unsigned)__cvta_generic_to_shared(tile) + offset;
  asm volatile("st.shared.u32 [%1], %2; ld.shared.u32 %0, [%1];"
               : "=r"(value) : "r"(address), "r"(threadIdx.x));
  out[threadIdx.x] = value;
}

extern "C" __global__ void local_at(unsigned long long offset, unsigned* out) {
  volatile unsigned array[4] = {1, 2, 3, 4};
  out[0] = *(unsigned*)((char*)array + offset);
}

extern "C" __global__ void trap() { asm volatile("trap;"); }

// NVRTC knows the function behind assert() without a header.
extern "C" __global__ void assert_fails() {
  __assertfail("0 == 1", "faults.cu", 1, "assert_fails", 1);
}

__device__ __noinline__ unsigned recurse(unsigned depth, unsigned* out) {
  volatile unsigned frame[64];
  for (int i = 0; i < 64; i++) frame[i] = depth + i;
  if (depth == 0) return frame[3];
  unsigned below = recurse(depth - 1, out);
  out[depth & 31] = below;
  return below + frame[depth & 63];
}

extern "C" __global__ void deep_recursion(unsigned depth, unsigned* out) {
  out[0] = recurse(depth, out);
}

extern "C" __global__ void many_registers(float* out) {
  float v[200];
#pragma unroll
  for (int i = 0; i < 200; i++) v[i] = out[i * blockDim.x + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 200; i++) out[(199 - i) * blockDim.x + threadIdx.x] = v[i] * v[(i + 7) % 200];
}

extern "C" __global__ void large_shared(unsigned* out) {
  extern __shared__ unsigned tile[];
  tile[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
