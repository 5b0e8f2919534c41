//! Questions about the piece as a whole.

use super::wording::{called, capital, list, sentence, verb};
use super::{Question, Scope};
use crate::piece::{Instrument, Piece};
use crate::random::Random;

pub(super) fn questions(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut questions = instruments(piece, random);
    questions.extend(tempo_and_mode(piece, random));
    questions.extend(sections(piece, random));
    questions
}

fn open(category: &'static str, question: &str, answer: String) -> Question {
    Question::open(Scope::Global, category, question.to_string(), answer)
}

fn choice(
    category: &'static str,
    question: &str,
    right: String,
    wrong: Vec<String>,
    random: &mut Random,
) -> Option<Question> {
    Question::choice(
        Scope::Global,
        category,
        question.to_string(),
        right,
        wrong,
        random,
    )
}

fn instruments(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let (present, absent): (Vec<_>, Vec<_>) = Instrument::ALL
        .into_iter()
        .partition(|instrument| piece.track(*instrument).is_some());
    let names = |instruments: &[Instrument]| -> Vec<String> {
        instruments.iter().map(|i| i.name().to_string()).collect()
    };
    let mut out = Vec::new();
    let question = *random.pick(&[
        "Which instruments are heard?",
        "Which instruments play in this piece?",
        "What instruments do you hear?",
        "Name the instruments.",
        "Who is playing?",
    ]);
    out.push(open("instruments", question, sentence(&list(&present))));

    // Whole bands that differ in one or two instruments.
    let mut bands = Vec::new();
    for _ in 0..12 {
        let mut other = present.clone();
        for _ in 0..1 + random.below(2) {
            let flipped = *random.pick(&Instrument::ALL);
            match other.contains(&flipped) {
                true => other.retain(|i| *i != flipped),
                false => other.push(flipped),
            }
        }
        let other: Vec<_> = Instrument::ALL
            .into_iter()
            .filter(|i| other.contains(i))
            .collect();
        if other.len() > 1 && other != present {
            bands.push(list(&other));
        }
    }
    let question = *random.pick(&[
        "Which instruments are heard?",
        "Which instruments play in this piece?",
        "Which band is this?",
    ]);
    out.extend(choice(
        "instruments",
        question,
        list(&present),
        bands,
        random,
    ));

    let shuffled = |instruments: &[Instrument], random: &mut Random| {
        let mut instruments = instruments.to_vec();
        random.shuffle(&mut instruments);
        instruments
    };
    for _ in 0..2 {
        let heard = shuffled(&present, random);
        let silent = shuffled(&absent, random);
        if silent.len() >= 3 {
            let question = *random.pick(&[
                "Which of these instruments is heard?",
                "Which of these is playing?",
                "Which one do you hear?",
            ]);
            out.extend(choice(
                "heard",
                question,
                names(&heard).remove(0),
                names(&silent),
                random,
            ));
        }
        if heard.len() >= 3 && !silent.is_empty() {
            let question = *random.pick(&[
                "Which of these instruments is not heard?",
                "Which of these is not playing?",
                "Which instrument is missing?",
            ]);
            out.extend(choice(
                "missing",
                question,
                names(&silent).remove(0),
                names(&heard),
                random,
            ));
        }
    }
    for instrument in shuffled(&Instrument::ALL, random).into_iter().take(2) {
        let (name, many) = called(instrument, random);
        let is = verb(instrument, "are", "is");
        let thing = verb(instrument, "", "a ").to_string() + instrument.name();
        let question = match (random.below(3), many) {
            (0, _) => format!("{} there {thing}?", capital(is)),
            (1, _) => format!("Do you hear the {name}?"),
            (_, true) => format!("Do the {name} play?"),
            (_, false) => format!("Does the {name} play?"),
        };
        let answer = match piece.track(instrument) {
            Some(_) => format!("Yes, there {is} {thing}."),
            None => format!("No, there {is} no {}.", instrument.name()),
        };
        out.push(open("presence", &question, answer));
    }
    out
}

fn tempo_and_mode(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut out = Vec::new();
    let (tempo, mode) = (piece.tempo.name(), piece.mode.name());
    let question = *random.pick(&[
        "Is the tempo slow, medium or fast?",
        "How fast is it?",
        "What is the tempo?",
        "Is this piece slow, medium or fast?",
    ]);
    out.push(open("tempo", question, format!("The tempo is {tempo}.")));
    let question = *random.pick(&[
        "Is it in major or minor?",
        "Is the key major or minor?",
        "Major or minor?",
        "What mode is this piece in?",
    ]);
    out.push(open("mode", question, format!("It is in a {mode} key.")));

    let beats = |bpm: f64| format!("{} bpm", (bpm / 5.0).round() * 5.0);
    let mut others: Vec<f64> = (12..=34).map(|fifth| f64::from(fifth) * 5.0).collect();
    random.shuffle(&mut others);
    let mut apart = vec![piece.bpm];
    for other in others {
        if apart.iter().all(|bpm| (bpm - other).abs() >= 24.0) {
            apart.push(other);
        }
    }
    let wrong = apart[1..].iter().map(|bpm| beats(*bpm)).collect();
    let question = *random.pick(&[
        "What is the tempo?",
        "How fast is it?",
        "How many beats a minute?",
    ]);
    out.extend(choice("tempo", question, beats(piece.bpm), wrong, random));

    let other_tempos: Vec<&str> = ["slow", "medium", "fast"]
        .into_iter()
        .filter(|t| *t != tempo)
        .collect();
    let other_tempo = *random.pick(&other_tempos);
    let other_mode = if mode == "major" { "minor" } else { "major" };
    let both = |tempo: &str, mode: &str| format!("{tempo} and {mode}");
    let wrong = vec![
        both(tempo, other_mode),
        both(other_tempo, mode),
        both(other_tempo, other_mode),
    ];
    let question = *random.pick(&[
        "What are tempo and mode?",
        "Which describes the piece?",
        "Which tempo and key does it have?",
    ]);
    out.extend(choice(
        "tempo-and-mode",
        question,
        both(tempo, mode),
        wrong,
        random,
    ));
    out
}

fn sections(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let count = piece.sections.len();
    let question = *random.pick(&[
        "How many sections does the piece have?",
        "How many sections are there?",
        "How many parts does this song have?",
    ]);
    let mut out = vec![open(
        "section-count",
        question,
        format!("There are {count} sections."),
    )];
    let mut wrong: Vec<String> = (1..=8_usize)
        .filter(|n| n.abs_diff(count) <= 3)
        .map(|n| n.to_string())
        .filter(|n| *n != count.to_string())
        .collect();
    random.shuffle(&mut wrong);
    out.extend(choice(
        "section-count",
        question,
        count.to_string(),
        wrong,
        random,
    ));
    out
}
