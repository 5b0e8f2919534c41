//! What is measured.

use crate::observe::Stage;
use gamut_kernels::PAGE;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Test {
    /// Decoding and resampling an audio file.
    Audio,
    /// A stage of the audio's way into the decoder.
    Stage(Stage),
    /// Prompts of some tokens, all at once.
    Prompt(Shape),
    /// Single tokens of sequences that run side by side.
    Generation(Shape),
}

/// The size of a test of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of each sequence that are measured.
    pub tokens: usize,
    /// Tokens of each in the context before.
    pub depth: usize,
    /// Sequences at a time.
    pub batch: usize,
}

impl Shape {
    /// `tokens` after `depth` others, of `batch` sequences.
    pub fn new(tokens: usize, depth: usize, batch: usize) -> Shape {
        Shape {
            tokens,
            depth,
            batch,
        }
    }

    /// Tokens of all sequences that are measured.
    pub(crate) fn total(self) -> usize {
        self.tokens.saturating_mul(self.batch)
    }
}

impl Test {
    /// Its name in tables: `pp512`, `tg32 @ d1000` as llama-bench writes it, and with several
    /// sequences `tg32 @ d1000 b8`.
    pub fn name(self) -> String {
        let (kind, shape) = match self {
            Test::Audio => return "audio".to_owned(),
            Test::Stage(stage) => return stage.name().to_owned(),
            Test::Prompt(shape) => ("pp", shape),
            Test::Generation(shape) => ("tg", shape),
        };
        let Shape {
            tokens,
            depth,
            batch,
        } = shape;
        let depth = match depth {
            0 => String::new(),
            depth => format!(" @ d{depth}"),
        };
        let batch = match batch {
            1 => String::new(),
            batch => format!(" b{batch}"),
        };
        format!("{kind}{tokens}{depth}{batch}")
    }

    /// Its size, if it is one of the decoder.
    pub fn shape(self) -> Option<Shape> {
        match self {
            Test::Audio | Test::Stage(_) => None,
            Test::Prompt(shape) | Test::Generation(shape) => Some(shape),
        }
    }

    /// Tokens of its longest sequence: the context that it needs.
    pub fn max_model_len(self) -> usize {
        match self {
            Test::Audio | Test::Stage(_) => 1,
            // With the token that is drawn.
            Test::Prompt(shape) => shape.depth.saturating_add(shape.tokens).saturating_add(1),
            Test::Generation(shape) => prompt_of(shape)
                .saturating_add(shape.tokens)
                .saturating_add(1),
        }
    }

    /// Tokens whose keys and values there must be room for, so that no sequence is in another's way.
    pub fn kv_cache_tokens(self) -> usize {
        let (shape, more) = match self {
            Test::Audio | Test::Stage(_) => return 1,
            // Those of the repetition before are still there.
            Test::Prompt(shape) => (shape, shape.tokens),
            Test::Generation(shape) => (shape, AHEAD),
        };
        // Pages are not shared, and the scheduler keeps one free for each sequence.
        self.max_model_len()
            .saturating_add(more)
            .saturating_add(3 * PAGE)
            .saturating_mul(shape.batch)
    }
}

/// Tokens of the prompts before generation: there must be one.
pub(super) fn prompt_of(shape: Shape) -> usize {
    shape.depth.max(1)
}

/// Tokens that sequences of a batch may draw before the last of them has begun.
pub(super) const AHEAD: usize = PAGE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_llama_bench() {
        let shape = Shape::new;
        for (test, name) in [
            (Test::Prompt(shape(7600, 0, 1)), "pp7600"),
            (Test::Prompt(shape(16, 7600, 1)), "pp16 @ d7600"),
            (Test::Generation(shape(128, 0, 1)), "tg128"),
            (Test::Generation(shape(128, 0, 8)), "tg128 b8"),
            (Test::Generation(shape(128, 512, 8)), "tg128 @ d512 b8"),
            (Test::Audio, "audio"),
            (Test::Stage(Stage::Mel), "mel"),
        ] {
            assert_eq!(test.name(), name);
        }
    }

    #[test]
    fn sizes_do_not_overflow() {
        let most = usize::MAX;
        let shape = Shape::new(most, most, most);
        for test in [Test::Prompt(shape), Test::Generation(shape)] {
            assert_eq!((test.max_model_len(), test.kv_cache_tokens()), (most, most));
        }
    }
}
