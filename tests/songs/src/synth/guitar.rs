//! Guitar: a plucked string (Karplus and Strong, 1983), its loop tuned by a fractional delay.

use super::{Filter, Note, RATE, edges, hertz, samples};
use crate::random::Random;
use crate::timbre::Timbre;

pub(super) fn play(note: &Note, timbre: &Timbre, random: &mut Random, out: &mut [f32]) {
    let ring = 0.25 + 0.5 * f64::from(timbre.shape);
    let length = samples(note.length + ring).min(samples(2.5));
    let period = RATE as f32 / hertz(note.pitch);
    let smooth = 0.5 - 0.25 * timbre.bright;
    // The smoothing delays by its weight, the fraction is made up between two samples.
    let delay = (period - smooth).max(2.0);
    let whole = delay as usize;
    let part = delay - whole as f32;
    let mut pick = Filter::new(900.0 + 4500.0 * timbre.bright, 0.7);
    let mut string: Vec<f32> = (0..whole + 1).map(|_| pick.low(random.noise())).collect();
    // Plucked at a fraction of its length, which takes some partials out.
    let at = ((0.1 + 0.35 * timbre.colour) * period) as usize;
    for i in (at..string.len()).rev() {
        string[i] -= 0.8 * string[i - at];
    }
    let loss = (-6.9 / (period.recip() * RATE as f32 * (0.5 + 2.5 * timbre.shape))).exp();
    let (mut at, mut before) = (0, 0.0);
    let held = samples(note.length);
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let next = (at + 1) % string.len();
        let read = string[next] * part + string[at] * (1.0 - part);
        let sound = (1.0 - smooth) * read + smooth * before;
        before = read;
        string[at] = loss * sound;
        at = next;
        let damp = edges(i, length, 8, length.saturating_sub(held).max(300));
        *out += note.force * 0.45 * sound * damp;
    }
}
