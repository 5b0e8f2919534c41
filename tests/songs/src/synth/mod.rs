//! Sound: oscillators and filters, and an instrument a file.

mod bass;
mod drums;
mod guitar;
mod lead;
mod pad;
mod voice;

pub(crate) use drums::{Hit, strike};

use crate::piece::{Instrument, Kind};
use crate::random::Random;
use crate::timbre::Timbre;
use std::f32::consts::{PI, TAU};

/// Samples a second.
pub const RATE: f64 = 16_000.0;

/// A note of an instrument that has pitch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// When it begins, in seconds.
    pub start: f64,
    /// How long it is held.
    pub length: f64,
    /// MIDI number.
    pub pitch: f64,
    /// How hard, about 1.
    pub force: f32,
    /// Where in the song, which changes how it is played.
    pub kind: Kind,
}

/// Adds a note to a track's samples.
pub(crate) fn play(
    instrument: Instrument,
    note: &Note,
    timbre: &Timbre,
    random: &mut Random,
    out: &mut [f32],
) {
    let first = ((note.start * RATE) as usize).min(out.len());
    let out = &mut out[first..];
    match instrument {
        Instrument::Bass => bass::play(note, timbre, out),
        Instrument::Guitar => guitar::play(note, timbre, random, out),
        Instrument::Pad => pad::play(note, timbre, out),
        Instrument::Lead => lead::play(note, timbre, out),
        Instrument::Voice => voice::play(note, timbre, random, out),
        Instrument::Drums => {}
    }
}

fn hertz(pitch: f64) -> f32 {
    (440.0 * ((pitch - 69.0) / 12.0).exp2()) as f32
}

fn samples(seconds: f64) -> usize {
    (seconds * RATE) as usize
}

/// Rises and falls in straight lines.
fn edges(i: usize, length: usize, attack: usize, release: usize) -> f32 {
    let rise = (i as f32 / attack.max(1) as f32).min(1.0);
    let fall = (length.saturating_sub(i) as f32 / release.max(1) as f32).min(1.0);
    rise * fall
}

/// A phase from 0 to 1, and the waves that are made of it with rounded edges (polyBLEP), so that they alias little.
struct Oscillator {
    phase: f32,
    step: f32,
}

impl Oscillator {
    fn new(hertz: f32, phase: f32) -> Oscillator {
        let step = hertz / RATE as f32;
        Oscillator { phase, step }
    }

    fn advance(&mut self, bend: f32) {
        self.phase += self.step * bend;
        self.phase -= self.phase.floor();
    }

    fn blep(&self, phase: f32) -> f32 {
        if phase < self.step {
            let t = phase / self.step;
            2.0 * t - t * t - 1.0
        } else if phase > 1.0 - self.step {
            let t = (phase - 1.0) / self.step;
            t * t + 2.0 * t + 1.0
        } else {
            0.0
        }
    }

    fn saw(&self) -> f32 {
        2.0 * self.phase - 1.0 - self.blep(self.phase)
    }

    fn pulse(&self, width: f32) -> f32 {
        let other = (self.phase + 1.0 - width).fract();
        let flat = if self.phase < width { 1.0 } else { -1.0 };
        flat + self.blep(self.phase) - self.blep(other)
    }

    fn sine(&self) -> f32 {
        (TAU * self.phase).sin()
    }
}

/// A state-variable filter (Zavalishin's, trapezoidal).
struct Filter {
    g: f32,
    damping: f32,
    low: f32,
    band: f32,
}

impl Filter {
    fn new(hertz: f32, q: f32) -> Filter {
        let mut filter = Filter {
            g: 0.0,
            damping: 1.0 / q,
            low: 0.0,
            band: 0.0,
        };
        filter.tune(hertz);
        filter
    }

    fn tune(&mut self, hertz: f32) {
        self.g = (PI * (hertz / RATE as f32).clamp(0.0005, 0.47)).tan();
    }

    /// Low-pass, band-pass with a gain of 1 at its centre, and high-pass.
    fn run(&mut self, input: f32) -> (f32, f32, f32) {
        let g = self.g;
        let high =
            (input - (self.damping + g) * self.band - self.low) / (1.0 + g * (g + self.damping));
        let band = g * high + self.band;
        let low = g * band + self.low;
        self.band = g * high + band;
        self.low = g * band + low;
        (low, band * self.damping, high)
    }

    fn low(&mut self, input: f32) -> f32 {
        self.run(input).0
    }

    fn band(&mut self, input: f32) -> f32 {
        self.run(input).1
    }

    fn high(&mut self, input: f32) -> f32 {
        self.run(input).2
    }
}
