//! Bass: a wave between sine, saw and pulse under a low-pass whose cutoff falls.

use super::{Filter, Note, Oscillator, edges, hertz, samples};
use crate::timbre::Timbre;

pub(super) fn play(note: &Note, timbre: &Timbre, out: &mut [f32]) {
    let length = samples(note.length);
    let mut wave = Oscillator::new(hertz(note.pitch), 0.0);
    let mut filter = Filter::new(100.0, 0.8 + 1.5 * timbre.motion);
    let floor = 180.0 + 500.0 * timbre.bright;
    let depth = 300.0 + 1500.0 * timbre.bright;
    let decay = 0.06 + 0.3 * timbre.shape;
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / super::RATE as f32;
        if i % 16 == 0 {
            filter.tune(floor + depth * (-t / decay).exp());
        }
        let edge = wave.saw() * (1.0 - timbre.colour) + wave.pulse(0.5) * timbre.colour;
        let sound = filter.low(0.7 * edge + 0.5 * wave.sine());
        *out += note.force * 0.5 * sound * edges(i, length, 60, 500);
        wave.advance(1.0);
    }
}
