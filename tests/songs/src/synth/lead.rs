//! Lead: a pulse or saw with a resonant filter that opens at each note, and a late vibrato.

use super::{Filter, Note, Oscillator, RATE, edges, hertz, samples};
use crate::timbre::Timbre;
use std::f32::consts::TAU;

pub(super) fn play(note: &Note, timbre: &Timbre, out: &mut [f32]) {
    let length = samples(note.length);
    let pitch = hertz(note.pitch);
    let mut wave = Oscillator::new(pitch, 0.0);
    let mut filter = Filter::new(1000.0, 1.2 + 2.5 * timbre.shape);
    let width = 0.12 + 0.38 * timbre.colour;
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / RATE as f32;
        if i % 16 == 0 {
            let open = 1.0 + 2.0 * (-t / 0.12).exp();
            filter.tune((pitch * (1.5 + 2.0 * timbre.bright) * open).min(6500.0));
        }
        let late = ((t - 0.15) / 0.2).clamp(0.0, 1.0);
        let bend = 1.0 + late * 0.012 * timbre.motion * (TAU * 6.5 * t).sin();
        let sound = match timbre.colour < 0.5 {
            true => wave.pulse(width),
            false => wave.saw(),
        };
        *out += note.force * 0.2 * filter.low(sound) * edges(i, length, 80, 600);
        wave.advance(bend);
    }
}
