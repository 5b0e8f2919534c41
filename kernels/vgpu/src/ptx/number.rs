//! Numbers in PTX text (PTX ISA 4.5).

/// A literal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer, modulo 2^64.
    Integer(u64),
    /// `0f` and eight digits: the bits of a single.
    Single(u32),
    /// `0d` and sixteen digits, or a decimal fraction: the bits of a double.
    Double(u64),
}

impl Number {
    /// Reads a literal without its sign.
    pub(super) fn parse(text: &str) -> Option<Number> {
        let digits = text.strip_prefix('0').unwrap_or("");
        let (kind, rest) = match digits.chars().next() {
            Some(kind) => (kind, &digits[kind.len_utf8()..]),
            None => (' ', ""),
        };
        match kind {
            'f' | 'F' if rest.len() == 8 => return hex(rest).map(|b| Number::Single(b as u32)),
            'd' | 'D' if rest.len() == 16 => return hex(rest).map(Number::Double),
            _ => {}
        }
        let bare = text.strip_suffix('U').unwrap_or(text);
        if bare.contains('.') {
            return bare
                .parse::<f64>()
                .ok()
                .map(|x| Number::Double(x.to_bits()));
        }
        let rest = rest.strip_suffix('U').unwrap_or(rest);
        match kind {
            'x' | 'X' => hex(rest),
            'b' | 'B' => u64::from_str_radix(rest, 2).ok(),
            '0'..='7' => u64::from_str_radix(bare, 8).ok(),
            _ => bare.parse().ok(),
        }
        .map(Number::Integer)
    }

    /// The number with its sign turned.
    pub(super) fn negate(self) -> Number {
        match self {
            Number::Integer(x) => Number::Integer(x.wrapping_neg()),
            Number::Single(x) => Number::Single(x ^ (1 << 31)),
            Number::Double(x) => Number::Double(x ^ (1 << 63)),
        }
    }

    /// The bits of the number as a single: integers are taken as bits.
    pub fn as_u32(self) -> u32 {
        match self {
            Number::Integer(x) => x as u32,
            Number::Single(x) => x,
            Number::Double(x) => (f64::from_bits(x) as f32).to_bits(),
        }
    }

    /// The bits of the number as 64 bits: integers are taken as bits.
    pub fn as_u64(self) -> u64 {
        match self {
            Number::Integer(x) | Number::Double(x) => x,
            Number::Single(x) => f64::from(f32::from_bits(x)).to_bits(),
        }
    }
}

fn hex(digits: &str) -> Option<u64> {
    u64::from_str_radix(digits, 16).ok()
}
