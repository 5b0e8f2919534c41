// Log-mel spectrograms of 30 s windows: `log_mel.rs` has the definition.
//
// Two launches. `log_mel_power` turns frames into values before the floor and notes the greatest
// value of every tile; `log_mel_floor` raises the values of a window to two below its greatest,
// which is eight below before (m + 4) / 4.
//
// Tables, computed in f64 and rounded: hann[400], the window; for each band the bin of its first
// weight, first_bins[bands], and where its weights begin, offsets[bands + 1]; and the weights that
// are not zero, band after band.
#include "common.cuh"
#include "fft.cuh"

constexpr int WINDOW = 480000;
constexpr int HOP = 160;
constexpr int FRAMES = WINDOW / HOP;
// Frames of a tile, the fastest index of the threads.
constexpr int TILE = 16;
constexpr int TILES = div_up(FRAMES, TILE);
constexpr int THREADS = TILE * ROWS;
// A hop takes one element more in shared memory, so that the frames read different banks.
constexpr int PITCH = HOP + 1;
// Samples of a tile.
constexpr int STAGED = (TILE - 1) * HOP + POINTS;
// The value of 1e-10 and less.
constexpr float SILENCE = -1.5f;

// The sample at i of a window that has 200 samples reflected before it and after it.
__device__ inline float padded_sample(const float* samples, int count, int i) {
    int at = abs(i - POINTS / 2);
    at = min(at, 2 * (WINDOW - 1) - at);
    return GUARD(at < count) ? samples[at] : 0.0f;
}

// Squared magnitudes of the bins of row 0: rows 0 and 8 as x + iy, both real before the transform,
// where x[k] = (z[k] + conj z[-k]) / 2 and y[k] = (z[k] - conj z[-k]) / 2i.
__device__ inline void store_real_rows(const Complex (&z)[5][5], float (&power)[BINS][TILE],
                                       int frame) {
    power[0][frame] = z[0][0].re * z[0][0].re;
    power[bin_of(ROWS, 0)][frame] = z[0][0].im * z[0][0].im;
#pragma unroll
    for (int k = 1; k <= B / 2; k++) {
        Complex p = z[k / 5][k % 5], q = z[(B - k) / 5][(B - k) % 5];
        power[bin_of(0, k)][frame] = 0.25f * squared({p.re + q.re, p.im - q.im});
        power[bin_of(ROWS, k)][frame] = 0.25f * squared({p.re - q.re, p.im + q.im});
    }
}

// Grid (ceil(3000 / 16), windows), 128 threads. `samples` has `count` of them, `y` is
// [windows * bands, 3000], `maxima` [windows, TILES].
//
// Thread: frame threadIdx.x % 16 of the tile; the eight threads of a frame share its work, first by
// columns of the transform, then by rows, then by bands. Shared memory: the tile's samples, later
// its power spectra [201][16], and between them the rows [25][8][16].
extern "C" __global__ void __launch_bounds__(THREADS)
log_mel_power(float* __restrict__ y, float* __restrict__ maxima,
              const float* __restrict__ samples, int count, const float* __restrict__ hann,
              const int* __restrict__ first_bins, const int* __restrict__ offsets,
              const float* __restrict__ weights, int bands) {
    __shared__ union {
        float samples[(STAGED / HOP + 1) * PITCH];
        float power[BINS][TILE];
    } tile;
    __shared__ Complex rows[B][ROWS][TILE];

    const int window = blockIdx.y;
    const int first_frame = blockIdx.x * TILE;
    const int frame = threadIdx.x % TILE;
    const int part = threadIdx.x / TILE;

    const float* window_samples = samples + (size_t)window * WINDOW;
    const int window_count = min(count - window * WINDOW, WINDOW);
    for (int i = threadIdx.x; i < STAGED; i += THREADS) {
        const int at = first_frame * HOP + i;
        tile.samples[i + i / HOP] = padded_sample(window_samples, window_count, at);
    }
    __syncthreads();

    for (int b = part; b < B; b += ROWS) {
        float x[A];
        int n = A * b;
#pragma unroll
        for (int a = 0; a < A; a++) {
            x[a] = hann[n] * tile.samples[frame * PITCH + n + n / HOP];
            n += B;
            n -= n < POINTS ? 0 : POINTS;
        }
        Complex out[ROWS];
        transform16(x, out);
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            rows[b][row][frame] = out[row];
        }
    }
    __syncthreads();

    Complex z[5][5];
#pragma unroll
    for (int b = 0; b < B; b++) {
        z[b % 5][b / 5] = rows[b][part][frame];
    }
    transform25(z);
    if (part == 0) {
        store_real_rows(z, tile.power, frame);
    } else {
#pragma unroll
        for (int k = 0; k < B; k++) {
            tile.power[bin_of(part, k)][frame] = squared(z[k / 5][k % 5]);
        }
    }
    __syncthreads();

    const bool exists = first_frame + frame < FRAMES;
    float greatest = SILENCE;
    for (int band = part; band < bands; band += ROWS) {
        float sum = 0.0f;
        int bin = first_bins[band];
        for (int i = offsets[band]; i < offsets[band + 1]; i++) {
            sum = fmaf(weights[i], tile.power[bin++][frame], sum);
        }
        const float value = sum > 1e-10f ? (log10f(sum) + 4.0f) * 0.25f : SILENCE;
        if (GUARD(exists)) {
            y[((size_t)window * bands + band) * FRAMES + first_frame + frame] = value;
            greatest = fmaxf(greatest, value);
        }
    }
    greatest = block_max<THREADS>(greatest);
    if (threadIdx.x == 0) {
        maxima[window * TILES + blockIdx.x] = greatest;
    }
}

constexpr int FLOOR_THREADS = 256;
constexpr int FLOOR_ELEMENTS = 8 * FLOOR_THREADS;

static_assert(TILES <= FLOOR_THREADS);

// Grid (ceil(bands * 3000 / 2048), windows), 256 threads. `maxima` [windows, TILES].
extern "C" __global__ void __launch_bounds__(FLOOR_THREADS)
log_mel_floor(float* __restrict__ y, const float* __restrict__ maxima, int bands) {
    const int window = blockIdx.y, elements = bands * FRAMES, tile = threadIdx.x;
    const float greatest = GUARD(tile < TILES) ? maxima[window * TILES + tile] : SILENCE;
    const float floor = block_max<FLOOR_THREADS>(greatest) - 2.0f;
    y += (size_t)window * elements;
    const int first = blockIdx.x * FLOOR_ELEMENTS + threadIdx.x;
#pragma unroll
    for (int i = first; i < first + FLOOR_ELEMENTS; i += FLOOR_THREADS) {
        if (GUARD(i < elements)) {
            y[i] = fmaxf(y[i], floor);
        }
    }
}
