//! The tokens of greatest logit, by radix selection: integers throughout, so exact in any order.

/// The tokens of greatest logit: all above one value, and some of those that equal it.
pub(crate) struct Cut {
    /// The value, as [`order`] has it.
    at: u32,
    /// What those that equal it still have to contribute.
    rest: u64,
}

impl Cut {
    /// The fewest tokens of greatest logit whose amounts reach `target`, which is at least 1 and at
    /// most the sum of all: a radix selection, 11 bits at a time.
    pub(crate) fn find(
        a: &[f32],
        weights: &[f32],
        target: u64,
        amount: impl Fn(f32) -> u64,
    ) -> Cut {
        let mut cut = Cut {
            at: 0,
            rest: target,
        };
        let mut known = 0;
        for (shift, digits) in [(21, 1 << 11), (10, 1 << 11), (0, 1 << 10)] {
            let mut sums = [0; 1 << 11];
            for (a, weight) in a.iter().zip(weights) {
                let key = order(*a);
                if key & known == cut.at {
                    sums[(key >> shift) as usize % digits] += amount(*weight);
                }
            }
            let mut digit = digits - 1;
            while digit > 0 && sums[digit] < cut.rest {
                cut.rest -= sums[digit];
                digit -= 1;
            }
            cut.at |= (digit as u32) << shift;
            known |= (digits as u32 - 1) << shift;
        }
        cut
    }

    /// Whether the next token, of this logit and amount, is one of them; to be asked in order.
    pub(crate) fn keeps(&mut self, a: f32, amount: u64) -> bool {
        let key = order(a);
        let counts = key == self.at && self.rest > 0;
        if counts {
            self.rest = self.rest.saturating_sub(amount);
        }
        counts || key > self.at
    }

    /// Zeroes the weights of all other tokens.
    pub(crate) fn apply(mut self, a: &[f32], weights: &mut [f32], amount: impl Fn(f32) -> u64) {
        for (a, weight) in a.iter().zip(weights) {
            if !self.keeps(*a, amount(*weight)) {
                *weight = 0.0;
            }
        }
    }
}

/// An integer that orders as the number does; zero has one, whatever its sign.
#[inline(always)]
pub(crate) fn order(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    }
}
