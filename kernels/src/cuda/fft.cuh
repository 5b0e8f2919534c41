// The power spectrum of 400 real points, spread over the threads of a block.
//
// 400 = 16 * 25 without a common factor, so by Good and Thomas's prime factor algorithm (I. J.
// Good, 1958) the transform is one of 16 by 25 with no twiddle factors in between: point
// n = 25 a + 16 b mod 400 is x[a][b], and bin k is X[k mod 16][k mod 25]. The input is real: the
// transforms over a give rows 0 to 8, the rest are their conjugates. Rows 0 and 8 are real and
// travel as one complex row, so eight complex transforms of 25 = 5 * 5 points finish the work.
#pragma once

constexpr int POINTS = 400;
// Bins from 0 to half of the sampling rate.
constexpr int BINS = POINTS / 2 + 1;
// The factors of POINTS.
constexpr int A = 16;
constexpr int B = 25;
// Complex rows after the transforms over a: 0 with 8, and 1 to 7.
constexpr int ROWS = A / 2;

// The bin that column k of a row holds, or whose conjugate it holds.
__device__ constexpr int bin_of(int row, int k) {
    // 225 is 1 modulo 16 and 0 modulo 25; 176 the other way round.
    const int bin = (225 * row + 176 * k) % POINTS;
    return bin < BINS ? bin : POINTS - bin;
}

struct __align__(8) Complex {
    float re, im;
};

__device__ inline Complex operator+(Complex a, Complex b) {
    return {a.re + b.re, a.im + b.im};
}

__device__ inline Complex operator-(Complex a, Complex b) {
    return {a.re - b.re, a.im - b.im};
}

__device__ inline Complex operator*(Complex a, Complex b) {
    return {fmaf(a.re, b.re, -(a.im * b.im)), fmaf(a.re, b.im, a.im * b.re)};
}

__device__ inline Complex operator*(float by, Complex a) {
    return {by * a.re, by * a.im};
}

// c + by * a
__device__ inline Complex fmaf(float by, Complex a, Complex c) {
    return {fmaf(by, a.re, c.re), fmaf(by, a.im, c.im)};
}

// -i a
__device__ inline Complex quarter_turn(Complex a) {
    return {a.im, -a.re};
}

__device__ inline float squared(Complex a) {
    return fmaf(a.re, a.re, a.im * a.im);
}

// Bins 0 and 8 (both real) as one complex number, then bins 1 to 7, of sixteen real points, as 4
// by 4.
__device__ inline void transform16(const float (&x)[A], Complex (&out)[ROWS]) {
    constexpr float HALF = 0.70710678118654752f;
    constexpr float COS = 0.92387953251128676f, SIN = 0.38268343236508977f; // of pi / 8
    // Over the points 4 apart: the sum and the difference that are bins 0 and 2, and bin 1, whose
    // conjugate is bin 3.
    float t[4], u[4];
    Complex v[4];
#pragma unroll
    for (int b = 0; b < 4; b++) {
        float even = x[b] + x[b + 8], odd = x[b + 4] + x[b + 12];
        t[b] = even + odd;
        u[b] = even - odd;
        v[b] = {x[b] - x[b + 8], x[b + 12] - x[b + 4]};
    }
    float even = t[0] + t[2], odd = t[1] + t[3];
    out[0] = {even + odd, even - odd};
    out[4] = {t[0] - t[2], t[3] - t[1]};
    // Bins 2 and 6, with the eighth roots of one.
    float difference = u[1] - u[3], sum = HALF * (u[1] + u[3]);
    out[2] = {fmaf(HALF, difference, u[0]), -(u[2] + sum)};
    out[6] = {fmaf(-HALF, difference, u[0]), u[2] - sum};
    // Bins 1, 5, 9 and 13, with the sixteenth roots; 7 and 3 are conjugates of the last two.
    Complex v1 = v[1] * Complex{COS, -SIN};
    Complex v2 = HALF * (v[2] + quarter_turn(v[2]));
    Complex v3 = v[3] * Complex{SIN, -COS};
    Complex sums = v[0] + v2, differences = v[0] - v2;
    Complex odd_sums = v1 + v3, odd_differences = quarter_turn(v1 - v3);
    Complex bin9 = sums - odd_sums, bin13 = differences - odd_differences;
    out[1] = sums + odd_sums;
    out[5] = differences + odd_differences;
    out[3] = {bin13.re, -bin13.im};
    out[7] = {bin9.re, -bin9.im};
}

// Five complex points, in place.
__device__ inline void transform5(Complex (&x)[5]) {
    // Cosines and sines of 2 pi / 5 and 4 pi / 5.
    constexpr float C1 = 0.30901699437494742f, C2 = -0.80901699437494742f;
    constexpr float S1 = 0.95105651629515357f, S2 = 0.58778525229247313f;
    Complex p1 = x[1] + x[4], p2 = x[2] + x[3];
    Complex m1 = x[1] - x[4], m2 = x[2] - x[3];
    Complex a1 = fmaf(C2, p2, fmaf(C1, p1, x[0]));
    Complex a2 = fmaf(C1, p2, fmaf(C2, p1, x[0]));
    Complex b1 = quarter_turn(fmaf(S2, m2, S1 * m1));
    Complex b2 = quarter_turn(fmaf(-S1, m2, S2 * m1));
    x[0] = x[0] + (p1 + p2);
    x[1] = a1 + b1;
    x[2] = a2 + b2;
    x[3] = a2 - b2;
    x[4] = a1 - b1;
}

// Twenty-five complex points, in place, as 5 by 5: point 5 a + b is at x[b][a], and bin 5 d + c
// ends at x[d][c].
__device__ inline void transform25(Complex (&x)[5][5]) {
    // e^(-2 pi i m / 25); between the factors stand those of m = b c.
    constexpr float ROOTS[17][2] = {
        {1.0f, 0.0f}, {0.968583161f, -0.248689887f},
        {0.87630668f, -0.481753674f}, {0.728968627f, -0.684547106f},
        {0.535826795f, -0.844327926f}, {0.309016994f, -0.951056516f},
        {0.0627905195f, -0.998026728f}, {-0.187381315f, -0.982287251f},
        {-0.425779292f, -0.904827052f}, {-0.63742399f, -0.770513243f},
        {-0.809016994f, -0.587785252f}, {-0.929776486f, -0.368124553f},
        {-0.992114701f, -0.125333234f}, {-0.992114701f, 0.125333234f},
        {-0.929776486f, 0.368124553f}, {-0.809016994f, 0.587785252f},
        {-0.63742399f, 0.770513243f},
    };
#pragma unroll
    for (int b = 0; b < 5; b++) {
        transform5(x[b]);
    }
#pragma unroll
    for (int c = 0; c < 5; c++) {
        Complex column[5];
#pragma unroll
        for (int b = 0; b < 5; b++) {
            column[b] = x[b][c];
            if (b > 0 && c > 0) {
                column[b] = column[b] * Complex{ROOTS[b * c][0], ROOTS[b * c][1]};
            }
        }
        transform5(column);
#pragma unroll
        for (int d = 0; d < 5; d++) {
            x[d][c] = column[d];
        }
    }
}
