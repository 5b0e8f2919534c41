//! How much of a song the operations are timed on.

use gamut_engine::EngineOptions;

/// Sizes beside the model's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Seconds of the clip.
    pub(crate) seconds: usize,
    /// Frames of an expert's window.
    pub(crate) frames: usize,
    /// Windows of the clip.
    pub(crate) windows: usize,
    /// Audio tokens of the clip.
    pub(crate) tokens: usize,
    /// Positions of the prompt.
    pub(crate) positions: usize,
    /// Positions of the prompt that a step takes.
    pub(crate) chunk: usize,
    /// Sequences of which a step generates a token each.
    pub(crate) batches: [usize; 2],
    /// Tokens generated.
    pub(crate) generated: usize,
    /// Repetitions of what takes long.
    pub(crate) repetitions: usize,
}

impl Sizes {
    /// The longest song of GaMMA's and a question about it.
    pub(crate) const SONG: Sizes = Sizes {
        seconds: 300,
        frames: 1500,
        windows: 10,
        tokens: 7500,
        positions: 7600,
        chunk: EngineOptions::MAX_NUM_BATCHED_TOKENS,
        batches: [1, 32],
        generated: 128,
        repetitions: 3,
    };

    /// Just enough to run every line, on a device that is thousands of times slower.
    pub(crate) const DRY: Sizes = Sizes {
        seconds: 1,
        frames: 12,
        windows: 2,
        tokens: 20,
        positions: 70,
        chunk: 8,
        batches: [1, 3],
        generated: 2,
        repetitions: 1,
    };
}
