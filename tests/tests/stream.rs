//! What the engine gives the GPU's stream, and when: while a step runs, the next one is scheduled.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    DeviceChoice, Engine, EngineOptions, Input, Model, OpenOptions, Request, SamplingParams,
};
use gamut_kernels::{TraceEvent, TraceKind, Tracing};
use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_tests::nvrtc::NEWEST;
use std::ffi::CString;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Puts what the engine says of its steps into the GPU's trace, once there is one.
struct Marker(Arc<OnceLock<Tracing>>);

impl Subscriber for Marker {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::TRACE && metadata.target().starts_with("gamut_engine")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if let Some(tracing) = self.0.get() {
            tracing.mark(&CString::new(message.0).unwrap()).unwrap();
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The trace of some answers on the virtual GPU.
fn trace() -> Vec<TraceEvent> {
    let tracing = Arc::new(OnceLock::new());
    tracing::subscriber::set_global_default(Marker(tracing.clone())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), &SyntheticOptions::default()).unwrap();
    let model = Model::open(dir.path(), &OpenOptions::default()).unwrap();
    let options = EngineOptions {
        device: DeviceChoice::Virtual,
        max_model_len: Some(128),
        max_num_seqs: 2,
        ..EngineOptions::default()
    };
    let engine = Engine::new(Arc::new(model), &options).unwrap();
    let tracing = tracing.get_or_init(|| Tracing::start(engine.device()).unwrap());
    let ask = |first: u32| {
        let params = SamplingParams {
            max_tokens: 12,
            ignore_eos: true,
            ..SamplingParams::default()
        };
        let input = Input::Tokens(vec![first, 7, 9]);
        engine.submit(Request::new(input).params(params)).unwrap()
    };
    for generation in [ask(1), ask(2)] {
        generation.wait().unwrap();
    }
    engine.shutdown(Duration::from_secs(60));
    tracing.take().unwrap()
}

#[test]
fn a_step_is_one_graph_and_the_next_is_scheduled_while_it_runs() {
    NEWEST.nvrtc();
    let trace = trace();
    let is = |event: &TraceEvent, what: &str| event.kind == TraceKind::Mark && event.what == what;
    let steps: Vec<&[TraceEvent]> = trace.split(|event| is(event, "step begins")).collect();
    let steps = steps.into_iter().skip(1);
    // Those that only launch a graph: with prompts, and where a graph is recorded, more is launched.
    let decoding: Vec<&[TraceEvent]> = steps
        .filter(|step| step.iter().any(|event| event.kind == TraceKind::Graph))
        .collect();
    assert!(decoding.len() >= 10, "{} steps", decoding.len());
    for step in decoding {
        let end = step.iter().position(|event| is(event, "step ends"));
        let step = &step[..=end.unwrap()];
        let given: Vec<String> = step
            .iter()
            .filter(|event| event.kind != TraceKind::Run)
            .map(|event| match event.kind {
                TraceKind::Submit => event.what.split(" bytes").next().unwrap().to_owned(),
                TraceKind::Mark => event.what.clone(),
                kind => format!("{kind:?}"),
            })
            .collect();
        let names: Vec<&str> = given
            .iter()
            .map(|text| text.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' '))
            .collect();
        let expected = [
            "upload", // whose rows, which tokens
            "Graph",  // the decoder
            "upload", // how tokens are drawn
            "launch sample",
            "next step scheduled",
            "Wait", // a copy to memory that is not pinned, the tokens'
            "Wait",
            "step ends",
        ];
        assert_eq!(names, expected);
        // Nothing runs before it is waited for: a GPU would have come to it long before.
        let scheduled = step.iter().position(|e| is(e, "next step scheduled"));
        let ran = step.iter().position(|e| e.kind == TraceKind::Run);
        assert!(scheduled < ran, "{step:?}");
    }
}
