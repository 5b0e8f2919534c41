//! What an instrument sounds like: a few knobs, whose settings in held-out pieces occur in no training piece.

use crate::piece::{Instrument, Split};
use crate::random::Random;

/// Settings of an instrument, each from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timbre {
    /// How much of its higher partials is heard.
    pub bright: f32,
    /// Its waveform, material or size.
    pub colour: f32,
    /// How it begins and how long it rings.
    pub shape: f32,
    /// How much it wavers.
    pub motion: f32,
}

/// A knob's range has this many parts of equal size.
const CELLS: usize = 8;
/// The parts that only held-out pieces use.
const HELD_OUT: [usize; 2] = [2, 5];

impl Timbre {
    /// That of an instrument in a piece.
    pub(crate) fn new(seed: u64, split: Split, instrument: Instrument) -> Timbre {
        let mut random = Random::new(seed, instrument.name());
        let mut knob = || {
            loop {
                let cell = random.below(CELLS);
                if HELD_OUT.contains(&cell) == (split == Split::HeldOut) {
                    break ((cell as f64 + random.unit()) / CELLS as f64) as f32;
                }
            }
        };
        Timbre {
            bright: knob(),
            colour: knob(),
            shape: knob(),
            motion: knob(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_pieces_use_settings_that_training_never_has() {
        let cells = |split| {
            let mut seen = [false; CELLS];
            for seed in 0..200 {
                for instrument in Instrument::ALL {
                    let t = Timbre::new(seed, split, instrument);
                    for knob in [t.bright, t.colour, t.shape, t.motion] {
                        seen[(knob * CELLS as f32) as usize] = true;
                    }
                }
            }
            seen
        };
        let (train, held_out) = (cells(Split::Train), cells(Split::HeldOut));
        for cell in 0..CELLS {
            assert_ne!(train[cell], held_out[cell], "cell {cell}");
        }
    }
}
