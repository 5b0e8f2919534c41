//! Stream captures and graphs, call by call, against what an H100's driver answered.
//!
//! `benches/probe/captures.py` makes these calls on hardware, and the record is what it printed;
//! [`replay`] makes them here, in the same order and under the same names. Alone in its process,
//! since global captures would reach into other tests.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

mod calls;
mod replay;

use std::fmt::Display;
use std::str::Lines;

const RECORD: &str = include_str!("../../../../benches/results/2026-11-26-captures-h100.txt");

/// The record, compared line by line with what is answered here.
struct Record {
    lines: Lines<'static>,
    differences: Vec<String>,
}

impl Record {
    /// Goes on to a section.
    fn section(&mut self, title: &str) {
        let line = self.lines.next();
        assert_eq!(line, Some(format!("-- {title}").as_str()));
    }

    /// Compares the answer to the next call, written as the script prints it. Texts in tuples may
    /// be in double quotes.
    fn show(&mut self, name: &str, answer: impl Display) {
        let line = self.lines.next().unwrap_or("nothing");
        let Some(recorded) = line.strip_prefix(&format!("{name:44} ")) else {
            panic!("the record has `{line}` where `{name}` is called here");
        };
        let answer = answer.to_string().replace('"', "'");
        if answer != recorded {
            self.differences
                .push(format!("{name}: {answer}, but on an H100 {recorded}"));
        }
    }

    fn finish(mut self) {
        assert_eq!(self.lines.next(), None, "a line that no call here answers");
        assert!(
            self.differences.is_empty(),
            "{} answers differ:\n{}",
            self.differences.len(),
            self.differences.join("\n")
        );
    }
}

#[test]
fn captures_answer_as_on_an_h100() {
    let mut record = Record {
        lines: RECORD.lines(),
        differences: Vec::new(),
    };
    replay::replay(&mut record);
    record.finish();
}
