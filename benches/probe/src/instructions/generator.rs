//! The inputs of an instruction: a pure function of its name, the operand and the lane.
//!
//! Nothing of this may change without a new recording, as the recorded file holds outputs alone.

use super::format::Format;

/// What an operand's bits mean, which decides the values that it is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One float in the low bits of a word (f64: two words, low first).
    Float(Format),
    /// Two floats of 16 or 8 bits, the first in the low half.
    Pair(Format),
    /// A float about to be converted: tried also at the limits of integers and narrower floats.
    Convert(Format),
    /// An integer of 16 bits in the low half of a word.
    B16,
    /// An integer of 32 bits.
    B32,
    /// An integer of 64 bits in two words, low first.
    B64,
    /// An integer below a limit: shift counts, lanes, positions.
    Below(u32),
}

impl Kind {
    /// Words that an operand takes.
    pub fn words(self) -> usize {
        if self.bits() == 64 { 2 } else { 1 }
    }

    /// Bits of the register that holds it: 16, 32 or 64.
    pub fn bits(self) -> u32 {
        match self {
            Kind::Float(format) | Kind::Convert(format) => {
                format.bits().max(16).next_power_of_two()
            }
            Kind::Pair(format) => 2 * format.bits(),
            Kind::B16 => 16,
            Kind::B32 | Kind::Below(_) => 32,
            Kind::B64 => 64,
        }
    }

    /// The values that come first: zeros, limits, halfway cases, infinities, NaNs with payloads.
    fn edges(self) -> Vec<u64> {
        match self {
            Kind::Float(format) | Kind::Pair(format) => float_edges(format),
            Kind::Convert(format) => {
                let limits = CONVERSION_LIMITS.iter().flat_map(|&v| [v, -v]);
                let mut edges = float_edges(format);
                edges.extend(limits.map(|v| format.encode(v)));
                edges
            }
            Kind::B16 | Kind::B32 | Kind::B64 => integer_edges(self.bits()),
            Kind::Below(limit) => (0..u64::from(limit.min(8)))
                .chain([u64::from(limit.saturating_sub(1))])
                .collect(),
        }
    }

    /// An edge case chosen by `index`; a pair gets two that differ.
    fn edge(self, index: usize) -> u64 {
        let edges = self.edges();
        let pick = |i: usize| edges[i % edges.len()];
        match self {
            Kind::Pair(format) => pick(index) | (pick(index * 7 + 3) << format.bits()),
            _ => pick(index),
        }
    }

    /// Any bits of the operand's width.
    fn random(self, bits: u64) -> u64 {
        match self {
            Kind::Below(limit) => bits % u64::from(limit),
            _ if self.bits() == 64 => bits,
            Kind::Float(format) | Kind::Convert(format) => bits & ((1 << format.bits()) - 1),
            _ => bits & ((1 << self.bits()) - 1),
        }
    }

    /// Values as programs have them: floats within 2^±12, integers within ±2^11.
    fn reasonable(self, bits: u64) -> u64 {
        match self {
            Kind::Float(format) | Kind::Convert(format) => reasonable_float(format, bits),
            Kind::Pair(format) => {
                reasonable_float(format, bits)
                    | (reasonable_float(format, splitmix64(bits)) << format.bits())
            }
            Kind::Below(_) => self.random(bits),
            _ => self.random(((bits % 4096) as i64 - 2048) as u64),
        }
    }
}

/// Where conversions saturate, round to even or underflow.
const CONVERSION_LIMITS: [f64; 40] = [
    0.25,
    0.499_999_970_197_677_6,
    0.750,
    1.000_488_281_25,
    1.001_464_843_75,
    1.003_906_25,
    1.011_718_75,
    1.062_5,
    1.125,
    1.187_5,
    1.375,
    4.5,
    5.5,
    126.5,
    127.0,
    127.5,
    128.0,
    128.5,
    240.0,
    255.0,
    255.5,
    256.0,
    448.0,
    464.0,
    480.0,
    32767.5,
    32768.0,
    57344.0,
    61440.0,
    65504.0,
    65_519.996_093_75,
    65520.0,
    65535.5,
    2_147_483_648.0,
    4_294_967_296.0,
    9_223_372_036_854_775_808.0,
    18_446_744_073_709_551_616.0,
    5.960_464_477_539_063e-8,
    2.980_232_238_769_531_3e-8,
    0.000_976_562_5,
];

