// The next token of every row of logits, by the same integers as on the host: weights of 2^-44, so
// that their sums are exact and every device draws the same token from the same logits.
//
// Grid (rows), 1024 threads, no dynamic shared memory. `out` [rows, 2 + 2 most]: the token, or -1
// if a logit is NaN, or -2 if no greatest is finite, with its log-probability; then as many of the
// most probable tokens as the row asks for, likewise. `adjusted` [rows, vocabulary]: scratch for
// rows with bias, penalties or a set of allowed tokens. A vocabulary has less than 2^20 tokens.
#include "common.cuh"

constexpr int THREADS = 1024;
constexpr int WARPS = THREADS / WARP;

constexpr float NOT_A_NUMBER = -1.0f;
constexpr float NO_TOKEN = -2.0f;

// What stands for a weight of one.
constexpr float ONE = 17592186044416.0f;
// The most alternatives of a row.
constexpr int ALTERNATIVES = 256;
// Bits of a token in a key.
constexpr int TOKEN_BITS = 20;

// As `Parameters` writes it.
struct Row {
    u64 share;    // top_p in units of 2^-32
    u64 uniform;  // random bits
    float temperature;
    float min_p;
    float repetition;
    float presence;
    float frequency;
    int greedy;
    int top_k;
    int alternatives;
    int first_entry;
    int entries;
    int given;    // the token, or -1 if it is to be chosen
    int allowed;  // the row's set of tokens, or -1 for all
};

// A token with bias or history.
struct Entry {
    int token;
    float bias;
    int seen;
    u32 generated;
};

// e^x and ln x in the host's very steps, and so with its bits: see host/math.rs.
__device__ inline float horner(float x, float sum) { return sum; }
template <class... Rest>
__device__ inline float horner(float x, float sum, float next, Rest... rest) {
    return horner(x, fmaf(sum, x, next), rest...);
}
__device__ inline float exp_as_host(float x) {
    const float lowest = -87.3f;
    const float clamped = fminf(88.0f, fmaxf(lowest, x));
    const float n = rintf(clamped * 1.44269504f);
    float r = fmaf(n, -0.6933594f, clamped);
    r = fmaf(n, 2.1219444e-4f, r);
    float p = horner(r, 1.3863713e-3f, 8.367558e-3f, 4.166724e-2f, 0.16666533f, 0.5f);
    p = fmaf(r * r, p, r);
    const float e = (1.0f + p) * __uint_as_float((u32)((int)n + 127) << 23);
    return x < lowest ? 0.0f : e;
}
__device__ inline float ln_as_host(float x) {
    const u32 at = __float_as_uint(0.75f);
    const u32 offset = __float_as_uint(x) - at;
    const float exponent = (float)((int)offset >> 23);
    const float t = __uint_as_float((offset & 0x7fffffu) + at) - 1.0f;
    const float p = horner(t, -4.345131e-2f, 0.103388846f, -0.13183673f, 0.14508787f, -0.16647841f,
                           0.19988681f, -0.2500002f, 0.33333498f, -0.5f);
    return fmaf(exponent, 0.693147181f, fmaf(t * t, p, t));
}

// Grows with the logit and, where logits are equal, falls with the token. NaN has the greatest.
__device__ inline u64 rank(float logit, int token) {
    const u32 bits = __float_as_uint(logit + 0.0f);  // -0 as 0
    const u32 order = bits >> 31 ? ~bits : bits | 0x80000000u;
    const u32 later = (1u << TOKEN_BITS) - 1 - token;
    return isnan(logit) ? ~0ull : (u64)order << TOKEN_BITS | later;
}
__device__ inline int token_of(u64 rank) {
    return (1 << TOKEN_BITS) - 1 - (int)(rank & ((1u << TOKEN_BITS) - 1));
}

// The weights of a row's tokens, as integers.
struct Mass {
    float greatest;
    float temperature;
    float min_p;
    u64 cut;  // the least rank that has one
    __device__ inline u64 operator()(float a, int token) const {
        const float weight = exp_as_host((a - greatest) / temperature);
        const bool kept = weight >= min_p && rank(a, token) >= cut;
        return kept ? __float2ull_rz(weight * ONE) : 0;
    }
};
struct Count {
    __device__ inline u64 operator()(float, int) const { return 1; }
};

