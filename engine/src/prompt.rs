//! Conversations to token ids, with the audio's placeholder expanded.

use crate::error::Error;
use crate::model::Model;
use gamut_kernels::ops::Source;
use gamut_loader::{Message, TemplateOptions};
use serde_json::{Map, Value};

/// A conversation as the decoder reads it.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// Token ids, the placeholder repeated for every audio token.
    pub(crate) tokens: Vec<u32>,
    /// The embedding of every position.
    pub(crate) sources: Vec<Source>,
    /// Whether the assistant's turn opens inside a thought.
    pub(crate) thinking: bool,
}

impl Prompt {
    /// Renders `messages` with the checkpoint's template and variables such as `enable_thinking`,
    /// and expands the placeholder to `audio_tokens` positions.
    pub(crate) fn render(
        model: &Model,
        messages: &[Message],
        variables: &Map<String, Value>,
        audio_tokens: usize,
    ) -> Result<Prompt, Error> {
        let checkpoint = model.checkpoint();
        let options = TemplateOptions {
            add_generation_prompt: true,
            variables: variables.clone(),
        };
        let text = checkpoint.chat_template().render(messages, &options)?;
        let ids = checkpoint.tokenizer().encode(&text)?;
        let token = model.config().audio_token_index;
        let found = ids.iter().filter(|id| **id == token).count();
        if found != 1 {
            let hint = if found == 0 {
                "the chat template prints none for the audio item"
            } else {
                "a message spells it out, or the chat template prints it twice"
            };
            return Err(Error::Placeholder { token, found, hint });
        }
        let mut prompt = Prompt {
            tokens: Vec::new(),
            sources: Vec::new(),
            thinking: false,
        };
        for id in ids {
            if id == token {
                prompt
                    .tokens
                    .extend(std::iter::repeat_n(token, audio_tokens));
                prompt
                    .sources
                    .extend((0..audio_tokens as u32).map(Source::Audio));
            } else {
                prompt.tokens.push(id);
                prompt.sources.push(Source::Token(id));
            }
        }
        prompt.thinking = text.trim_end().ends_with("<think>");
        Ok(prompt)
    }
}
