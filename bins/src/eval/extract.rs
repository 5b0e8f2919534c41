//! Which option an answer names: the rules of the benchmarks, and strict ones.

use super::benchmark::letter;
use std::collections::BTreeSet;

/// What MuChoMusic's rule takes away from an answer, up to its last occurrence.
const PREFIX: &str = "The correct answer is:";

/// MuChoMusic's rule (`extract_responses` of its `scoring.py`): what follows the prefix names an
/// option if one of the characters A to D is in it, however often, and no other of them; else the
/// first option whose text is in it, whatever the case.
pub(super) fn muchomusic(answer: &str, options: &[String]) -> Option<usize> {
    let answer = answer.rsplit(PREFIX).next().unwrap_or(answer).trim();
    let mut letters = (0..4).filter(|i| answer.contains(letter(*i)));
    if let (Some(index), None) = (letters.next(), letters.next()) {
        // A letter that no option has is an answer, and wrong.
        return Some(index);
    }
    let answer = answer.to_lowercase();
    let within = |option: &String| answer.contains(option.to_lowercase().trim());
    options.iter().position(within)
}

/// MMAU's rule (`string_match` of its `evaluation.py`): all words of an option are in the answer, and
/// none that only other options have. Whether the answer is right by it, which needs no option to be
/// named.
pub(super) fn mmau(answer: &str, right: &str, choices: &[String]) -> bool {
    let (answer, right) = (words(answer), words(right));
    let wrong = choices.iter().map(|choice| words(choice));
    let wrong = wrong.filter(|choice| *choice != right);
    let mut wrong = wrong.flatten().filter(|word| !right.contains(word));
    !answer.is_empty() && right.is_subset(&answer) && !wrong.any(|word| answer.contains(&word))
}

/// The words of a text, whatever the case: letters, digits and underscores in a row.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    let text = text.to_lowercase();
    let words = text.split(|c: char| !is_word(c)).filter(|w| !w.is_empty());
    words.map(str::to_owned).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The option of the last letter in parentheses; else of the only letter that stands alone; else the
/// only option whose text is in the answer.
pub(super) fn lenient(answer: &str, options: &[String]) -> Option<usize> {
    let in_parentheses = |i: usize| answer.rfind(&format!("({})", letter(i)));
    let last = (0..options.len()).filter_map(|i| Some((in_parentheses(i)?, i)));
    if let Some((_, index)) = last.max() {
        return Some(index);
    }
    let mut alone = (0..options.len()).filter(|i| stands_alone(answer, letter(*i)));
    if let (Some(index), None) = (alone.next(), alone.next()) {
        return Some(index);
    }
    only_text(answer, options)
}

/// Whether a letter is a word of the answer. A small word after A makes it an article.
fn stands_alone(answer: &str, letter: char) -> bool {
    answer.match_indices(letter).any(|(at, _)| {
        let (before, after) = (&answer[..at], &answer[at + letter.len_utf8()..]);
        let article = letter == 'A'
            && after.starts_with(' ')
            && after.trim_start().starts_with(char::is_lowercase);
        !before.ends_with(is_word) && !after.starts_with(is_word) && !article
    })
}

/// The only option whose text is in the answer, whatever the case, with no word cut; what is a part of
/// another option's text there does not count.
fn only_text(answer: &str, options: &[String]) -> Option<usize> {
    let answer = answer.to_lowercase();
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let text = option.trim().to_lowercase();
        if text.is_empty() {
            continue;
        }
        for (at, _) in answer.match_indices(&text) {
            let end = at + text.len();
            let cut_before = text.starts_with(is_word) && answer[..at].ends_with(is_word);
            let cut_after = text.ends_with(is_word) && answer[end..].starts_with(is_word);
            if !cut_before && !cut_after {
                found.push((at, end, index));
            }
        }
    }
    let is_part = |(at, end, _): &(usize, usize, usize)| {
        let longer = |other: &(usize, usize, usize)| {
            other.0 <= *at && *end <= other.1 && end - at < other.1 - other.0
        };
        found.iter().any(longer)
    };
    let whole: BTreeSet<usize> = found
        .iter()
        .filter(|one| !is_part(one))
        .map(|(_, _, index)| *index)
        .collect();
    whole.first().copied().filter(|_| whole.len() == 1)
}

/// How a benchmark's options may be written as a whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forms {
    /// `(B) TEXT`, `(B)` or `B`.
    LetterThenText,
    /// These, or `TEXT`.
    LetterOrText,
    /// `TEXT (B)`, `(B)` or `B`.
    TextThenLetter,
}

/// The option that the answer is, with nothing else in it.
pub(super) fn strict(answer: &str, options: &[String], forms: Forms) -> Option<usize> {
    let answer = answer.trim();
    let is_form = |index: usize| {
        let (letter, text) = (letter(index), options[index].trim());
        let with_text = match forms {
            Forms::LetterThenText | Forms::LetterOrText => format!("({letter}) {text}"),
            Forms::TextThenLetter => format!("{text} ({letter})"),
        };
        answer == letter.to_string()
            || answer == format!("({letter})")
            || answer == with_text
            || forms == Forms::LetterOrText && answer == text
    };
    let mut found = (0..options.len()).filter(|index| is_form(*index));
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
#[path = "extract_tests.rs"]
mod tests;
