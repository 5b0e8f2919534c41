// Rows of audio turned by the time that they are of, in place: `rotate_time.rs` has the formula.
//
// Grid (rows of x), 256 threads, no dynamic shared memory: a thread for a pair of channels. x, whose
// rows start at multiples of 8 bytes, is floats; `frequencies` [count]. Every step to an angle is
// rounded by itself. Angles are reduced in double, for the hardware's functions are good near zero
// only: up to 5e-7 off there.
#include "common.cuh"

constexpr int THREADS = 256;
constexpr float PI = 3.14159265358979323846f;
constexpr double TAU = 6.28318530717958647692;

extern "C" __global__ void __launch_bounds__(THREADS)
rotate_time(float* __restrict__ x, int stride, const float* __restrict__ frequencies, int count,
            int period, float step, float theta) {
    const int window = blockIdx.x / period, row = blockIdx.x % period;
    const float seconds =
        __fadd_rn(__fmul_rn((float)(window * period), step), __fmul_rn((float)row, step));
    const float turn = __fmul_rn(-seconds * 2.0f, PI);
    const float places[2] = {__fdiv_rn((float)window, theta),
                             __fmul_rn(__fdiv_rn((float)row, theta), (float)TAU)};
    float2* pairs = reinterpret_cast<float2*>(x + (size_t)blockIdx.x * stride);
    for (int pair = threadIdx.x; pair < 2 * count; pair += THREADS) {
        const bool second = pair >= count;
        const float frequency = frequencies[second ? pair - count : pair];
        const float angle = __fmul_rn(__fmul_rn(places[second], frequency), turn);
        const float reduced = (float)(angle - rint(angle / TAU) * TAU);
        const float cos = __cosf(reduced), sin = __sinf(reduced);
        const float2 v = pairs[pair];
        pairs[pair] = make_float2(fmaf(v.x, cos, -(v.y * sin)), fmaf(v.y, cos, v.x * sin));
    }
}
