//! The plan of a piece: what is heard, and when. It is the truth that questions are about.

use crate::random::Random;
use crate::synth::RATE;
use serde::Serialize;

/// The instruments of the band, in the order in which answers name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Instrument {
    /// Kick, snare, hi-hat, toms and cymbals.
    Drums,
    /// Roots, low.
    Bass,
    /// Plucked strings: arpeggios and strummed chords.
    Guitar,
    /// Held chords.
    Pad,
    /// A synthetic melody.
    Lead,
    /// A melody on vowels.
    Voice,
}

impl Instrument {
    /// All of them.
    pub const ALL: [Instrument; 6] = [
        Instrument::Drums,
        Instrument::Bass,
        Instrument::Guitar,
        Instrument::Pad,
        Instrument::Lead,
        Instrument::Voice,
    ];

    /// Its name in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Instrument::Drums => "drums",
            Instrument::Bass => "bass",
            Instrument::Guitar => "guitar",
            Instrument::Pad => "pad",
            Instrument::Lead => "lead",
            Instrument::Voice => "voice",
        }
    }
}

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Soft, on one chord; only ever first.
    Intro,
    /// Of middle loudness.
    Verse,
    /// Loud, with another progression and a busier band.
    Chorus,
    /// At half time, trembling.
    Bridge,
    /// Fading; only ever last.
    Outro,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Intro,
        Kind::Verse,
        Kind::Chorus,
        Kind::Bridge,
        Kind::Outro,
    ];

    /// Its name in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Intro => "intro",
            Kind::Verse => "verse",
            Kind::Chorus => "chorus",
            Kind::Bridge => "bridge",
            Kind::Outro => "outro",
        }
    }
}

/// Whether the piece is in a major or a minor key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Major.
    Major,
    /// Natural minor.
    Minor,
}

impl Mode {
    /// Its name in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Major => "major",
            Mode::Minor => "minor",
        }
    }
}

/// How fast a piece is; between the classes there are gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tempo {
    /// 62 to 82 beats a minute.
    Slow,
    /// 95 to 117.
    Medium,
    /// 136 to 168.
    Fast,
}

impl Tempo {
    /// Its name in questions and answers.
    pub fn name(self) -> &'static str {
        match self {
            Tempo::Slow => "slow",
            Tempo::Medium => "medium",
            Tempo::Fast => "fast",
        }
    }
}

/// A part of the piece, of whole bars.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Section {
    /// What it is.
    pub kind: Kind,
    /// Where it begins, in seconds.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
}

/// When an instrument plays: without a break from one bar line to another.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Track {
    /// Which one.
    pub instrument: Instrument,
    /// When it comes in, in seconds.
    pub enter: f64,
    /// When it drops out.
    pub leave: f64,
}

/// A triad that lasts for a bar.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Chord {
    /// When it begins, in seconds.
    pub start: f64,
    /// Pitch class of the root; 0 is C.
    pub root: usize,
    /// Whether its third is minor.
    pub minor: bool,
}

/// Names of pitch classes.
pub(crate) const PITCHES: [&str; 12] = [
    "C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B",
];

impl Chord {
    /// Its name, such as `A minor`.
    pub fn name(&self) -> String {
        let mode = if self.minor { "minor" } else { "major" };
        format!("{} {mode}", PITCHES[self.root])
    }
}

/// Which seeds and timbres a piece is made of; the two share none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// For training.
    Train,
    /// For measuring.
    HeldOut,
}

/// A piece of music.
#[derive(Clone, Debug, Serialize)]
pub struct Piece {
    /// What it is made from.
    pub seed: u64,
    /// Which seeds and timbres.
    pub split: Split,
    /// Its length.
    pub seconds: f64,
    /// Beats a minute; bars have four.
    pub bpm: f64,
    /// The class of `bpm`.
    pub tempo: Tempo,
    /// Major or minor.
    pub mode: Mode,
    /// Pitch class of the tonic; 0 is C.
    pub tonic: usize,
    /// One after the other, without gaps; neighbours differ in kind.
    pub sections: Vec<Section>,
    /// In the order of [`Instrument::ALL`].
    pub tracks: Vec<Track>,
    /// One a bar.
    pub chords: Vec<Chord>,
    /// When it is loudest, if there is such a moment: loudness swells up to it and falls after it.
    pub climax: Option<f64>,
}

