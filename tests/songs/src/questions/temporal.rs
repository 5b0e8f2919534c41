//! Questions about when things happen, and about what happens when.

use super::wording::{called, clock, sentence, verb};
use super::{Question, Scope};
use crate::piece::{Chord, Instrument, Kind, PITCHES, Piece, Section};
use crate::random::Random;

pub(super) fn questions(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut questions = entries_and_exits(piece, random);
    questions.extend(order(piece, random));
    questions.extend(section_starts(piece, random));
    questions.extend(section_at(piece, random));
    questions.extend(climax(piece, random));
    questions.extend(chords(piece, random));
    questions.push(structure(piece, random));
    questions.push(description(piece, random));
    questions.push(progression(piece, random));
    questions
}

fn open(category: &'static str, question: String, answer: String) -> Question {
    Question::open(Scope::Temporal, category, question, answer)
}

/// An open question for a second.
fn when(category: &'static str, question: String, answer: String, second: f64) -> Question {
    Question {
        second: Some(second),
        ..open(category, question, answer)
    }
}

fn choice(
    category: &'static str,
    question: String,
    right: String,
    wrong: Vec<String>,
    random: &mut Random,
) -> Option<Question> {
    Question::choice(Scope::Temporal, category, question, right, wrong, random)
}

/// The time as an option among three others, at least three seconds from each other: some of what else happens in the
/// piece, some at which such a thing happens in other pieces, so that no time looks likelier than the others.
fn times(
    category: &'static str,
    question: String,
    right: f64,
    piece: &Piece,
    random: &mut Random,
) -> Option<Question> {
    let mut others: Vec<f64> = piece.sections.iter().map(|s| s.start).collect();
    others.extend(piece.tracks.iter().flat_map(|t| [t.enter, t.leave]));
    others.retain(|time| *time > piece.start() + 0.1 && *time < piece.end() - 0.1);
    random.shuffle(&mut others);
    others.truncate(1);
    for _ in 0..20 {
        let seed = (random.unit() * 1e9) as u64;
        let other = Piece::new(seed, piece.split, piece.seconds, piece.seconds + 4.0);
        let mut events = events(category, &other);
        random.shuffle(&mut events);
        others.extend(events.first());
    }
    let mut apart = vec![right.round()];
    for other in others {
        let other = other.round();
        let inside = other < piece.seconds;
        if inside && apart.len() < 4 && apart.iter().all(|time| (time - other).abs() >= 3.0) {
            apart.push(other);
        }
    }
    let wrong = apart[1..].iter().map(|time| clock(*time)).collect();
    choice(category, question, clock(right), wrong, random)
}

/// The times that a category may ask for.
fn events(category: &str, piece: &Piece) -> Vec<f64> {
    let (start, end) = (piece.start() + 0.1, piece.end() - 0.1);
    let mut times: Vec<f64> = match category {
        "entry" => piece.tracks.iter().map(|t| t.enter).collect(),
        "exit" => piece.tracks.iter().map(|t| t.leave).collect(),
        "section-start" => piece.sections.iter().map(|s| s.start).collect(),
        _ => piece.climax.into_iter().collect(),
    };
    times.retain(|time| (start..end).contains(time));
    times
}

