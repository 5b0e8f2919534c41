// Input of a convolution stem: log-mel turned to frames of bins, zeros between the windows. The
// rest of the stem is two kernels of gemm.cu.
//
// Both layers have kernels of three frames, so with channels side by side the input of a frame is
// one contiguous row of 3 channels, and a convolution is a GEMM over overlapping rows, for weights
// laid out as [d, tap, channel]. For `windows` of 2 T frames, P = 2 T + 2:
//   conv_stem_frames     frames [windows P + 1, bins], window w at rows w P + 2 on, others zero
//   conv_gelu            hidden [windows P - 1, d] of frames: x_stride = bins, depth = 3 bins,
//                        period = P, rows = windows P - 1; zero before a window and between two
//   conv_gelu_positions  y [windows T, d] of hidden: x_stride = 2 d, depth = 3 d, period = T + 1,
//                        rows = windows (T + 1) - 1
#include "common.cuh"

constexpr int SIDE = 32, ROWS = 8;

// mel [windows bins, frames] as floats, rows `stride` apart.
// Grid (ceil((windows (frames + 2) + 1) / 32), ceil(bins / 32)), 256 threads; a square of floats in
// shared memory, a column more against bank conflicts.
extern "C" __global__ void __launch_bounds__(SIDE* ROWS)
    conv_stem_frames(element* __restrict__ y, const float* __restrict__ mel, int stride, int bins,
                     int frames, int windows) {
    __shared__ float square[SIDE][SIDE + 1];
    const int across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
    const int period = frames + 2, rows = windows * period + 1;
    const int first_row = blockIdx.x * SIDE, first_bin = blockIdx.y * SIDE;

    const int row = first_row + across;
    const int window = (row - 2) / period, frame = (row - 2) % period;
    const bool inside = GUARD(row < rows) && row >= 2 && frame < frames;
    for (int i = down; i < SIDE; i += ROWS) {
        const int bin = first_bin + i;
        square[i][across] = inside && GUARD(bin < bins)
                                ? mel[((size_t)window * bins + bin) * stride + frame]
                                : 0.0f;
    }
    __syncthreads();
    const int bin = first_bin + across;
    for (int i = down; i < SIDE; i += ROWS) {
        if (GUARD(first_row + i < rows) && GUARD(bin < bins)) {
            y[(size_t)(first_row + i) * bins + bin] = to_element(square[across][i]);
        }
    }
}
