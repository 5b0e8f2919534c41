//! Binary floating-point formats, from e4m3 to f64.

/// A sign bit, an exponent and a mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Bits of the exponent.
    pub exponent: u32,
    /// Stored bits of the mantissa.
    pub mantissa: u32,
    /// Whether the topmost exponent holds infinities and NaNs; e4m3 has one NaN and no infinity.
    pub infinities: bool,
}

impl Format {
    /// IEEE half precision.
    pub const F16: Format = Format::ieee(5, 10);
    /// The upper half of an f32.
    pub const BF16: Format = Format::ieee(8, 7);
    /// The 19 bits of an f32 that tf32 keeps.
    pub const TF32: Format = Format::ieee(8, 10);
    /// IEEE single precision.
    pub const F32: Format = Format::ieee(8, 23);
    /// IEEE double precision.
    pub const F64: Format = Format::ieee(11, 52);
    /// OCP FP8 with infinities.
    pub const E5M2: Format = Format::ieee(5, 2);
    /// OCP FP8 "FN": finite, up to 448.
    pub const E4M3: Format = Format {
        exponent: 4,
        mantissa: 3,
        infinities: false,
    };

    const fn ieee(exponent: u32, mantissa: u32) -> Format {
        Format {
            exponent,
            mantissa,
            infinities: true,
        }
    }

    /// Bits of one value.
    pub const fn bits(self) -> u32 {
        1 + self.exponent + self.mantissa
    }

    /// The exponent of 1.0 as stored.
    pub const fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The sign bit.
    pub const fn sign(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// The code of 1.0.
    pub const fn one(self) -> u64 {
        (self.bias() as u64) << self.mantissa
    }

    /// The code of the smallest normal number.
    pub const fn min_normal(self) -> u64 {
        1 << self.mantissa
    }

    /// The code of the largest finite number.
    pub const fn max(self) -> u64 {
        self.nan_start() - 1
    }

    /// The code of infinity, or of e4m3's only NaN.
    const fn nan_start(self) -> u64 {
        let all = (1 << (self.exponent + self.mantissa)) - 1;
        if self.infinities {
            all ^ ((1 << self.mantissa) - 1)
        } else {
            all
        }
    }

    /// The nearest code, ties to even; beyond the largest number, infinity or (e4m3) the largest.
    pub fn encode(self, value: f64) -> u64 {
        let sign = if value.is_sign_negative() {
            self.sign()
        } else {
            0
        };
        let magnitude = value.abs();
        if magnitude.is_nan() {
            return sign | (self.nan_start() + u64::from(self.infinities));
        }
        if magnitude.is_infinite() {
            return sign
                | self
                    .nan_start()
                    .min(self.max() + u64::from(self.infinities));
        }
        let floor = (magnitude.to_bits() >> 52) as i32 - 1023;
        let exponent = floor.max(1 - self.bias());
        let units = magnitude * power_of_two(self.mantissa as i32 - exponent);
        let code = (((exponent + self.bias() - 1) as u64) << self.mantissa)
            + units.round_ties_even() as u64;
        sign | code.min(self.max() + u64::from(self.infinities))
    }

    /// The value of a code.
    pub fn decode(self, code: u64) -> f64 {
        let magnitude = code & (self.sign() - 1);
        let value = if magnitude >= self.nan_start() {
            if self.infinities && magnitude == self.nan_start() {
                f64::INFINITY
            } else {
                f64::NAN
            }
        } else {
            let exponent = ((magnitude >> self.mantissa) as i32).max(1);
            let implicit = u64::from(magnitude >= self.min_normal()) << self.mantissa;
            let units = (magnitude & (self.min_normal() - 1)) | implicit;
            units as f64 * power_of_two(exponent - self.bias() - self.mantissa as i32)
        };
        if code & self.sign() == 0 {
            value
        } else {
            -value
        }
    }
}

/// 2 to the `exponent`, exactly; `exponent` is clamped to f64's normal range.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_standards() {
        assert_eq!(Format::F16.encode(1.0), 0x3c00);
        assert_eq!(Format::F16.encode(65504.0), 0x7bff);
        assert_eq!(Format::F16.encode(65520.0), 0x7c00);
        assert_eq!(Format::F16.encode(-5.960_464_477_539_063e-8), 0x8001);
        assert_eq!(Format::BF16.encode(1.0 + 1.0 / 256.0), 0x3f80);
        assert_eq!(Format::BF16.encode(1.0 + 3.0 / 256.0), 0x3f82);
        assert_eq!(Format::E4M3.encode(448.0), 0x7e);
        assert_eq!(Format::E4M3.encode(1e9), 0x7e);
        assert_eq!(Format::E5M2.encode(57344.0), 0x7b);
        assert_eq!(Format::E5M2.encode(f64::INFINITY), 0x7c);
        assert!(Format::E4M3.decode(0x7f).is_nan());
    }

    #[test]
    fn every_16_bit_code_survives_a_round_trip() {
        for format in [Format::F16, Format::BF16] {
            for code in 0..0x1_0000u64 {
                let value = format.decode(code);
                if !value.is_nan() {
                    assert_eq!(format.encode(value), code, "{format:?} {code:#x}");
                }
            }
        }
    }

    #[test]
    fn f32_decodes_like_the_host() {
        for bits in [
            0u32,
            1,
            0x007f_ffff,
            0x0080_0000,
            0x3f80_0001,
            0x7f7f_ffff,
            0xff80_0000,
        ] {
            let host = f64::from(f32::from_bits(bits));
            assert_eq!(Format::F32.decode(u64::from(bits)), host);
        }
    }
}
