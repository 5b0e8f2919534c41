//! Answers that must be JSON of some schema, or match a regular expression.

use crate::error::Error;
use gamut_loader::Checkpoint;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::fmt;
use std::sync::Arc;

/// What an answer must be. Tokens that would make it something else are not drawn, and it ends when
/// nothing may follow, or where the model ends it and it may end. A thought that the prompt has
/// opened is free, and the answer behind it is held to this.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Constraint {
    /// JSON that this JSON schema, a JSON text itself, describes.
    JsonSchema(String),
    /// Text that is, from its first to its last character, what this regular expression describes,
    /// in the syntax of Rust's `regex` crate without anchors and look-around.
    Regex(String),
}

impl Constraint {
    fn grammar(&self) -> Result<TopLevelGrammar, Error> {
        match self {
            Constraint::JsonSchema(schema) => match serde_json::from_str(schema) {
                Ok(schema) => Ok(TopLevelGrammar::from_json_schema(schema)),
                Err(e) => Err(self.refused(e.to_string())),
            },
            Constraint::Regex(pattern) => Ok(TopLevelGrammar::from_regex(pattern)),
        }
    }

    fn refused(&self, reason: String) -> Error {
        let what = match self {
            Constraint::JsonSchema(_) => "JSON schema",
            Constraint::Regex(_) => "regular expression",
        };
        Error::Constraint { what, reason }
    }
}

/// Makes [`Guide`]s for the tokens of a model.
pub(crate) struct Compiler {
    factory: ParserFactory,
    vocabulary: usize,
}

impl Compiler {
    /// For a model of `vocabulary` tokens.
    pub(crate) fn new(checkpoint: &Checkpoint, vocabulary: usize) -> Result<Compiler, Error> {
        let tokenizer = checkpoint.tokenizer();
        // Tokens that were added to the alphabet, such as `<think>`, are no way to write their names.
        let word = |id: u32| match tokenizer.is_added(id) {
            true => Vec::new(),
            false => tokenizer.token_bytes(id).unwrap_or_default(),
        };
        let words: Vec<Vec<u8>> = (0..vocabulary as u32).map(word).collect();
        let ends = checkpoint.end_tokens().iter();
        let ends: Vec<u32> = ends
            .copied()
            .filter(|id| (*id as usize) < vocabulary)
            .collect();
        let info = TokRxInfo::new(vocabulary as u32, INVALID_TOKEN);
        let mut trie = TokTrie::from(&info, &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(&ends);
        }
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&tokens).map_err(|e| failed(&e))?;
        *factory.limits_mut() = ParserLimits {
            verbose_errors: false,
            ..ParserLimits::default()
        };
        factory.quiet();
        Ok(Compiler {
            factory,
            vocabulary,
        })
    }

    /// # Errors
    /// If the schema or expression cannot be understood, describes nothing, or is too large.
    pub(crate) fn compile(&self, constraint: &Constraint) -> Result<Guide, Error> {
        let parser = self.factory.create_parser(constraint.grammar()?);
        let parser = parser.map_err(|e| constraint.refused(first_line(&e)))?;
        let mut guide = Guide {
            matcher: Matcher::new(Ok(parser)),
            allowed: vec![0; self.vocabulary.div_ceil(u32::BITS as usize)],
        };
        guide.find_allowed()?;
        Ok(guide)
    }
}

/// A constraint with what an answer has so far.
#[derive(Clone)]
pub(crate) struct Guide {
    matcher: Matcher,
    /// The tokens that may follow, a bit for each.
    allowed: Vec<u32>,
}

impl Guide {
    /// The tokens that may follow: bit `i % 32` of word `i / 32` for token `i`.
    pub(crate) fn allowed(&self) -> &[u32] {
        &self.allowed
    }

    /// Takes a token that is allowed; whether no text may follow.
    ///
    /// # Errors
    /// If it takes too long to find out what may follow.
    pub(crate) fn take(&mut self, token: u32) -> Result<bool, Error> {
        self.matcher.consume_token(token).map_err(|e| failed(&e))?;
        if self.matcher.is_stopped() {
            return Ok(true);
        }
        self.find_allowed()?;
        Ok(false)
    }

    fn find_allowed(&mut self) -> Result<(), Error> {
        let found = self.matcher.compute_mask().map_err(|e| failed(&e))?;
        // Its words go further than the vocabulary's.
        for (allowed, found) in self.allowed.iter_mut().zip(found.as_slice()) {
            *allowed = *found;
        }
        Ok(())
    }
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").finish_non_exhaustive()
    }
}

impl fmt::Debug for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guide").finish_non_exhaustive()
    }
}

fn failed(error: &impl fmt::Display) -> Error {
    Error::Constraint {
        what: "constraint",
        reason: first_line(error),
    }
}

/// The rest of the library's messages is for its developers.
fn first_line(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
