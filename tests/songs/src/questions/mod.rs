//! Questions about a piece whose answers follow from its plan.
//!
//! A question asks about something global or about a time. Asked openly its answer is a sentence; as multiple
//! choice it lists four options, shuffled, and its answer is the right one's text and letter: `0:12 (B)`.

mod global;
mod temporal;
mod wording;

use crate::piece::Piece;
use crate::random::Random;
use serde::Serialize;

/// What a question needs: the whole, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// About the piece as a whole.
    Global,
    /// About when.
    Temporal,
}

/// A question with its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// Global or temporal.
    pub scope: Scope,
    /// What is asked, such as `entry`; the same for all wordings.
    pub category: &'static str,
    /// The question, without its options.
    pub question: String,
    /// Four options of multiple choice, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The answer: a sentence, or the text of the right option.
    pub answer: String,
    /// The second that an open question asks for, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<f64>,
}

/// Letters of options.
pub const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

impl Question {
    /// An open question.
    fn open(scope: Scope, category: &'static str, question: String, answer: String) -> Question {
        Question {
            scope,
            category,
            question,
            options: Vec::new(),
            answer,
            second: None,
        }
    }

    /// A question with the right option and three wrong ones, or none if they are not four different ones.
    fn choice(
        scope: Scope,
        category: &'static str,
        question: String,
        right: String,
        wrong: impl IntoIterator<Item = String>,
        random: &mut Random,
    ) -> Option<Question> {
        let mut options = vec![right.clone()];
        for option in wrong {
            if options.len() < LETTERS.len() && !options.contains(&option) {
                options.push(option);
            }
        }
        random.shuffle(&mut options);
        (options.len() == LETTERS.len()).then_some(Question {
            scope,
            category,
            question,
            options,
            answer: right,
            second: None,
        })
    }

    /// Which option is right.
    pub fn letter(&self) -> Option<char> {
        let right = self.options.iter().position(|o| *o == self.answer)?;
        Some(LETTERS[right])
    }

    /// The user's words: the question, and a line an option.
    pub fn prompt(&self) -> String {
        let mut prompt = self.question.clone();
        for (letter, option) in LETTERS.iter().zip(&self.options) {
            prompt += &format!("\n({letter}) {option}");
        }
        prompt
    }

    /// The words that are to come back.
    pub fn reply(&self) -> String {
        match self.letter() {
            Some(letter) => format!("{} ({letter})", self.answer),
            None => self.answer.clone(),
        }
    }
}

/// All questions that can be asked about a piece, each in one wording.
pub fn questions(piece: &Piece, random: &mut Random) -> Vec<Question> {
    let mut questions = global::questions(piece, random);
    questions.extend(temporal::questions(piece, random));
    questions
}

/// `count` questions, a little more than half of them temporal, in which no category crowds out another.
pub fn sample(piece: &Piece, random: &mut Random, count: usize) -> Vec<Question> {
    let mut all = questions(piece, random);
    random.shuffle(&mut all);
    let mut taken: Vec<Question> = Vec::new();
    // How often a category and kind was taken so far decides who is next.
    while taken.len() < count && !all.is_empty() {
        let cost = |q: &Question| {
            let same = |t: &&Question| {
                t.category == q.category && t.options.is_empty() == q.options.is_empty()
            };
            let times = taken.iter().filter(same).count() as f64 + 1.0;
            times / weight(q)
        };
        let next = (0..all.len()).min_by(|a, b| cost(&all[*a]).total_cmp(&cost(&all[*b])));
        taken.push(all.swap_remove(next.unwrap_or(0)));
    }
    random.shuffle(&mut taken);
    taken
}

/// How often a category is wanted beside the others.
fn weight(question: &Question) -> f64 {
    match question.category {
        "entry" | "exit" | "section-start" | "description" => 2.0,
        "section-at" | "chord" => 1.5,
        _ => 1.0,
    }
}
