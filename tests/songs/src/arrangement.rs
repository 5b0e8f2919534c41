//! What an instrument plays: notes and strokes, bar by bar, each kind of section in its own way.

use crate::piece::{Chord, Instrument, Kind, Piece, Track};
use crate::random::Random;
use crate::synth::{Hit, Note};

/// One bar of a track.
struct Bar<'a> {
    start: f64,
    beat: f64,
    kind: Kind,
    chord: &'a Chord,
    /// Whether a section begins here.
    first: bool,
}

fn bars<'a>(piece: &'a Piece, track: &Track) -> Vec<Bar<'a>> {
    let inside =
        |chord: &&Chord| chord.start > track.enter - 0.01 && chord.start < track.leave - 0.01;
    let bars = piece.chords.iter().filter(inside).map(|chord| {
        let section = piece.section_at(chord.start + 0.01);
        Bar {
            start: chord.start,
            beat: piece.bar() / 4.0,
            kind: section.kind,
            chord,
            first: (section.start - chord.start).abs() < 0.01,
        }
    });
    bars.collect()
}

/// Strokes of the drums as kinds, times and forces.
pub(crate) fn strokes(piece: &Piece, track: &Track, random: &mut Random) -> Vec<(Hit, f64, f32)> {
    let busy = random.chance(0.5);
    let mut strokes = Vec::new();
    for bar in bars(piece, track) {
        let mut hit = |hit, beat: f64, force: f32| {
            let human = force * (0.85 + 0.3 * random.unit() as f32);
            strokes.push((hit, bar.start + beat * bar.beat, human));
        };
        match bar.kind {
            Kind::Intro => {
                hit(Hit::Kick, 0.0, 0.8);
                (0..4).for_each(|beat| hit(Hit::Hat, f64::from(beat), 0.7));
            }
            Kind::Verse => {
                hit(Hit::Kick, 0.0, 1.0);
                hit(Hit::Kick, 2.0, 0.9);
                if busy {
                    hit(Hit::Kick, 2.5, 0.7);
                }
                hit(Hit::Snare, 1.0, 0.8);
                hit(Hit::Snare, 3.0, 0.8);
                (0..8).for_each(|eighth| hit(Hit::Hat, f64::from(eighth) / 2.0, 0.8));
            }
            Kind::Chorus => {
                if bar.first {
                    hit(Hit::Crash, 0.0, 1.0);
                }
                (0..4).for_each(|beat| hit(Hit::Kick, f64::from(beat), 1.0));
                hit(Hit::Snare, 1.0, 1.0);
                hit(Hit::Snare, 3.0, 1.0);
                (0..4).for_each(|beat| hit(Hit::OpenHat, f64::from(beat) + 0.5, 0.9));
            }
            Kind::Bridge => {
                hit(Hit::Kick, 0.0, 0.9);
                hit(Hit::Snare, 2.0, 0.7);
                hit(Hit::Tom, 3.0, 0.8);
                hit(Hit::Tom, 3.5, 0.9);
            }
            Kind::Outro => {
                hit(Hit::Kick, 0.0, 0.9);
                hit(Hit::Snare, 2.0, 0.6);
            }
        }
    }
    strokes
}

