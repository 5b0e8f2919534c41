//! Drums: falling sines and filtered noise.

use super::{Filter, RATE, samples};
use crate::random::Random;
use crate::timbre::Timbre;
use std::f32::consts::TAU;

/// A part of the drum kit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Kick,
    Snare,
    Tom,
    Hat,
    OpenHat,
    Crash,
}

/// Adds a stroke at a time in seconds.
pub(crate) fn strike(
    hit: Hit,
    start: f64,
    force: f32,
    timbre: &Timbre,
    random: &mut Random,
    out: &mut [f32],
) {
    let first = samples(start).min(out.len());
    let out = &mut out[first..];
    let (shape, bright) = (timbre.shape, timbre.bright);
    match hit {
        Hit::Kick => drum(
            42.0 + 22.0 * timbre.colour,
            3.5,
            0.1 + 0.15 * shape,
            0.9 * force,
            out,
        ),
        Hit::Tom => drum(
            90.0 + 60.0 * timbre.colour,
            0.9,
            0.15 + 0.15 * shape,
            0.6 * force,
            out,
        ),
        Hit::Snare => {
            drum(170.0 + 60.0 * timbre.colour, 0.5, 0.07, 0.35 * force, out);
            let band = 1400.0 + 1800.0 * bright;
            noise(band, 0.8, 0.06 + 0.12 * shape, 0.6 * force, random, out);
        }
        Hit::Hat => noise(
            6200.0 + 900.0 * bright,
            1.5,
            0.02 + 0.03 * timbre.motion,
            0.5 * force,
            random,
            out,
        ),
        Hit::OpenHat => noise(
            5600.0 + 900.0 * bright,
            1.2,
            0.12 + 0.1 * timbre.motion,
            0.45 * force,
            random,
            out,
        ),
        Hit::Crash => noise(
            4200.0 + 1500.0 * bright,
            0.5,
            0.5 + 0.3 * shape,
            0.45 * force,
            random,
            out,
        ),
    }
}

fn drum(hertz: f32, fall: f32, decay: f32, force: f32, out: &mut [f32]) {
    let length = samples(f64::from(5.0 * decay));
    let mut phase = 0.0;
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / RATE as f32;
        *out += force * (-t / decay).exp() * (TAU * phase).sin();
        phase = (phase + hertz * (1.0 + fall * (-t / 0.025).exp()) / RATE as f32).fract();
    }
}

fn noise(hertz: f32, q: f32, decay: f32, force: f32, random: &mut Random, out: &mut [f32]) {
    let length = samples(f64::from(5.0 * decay));
    let mut band = Filter::new(hertz, q);
    let mut floor = Filter::new(hertz * 0.5, 0.7);
    for (i, out) in out.iter_mut().take(length).enumerate() {
        let t = i as f32 / RATE as f32;
        let sound = floor.high(band.band(random.noise()));
        *out += force * (-t / decay).exp() * sound;
    }
}
