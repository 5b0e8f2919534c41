//! Prompts to token ids, each audio as one placeholder.

use crate::core::request::Unexpanded;
use crate::error::Error;
use crate::input::{AudioInput, Input};
use crate::model::Model;
use gamut_loader::TemplateOptions;

impl Unexpanded {
    /// The token ids of `input`: of messages, by the checkpoint's template, and around the audio of
    /// text what transformers' processor puts there.
    ///
    /// # Errors
    /// If the template fails, the prompt is empty, has a token that the model does not know, more
    /// audio than it takes, or not one placeholder for each audio.
    pub(crate) fn new(
        model: &Model,
        input: &Input,
        audio: Vec<AudioInput>,
    ) -> Result<Unexpanded, Error> {
        let checkpoint = model.checkpoint();
        let vocabulary = model.config().text.vocab_size;
        let encode = |text: &str| -> Result<_, Error> {
            let thinking = text.trim_end().ends_with("<think>");
            Ok((checkpoint.tokenizer().encode(text)?, thinking))
        };
        let (mut ids, thinking) = match input {
            Input::Messages(messages, variables) => {
                let options = TemplateOptions {
                    add_generation_prompt: true,
                    variables: variables.0.clone(),
                };
                encode(&checkpoint.chat_template().render(messages, &options)?)?
            }
            Input::Text(text) => encode(text)?,
            Input::Tokens(ids) => (ids.clone(), false),
        };
        if ids.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            let (name, found) = ("token of the prompt", *id as usize);
            let most = vocabulary - 1;
            return Err(Error::Parameter { name, found, most });
        }
        if audio.is_empty() && model.config().audio.is_none() {
            return Ok(Unexpanded {
                ids,
                thinking,
                ..Unexpanded::default()
            });
        }
        let how = model.audio()?;
        let (found, most) = (audio.len(), how.max_clips.unwrap_or(usize::MAX));
        if found > most {
            let architecture = model.config().architecture.name();
            return Err(Error::TooManyClips {
                found,
                architecture,
                most,
            });
        }
        let placeholder = how.token;
        let (found, expected) = (
            ids.iter().filter(|id| **id == placeholder).count(),
            audio.len(),
        );
        if found != expected {
            return Err(Error::Placeholder {
                token: placeholder,
                found,
                expected,
                hint: if found < expected {
                    "the chat template prints none for an audio item, or the prompt has too few"
                } else {
                    "a message spells it out, or the chat template prints it twice"
                },
            });
        }
        if let (Some([before, after]), false) = (how.around, matches!(input, Input::Tokens(_))) {
            let spread = |id| match id == placeholder {
                true => vec![before, id, after],
                false => vec![id],
            };
            ids = ids.into_iter().flat_map(spread).collect();
        }
        Ok(Unexpanded {
            ids,
            placeholder: Some(placeholder),
            audio,
            thinking,
        })
    }
}