// The sum of `x` over the lanes up to this one.
__device__ inline u64 warp_scan(u64 x) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int apart = 1; apart < WARP; apart *= 2) {
        const u64 below = __shfl_up_sync(ALL_LANES, x, apart);
        x += lane >= apart ? below : 0;
    }
    return x;
}

// The sum of `x` over the threads before this one, and over all. Between two calls of `block_scan`
// there must be a barrier.
struct Scan {
    u64 before;
    u64 all;
};
__device__ inline Scan block_scan(u64 x) {
    __shared__ u64 parts[WARPS];
    const u64 up_to = warp_scan(x);
    if (threadIdx.x % WARP == WARP - 1) {
        parts[threadIdx.x / WARP] = up_to;
    }
    __syncthreads();
    u64 before = 0, all = 0;
#pragma unroll
    for (int warp = 0; warp < WARPS; warp++) {
        before += warp < threadIdx.x / WARP ? parts[warp] : 0;
        all += parts[warp];
    }
    return {before + up_to - x, all};
}

template <class Amount>
__device__ inline u64 total(const float* a, int vocabulary, Amount amount) {
    u64 sum = 0;
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
        sum += amount(a[i], i);
    }
    return block_reduce<THREADS, Sum>(sum);
}

__device__ inline u64 greatest_rank(const float* a, int vocabulary) {
    u64 most = 0;
#pragma unroll 4
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
        most = max(most, rank(a[i], i));
    }
    return block_reduce<THREADS, Max>(most);
}

// The least rank of the fewest tokens of greatest rank whose amounts reach `target`, which is at
// least 1 and at most the sum of all: a radix selection.
template <class Amount>
__device__ u64 select(const float* a, int vocabulary, u64 target, Amount amount) {
    constexpr int DIGITS = 1 << 11;
    static_assert(DIGITS % THREADS == 0);
    __shared__ u64 sums[DIGITS];
    __shared__ u64 chosen[2];
    u64 known = 0, at = 0;
    for (int shift = 41; shift >= 0; shift -= shift > 30 ? 11 : 10) {
        // Eleven bits twice, then ten three times.
        const int bits = shift >= 30 ? 11 : 10;
        const u32 digits = 1u << bits;
#pragma unroll
        for (int i = 0; i < DIGITS; i += THREADS) {
            sums[i + threadIdx.x] = 0;
        }
        __syncthreads();
        for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
            const u64 key = rank(a[i], i);
            if ((key & known) == at) {
                atomicAdd(&sums[(u32)(key >> shift) & (digits - 1)], amount(a[i], i));
            }
        }
        __syncthreads();
        // A thread's two digits, the greater first.
        const int digit = DIGITS - 1 - 2 * threadIdx.x;
        const u64 high = sums[digit], low = sums[digit - 1];
        const Scan scan = block_scan(high + low);
        const u64 with_high = scan.before + high;
        if (scan.before < target && target <= with_high + low) {
            const bool is_high = target <= with_high;
            chosen[0] = is_high ? digit : digit - 1;
            chosen[1] = target - (is_high ? scan.before : with_high);
        }
        __syncthreads();
        at |= chosen[0] << shift;
        known |= (u64)(digits - 1) << shift;
        target = chosen[1];
    }
    return at;
}

// The first token whose running sum of weights exceeds its share of the whole.
__device__ int pick(const float* a, int vocabulary, u64 uniform, Mass mass) {
    __shared__ int token;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    // Each warp has successive tokens, its lanes every 32nd of them.
    const int each = div_up(vocabulary, THREADS) * WARP;
    const int begin = warp * each, end = min(begin + each, vocabulary);
    u64 sum = 0;
    for (int i = begin + lane; i < end; i += WARP) {
        sum += mass(a[i], i);
    }
    const Scan scan = block_scan(sum);
    const u64 target = __umul64hi(uniform, scan.all);
    u64 before = __shfl_sync(ALL_LANES, scan.before, 0);
    const u64 behind = __shfl_sync(ALL_LANES, scan.before + sum, WARP - 1);
    if (before <= target && target < behind) {
        for (int first = begin; first < end; first += WARP) {
            const int i = first + lane;
            const u64 up_to = before + warp_scan(GUARD(i < end) ? mass(a[i], i) : 0);
            const u32 exceeds = __ballot_sync(ALL_LANES, up_to > target);
            if (exceeds != 0) {
                if (lane == 0) {
                    token = first + __ffs(exceeds) - 1;
                }
                break;
            }
            before = __shfl_sync(ALL_LANES, up_to, WARP - 1);
        }
    }
    __syncthreads();
    return token;
}

