// Embeddings of the prompt, as floats: a row of the table for a token, a row of the audio for a
// placeholder.
//
// Grid (rows), 256 threads, no dynamic shared memory. y is contiguous; rows of the table are at
// multiples of 16 bytes and readable up to the next one. A source s >= 0 is a token,
// s < 0 the audio's row -(s + 1); `audio` may be null where no source asks for it.
#include "common.cuh"

constexpr int THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
embed(float* __restrict__ y, const element* __restrict__ table, int table_pitch,
      const float* __restrict__ audio, int audio_stride, const int* __restrict__ sources,
      int cols) {
    const int source = sources[blockIdx.x];
    y += (size_t)blockIdx.x * cols;
    if (source >= 0) {
        table += (size_t)source * table_pitch;
    } else {
        audio += (size_t)~source * audio_stride;
    }
    for (int i = threadIdx.x * QUAD; i < cols; i += THREADS * QUAD) {
        float v[QUAD];
        if (source >= 0) {
            load_vector(v, table + i);
        } else {
            load_part(v, audio + i, cols - i);
        }
        store_part(y + i, v, cols - i);
    }
}
