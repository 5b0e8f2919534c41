//! A piece's samples: tracks played, balanced, made louder and softer, given a room and noise.

use crate::arrangement;
use crate::piece::{Instrument, Kind, Piece, Track};
use crate::random::Random;
use crate::synth::{RATE, play, strike};
use crate::timbre::Timbre;

/// Decibels by which a swell rises above what is around it.
const SWELL: f64 = 8.0;
/// Seconds that it takes to rise.
const RISE: f64 = 2.5;
/// Seconds that it takes to fall.
const FALL: f64 = 1.2;

/// The piece as it sounds: mono, 16 kHz, within -1 to 1.
pub fn render(piece: &Piece) -> Vec<f32> {
    let length = piece.samples();
    let mut random = Random::new(piece.seed, "mix");
    let mut dry = vec![0.0; length];
    for track in &piece.tracks {
        let wanted = balance(track.instrument) + random.between(-2.5, 2.5);
        let sound = sound(piece, track, length);
        let gain = decibels(wanted) / level(&sound, track);
        dry.iter_mut()
            .zip(&sound)
            .for_each(|(out, s)| *out += gain * s);
    }
    // Steps of a millisecond are not heard.
    for (step, samples) in dry.chunks_mut(16).enumerate() {
        let gain = decibels(loudness(piece, (16 * step) as f64 / RATE));
        samples.iter_mut().for_each(|sample| *sample *= gain);
    }
    let mut mixed = dry;
    room(
        &mut mixed,
        random.between(0.0, 0.22) as f32,
        random.between(0.6, 1.0),
    );
    tilt(&mut mixed, random.between(-0.35, 0.35) as f32);
    let peak = mixed.iter().fold(1e-6f32, |peak, s| peak.max(s.abs()));
    let gain = decibels(random.between(-14.0, -1.0)) / peak;
    let hiss = decibels(random.between(-75.0, -42.0));
    let mut before = 0.0;
    for sample in &mut mixed {
        before = 0.7 * before + 0.3 * random.noise();
        *sample = (gain * (*sample + peak * hiss * before)).clamp(-1.0, 1.0);
    }
    mixed
}

/// How loud an instrument is beside the others while it plays, in decibels.
fn balance(instrument: Instrument) -> f64 {
    match instrument {
        Instrument::Drums => -15.0,
        Instrument::Bass => -14.0,
        Instrument::Guitar => -17.0,
        Instrument::Pad => -19.0,
        Instrument::Lead => -18.0,
        Instrument::Voice => -17.0,
    }
}

/// Root of the mean square of a track while it plays.
fn level(sound: &[f32], track: &Track) -> f32 {
    let [first, last] =
        [track.enter, track.leave].map(|time| ((time * RATE) as usize).min(sound.len()));
    let power: f32 = sound[first..last].iter().map(|s| s * s).sum();
    (power / (last - first).max(1) as f32).sqrt().max(1e-6)
}

/// A track by itself, silent outside its span.
fn sound(piece: &Piece, track: &Track, length: usize) -> Vec<f32> {
    let mut out = vec![0.0; length];
    let timbre = Timbre::new(piece.seed, piece.split, track.instrument);
    let mut random = Random::new(piece.seed, track.instrument.name());
    match track.instrument {
        Instrument::Drums => {
            for (hit, start, force) in arrangement::strokes(piece, track, &mut random) {
                strike(hit, start, force, &timbre, &mut random, &mut out);
            }
        }
        instrument => {
            for note in arrangement::notes(piece, track, &mut random) {
                play(instrument, &note, &timbre, &mut random, &mut out);
            }
        }
    }
    // What still rings when it drops out is damped.
    let leave = (track.leave * RATE) as usize;
    for (i, sample) in out.iter_mut().skip(leave).enumerate() {
        *sample *= (-(i as f32) / 800.0).exp();
    }
    out
}

/// Decibels at a time: the section's own, and the swell.
fn loudness(piece: &Piece, time: f64) -> f64 {
    let section = piece.section_at(time);
    let through = (time - section.start) / (section.end - section.start);
    let level = match section.kind {
        Kind::Intro => -5.0,
        Kind::Verse => -2.0,
        Kind::Chorus => 1.0,
        Kind::Bridge => -2.0,
        Kind::Outro => -2.0 - 12.0 * through.clamp(0.0, 1.0),
    };
    let swell = piece.climax.map_or(0.0, |climax| match time < climax {
        true => (1.0 - (climax - time) / RISE).max(0.0),
        false => (1.0 - (time - climax) / FALL).max(0.0),
    });
    // At the climax it is as loud in any section.
    level + swell * (1.0 + SWELL - level)
}

/// Four combs and two all-passes (Schroeder, 1962).
fn room(samples: &mut [f32], wet: f32, size: f64) {
    let mut tail = vec![0.0; samples.len()];
    for delay in [0.0297, 0.0371, 0.0411, 0.0437] {
        let delay = (delay * size * RATE) as usize;
        let mut line = vec![0.0; delay];
        for (i, (out, sample)) in tail.iter_mut().zip(samples.iter()).enumerate() {
            let at = i % delay;
            *out += 0.25 * line[at];
            line[at] = sample + 0.72 * line[at];
        }
    }
    for delay in [0.005, 0.0017] {
        let delay = (delay * RATE) as usize;
        let mut line = vec![0.0; delay];
        for (i, out) in tail.iter_mut().enumerate() {
            let at = i % delay;
            let held = line[at];
            let into = *out + 0.7 * held;
            line[at] = into;
            *out = held - 0.7 * into;
        }
    }
    samples
        .iter_mut()
        .zip(tail)
        .for_each(|(sample, tail)| *sample += wet * tail);
}

/// Takes from the highs, or adds to them.
fn tilt(samples: &mut [f32], amount: f32) {
    let mut low = 0.0;
    for sample in samples {
        low += 0.3 * (*sample - low);
        *sample = low * (1.0 - amount) + (*sample - low) * (1.0 + amount);
    }
}

fn decibels(decibels: f64) -> f32 {
    10f64.powf(decibels / 20.0) as f32
}