// Writes the most probable tokens, the first one first.
__device__ void most_probable(float* out, const float* logits,
                              int vocabulary, int count, float greatest, float log_sum) {
    __shared__ u64 found[ALTERNATIVES];
    __shared__ int filled;
    const u64 cut = select(logits, vocabulary, count, Count());
    if (threadIdx.x == 0) {
        filled = 0;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
        const u64 key = rank(logits[i], i);
        if (key >= cut) {
            found[atomicAdd(&filled, 1)] = key;
        }
    }
    __syncthreads();
    if (threadIdx.x < count) {
        const u64 own = found[threadIdx.x];
        int place = 0;
        for (int i = 0; i < count; i++) {
            place += found[i] > own;
        }
        const int token = token_of(own);
        out[2 * place] = (float)token;
        out[2 * place + 1] = logits[token] - greatest - log_sum;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
sample(float* __restrict__ out, int out_stride, const float* __restrict__ logits, int stride,
       float* adjusted, const Row* __restrict__ rows, const Entry* __restrict__ entries,
       const u32* __restrict__ allowed, int vocabulary) {
    const Row row = rows[blockIdx.x];
    logits += (size_t)blockIdx.x * stride;
    out += (size_t)blockIdx.x * out_stride;
    const u64 most = greatest_rank(logits, vocabulary);
    const float greatest = most == ~0ull ? 0.0f : logits[token_of(most)];
    const float* a = logits;
    u64 most_adjusted = most;
    if (row.entries > 0 || row.allowed >= 0) {
        float* own = adjusted + (size_t)blockIdx.x * vocabulary;
        allowed += (size_t)row.allowed * div_up(vocabulary, 32);
        for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
            // Neither bias nor penalties bring minus infinity back.
            const bool kept = row.allowed < 0 || allowed[i / 32] >> i % 32 & 1;
            own[i] = kept ? logits[i] : minus_infinity();
        }
        __syncthreads();
        for (int i = threadIdx.x; i < row.entries; i += THREADS) {
            const Entry entry = entries[row.first_entry + i];
            float x = own[entry.token] + entry.bias;
            if (entry.seen) {
                x = x > 0.0f ? x / row.repetition : x * row.repetition;
                if (entry.generated > 0) {
                    x = fmaf(row.frequency, -(float)entry.generated, x);
                    x -= row.presence;
                }
            }
            own[entry.token] = x;
        }
        __syncthreads();
        a = own;
        most_adjusted = greatest_rank(a, vocabulary);
    }
    const float top = most_adjusted == ~0ull ? 0.0f : a[token_of(most_adjusted)];
    if (most == ~0ull || !isfinite(greatest) || !isfinite(top)) {
        if (threadIdx.x == 0) {
            out[0] = most == ~0ull ? NOT_A_NUMBER : NO_TOKEN;
        }
        return;
    }
    int token = row.given >= 0 ? row.given : token_of(most_adjusted);
    if (row.given < 0 && !row.greedy) {
        Mass mass = {top, row.temperature, row.min_p, 0};
        if (row.top_k > 0 && row.top_k < vocabulary) {
            mass.cut = select(a, vocabulary, row.top_k, Count());
        }
        if (row.share < 1ull << 32) {
            const u64 all = total(a, vocabulary, mass);
            const u64 target = __umul64hi(row.share << 32, all);
            mass.cut = select(a, vocabulary, max(target, 1ull), mass);
        }
        token = pick(a, vocabulary, row.uniform, mass);
    }
    const Mass plain = {greatest, 1.0f, 0.0f, 0};
    const float sum = (float)total(logits, vocabulary, plain) / ONE;
    const float log_sum = ln_as_host(sum);
    if (threadIdx.x == 0) {
        out[0] = (float)token;
        out[1] = logits[token] - greatest - log_sum;
    }
    if (row.alternatives > 0) {
        most_probable(out + 2, logits, vocabulary, row.alternatives, greatest, log_sum);
    }
}
