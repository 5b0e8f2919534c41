//! Pieces and questions against what they must be, whatever the seed.

use gamut_songs::{
    Instrument, Kind, LETTERS, Piece, Question, Random, Split, benchmark, questions, render, sample,
};

const LENGTHS: [(f64, f64); 4] = [(16.0, 18.0), (20.0, 29.9), (30.5, 60.0), (60.5, 120.0)];

fn pieces() -> impl Iterator<Item = Piece> {
    LENGTHS.into_iter().flat_map(|(shortest, longest)| {
        (0..150).flat_map(move |seed| {
            [Split::Train, Split::HeldOut].map(|split| Piece::new(seed, split, shortest, longest))
        })
    })
}

#[test]
fn plans_hold_together() {
    for piece in pieces() {
        let seed = piece.seed;
        assert!(piece.sections.len() >= 2 || piece.seconds < 20.0, "{seed}");
        for pair in piece.sections.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "{seed}");
            assert_ne!(pair[0].kind, pair[1].kind, "{seed}");
            assert_ne!(pair[1].kind, Kind::Intro, "{seed}");
            assert_ne!(pair[0].kind, Kind::Outro, "{seed}");
        }
        for section in &piece.sections {
            assert!(
                section.end - section.start >= 2.0 * piece.bar() - 1e-9,
                "{seed}"
            );
        }
        assert!(
            piece.end() < piece.seconds && piece.start() >= 0.0,
            "{seed}"
        );
        assert!(piece.tracks.len() >= 2, "{seed}");
        for track in &piece.tracks {
            assert!(
                track.enter >= piece.start() && track.leave <= piece.end(),
                "{seed}"
            );
            assert!(
                track.leave - track.enter >= 2.0 * piece.bar() - 1e-9,
                "{seed}"
            );
        }
        let always = |instrument| {
            let track = piece.track(instrument);
            track.is_some_and(|t| t.enter == piece.start() && t.leave == piece.end())
        };
        assert!(
            always(Instrument::Pad) || always(Instrument::Guitar),
            "{seed}"
        );
        let bars = (piece.end() - piece.start()) / piece.bar();
        assert_eq!(piece.chords.len(), bars.round() as usize, "{seed}");
    }
}

#[test]
fn lengths_are_those_asked_for() {
    for (shortest, longest) in LENGTHS {
        for seed in 0..200 {
            let seconds = Piece::new(seed, Split::Train, shortest, longest).seconds;
            // Whole bars are cut, of which the longest has 3.9 s.
            assert!(
                seconds <= longest && seconds > shortest - 3.9,
                "{seed}: {seconds}"
            );
        }
    }
}

#[test]
fn training_and_measuring_share_no_piece() {
    for seed in 0..100 {
        let [a, b] =
            [Split::Train, Split::HeldOut].map(|split| Piece::new(seed, split, 20.0, 29.9));
        assert_ne!(
            serde_json::to_string(&a.chords).unwrap(),
            serde_json::to_string(&b.chords).unwrap()
        );
        assert_ne!(a.seconds, b.seconds);
    }
}

fn seconds(clock: &str) -> f64 {
    let (minutes, seconds) = clock.split_once(':').expect("a time");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    60.0 * number(minutes) + number(seconds)
}

/// The second that a question names.
fn asked(question: &Question) -> f64 {
    let at = question.question.rsplit(' ').next();
    seconds(at.expect("a last word").trim_end_matches('?'))
}

#[test]
fn choices_have_one_right_option() {
    for piece in pieces() {
        for question in questions(&piece, &mut Random::new(piece.seed, "test")) {
            if question.options.is_empty() {
                continue;
            }
            let what = format!("{} {question:?}", piece.seed);
            assert_eq!(question.options.len(), LETTERS.len(), "{what}");
            let letter = question.letter().expect("a right option");
            assert!(
                question
                    .prompt()
                    .contains(&format!("\n({letter}) {}", question.answer)),
                "{what}"
            );
            assert!(
                question.reply().ends_with(&format!(" ({letter})")),
                "{what}"
            );
            for (i, option) in question.options.iter().enumerate() {
                assert!(!question.options[..i].contains(option), "{what}");
            }
            if matches!(
                question.category,
                "entry" | "exit" | "section-start" | "climax"
            ) {
                let right = seconds(&question.answer);
                let near = |option: &&String| (seconds(option) - right).abs() < 2.9;
                assert_eq!(question.options.iter().filter(near).count(), 1, "{what}");
            }
        }
    }
}

