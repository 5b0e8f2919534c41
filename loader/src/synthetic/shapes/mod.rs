//! The sizes of real models.

use serde_json::Value;

/// A model whose sizes are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// GaMMA-8B: two experts of Whisper large-v3's size, the decoder of Qwen3-8B.
    Gamma8b,
    /// GaMMA-14B: the same experts, the decoder of Qwen3-14B.
    Gamma14b,
    /// Music Flamingo: a tower of Whisper large-v3's size, the decoder of Qwen2.5-7B.
    Flamingo7b,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Shape; 3] = [Shape::Gamma8b, Shape::Gamma14b, Shape::Flamingo7b];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Gamma8b => "gamma-8b",
            Shape::Gamma14b => "gamma-14b",
            Shape::Flamingo7b => "flamingo-7b",
        }
    }

    /// Its `config.json`, with a placeholder for the ids of the audio's tokens.
    pub fn config(self) -> Value {
        let text = match self {
            Shape::Gamma8b => include_str!("gamma-8b.json"),
            Shape::Gamma14b => include_str!("gamma-14b.json"),
            Shape::Flamingo7b => include_str!("flamingo-7b.json"),
        };
        // Every one of them is read by a test.
        serde_json::from_str(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::layout;
    use std::path::Path;

    /// By hand from the models' cards: Whisper large-v3's encoder has 637 M parameters, Qwen3-8B 8.19 G,
    /// Qwen3-14B 14.77 G, Qwen2.5-7B 7.62 G.
    #[test]
    fn they_have_the_real_numbers_of_parameters() {
        for (shape, least, most) in [
            (Shape::Gamma8b, 9.46, 9.55),
            (Shape::Gamma14b, 16.04, 16.15),
            (Shape::Flamingo7b, 8.24, 8.30),
        ] {
            let config = Config::from_json(Path::new(shape.name()), &shape.config()).unwrap();
            let tensors = layout::tensors(&config);
            let parameters: usize = tensors
                .iter()
                .map(|t| t.shape.iter().product::<usize>())
                .sum();
            let billions = parameters as f64 / 1e9;
            assert!(
                (least..most).contains(&billions),
                "{}: {billions}",
                shape.name()
            );
        }
    }
}
