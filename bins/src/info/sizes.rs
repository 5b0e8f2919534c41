//! The parts of a model with their sizes, a row of the table each.

use gamut_loader::{AudioEncoderConfig, Config, EncoderConfig, Gate, TextConfig, TowerProjector};

/// A part's name and its sizes.
pub(super) type Row = [String; 2];

/// The parts of the model, as the forward pass comes to them.
pub(super) fn rows(config: &Config) -> Vec<Row> {
    let mut rows = vec![row("architecture", config.architecture.name())];
    if let Some(audio) = &config.audio {
        match &audio.encoder {
            AudioEncoderConfig::Gamma(gamma) => {
                let fusion = &gamma.fusion;
                let gate = match fusion.gate {
                    Gate::Channel => "channel",
                    Gate::Token => "token",
                };
                rows.extend([
                    row("temporal expert", encoder(&gamma.temporal)),
                    row("global expert", encoder(&gamma.global)),
                    row(
                        "fusion",
                        format!(
                            "{} heads, ffn {}, gate per {gate}",
                            fusion.num_attention_heads, fusion.ffn_dim
                        ),
                    ),
                ]);
            }
            AudioEncoderConfig::Tower(tower) => {
                rows.push(row("audio tower", encoder(&tower.encoder)));
                if tower.rotation.is_some() {
                    rows.push(row("rotation", "by the time of each row"));
                }
                let projector = match tower.projector {
                    TowerProjector::Linear => "one layer",
                    TowerProjector::Mlp { .. } => "two layers",
                };
                rows.push(row("projector", projector));
            }
        }
    }
    rows.push(row("decoder", decoder(&config.text)));
    let longest = match &config.audio {
        Some(audio) => match audio.max_clips {
            Some(1) => format!("{} s, one in a conversation", audio.max_seconds),
            Some(clips) => format!("{} s, {clips} in a conversation", audio.max_seconds),
            None => format!("{} s", audio.max_seconds),
        },
        None => "none: it reads text alone".to_owned(),
    };
    rows.push(row("longest song", longest));
    rows
}

fn row(name: &str, sizes: impl Into<String>) -> Row {
    [name.to_owned(), sizes.into()]
}

fn encoder(config: &EncoderConfig) -> String {
    format!(
        "{} layers, d_model {}, {} heads, ffn {}, {} mel bins",
        config.encoder_layers,
        config.d_model,
        config.encoder_attention_heads,
        config.encoder_ffn_dim,
        config.num_mel_bins
    )
}

fn decoder(text: &TextConfig) -> String {
    let tied = match text.tie_word_embeddings {
        true => "tied",
        false => "untied",
    };
    format!(
        "{} layers, hidden {}, {} heads over {} of {}, ffn {}, vocabulary {}, {tied}",
        text.num_hidden_layers,
        text.hidden_size,
        text.num_attention_heads,
        text.num_key_value_heads,
        text.head_dim,
        text.intermediate_size,
        text.vocab_size,
    )
}