/// What is told again from the plan, not by the code that asked.
#[test]
fn answers_follow_from_the_plan() {
    let mut seen = std::collections::BTreeMap::new();
    for piece in pieces() {
        for question in questions(&piece, &mut Random::new(piece.seed, "test")) {
            let what = format!("{} {question:?}", piece.seed);
            let reply = question.reply();
            let named = |name: &str| reply.to_lowercase().contains(name);
            let instrument = || Instrument::ALL.into_iter().find(|i| named(i.name()));
            let near = |second: f64| {
                let told = question.second.expect("a second");
                assert!((told - second).abs() < 1e-9, "{what}: {second}");
                let word = reply.trim_end_matches('.').rsplit(' ').next().unwrap();
                assert!((seconds(word) - second).abs() <= 0.5, "{what}: {second}");
            };
            match (question.category, question.options.is_empty()) {
                ("entry", true) => near(piece.track(instrument().unwrap()).unwrap().enter),
                ("exit", true) => near(piece.track(instrument().unwrap()).unwrap().leave),
                ("climax", true) => near(piece.climax.unwrap()),
                ("section-start", true) => {
                    let section = piece.sections.iter().find(|s| named(s.kind.name()));
                    near(section.unwrap().start);
                }
                ("section-at", _) => {
                    let section = piece
                        .sections
                        .iter()
                        .find(|s| s.end > asked(&question))
                        .unwrap();
                    assert!(named(section.kind.name()), "{what}");
                }
                ("chord", _) => {
                    let second = asked(&question);
                    let chord = piece.chords.iter().rfind(|c| c.start <= second).unwrap();
                    assert!(named(&chord.name().to_lowercase()), "{what}");
                }
                ("instruments" | "presence" | "missing" | "heard", _) => {
                    let no = question.category == "missing" || reply.starts_with("No");
                    for instrument in Instrument::ALL {
                        if named(instrument.name()) {
                            assert_ne!(piece.track(instrument).is_some(), no, "{what}");
                        }
                    }
                }
                ("section-count", _) => {
                    assert!(named(&piece.sections.len().to_string()), "{what}");
                }
                ("order", _) => {
                    let told = piece.track(instrument().unwrap()).unwrap().enter;
                    let last = question.question.contains("last");
                    let among = |i: &Instrument| question.options.iter().any(|o| o == i.name());
                    for track in piece.tracks.iter().filter(|t| among(&t.instrument)) {
                        assert!(
                            if last {
                                track.enter <= told
                            } else {
                                track.enter >= told
                            },
                            "{what}"
                        );
                    }
                }
                _ => {}
            }
            *seen
                .entry((question.category, question.options.is_empty()))
                .or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), 31, "{seen:?}");
}

#[test]
fn samples_are_balanced() {
    for piece in pieces().filter(|piece| piece.seconds > 20.0) {
        let taken = sample(&piece, &mut Random::new(piece.seed, "test"), 24);
        assert_eq!(taken.len(), 24, "{}", piece.seed);
        let entries = taken.iter().filter(|q| q.category == "entry").count();
        assert!(entries <= 8, "{}: {entries}", piece.seed);
    }
}

#[test]
fn the_benchmark_asks_each_thing_once() {
    let length = (20.0, 29.9);
    let entries = benchmark(0..30, length, 6);
    assert!(entries.len() > 170, "{}", entries.len());
    let mut asked = std::collections::HashSet::new();
    for entry in &entries {
        let id = &entry.id;
        assert!(
            asked.insert((entry.seed, &entry.split, &entry.category)),
            "{id}"
        );
        let right = LETTERS.iter().position(|l| l.to_string() == entry.answer);
        let right = &entry.options[right.expect("a letter")];
        let piece = Piece::new(entry.seed, Split::HeldOut, length.0, length.1);
        match entry.category.as_str() {
            "section-count" => assert_eq!(*right, piece.sections.len().to_string(), "{id}"),
            "climax" => assert!(
                (seconds(right) - piece.climax.unwrap()).abs() <= 0.5,
                "{id}"
            ),
            "heard" => assert!(
                piece.tracks.iter().any(|t| t.instrument.name() == right),
                "{id}"
            ),
            _ => {}
        }
    }
    // 44 bytes of header, two a sample.
    let piece = Piece::new(entries[0].seed, Split::HeldOut, length.0, length.1);
    assert_eq!(entries[0].sound().len(), 44 + 2 * piece.samples());
}

fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
}

/// An instrument that comes in late is heard from then on, and until it leaves.
#[test]
fn what_is_planned_is_heard() {
    let at = |second: f64| (second * 16_000.0) as usize;
    for seed in 0..40 {
        let mut piece = Piece::new(seed, Split::Train, 20.0, 29.9);
        piece.climax = None;
        let tracks = std::mem::take(&mut piece.tracks);
        for track in tracks {
            let what = format!("{seed}: {track:?}");
            piece.tracks = vec![track];
            let samples = render(&piece);
            assert_eq!(samples.len(), piece.samples(), "{what}");
            let playing = level(&samples[at(track.enter)..at(track.leave)]);
            assert!(
                level(&samples[at(track.enter)..at(track.enter + 0.5)]) > 0.1 * playing,
                "{what}"
            );
            if track.enter > piece.start() + 0.5 {
                assert!(level(&samples[..at(track.enter)]) < 0.1 * playing, "{what}");
            }
            // Its room rings on for a while.
            if track.leave < piece.end() - 3.0 {
                assert!(
                    level(&samples[at(track.leave + 2.0)..at(piece.end())]) < 0.1 * playing,
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn a_seed_gives_the_same_samples() {
    let piece = Piece::new(7, Split::HeldOut, 20.0, 29.9);
    assert!(render(&piece) == render(&piece));
    let other = Piece::new(8, Split::HeldOut, 20.0, 29.9);
    assert!(render(&piece) != render(&other));
}
