//! How things are called: several ways in questions, one in answers.

use crate::piece::Instrument;
use crate::random::Random;

/// A time as answers have it: minutes and whole seconds.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds.round() as usize;
    format!("{}:{:02}", whole / 60, whole % 60)
}

/// One of the names that people have for an instrument, and whether it is a plural.
pub(super) fn called(instrument: Instrument, random: &mut Random) -> (&'static str, bool) {
    let names: &[(&str, bool)] = match instrument {
        Instrument::Drums => &[
            ("drums", true),
            ("drums", true),
            ("drum kit", false),
            ("percussion", false),
        ],
        Instrument::Bass => &[
            ("bass", false),
            ("bass", false),
            ("bass line", false),
            ("bass guitar", false),
        ],
        Instrument::Guitar => &[
            ("guitar", false),
            ("guitar", false),
            ("plucked guitar", false),
            ("acoustic guitar", false),
        ],
        Instrument::Pad => &[
            ("pad", false),
            ("pad", false),
            ("synth pad", false),
            ("pads", true),
        ],
        Instrument::Lead => &[
            ("lead", false),
            ("lead synth", false),
            ("synth lead", false),
            ("lead melody", false),
        ],
        Instrument::Voice => &[
            ("voice", false),
            ("singer", false),
            ("vocals", true),
            ("singing", false),
        ],
    };
    *random.pick(names)
}

/// `drums, bass and guitar`.
pub(super) fn list(instruments: &[Instrument]) -> String {
    let names: Vec<&str> = instruments.iter().map(|i| i.name()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_string(),
        None => String::new(),
    }
}

/// The drums are many, other instruments are one: `are` or `is`, `come` or `comes`.
pub(super) fn verb<'a>(instrument: Instrument, many: &'a str, one: &'a str) -> &'a str {
    if instrument == Instrument::Drums {
        many
    } else {
        one
    }
}

/// With a capital.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// With a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    capital(text) + "."
}