/// Scale degrees of triads as semitones above the tonic, and whether they are minor.
type Degree = (usize, bool);
const MAJOR: [Degree; 5] = [(0, false), (2, true), (5, false), (7, false), (9, true)];
const MINOR: [Degree; 5] = [(0, true), (3, false), (5, true), (8, false), (10, false)];

/// Progressions as indices of the degrees above; verses, choruses and bridges have different ones.
const VERSES: [[usize; 4]; 3] = [[0, 4, 0, 3], [0, 2, 0, 3], [0, 0, 4, 3]];
const CHORUSES: [[usize; 4]; 3] = [[2, 3, 0, 4], [2, 0, 3, 0], [2, 3, 4, 0]];
const BRIDGES: [[usize; 4]; 3] = [[1, 1, 4, 4], [4, 4, 2, 2], [1, 1, 3, 3]];

impl Piece {
    /// A piece between two lengths in seconds, of which the shorter is at least 16: four slow bars.
    pub fn new(seed: u64, split: Split, shortest: f64, longest: f64) -> Piece {
        let stream = match split {
            Split::Train => "train",
            Split::HeldOut => "held out",
        };
        let mut random = Random::new(seed, stream);
        let (tempo, slowest, fastest) = *random.pick(&[
            (Tempo::Slow, 62.0, 82.0),
            (Tempo::Medium, 95.0, 117.0),
            (Tempo::Fast, 136.0, 168.0),
        ]);
        let bpm = (random.between(slowest, fastest) * 10.0).round() / 10.0;
        let bar = 240.0 / bpm;
        let lead_in = random.between(0.0, 0.6);
        let tail = random.between(0.2, 0.6);
        let wanted = random.between(shortest, longest);
        let bars = ((wanted - lead_in - tail) / bar).floor().max(4.0) as usize;
        let at = |bars: usize| lead_in + bars as f64 * bar;

        let sections = sections(&mut random, bars, bar);
        let tracks = tracks(&mut random, bars, bar, &sections);
        let mode = *random.pick(&[Mode::Major, Mode::Minor]);
        let tonic = random.below(12);
        let degrees = match mode {
            Mode::Major => MAJOR,
            Mode::Minor => MINOR,
        };
        let (verse, chorus, bridge) = (
            *random.pick(&VERSES),
            *random.pick(&CHORUSES),
            *random.pick(&BRIDGES),
        );
        let mut chords = Vec::new();
        for &(kind, first, last) in &sections {
            for bar in first..last {
                let i = bar - first;
                let degree = match kind {
                    Kind::Intro => 0,
                    Kind::Verse => verse[i % 4],
                    Kind::Chorus => chorus[i % 4],
                    Kind::Bridge => bridge[i % 4],
                    Kind::Outro => [2, 0][i % 2],
                };
                let (above, minor) = degrees[degree];
                chords.push(Chord {
                    start: at(bar),
                    root: (tonic + above) % 12,
                    minor,
                });
            }
        }
        let climax = random.chance(0.6).then(|| {
            let first = (bars as f64 * 0.25).ceil() as usize;
            let last = ((bars as f64 * 0.9) as usize).max(first + 1);
            at(first + random.below(last - first))
        });
        Piece {
            seed,
            split,
            seconds: at(bars) + tail,
            bpm,
            tempo,
            mode,
            tonic,
            sections: sections
                .iter()
                .map(|&(kind, first, last)| Section {
                    kind,
                    start: at(first),
                    end: at(last),
                })
                .collect(),
            tracks: tracks
                .iter()
                .map(|&(instrument, first, last)| Track {
                    instrument,
                    enter: at(first),
                    leave: at(last),
                })
                .collect(),
            chords,
            climax,
        }
    }

    /// How many samples it has.
    pub fn samples(&self) -> usize {
        (self.seconds * RATE) as usize
    }

    /// Seconds of a bar.
    pub fn bar(&self) -> f64 {
        240.0 / self.bpm
    }