/// Steele, Lea and Flood's SplitMix64: the finaliser of `state + 0x9e3779b97f4a7c15`.
pub fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The 64-bit FNV-1a hash.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The input words of `lanes` lanes, word `w` of lane `t` at `w * lanes + t`.
///
/// The first lanes go through the operands' edge cases, the first operand fastest; where five
/// eighths of the lanes cannot hold all combinations, those take combinations at random. The rest
/// alternate between random bits (odd lanes) and reasonable values (even lanes).
pub fn operands(name: &str, kinds: &[Kind], lanes: usize) -> Vec<u32> {
    let seed = fnv1a(name.as_bytes());
    let counts: Vec<usize> = kinds.iter().map(|kind| kind.edges().len()).collect();
    let combinations = counts.iter().fold(1, |n: usize, &e| n.saturating_mul(e));
    let edge_lanes = combinations.min(lanes * 5 / 8);
    let total: usize = kinds.iter().map(|kind| kind.words()).sum();
    let mut words = vec![0; total * lanes];
    for lane in 0..lanes {
        let (mut word, mut rest) = (0, lane);
        for (operand, (&kind, &count)) in kinds.iter().zip(&counts).enumerate() {
            let bits = splitmix64(seed ^ ((operand as u64) << 32 | lane as u64));
            let value = if lane >= edge_lanes {
                if lane % 2 == 1 {
                    kind.random(bits)
                } else {
                    kind.reasonable(bits)
                }
            } else if combinations > edge_lanes {
                kind.edge((bits >> 8) as usize)
            } else {
                kind.edge(rest % count)
            };
            rest /= count;
            for part in 0..kind.words() {
                words[word * lanes + lane] = (value >> (32 * part)) as u32;
                word += 1;
            }
        }
    }
    words
}

fn reasonable_float(format: Format, bits: u64) -> u64 {
    let reach = 12.min(format.bias() - 1);
    let exponent = (bits >> 8) as i32 & 0xffff;
    let exponent = (exponent % (2 * reach + 1) - reach + format.bias()) as u64;
    let mantissa = splitmix64(bits) & (format.min_normal() - 1);
    ((bits & 1) * format.sign()) | (exponent << format.mantissa) | mantissa
}

fn float_edges(format: Format) -> Vec<u64> {
    let (sign, one, ulp) = (format.sign(), format.one(), 1);
    let (normal, max) = (format.min_normal(), format.max());
    let mut edges = vec![
        0,
        sign,
        ulp,
        sign | ulp,
        normal - 1,
        normal,
        sign | normal,
        one,
        sign | one,
        one + ulp,
        one - ulp,
        format.encode(0.5),
        format.encode(1.5),
        format.encode(-2.5),
        format.encode(3.5),
        max,
        sign | max,
        max + 1,
        sign | (max + 1),
    ];
    if format.infinities {
        let infinity = max + 1;
        let quiet = infinity | (1 << (format.mantissa - 1));
        edges.extend([quiet, sign | quiet | 1, infinity | 1, (sign - 1)]);
    }
    edges
}

fn integer_edges(bits: u32) -> Vec<u64> {
    let mask = u64::MAX >> (64 - bits);
    let top = 1u64 << (bits - 1);
    let mut edges = vec![0, 1, 2, 3, mask, mask - 1, top, top - 1, top + 1];
    edges.extend([
        5,
        8,
        31,
        32,
        33,
        64,
        0x80,
        0xff,
        0x5555_5555_5555_5555 & mask,
    ]);
    edges.extend([top >> 1, bits as u64 / 2, 0x7f00, 0x8001]);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_is_the_published_one() {
        // The first two outputs of Vigna's reference splitmix64.c from the state 0.
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(splitmix64(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn fnv_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn two_operands_meet_in_every_edge_combination() {
        let kind = Kind::Float(Format::F32);
        let words = operands("x", &[kind, kind], 2048);
        let infinity = f32::INFINITY.to_bits();
        let met = (0..1024).any(|t| words[t] == infinity && words[2048 + t] == infinity);
        assert!(met, "inf never meets inf");
        let zeros = (0..1024).any(|t| words[t] == 0x8000_0000 && words[2048 + t] == 0);
        assert!(zeros, "-0 never meets +0");
    }

    #[test]
    fn narrow_kinds_stay_in_their_bits() {
        for kind in [
            Kind::Float(Format::F16),
            Kind::B16,
            Kind::Pair(Format::E4M3),
        ] {
            assert!(operands("y", &[kind], 1024).iter().all(|&w| w < 0x1_0000));
        }
        assert!(
            operands("z", &[Kind::Below(32)], 1024)
                .iter()
                .all(|&w| w < 32)
        );
    }

    #[test]
    fn wide_operands_take_two_words() {
        let words = operands("w", &[Kind::Float(Format::F64)], 1024);
        let one = (0..64).any(|t| words[t] == 0 && words[1024 + t] == 0x3ff0_0000);
        assert!(one, "1.0 is an edge case of f64");
    }
}
