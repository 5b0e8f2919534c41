//! Qwen2-Audio: clips of up to 30 s, a tower, one linear layer. Source: arXiv 2407.10759, and
//! transformers' `Qwen2AudioConfig`.

use super::text::TextConfig;
use super::tower::{TowerConfig, TowerProjector};
use super::{AudioConfig, token};
use crate::error::Error;
use crate::json::Section;

/// What hears, in a config of Qwen2-Audio.
pub(super) fn read(root: &Section<'_>, text: &TextConfig) -> Result<AudioConfig, Error> {
    let tower = TowerConfig {
        encoder: TowerConfig::encoder(root)?,
        rotation: None,
        projector: TowerProjector::Linear,
    };
    Ok(AudioConfig {
        max_seconds: 30,
        max_clips: None,
        token: token(
            root,
            root.spelling("audio_token_index", "audio_token_id")?,
            text,
        )?,
        around: None,
        encoder: tower.into(),
    })
}