/// The notes of an instrument that has pitch.
pub(crate) fn notes(piece: &Piece, track: &Track, random: &mut Random) -> Vec<Note> {
    let mut notes = Vec::new();
    // The register is the piece's own.
    let shift = *random.pick(&[-2.0, 0.0, 2.0]);
    let mut melody = Melody::new(piece, track.instrument, random);
    for bar in bars(piece, track) {
        let mut note = |beat: f64, beats: f64, pitch: f64, force: f32| {
            notes.push(Note {
                start: bar.start + beat * bar.beat,
                length: beats * bar.beat,
                pitch,
                force,
                kind: bar.kind,
            });
        };
        match track.instrument {
            Instrument::Bass => {
                let root = near(bar.chord.root, 34.0 + shift);
                match bar.kind {
                    Kind::Chorus => (0..8).for_each(|i| note(f64::from(i) / 2.0, 0.42, root, 1.0)),
                    Kind::Verse => {
                        note(0.0, 1.8, root, 1.0);
                        note(2.0, 0.9, root, 0.9);
                        note(3.0, 0.9, root + 7.0, 0.8);
                    }
                    _ => note(0.0, 3.9, root, 1.0),
                }
            }
            Instrument::Pad => {
                for pitch in triad(bar.chord, 69.0 + shift) {
                    note(0.0, 4.0, pitch, 1.0);
                }
                note(0.0, 4.0, near(bar.chord.root, 55.0), 0.7);
            }
            Instrument::Guitar => {
                let chord = triad(bar.chord, 65.0 + shift);
                match bar.kind {
                    Kind::Chorus => {
                        for beat in [0.0, 1.0, 1.5, 2.0, 3.0, 3.5] {
                            chord
                                .iter()
                                .for_each(|pitch| note(beat, 0.45, *pitch, 0.75));
                        }
                    }
                    Kind::Bridge => {
                        for i in 0..16 {
                            let pitch = chord[[0, 1, 2, 1][i % 4]];
                            note(i as f64 / 4.0, 0.25, pitch + 12.0, 0.8);
                        }
                    }
                    Kind::Verse => {
                        for i in 0..8 {
                            let pitch = chord[[0, 1, 2, 1, 0, 2, 1, 2][i]];
                            note(i as f64 / 2.0, 0.6, pitch, 1.0);
                        }
                    }
                    Kind::Intro | Kind::Outro => {
                        for i in 0..4 {
                            note(i as f64, 1.0, chord[[0, 1, 2, 1][i]], 0.9);
                        }
                    }
                }
            }
            Instrument::Lead | Instrument::Voice => melody.bar(&bar, random, &mut note),
            Instrument::Drums => {}
        }
    }
    notes
}

/// A line that walks on the scale and stands on chord tones at the first beat of a bar.
struct Melody {
    scale: [usize; 7],
    centre: f64,
    pitch: f64,
}

impl Melody {
    fn new(piece: &Piece, instrument: Instrument, random: &mut Random) -> Melody {
        let steps = match piece.mode {
            crate::piece::Mode::Major => [0, 2, 4, 5, 7, 9, 11],
            crate::piece::Mode::Minor => [0, 2, 3, 5, 7, 8, 10],
        };
        let centre = match instrument {
            Instrument::Voice => *random.pick(&[60.0, 64.0, 67.0]),
            _ => *random.pick(&[74.0, 77.0, 80.0]),
        };
        Melody {
            scale: steps.map(|step| (piece.tonic + step) % 12),
            centre,
            pitch: centre,
        }
    }

    fn bar(
        &mut self,
        bar: &Bar<'_>,
        random: &mut Random,
        note: &mut impl FnMut(f64, f64, f64, f32),
    ) {
        let rhythms: &[&[f64]] = match bar.kind {
            Kind::Chorus => &[&[1.0, 0.5, 0.5, 1.0, 1.0], &[0.5, 0.5, 1.0, 0.5, 0.5, 1.0]],
            Kind::Verse => &[&[1.5, 0.5, 1.0, 1.0], &[1.0, 1.0, 2.0]],
            Kind::Bridge => &[&[2.0, 2.0], &[3.0, 1.0]],
            Kind::Intro | Kind::Outro => &[&[4.0], &[2.0, 2.0]],
        };
        let mut beat = 0.0;
        for beats in random.pick(rhythms).iter() {
            let pull = if self.pitch > self.centre { -1.0 } else { 1.0 };
            let step = pull * random.between(-2.0, 4.0);
            let allowed: Vec<usize> = match beat == 0.0 {
                true => triad(bar.chord, 60.0)
                    .map(|pitch| pitch as usize % 12)
                    .to_vec(),
                false => self.scale.to_vec(),
            };
            let wanted = self.pitch + step;
            let pitches = allowed.iter().map(|class| near(*class, wanted));
            self.pitch = pitches
                .min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
                .unwrap_or(self.pitch);
            note(
                beat,
                beats * 0.92,
                self.pitch,
                0.9 + 0.2 * random.unit() as f32,
            );
            beat += beats;
        }
    }
}

/// The pitch of a class that is closest to another pitch.
fn near(class: usize, pitch: f64) -> f64 {
    let class = class as f64;
    class + 12.0 * ((pitch - class) / 12.0).round()
}

/// Root, third and fifth, each as close as it gets to a pitch, from low to high.
fn triad(chord: &Chord, pitch: f64) -> [f64; 3] {
    let third = if chord.minor { 3 } else { 4 };
    let mut notes = [0, third, 7].map(|above| near((chord.root + above) % 12, pitch));
    notes.sort_by(f64::total_cmp);
    notes
}
