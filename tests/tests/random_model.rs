//! A model whose weights no file holds is, bit for bit, the one that would be written to files.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{DType, DeviceChoice, EngineOptions, Inspection, Model};
use gamut_loader::Message;
use gamut_loader::synthetic::{self, Fill, SyntheticOptions};
use gamut_tests::nvrtc::NEWEST;
use serde_json::{Value, json};

const SEED: u64 = 7;

/// A layer of each kind, with a gate per token: a matrix of one row.
fn config() -> Value {
    let mut config = synthetic::demo_config();
    config["max_audio_seconds"] = json!(2);
    config["fusion_config"]["gate"] = json!("token");
    for expert in ["temporal_config", "global_config"] {
        config[expert]["encoder_layers"] = json!(1);
    }
    config["text_config"]["num_hidden_layers"] = json!(1);
    config
}

/// The stages of half a second and two tokens.
fn inspect(model: Model, device: DeviceChoice, dtype: DType) -> Inspection {
    let options = EngineOptions {
        device,
        dtype: Some(dtype),
        max_model_len: Some(128),
        ..EngineOptions::default()
    };
    let samples: Vec<f32> = (0..8_000).map(|i| (i as f32 * 0.05).sin() * 0.3).collect();
    let question = vec![Message::audio("user", "What?")];
    Inspection::run(
        &model,
        &options,
        &[&samples],
        question,
        2,
        &mut |_, _, _| {},
    )
    .unwrap()
}

#[test]
fn random_weights_are_those_of_the_files() {
    NEWEST.nvrtc();
    let dir = tempfile::tempdir().unwrap();
    let options = SyntheticOptions {
        config: config(),
        dtype: gamut_loader::DType::BF16,
        fill: Fill::Random { seed: SEED },
        shards: 1,
    };
    synthetic::write(dir.path(), &options).unwrap();
    for (device, dtype) in [
        (DeviceChoice::Host, DType::F32),
        (DeviceChoice::Virtual, DType::F32),
        (DeviceChoice::Virtual, DType::BF16),
    ] {
        let stored = Model::open(dir.path(), &Default::default()).unwrap();
        let random = Model::random(&config().to_string(), SEED).unwrap();
        let [stored, random] = [stored, random].map(|model| inspect(model, device, dtype));
        assert_eq!(stored.prompt_tokens, random.prompt_tokens);
        for (stored, random) in stored.stages.iter().zip(&random.stages) {
            assert!(stored == random, "{:?} on {device:?} in {dtype}", stored.0);
        }
        assert!(
            stored.logits == random.logits,
            "logits on {device:?} in {dtype}"
        );
        assert_eq!(stored.tokens, random.tokens);
        let other = inspect(
            Model::random(&config().to_string(), SEED + 1).unwrap(),
            device,
            dtype,
        );
        assert!(stored.logits != other.logits);
    }
}