fn entries_and_exits(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    for instrument in Instrument::ALL {
        let thing = format!("the {}", instrument.name());
        for _ in 0..2 {
            let (name, many) = called(instrument, random);
            let (does, comes) = if many { ("do", "are") } else { ("does", "is") };
            let question = match random.below(6) {
                0 | 1 => format!("When {does} the {name} come in?"),
                2 => format!("When {does} the {name} start?"),
                3 => format!("When {does} the {name} enter?"),
                4 => format!("At what time {does} the {name} start playing?"),
                _ => format!("When {comes} the {name} first heard?"),
            };
            match piece.track(instrument) {
                Some(track) if track.enter > piece.start() + 0.1 => {
                    let comes = verb(instrument, "come", "comes");
                    let answer = sentence(&format!("{thing} {comes} in at {}", clock(track.enter)));
                    out.push(when("entry", question.clone(), answer, track.enter));
                    out.extend(times("entry", question, track.enter, piece, random));
                }
                Some(_) if random.chance(0.3) => {
                    let plays = verb(instrument, "play", "plays");
                    let answer = sentence(&format!("{thing} {plays} from the start"));
                    out.push(open("entry-none", question, answer));
                }
                None if random.chance(0.3) => {
                    let is = verb(instrument, "are", "is");
                    let answer = format!("There {is} no {}.", instrument.name());
                    out.push(open("entry-none", question, answer));
                }
                _ => {}
            }
            let question = match random.below(5) {
                0 | 1 => format!("When {does} the {name} drop out?"),
                2 => format!("When {does} the {name} stop?"),
                3 => format!("When {does} the {name} stop playing?"),
                _ => format!("When {comes} the {name} last heard?"),
            };
            match piece.track(instrument) {
                Some(track) if track.leave < piece.end() - 0.1 => {
                    let drops = verb(instrument, "drop", "drops");
                    let answer =
                        sentence(&format!("{thing} {drops} out at {}", clock(track.leave)));
                    out.push(when("exit", question.clone(), answer, track.leave));
                    out.extend(times("exit", question, track.leave, piece, random));
                }
                Some(_) if random.chance(0.3) => {
                    let plays = verb(instrument, "play", "plays");
                    let answer = sentence(&format!("{thing} {plays} until the end"));
                    out.push(open("exit-none", question, answer));
                }
                _ => {}
            }
        }
    }
    out
}

/// Which instrument comes in first or last, where it is clear.
fn order(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    let mut tracks = piece.tracks.clone();
    random.shuffle(&mut tracks);
    for (i, a) in tracks.iter().enumerate() {
        for b in &tracks[i + 1..] {
            if (a.enter - b.enter).abs() > 1.9 {
                let (first, a, b) = match a.enter < b.enter {
                    true => (a.instrument, a.instrument, b.instrument),
                    false => (b.instrument, a.instrument, b.instrument),
                };
                let (a, b) = (called(a, random).0, called(b, random).0);
                let question = match random.below(3) {
                    0 => format!("Which comes first, the {a} or the {b}?"),
                    1 => format!("Which comes in first, the {a} or the {b}?"),
                    _ => format!("What do you hear first, the {a} or the {b}?"),
                };
                let comes = verb(first, "come", "comes");
                let answer = sentence(&format!("the {} {comes} in first", first.name()));
                out.push(open("order", question, answer));
            }
        }
    }
    out.truncate(3);
    for last in [false, true] {
        random.shuffle(&mut tracks);
        let Some(four) = tracks.get(..4) else {
            continue;
        };
        let mut four = four.to_vec();
        four.sort_by(|a, b| a.enter.total_cmp(&b.enter));
        if last {
            four.reverse();
        }
        if (four[0].enter - four[1].enter).abs() > 1.9 {
            let word = if last { "last" } else { "first" };
            let question = match random.below(2) {
                0 => format!("Which of these comes in {word}?"),
                _ => format!("Which instrument enters {word}?"),
            };
            let names: Vec<String> = four
                .iter()
                .map(|t| t.instrument.name().to_string())
                .collect();
            out.extend(choice(
                "order",
                question,
                names[0].clone(),
                names[1..].to_vec(),
                random,
            ));
        }
    }
    out
}

fn section_starts(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    for kind in Kind::ALL {
        let name = kind.name();
        for _ in 0..2 {
            let question = match random.below(5) {
                0 | 1 => format!("When does the {name} start?"),
                2 => format!("When does the {name} begin?"),
                3 => format!("Where is the first {name}?"),
                _ => format!("At what time does the {name} start?"),
            };
            match piece.sections.iter().find(|s| s.kind == kind) {
                Some(section) if section.start > piece.start() + 0.1 => {
                    let start = section.start;
                    let answer = format!("The {name} starts at {}.", clock(start));
                    out.push(when("section-start", question.clone(), answer, start));
                    out.extend(times("section-start", question, start, piece, random));
                }
                Some(_) if random.chance(0.4) => {
                    let answer = format!("The {name} is at the start.");
                    out.push(open("section-none", question, answer));
                }
                None if random.chance(0.2) => {
                    out.push(open(
                        "section-none",
                        question,
                        format!("There is no {name}."),
                    ));
                }
                _ => {}
            }
        }
    }
    out
}

