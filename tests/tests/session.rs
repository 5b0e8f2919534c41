//! Conversations on the demo model.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::ops::ControlFlow;
use std::sync::Arc;

use gamut_engine::{
    Answer, AudioInput, Engine, EngineOptions, Event, Finish, Model, SamplingParams,
};
use gamut_loader::synthetic::{self, SyntheticOptions};

fn engine() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), &SyntheticOptions::default()).unwrap();
    // The mapped files stay when their names are gone.
    let model = Model::open(dir.path(), &Default::default()).unwrap();
    let options = EngineOptions {
        event_buffer: 1,
        ..EngineOptions::default()
    };
    Engine::new(Arc::new(model), &options).unwrap()
}

/// Asks a new session, and cancels with the token of this number, counted from one.
fn ask(engine: &Engine, params: &SamplingParams, last: usize) -> Answer {
    let mut drawn = 0;
    let listener = &mut |event: &Event| {
        drawn += usize::from(matches!(event, Event::Token { .. }));
        match drawn >= last {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let mut session = engine.session();
    session.hear(AudioInput::Samples([0.1; 16_000].into()));
    let answer = session.ask("What?", params, listener).unwrap();
    let told = session.messages().len();
    assert_eq!(told == 0, answer.finish == Some(Finish::Cancelled));
    answer
}

#[test]
fn a_cancelled_answer_keeps_what_was_drawn() {
    let engine = engine();
    let params = SamplingParams {
        max_tokens: 40,
        ignore_eos: true,
        ..Default::default()
    };
    let whole = ask(&engine, &params, usize::MAX);
    assert_eq!(
        (whole.finish, whole.tokens.len()),
        (Some(Finish::Length), 40)
    );
    let some = ask(&engine, &params, 3);
    assert_eq!(some.finish, Some(Finish::Cancelled));
    // The engine was ahead of its reader by some.
    assert!((3..40).contains(&some.tokens.len()));
    assert_eq!(some.tokens, whole.tokens[..some.tokens.len()]);
    assert!(!some.text.is_empty() && whole.text.starts_with(&some.text));
}
