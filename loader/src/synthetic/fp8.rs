//! FP8 of the kind E4M3, as checkpoints in it are written.

/// Rows and columns of a block.
pub(super) const BLOCK: usize = 128;
/// The largest number of the kind.
const LARGEST: f32 = 448.0;
/// Steps between the powers of two.
const STEPS: f32 = 8.0;
/// The exponent of the least normal number; below it the steps stay as they are.
const LEAST_EXPONENT: i32 = -6;

/// The factor of a block whose largest magnitude is `largest`, before it is rounded to its own type.
pub(super) fn scale(largest: f32) -> f32 {
    largest / LARGEST
}

/// The nearest code, of two the even one; of magnitudes that are too large the largest.
pub(super) fn encode(x: f32) -> u8 {
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = x.abs().min(LARGEST);
    // That of a subnormal or zero is far below the least.
    let exponent = ((magnitude.to_bits() >> 23) as i32 - 127).max(LEAST_EXPONENT);
    // At most twice as many as there are steps; where there are, the exponent is one more.
    let power = f32::from_bits(((exponent + 127) as u32) << 23);
    let steps = (magnitude / power * STEPS).round_ties_even() as i32;
    sign | ((exponent - LEAST_EXPONENT) * STEPS as i32 + steps) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition of the format: bias 7, no infinities, NaN where all bits are set.
    fn value(code: u8) -> f32 {
        let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7));
        let magnitude = match exponent {
            0 => fraction / 8.0 * 2f32.powi(-6),
            _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
        };
        if code >= 0x80 { -magnitude } else { magnitude }
    }

    #[test]
    fn every_number_has_its_code_and_what_is_between_the_nearest() {
        for code in (0..0x7F).chain(0x80..0xFF) {
            assert_eq!(encode(value(code)), code, "{code:#x}");
        }
        for code in 0..0x7E {
            let (low, high) = (value(code), value(code + 1));
            let middle = (low + high) / 2.0;
            let even = code + code % 2;
            assert_eq!(encode(middle), even, "between {low} and {high}");
            assert_eq!(encode(-middle), even | 0x80);
            assert_eq!(encode(middle.next_down()), code);
            assert_eq!(encode(middle.next_up()), code + 1);
        }
        assert_eq!(encode(449.0), 0x7E);
        assert_eq!(encode(f32::MAX), 0x7E);
        assert_eq!(encode(f32::MIN_POSITIVE), 0);
    }
}
