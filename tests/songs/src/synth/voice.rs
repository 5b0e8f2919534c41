//! Voice: a glottal saw and breath through the formants of a vowel, with vibrato.

use super::{Filter, Note, Oscillator, RATE, edges, hertz, samples};
use crate::random::Random;
use crate::timbre::Timbre;
use std::f32::consts::TAU;

/// First three formants in hertz: a, e, i, o, u as in a textbook of phonetics, rounded.
const VOWELS: [[f32; 3]; 5] = [
    [750.0, 1200.0, 2600.0],
    [500.0, 1850.0, 2550.0],
    [300.0, 2250.0, 3000.0],
    [450.0, 850.0, 2500.0],
    [330.0, 750.0, 2400.0],
];

pub(super) fn play(note: &Note, timbre: &Timbre, random: &mut Random, out: &mut [f32]) {
    let length = samples(note.length);
    let size = 0.88 + 0.3 * timbre.colour;
    let vowel = VOWELS[random.below(VOWELS.len())];
    let mut formants = vowel.map(|hertz| Filter::new(hertz * size, 7.0));
    let heights = [1.0, 0.6, 0.2 + 0.4 * timbre.bright];
    let mut wave = Oscillator::new(hertz(note.pitch), 0.0);
    let rate = 4.8 + 1.8 * timbre.shape;
    let depth = 0.008 + 0.016 * timbre.motion;
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / RATE as f32;
        let late = (t / 0.25).min(1.0);
        // It slides into the note from a little below.
        let slide = 1.0 - 0.05 * (-t / 0.04).exp();
        let bend = slide * (1.0 + late * depth * (TAU * rate * t).sin());
        let source = wave.saw() + (0.05 + 0.15 * timbre.bright) * random.noise();
        let sound: f32 = formants
            .iter_mut()
            .zip(heights)
            .map(|(formant, height)| height * formant.band(source))
            .sum();
        *out += note.force * 0.55 * sound * edges(i, length, 500, 900);
        wave.advance(bend);
    }
}
