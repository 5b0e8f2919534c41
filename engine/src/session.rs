//! A conversation.

use crate::engine::Engine;
use crate::error::{Error, SubmitError};
use crate::event::{Event, Finish};
use crate::generation::{Answer, Completion, Generation};
use crate::input::{AudioInput, Input, Request, Variables};
use crate::sampling::SamplingParams;
use gamut_loader::Message;
use std::ops::ControlFlow;

/// A conversation, about audio or not. The engine's cache has the audio and what was said, so that a
/// further question costs little more than its own tokens and those of the answer before.
#[derive(Clone, Debug)]
pub struct Session {
    engine: Engine,
    /// In the order of their places in the messages; those without one come with the next question.
    audio: Vec<AudioInput>,
    messages: Vec<Message>,
    variables: Variables,
}

impl Session {
    pub(crate) fn new(engine: Engine) -> Session {
        Session {
            engine,
            audio: Vec::new(),
            messages: Vec::new(),
            variables: Variables::default(),
        }
    }

    /// The conversation so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Lets the model hear some audio, which comes with the next question, before its words.
    pub fn hear(&mut self, audio: impl Into<AudioInput>) {
        self.audio.push(audio.into());
    }

    /// Says something before the first question, as `system`.
    pub fn system(&mut self, text: impl Into<String>) {
        self.messages.insert(0, Message::text("system", text));
    }

    /// Sets the chat template's variables, for all questions to come.
    pub fn set_variables(&mut self, variables: Variables) {
        self.variables = variables;
    }

    /// Asks a question. [`Session::tell`] adds it to the conversation with its answer.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn submit(
        &self,
        question: &str,
        params: &SamplingParams,
    ) -> Result<Generation, SubmitError> {
        let mut messages = self.messages.clone();
        messages.push(self.question(question));
        self.engine.submit(self.request(messages, params))
    }

    /// The request of a conversation about all that was heard.
    pub fn request(&self, messages: Vec<Message>, params: &SamplingParams) -> Request {
        let input = Input::Messages(messages, self.variables.clone());
        let mut request = Request::new(input).params(params.clone());
        request.audio.clone_from(&self.audio);
        request
    }

    /// Adds a question and its answer to the conversation.
    pub fn tell(&mut self, question: &str, answer: &str) {
        self.messages.push(self.question(question));
        self.messages.push(Message::text("assistant", answer));
    }

    /// Asks a question, waits for the answer, of whose events the listener is told, and adds both to
    /// the conversation, unless the listener cancels it.
    ///
    /// # Errors
    /// If the conversation cannot be rendered or does not fit; it is then as it was before.
    pub fn ask(
        &mut self,
        question: &str,
        params: &SamplingParams,
        listener: &mut dyn FnMut(&Event) -> ControlFlow<()>,
    ) -> Result<Answer, Error> {
        let mut completion = Completion::default();
        let mut events = self.submit(question, params)?.blocking();
        while let Some(event) = events.next() {
            let event = event?;
            if listener(&event).is_break() {
                events.cancel();
            }
            completion.take(event);
        }
        let answer = completion.answers.into_iter().next().unwrap_or_default();
        if answer.finish != Some(Finish::Cancelled) {
            self.tell(question, &answer.text);
        }
        Ok(answer)
    }

    /// A question comes with what was heard since the one before.
    fn question(&self, text: &str) -> Message {
        let places = self.messages.iter().map(Message::places).sum();
        Message::about(self.audio.len().saturating_sub(places), "user", text)
    }
}
