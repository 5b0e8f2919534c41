//! What an answer is worth by each of a format's scorers.

use super::benchmark::{Choice, Format, Question, Task, letter};
use super::boundaries::{self, Hits};
use super::extract::{self, Forms};
use super::log::Answer;
use super::{By, musicbench};

/// A number of every answer, from 0 to 1, whose mean is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// What it means.
    pub(super) what: &'static str,
    /// Whether an answer is right or wrong by it.
    pub(super) is_binary: bool,
}

/// An answer's numbers, in the order of the metrics.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) values: Vec<f64>,
    /// Whether nothing was found in it by the first scorer.
    pub(super) unanswered: bool,
    /// Whether it is not written as it should be.
    pub(super) format_error: bool,
}

const fn binary(name: &'static str, what: &'static str) -> Metric {
    Metric {
        name,
        what,
        is_binary: true,
    }
}

const fn hits(name: &'static str, what: &'static str) -> Metric {
    Metric {
        name,
        what,
        is_binary: false,
    }
}

const MUCHOMUSIC: [Metric; 2] = [
    binary("official", "accuracy by the rule of MuChoMusic's script"),
    binary(
        "strict",
        "accuracy of answers that are `(B) TEXT`, `(B)` or `B`",
    ),
];
const MMAU: [Metric; 2] = [
    binary("official", "accuracy by the rule of MMAU's script"),
    binary(
        "strict",
        "accuracy of answers that are `(B) TEXT`, `TEXT`, `(B)` or `B`",
    ),
];
const MUSICBENCH: [Metric; 2] = [
    binary(
        "extracted",
        "accuracy by the last `(B)`, else a lone `B`, else the only option's text",
    ),
    binary(
        "strict",
        "accuracy of answers that are `TEXT (B)`, `(B)` or `B`",
    ),
];
const LIKELIHOOD: [Metric; 1] = [binary("likelihood", "accuracy of the likeliest option")];
const STRUCTURE: [Metric; 6] = [
    hits(
        "HR.5F",
        "F-measure of boundaries hit within 0.5 s, untrimmed, mean over songs",
    ),
    hits("HR.5P", "its precision"),
    hits("HR.5R", "its recall"),
    hits(
        "HR3F",
        "F-measure of boundaries hit within 3 s, untrimmed, mean over songs",
    ),
    hits("HR3P", "its precision"),
    hits("HR3R", "its recall"),
];

/// The metrics of a format.
pub(super) fn metrics(format: Format, by: By) -> &'static [Metric] {
    match (format, by) {
        (Format::Structure, _) => &STRUCTURE,
        (_, By::Likelihood) => &LIKELIHOOD,
        (Format::Muchomusic, By::Generation) => &MUCHOMUSIC,
        (Format::Mmau, By::Generation) => &MMAU,
        (Format::Musicbench, By::Generation) => &MUSICBENCH,
    }
}

/// Scores an answer. One that failed is wrong.
pub(super) fn score(
    format: Format,
    by: By,
    question: &Question,
    answer: &Answer,
    normalize: bool,
) -> Scored {
    match (&question.task, answer) {
        (Task::Choice(choice), Answer::Text { output, .. }) => chosen(format, choice, output),
        (Task::Choice(choice), Answer::Likelihoods { .. }) => {
            let likeliest = likeliest(answer, normalize);
            Scored {
                values: vec![right(likeliest, choice)],
                unanswered: false,
                format_error: false,
            }
        }
        (Task::Structure(reference), Answer::Text { output, .. }) => divided(reference, output),
        _ => Scored {
            values: vec![0.0; metrics(format, by).len()],
            unanswered: true,
            format_error: false,
        },
    }
}

fn right(index: Option<usize>, choice: &Choice) -> f64 {
    let is_right = index.is_some() && index == choice.answer;
    f64::from(u8::from(is_right))
}

fn chosen(format: Format, choice: &Choice, output: &str) -> Scored {
    let options = &choice.options;
    let (first, unanswered, forms) = match format {
        Format::Muchomusic => {
            let index = extract::muchomusic(output, options);
            (right(index, choice), index.is_none(), Forms::LetterThenText)
        }
        Format::Mmau => {
            let names = |text: &String| extract::mmau(output, text, options);
            let is_right = names(&choice.text);
            let first = f64::from(u8::from(is_right));
            let unanswered = !is_right && !options.iter().any(names);
            (first, unanswered, Forms::LetterOrText)
        }
        Format::Musicbench | Format::Structure => {
            let index = extract::lenient(output, options);
            (right(index, choice), index.is_none(), Forms::TextThenLetter)
        }
    };
    let strict = extract::strict(output, options, forms);
    Scored {
        values: vec![first, right(strict, choice)],
        unanswered,
        format_error: strict.is_none(),
    }
}

fn divided(reference: &[f64], output: &str) -> Scored {
    let sections = boundaries::answer(output);
    // A section has two boundaries.
    let unanswered = sections.boundaries.len() < 2;
    let values = [0.5, 3.0].iter().flat_map(|window| {
        let Hits {
            precision,
            recall,
            f,
        } = match unanswered {
            true => Hits::default(),
            false => boundaries::detection(reference, &sections.boundaries, *window),
        };
        [f, precision, recall]
    });
    Scored {
        values: values.collect(),
        unanswered,
        format_error: !sections.is_strict,
    }
}

/// The likeliest option: by the log-probability of its text, or of that per token.
fn likeliest(answer: &Answer, normalize: bool) -> Option<usize> {
    let Answer::Likelihoods { logprobs, tokens } = answer else {
        return None;
    };
    let scores = logprobs.iter().zip(tokens).map(|(logprob, tokens)| {
        let tokens = (*tokens).max(1) as f64;
        if normalize {
            logprob / tokens
        } else {
            *logprob
        }
    });
    let best = scores
        .enumerate()
        .reduce(|a, b| if b.1 > a.1 { b } else { a });
    best.map(|(index, _)| index)
}

/// What stands for an option when its likelihood is asked for.
pub(super) fn continuation(format: Format, index: usize, option: &str) -> String {
    match format {
        Format::Muchomusic | Format::Structure => letter(index).to_string(),
        Format::Mmau => format!("({})", letter(index)),
        Format::Musicbench => musicbench::answer(index, option),
    }
}

/// What is filled in as the model's output. Of likelihoods it is what the benchmark's own rule reads
/// as the likeliest option.
pub(super) fn output(
    format: Format,
    question: &Question,
    answer: &Answer,
    normalize: bool,
) -> String {
    match (answer, &question.task) {
        (Answer::Text { output, .. }, Task::Choice(_)) => output.clone(),
        // The script passes over a song of which it does not understand a line.
        (Answer::Text { output, .. }, Task::Structure(_)) => boundaries::answer(output).lines,
        (Answer::Likelihoods { .. }, _) => {
            let index = likeliest(answer, normalize).unwrap_or_default();
            let option = question.options().get(index).cloned().unwrap_or_default();
            match format {
                Format::Mmau => option,
                _ => continuation(format, index, &option),
            }
        }
        (Answer::Failed { .. }, _) => String::new(),
    }
}
