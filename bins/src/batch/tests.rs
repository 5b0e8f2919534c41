//! A batch against an engine that has no room for it.

use super::*;
use crate::args::{Cli, Command};
use crate::asking::UNDER_WAY;
use clap::Parser;
use gamut_engine::{DeviceChoice, EngineOptions, Input, Model, OpenOptions, Request, SubmitError};
use gamut_loader::synthetic::{self, SyntheticOptions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn an_overloaded_engine_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let (model, requests) = (
        home.path().join("model"),
        home.path().join("requests.jsonl"),
    );
    synthetic::write(&model, &SyntheticOptions::default()).unwrap();
    let messages = json!([{ "role": "user", "content": "Why?" }]);
    let body = json!({ "messages": messages, "max_tokens": 3, "n": 2, "ignore_eos": true });
    let line = |i: usize| json!({ "custom_id": i.to_string(), "body": body }).to_string() + "\n";
    fs::write(&requests, (0..40).map(line).collect::<String>()).unwrap();
    let options = EngineOptions {
        device: DeviceChoice::Host,
        threads: 1,
        max_model_len: Some(128),
        max_num_seqs: 8,
        max_queued: 1,
        ..EngineOptions::default()
    };
    let model = Arc::new(Model::open(&model, &OpenOptions::default()).unwrap());
    let engine = Engine::new(model, &options).unwrap();
    // The batch hands it as many at once.
    let refused = (0..UNDER_WAY * options.max_num_seqs).map(|_| {
        let submitted = engine.submit(Request::new(Input::Text("Why?".to_owned())));
        matches!(submitted, Err(SubmitError::Overloaded { .. }))
    });
    assert!(refused.collect::<Vec<_>>().contains(&true));

    let cli = Cli::parse_from(["gamut", "batch", requests.to_str().unwrap()]);
    let Command::Batch(args) = cli.command else {
        panic!("{:?}", cli.command);
    };
    let output = output_path(&args);
    let (log, recovered) = Recovered::open(&output).unwrap();
    let file = Requests::open(&requests).unwrap();
    let mut requests = Requests::new(&requests, file, Shard::WHOLE, recovered).unwrap();
    let first = requests.next().unwrap().unwrap();
    let opened = Opened {
        engine,
        load: Duration::ZERO,
    };
    let mut batch = Batch::new(&opened, &args, requests, log);
    batch.run(first).unwrap();
    assert_eq!(
        (batch.tally.done, batch.tally.failed, batch.tally.tokens),
        (40, 0, 240)
    );
    let written = fs::read_to_string(output).unwrap();
    let ids = written.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["custom_id"].as_str().unwrap().to_owned()
    });
    let ids: Vec<String> = ids.collect();
    let all: BTreeSet<String> = (0..40).map(|i| i.to_string()).collect();
    assert_eq!((ids.len(), BTreeSet::from_iter(ids)), (40, all));
}
