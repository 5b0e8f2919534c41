//! Pad: detuned saws under a low-pass, slow to begin; it trembles in bridges and opens in choruses.

use super::{Filter, Note, Oscillator, RATE, edges, hertz, samples};
use crate::piece::Kind;
use crate::timbre::Timbre;
use std::f32::consts::TAU;

pub(super) fn play(note: &Note, timbre: &Timbre, out: &mut [f32]) {
    let length = samples(note.length);
    let detune = 1.0015 + 0.006 * timbre.motion;
    let pitch = hertz(note.pitch);
    let mut waves = [
        Oscillator::new(pitch * detune, 0.3),
        Oscillator::new(pitch / detune, 0.8),
    ];
    let open = match note.kind {
        Kind::Chorus => 1.6,
        Kind::Intro | Kind::Outro => 0.7,
        _ => 1.0,
    };
    let mut filter = Filter::new(open * (900.0 + 2200.0 * timbre.bright), 0.7);
    let attack = samples(0.03 + 0.17 * f64::from(timbre.shape));
    let tremble = if note.kind == Kind::Bridge { 0.7 } else { 0.0 };
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / RATE as f32;
        let [a, b] = &waves;
        let hollow = a.pulse(0.3 + 0.2 * timbre.colour);
        let sound = (1.0 - timbre.colour) * a.saw() + timbre.colour * 0.7 * hollow + b.saw();
        let waver = 1.0 - tremble * (0.5 + 0.5 * (TAU * 5.5 * t).cos());
        *out += note.force * 0.12 * waver * filter.low(sound) * edges(i, length, attack, 900);
        waves.iter_mut().for_each(|wave| wave.advance(1.0));
    }
}
