//! Audio Flamingo 3 and Music Flamingo: a tower over windows of 30 s, two linear layers, and in
//! Music Flamingo a rotation in time between them. Sources: arXiv 2507.08128, arXiv 2511.10289, and
//! transformers' `AudioFlamingo3Config` and `MusicFlamingoConfig`.

use super::text::TextConfig;
use super::tower::{TimeRotation, TowerConfig, TowerProjector};
use super::{Activation, AudioConfig, token};
use crate::error::Error;
use crate::json::Section;

/// Seconds that Audio Flamingo 3 hears.
const AUDIO_FLAMINGO_SECONDS: usize = 600;
/// Seconds that Music Flamingo hears.
const MUSIC_FLAMINGO_SECONDS: usize = 1200;
/// Largest base of the rotation in time.
const MAX_THETA: f64 = 1e6;

/// What hears, in a config of Audio Flamingo 3.
pub(super) fn audio_flamingo_3(
    root: &Section<'_>,
    text: &TextConfig,
) -> Result<AudioConfig, Error> {
    read(root, text, AUDIO_FLAMINGO_SECONDS, None)
}

/// What hears, in a config of Music Flamingo. Its `head_dim` and `max_position_embeddings` are
/// written for the rotation in time, and follow from other keys.
pub(super) fn music_flamingo(root: &Section<'_>, text: &TextConfig) -> Result<AudioConfig, Error> {
    let rotation = rotation(root)?;
    let audio = read(root, text, MUSIC_FLAMINGO_SECONDS, Some(rotation))?;
    Ok(AudioConfig {
        around: Some([
            token(root, "audio_bos_token_id", text)?,
            token(root, "audio_eos_token_id", text)?,
        ]),
        ..audio
    })
}

fn read(
    root: &Section<'_>,
    text: &TextConfig,
    max_seconds: usize,
    rotation: Option<TimeRotation>,
) -> Result<AudioConfig, Error> {
    if root.optional("projector_hidden_act").is_some() {
        root.choice("projector_hidden_act", &[("gelu", Activation::Gelu)])?;
    }
    let tower = TowerConfig {
        encoder: TowerConfig::encoder(root)?,
        rotation,
        projector: TowerProjector::Mlp {
            bias: root.optional_bool("projector_bias")?.unwrap_or(true),
        },
    };
    Ok(AudioConfig {
        max_seconds,
        // Their processors refuse more.
        max_clips: Some(1),
        token: token(
            root,
            root.spelling("audio_token_id", "audio_token_index")?,
            text,
        )?,
        around: None,
        encoder: tower.into(),
    })
}

/// The rotation in time: `rope_parameters` of the whole model.
fn rotation(root: &Section<'_>) -> Result<TimeRotation, Error> {
    let default = TimeRotation {
        theta: 1200.0,
        partial_rotary_factor: 0.2,
        frame_step: 0.01,
    };
    let step = "a number above 0, at most 1";
    let frame_step = root.optional_number("audio_frame_step", step, |x| x > 0.0 && x <= 1.0)?;
    let frame_step = frame_step.unwrap_or(default.frame_step);
    if root.optional("rope_parameters").is_none() {
        return Ok(TimeRotation {
            frame_step,
            ..default
        });
    }
    let rope = root.section("rope_parameters")?;
    if rope.optional("rope_type").is_some() {
        rope.choice("rope_type", &[("default", ())])?;
    }
    let theta = rope.optional_number("rope_theta", "a number from 1 to 1000000", |theta| {
        (1.0..=MAX_THETA).contains(&theta)
    })?;
    // Each axis takes its share.
    let factor = rope.optional_number(
        "partial_rotary_factor",
        "a number above 0, at most 0.5",
        |factor| factor > 0.0 && factor <= 0.5,
    )?;
    Ok(TimeRotation {
        theta: theta.unwrap_or(default.theta),
        partial_rotary_factor: factor.unwrap_or(default.partial_rotary_factor),
        frame_step,
    })
}