fn section_at(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    for _ in 0..4 {
        // A second or more from the lines, so that rounding does not matter.
        let section = *random.pick(&piece.sections);
        let time = random
            .between(section.start + 1.0, section.end - 1.0)
            .round();
        let at = clock(time);
        let question = match random.below(4) {
            0 => format!("Which section is at {at}?"),
            1 => format!("Which section is playing at {at}?"),
            2 => format!("What part of the song is at {at}?"),
            _ => format!("Where in the song are we at {at}?"),
        };
        let name = section.kind.name();
        out.push(open("section-at", question.clone(), format!("The {name}.")));
        let mut others: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| kind.name().to_string())
            .collect();
        others.retain(|other| other != name);
        random.shuffle(&mut others);
        out.extend(choice(
            "section-at",
            question,
            name.to_string(),
            others,
            random,
        ));
    }
    out
}

fn climax(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let Some(climax) = piece.climax else {
        return Vec::new();
    };
    let question = random
        .pick(&[
            "When is the climax?",
            "When is it loudest?",
            "Where is the climax?",
            "At what time is the piece loudest?",
        ])
        .to_string();
    let answer = format!("The climax is at {}.", clock(climax));
    let mut out = vec![when("climax", question.clone(), answer, climax)];
    out.extend(times("climax", question, climax, piece, random));
    out
}

fn chords(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    for _ in 0..2 {
        let chord = *random.pick(&piece.chords);
        let time = (chord.start + 0.5 * piece.bar()).round();
        if time < chord.start + 0.4 || time > chord.start + piece.bar() - 0.4 {
            continue;
        }
        let at = clock(time);
        let question = match random.below(3) {
            0 => format!("What chord is at {at}?"),
            1 => format!("Which chord is played at {at}?"),
            _ => format!("What is the chord at {at}?"),
        };
        out.push(open("chord", question.clone(), sentence(&chord.name())));
        let mut others: Vec<String> = piece.chords.iter().map(Chord::name).collect();
        random.shuffle(&mut others);
        others.truncate(1);
        others.extend((0..40).map(|_| {
            let other = Chord {
                root: random.below(PITCHES.len()),
                minor: random.chance(0.5),
                ..chord
            };
            other.name()
        }));
        out.extend(choice("chord", question, chord.name(), others, random));
    }
    out
}

/// All sections with their times.
fn structure(piece: &Piece, random: &mut Random) -> Question {
    let question = random.pick(&[
        "List the sections and when they start.",
        "What is the structure of the song?",
        "Give the sections with their times.",
    ]);
    open("structure", question.to_string(), section_lines(piece))
}

fn section_lines(piece: &Piece) -> String {
    let line = |s: &Section| format!("{} {}", clock(s.start), s.kind.name());
    let lines: Vec<String> = piece.sections.iter().map(line).collect();
    lines.join("\n")
}

/// All but the chords.
fn description(piece: &Piece, random: &mut Random) -> Question {
    let question = random.pick(&[
        "Describe the piece.",
        "Describe this song.",
        "What do you hear?",
        "What happens in this song, and when?",
    ]);
    let (tempo, mode) = (piece.tempo.name(), piece.mode.name());
    let mut lines = vec![format!("A {tempo} piece in a {mode} key.")];
    for track in &piece.tracks {
        let (name, enter, leave) = (
            track.instrument.name(),
            clock(track.enter),
            clock(track.leave),
        );
        lines.push(format!("{name} {enter} to {leave}"));
    }
    lines.push(section_lines(piece));
    lines.extend(
        piece
            .climax
            .map(|climax| format!("{} climax", clock(climax))),
    );
    open("description", question.to_string(), lines.join("\n"))
}

/// The first chords that differ from those before them.
fn progression(piece: &Piece, random: &mut Random) -> Question {
    let question = random.pick(&[
        "List the first chords and when they start.",
        "What are the first chords?",
        "Which chords does it begin with?",
    ]);
    let mut chords = piece.chords.clone();
    chords.dedup_by_key(|chord| (chord.root, chord.minor));
    chords.truncate(6);
    let line = |chord: &Chord| format!("{} {}", clock(chord.start), chord.name());
    let lines: Vec<String> = chords.iter().map(line).collect();
    open("progression", question.to_string(), lines.join("\n"))
}