    /// Where the first bar begins.
    pub fn start(&self) -> f64 {
        self.sections[0].start
    }

    /// Where the last bar ends.
    pub fn end(&self) -> f64 {
        self.sections[self.sections.len() - 1].end
    }

    /// When an instrument plays.
    pub fn track(&self, instrument: Instrument) -> Option<&Track> {
        self.tracks.iter().find(|t| t.instrument == instrument)
    }

    /// The section at a time within the bars.
    pub fn section_at(&self, time: f64) -> &Section {
        let after = self.sections.iter().take_while(|s| s.start <= time).count();
        &self.sections[after.max(1) - 1]
    }
}

/// Kinds and bars of the sections: each at least two bars and four seconds long.
fn sections(random: &mut Random, bars: usize, bar: f64) -> Vec<(Kind, usize, usize)> {
    let least = ((4.0 / bar).ceil() as usize).max(2);
    let most = (bars / least).clamp(1, 8);
    // About one section in nine seconds, two at least.
    let usual = bars as f64 * bar / 9.0;
    let count =
        (random.between(0.6 * usual, 1.5 * usual).round() as usize).clamp(2.min(most), most);
    let mut kinds = Vec::new();
    let mut middle = count;
    let intro = count > 2 && random.chance(0.55) || count == 2 && random.chance(0.3);
    let outro = count > 2 && random.chance(0.45) || count == 2 && !intro && random.chance(0.2);
    middle -= usize::from(intro) + usize::from(outro);
    let mut kind = *random.pick(&[
        Kind::Verse,
        Kind::Verse,
        Kind::Verse,
        Kind::Chorus,
        Kind::Bridge,
    ]);
    for _ in 0..middle {
        kinds.push(kind);
        let next = Kind::ALL[1..4].iter().copied().filter(|next| *next != kind);
        kind = *random.pick(&next.collect::<Vec<_>>());
    }
    if intro {
        kinds.insert(0, Kind::Intro);
    }
    if outro {
        kinds.push(Kind::Outro);
    }
    // What is left after the least is dealt out bar by bar.
    let mut lengths = vec![least; kinds.len()];
    for _ in 0..bars.saturating_sub(least * kinds.len()) {
        let lucky = random.below(lengths.len());
        lengths[lucky] += 1;
    }
    let mut first = 0;
    let mut sections = Vec::new();
    for (kind, length) in kinds.into_iter().zip(lengths) {
        let last = (first + length).min(bars);
        sections.push((kind, first, last));
        first = last;
    }
    sections
}

/// Instruments and the bars that they play; one that plays chords does so from the first bar to the last.
fn tracks(
    random: &mut Random,
    bars: usize,
    bar: f64,
    sections: &[(Kind, usize, usize)],
) -> Vec<(Instrument, usize, usize)> {
    let least = ((4.0 / bar).ceil() as usize).max(2).min(bars);
    let ground = *random.pick(&[Instrument::Pad, Instrument::Guitar]);
    let wanted = 2 + random.below(5);
    let mut others = Instrument::ALL.to_vec();
    others.retain(|instrument| *instrument != ground);
    random.shuffle(&mut others);
    others.truncate(wanted - 1);
    let mut tracks = Vec::new();
    for instrument in Instrument::ALL {
        if instrument == ground {
            tracks.push((instrument, 0, bars));
        } else if others.contains(&instrument) {
            let line = |random: &mut Random, low: usize, high: usize| {
                let lines: Vec<usize> = sections.iter().map(|s| s.1).collect();
                let near: Vec<usize> = lines
                    .into_iter()
                    .filter(|l| (low..=high).contains(l))
                    .collect();
                match !near.is_empty() && random.chance(0.4) {
                    true => *random.pick(&near),
                    false => low + random.below(high - low + 1),
                }
            };
            let enter = match random.chance(0.3) || bars <= least {
                true => 0,
                false => line(random, 1, bars - least),
            };
            let leave = match random.chance(0.4) || enter + least >= bars {
                true => bars,
                false => line(random, enter + least, bars - 1),
            };
            tracks.push((instrument, enter, leave));
        }
    }
    tracks
}
