//! The boundaries of sections, and how well they are hit, as `mir_eval.segment.detection` counts it
//! with `trim=False`: <https://github.com/mir-evaluation/mir_eval>.

use crate::fields::shown_text;

/// The labels that an answer may have, beside the end's.
const LABELS: [&str; 8] = [
    "intro",
    "verse",
    "pre-chorus",
    "chorus",
    "bridge",
    "inst",
    "outro",
    "silence",
];
/// What the last line has for a label.
const END: &str = "end";

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sections {
    /// Where sections begin, and where the last one ends if it is told; in increasing order.
    pub(super) boundaries: Vec<f64>,
    /// The lines that tell of them, in seconds.
    pub(super) lines: String,
    /// Whether the answer is made of lines as they should be and of nothing else.
    pub(super) is_strict: bool,
}

/// How well boundaries are hit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hits {
    pub(super) precision: f64,
    pub(super) recall: f64,
    pub(super) f: f64,
}

/// The boundaries of a reference, whose every line must be right.
pub(super) fn reference(text: &str) -> Result<Vec<f64>, String> {
    let mut boundaries: Vec<f64> = Vec::new();
    let mut ended = false;
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split_whitespace();
        let Some(time) = words.next() else {
            continue;
        };
        let wrong = |expected: &str| {
            let line = shown_text(line.trim());
            Err(format!("line {number} is {line:?}, expected {expected}"))
        };
        let (Some(label), None) = (words.next(), words.next()) else {
            return wrong("a second and a label");
        };
        let last = boundaries.last().copied();
        match time.parse::<f64>() {
            Ok(second) if second.is_finite() && second >= 0.0 && !ended => {
                if let Some(last) = last.filter(|last| *last >= second) {
                    return wrong(&format!("a second after {last}"));
                }
                boundaries.push(second);
            }
            _ if ended => return wrong("nothing after the end"),
            _ => return wrong("a second of 0 or more and a label"),
        }
        ended = label == END;
    }
    match (ended, boundaries.len()) {
        (true, 2..) => Ok(boundaries),
        (true, _) => Err("no section before the end, expected at least one".to_owned()),
        (false, _) => Err("no end, expected a last line with a second and \"end\"".to_owned()),
    }
}

/// The sections of an answer: lines with a second, or minutes and seconds, after those before, and a
/// label. Others are passed over.
pub(super) fn answer(text: &str) -> Sections {
    let mut sections = Sections {
        is_strict: true,
        ..Sections::default()
    };
    let mut ended = false;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (&[time, label], false) = (&words[..], ended) else {
            sections.is_strict = false;
            continue;
        };
        let last = sections.boundaries.last().copied();
        let after = |second: &f64| last.is_none_or(|last| *second > last);
        let Some(second) = seconds(time).filter(after) else {
            sections.is_strict = false;
            continue;
        };
        ended = label == END;
        sections.is_strict &= !time.contains(':') && (ended || LABELS.contains(&label));
        sections.boundaries.push(second);
        sections.lines.push_str(&format!("{second} {label}\n"));
    }
    sections.is_strict &= ended && sections.boundaries.len() > 1;
    sections
}

/// Seconds, from `75.5`, `1:15.5` or `0:01:15.5`.
fn seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    for (i, part) in text.split(':').enumerate() {
        if i > 2 || !part.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        seconds = seconds * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(seconds).filter(|seconds| seconds.is_finite())
}

/// How many boundaries of each are within `window` seconds of one of the other's, in pairs of which
/// there are as many as possible.
pub(super) fn detection(reference: &[f64], estimate: &[f64], window: f64) -> Hits {
    if reference.is_empty() || estimate.is_empty() {
        return Hits::default();
    }
    let (reference, estimate) = (rounded(reference), rounded(estimate));
    // Windows of one width over sorted times begin and end in the order of their times, so taking the
    // first that is free leaves most for those that come.
    let mut hits = 0;
    let mut free = 0;
    for time in &estimate {
        while free < reference.len() && reference[free] < time - window {
            free += 1;
        }
        if free < reference.len() && reference[free] <= time + window {
            free += 1;
            hits += 1;
        }
    }
    let precision = f64::from(hits) / estimate.len() as f64;
    let recall = f64::from(hits) / reference.len() as f64;
    let f = match hits {
        0 => 0.0,
        _ => 2.0 * precision * recall / (precision + recall),
    };
    Hits {
        precision,
        recall,
        f,
    }
}

/// Times to five decimals, in order, each once.
fn rounded(times: &[f64]) -> Vec<f64> {
    let mut times: Vec<f64> = times
        .iter()
        .map(|time| (time * 1e5).round_ties_even() / 1e5)
        .collect();
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

#[cfg(test)]
#[path = "boundaries_tests.rs"]
mod tests;
