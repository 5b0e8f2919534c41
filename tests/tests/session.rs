//! Conversations on the demo model.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::ops::ControlFlow;
use std::sync::Arc;

use gamut_engine::{Answer, AudioInput, Engine, Event, Finish, Model, SamplingParams};
use gamut_loader::synthetic::{self, SyntheticOptions};

fn engine() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), &SyntheticOptions::default()).unwrap();
    // The mapped files stay when their names are gone.
    let model = Model::open(dir.path(), &Default::default()).unwrap();
    Engine::new(Arc::new(model), &Default::default()).unwrap()
}

/// Asks a new session, and cancels with the token of this number, counted from one.
fn ask(engine: &Engine, params: &SamplingParams, last: usize) -> Answer {
    let mut drawn = 0;
    let listener = &mut |event: &Event| {
        drawn += usize::from(matches!(event, Event::Token { .. }));
        match drawn == last {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let mut session = engine.session(AudioInput::Samples([0.1; 16_000].into()));
    session.ask("What?", params, listener).unwrap()
}

#[test]
fn a_cancelled_answer_keeps_what_was_held_back() {
    let engine = engine();
    let params = SamplingParams {
        max_tokens: 8,
        ignore_eos: true,
        ..Default::default()
    };
    let whole = ask(&engine, &params, 0);
    assert_eq!(
        (whole.finish, whole.tokens.len()),
        (Some(Finish::Length), 8)
    );
    let three = ask(&engine, &params, 3);
    assert_eq!(
        (three.finish, three.tokens.len()),
        (Some(Finish::Cancelled), 3)
    );
    assert!(!three.text.is_empty() && whole.text.starts_with(&three.text));
    // The end of the third token may begin this stop string.
    let end = three.text.chars().next_back().unwrap();
    let holding = SamplingParams {
        stop: vec![format!("{end}{end}\u{7}")],
        ..params
    };
    let held = ask(&engine, &holding, 3);
    assert_eq!(
        (held.finish, held.text),
        (Some(Finish::Cancelled), three.text)
    );
}
