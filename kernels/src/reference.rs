//! The formulas that references share, in f64.

use crate::weight::{Linear, Weight};

/// Widens a slice.
pub(crate) fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

/// All elements of a weight, row after row.
pub(crate) fn widen_weight(w: &Weight) -> Vec<f64> {
    let elements = (0..w.rows()).flat_map(|r| (0..w.cols()).map(move |c| (r, c)));
    elements.map(|(r, c)| f64::from(w.get(r, c))).collect()
}

/// `x W^T + b` for `x` of `w.inputs()` columns.
pub(crate) fn linear(x: &[f64], w: &Linear) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks_exact(w.inputs()) {
        for (weight, bias) in w.parts() {
            for n in 0..weight.rows() {
                let product: f64 = row
                    .iter()
                    .enumerate()
                    .map(|(k, x)| x * f64::from(weight.get(n, k)))
                    .sum();
                y.push(product + bias.as_ref().map_or(0.0, |b| f64::from(b.get(0, n))));
            }
        }
    }
    y
}

/// `1 - erf(x)`: the Taylor series near zero, the continued fraction beyond.
pub(crate) fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.5 {
        // erf x = 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        return 1.0 - 2.0 * scale * sum;
    }
    // erfc x = e^(-x^2)/sqrt(pi) / (x + (1/2)/(x + 1/(x + (3/2)/(x + ...))))
    let fraction = (1..120)
        .rev()
        .fold(x, |rest, n| x + f64::from(n) / 2.0 / rest);
    scale / fraction
}

/// `x / 2 (1 + erf(x / sqrt 2))`.
pub(crate) fn gelu(x: f64) -> f64 {
    0.5 * x * erfc(-x / std::f64::consts::SQRT_2)
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Weights of a softmax over scores.
pub(crate) fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::erfc;

    #[test]
    fn erfc_at_known_points() {
        // Abramowitz and Stegun, table 7.1, and its asymptotic expansion.
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953),
            (1.0, 0.157_299_207_050_285),
            (2.0, 4.677_734_981_047_27e-3),
            (3.0, 2.209_049_699_858_54e-5),
            (-1.0, 1.842_700_792_949_715),
        ] {
            assert!((erfc(x) - expected).abs() < 1e-14, "{x}: {}", erfc(x));
        }
    }
}
