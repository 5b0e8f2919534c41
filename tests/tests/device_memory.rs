//! An engine on a GPU whose memory gives out, at every call that takes some in turn. Alone in its process, since
//! the virtual GPU's options are the process's.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    DType, Device, DeviceChoice, Engine, EngineOptions, Error, Input, Model, Request,
    SamplingParams, Token,
};
use gamut_loader::synthetic;
use gamut_tests::virtual_gpu;
use std::sync::Arc;
use std::time::Duration;

/// A new engine's answer to one question. If that fails, the engine must have one to the next.
fn answer(model: &Arc<Model>) -> Result<Vec<Token>, Error> {
    let options = EngineOptions {
        device: DeviceChoice::Virtual,
        dtype: Some(DType::BF16),
        threads: 2,
        max_model_len: Some(128),
        max_num_seqs: 2,
        max_num_batched_tokens: 2 + 64,
        kv_cache_tokens: Some(256),
        max_songs: 1,
        ..EngineOptions::default()
    };
    let engine = Engine::new(model.clone(), &options)?;
    let ask = || {
        let request = Request::new(Input::Text("When?".to_owned())).params(SamplingParams {
            max_tokens: 3,
            ..SamplingParams::default()
        });
        let completion = engine.submit(request).unwrap().wait()?;
        Ok(completion.answers[0].tokens.clone())
    };
    let found = ask();
    if found.is_err() {
        ask().unwrap();
    }
    assert!(engine.shutdown(Duration::MAX));
    found
}

#[test]
fn whatever_finds_no_memory_is_told_and_all_of_it_comes_back() {
    let Device::Cuda(gpu) = virtual_gpu(DType::BF16) else {
        unreachable!()
    };
    let mut config = synthetic::demo_config();
    config["max_audio_seconds"] = 4.into();
    let model = Arc::new(Model::random(&config.to_string(), 0).unwrap());
    let free = || gpu.free_memory().unwrap();
    let before = free();
    let expected = answer(&model).unwrap();
    assert_eq!(free(), before);
    let mut refused = 1;
    let found = loop {
        gpu.set_virtual_options(&format!("refuse={refused}"))
            .unwrap();
        let found = answer(&model);
        assert_eq!(free(), before, "call {refused}");
        match found {
            Ok(tokens) => break tokens,
            Err(error) => println!("call {refused}: {error}"),
        }
        refused += 1;
    };
    assert_eq!(found, expected);
    // The weights with two pieces to send them, modules, six workspaces with a cache, a graph.
    assert!(refused > 3 + 6 + 1, "only {refused} calls take memory");
}
