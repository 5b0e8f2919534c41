//! Every key that is read, and every value that is refused.

use serde_json::json;

use super::*;
use crate::synthetic::demo_config;

fn parse(value: &Value) -> Result<Config, Error> {
    Config::from_json(Path::new("some/config.json"), value)
}

/// The demo config with the value at a JSON pointer replaced, or removed if `None`.
fn edited(pointer: &str, value: Option<Value>) -> Value {
    let mut config = demo_config();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = config.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(parent.insert(key.to_owned(), value)),
        None => drop(parent.remove(key)),
    }
    config
}

#[track_caller]
fn assert_refused(config: &Value, parts: &[&str]) {
    let message = parse(config).unwrap_err().to_string();
    assert!(message.starts_with("some/config.json: "), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

#[test]
fn reads_every_key() {
    let config = parse(&demo_config()).unwrap();
    assert_eq!(config.max_audio_seconds, 300);
    assert_eq!(config.audio_token_index, 0);
    assert_eq!(
        config.global,
        ExpertConfig {
            num_mel_bins: 128,
            d_model: 64,
            encoder_layers: 3,
            encoder_attention_heads: 4,
            encoder_ffn_dim: 256,
            max_source_positions: 1500,
            activation_function: Activation::Gelu,
        }
    );
    assert_eq!(
        config.temporal,
        ExpertConfig {
            encoder_layers: 2,
            ..config.global.clone()
        }
    );
    assert_eq!(config.temporal.head_dim(), 16);
    assert_eq!(
        config.fusion,
        FusionConfig {
            num_attention_heads: 4,
            ffn_dim: 256,
            gate: Gate::Channel,
            layer_norm_eps: 1e-5,
        }
    );
    assert_eq!(
        config.projector,
        ProjectorConfig {
            hidden_size: 128,
            hidden_act: Activation::Gelu
        }
    );
    assert_eq!(
        config.text,
        TextConfig {
            vocab_size: 576,
            hidden_size: 128,
            intermediate_size: 384,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 32,
            max_position_embeddings: 40960,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            tie_word_embeddings: false,
            hidden_act: Activation::Silu,
        }
    );
}

#[test]
fn absent_optional_keys_have_the_defaults_of_transformers() {
    let mut config = demo_config();
    let text = config["text_config"].as_object_mut().unwrap();
    for key in ["head_dim", "tie_word_embeddings", "attention_bias"] {
        text.remove(key);
    }
    text.insert("rope_scaling".to_owned(), Value::Null);
    text.insert("sliding_window".to_owned(), Value::Null);
    text.insert("torch_dtype".to_owned(), json!("bfloat16"));
    let text = parse(&config).unwrap().text;
    assert_eq!(text.head_dim, 128);
    assert!(!text.tie_word_embeddings);
}

#[test]
fn accepts_both_places_of_rope_theta() {
    let mut config = edited("/text_config/rope_theta", None);
    config["text_config"]["rope_parameters"] =
        json!({ "rope_theta": 5000.0, "rope_type": "default" });
    assert_eq!(parse(&config).unwrap().text.rope_theta, 5000.0);
    config["text_config"]["rope_theta"] = json!(5000);
    assert_eq!(parse(&config).unwrap().text.rope_theta, 5000.0);
    config["text_config"]["rope_theta"] = json!(4000.0);
    assert_refused(&config, &["text_config.rope_theta", "4000.0", "5000.0"]);
}

#[test]
fn names_missing_keys() {
    let mut checked = 0;
    let whole = demo_config();
    for (key, value) in whole.as_object().unwrap() {
        let nested = value
            .as_object()
            .into_iter()
            .flat_map(|section| section.keys());
        for inner in nested.filter(|inner| {
            !["head_dim", "tie_word_embeddings", "attention_bias"].contains(&inner.as_str())
        }) {
            let dotted = format!("`{key}.{inner}` is missing");
            assert_refused(&edited(&format!("/{key}/{inner}"), None), &[&dotted]);
            checked += 1;
        }
        if key != "architectures" {
            assert_refused(
                &edited(&format!("/{key}"), None),
                &[&format!("`{key}` is missing")],
            );
        }
    }
    assert_eq!(checked, 7 + 7 + 4 + 2 + 11);
}

#[test]
fn refuses_bad_values_with_both_sides() {
    let cases: &[(&str, Value, &[&str])] = &[
        (
            "/model_type",
            json!("llava"),
            &["`model_type`", "\"llava\"", "\"gamma\""],
        ),
        ("/max_audio_seconds", json!(0), &["is 0", "from 1 to 3600"]),
        ("/max_audio_seconds", json!(3601), &["is 3601", "3600"]),
        (
            "/audio_token_index",
            json!(576),
            &["is 576", "from 0 to 575"],
        ),
        ("/audio_token_index", json!(-1), &["is -1"]),
        (
            "/temporal_config",
            json!([1]),
            &["`temporal_config` is [1]", "an object"],
        ),
        (
            "/temporal_config/d_model",
            json!("64"),
            &["temporal_config.d_model", "\"64\""],
        ),
        (
            "/temporal_config/d_model",
            json!(64.5),
            &["is 64.5", "an integer"],
        ),
        (
            "/temporal_config/d_model",
            json!(66),
            &["is 66", "encoder_attention_heads, 4"],
        ),
        (
            "/temporal_config/d_model",
            json!(1 << 21),
            &["is 2097152", "1048576"],
        ),
        (
            "/temporal_config/encoder_layers",
            json!(1025),
            &["is 1025", "1024"],
        ),
        (
            "/temporal_config/encoder_layers",
            json!(0),
            &["is 0", "from 1"],
        ),
        (
            "/temporal_config/encoder_attention_heads",
            json!(0),
            &["is 0", "from 1"],
        ),
        (
            "/temporal_config/max_source_positions",
            json!(3000),
            &["is 3000", "1500"],
        ),
        (
            "/temporal_config/activation_function",
            json!("relu"),
            &["\"relu\"", "\"gelu\""],
        ),
        (
            "/global_config/num_mel_bins",
            json!(80),
            &["global_config.num_mel_bins", "80", "128"],
        ),
        (
            "/global_config/d_model",
            json!(128),
            &["global_config.d_model", "128", "64"],
        ),
        (
            "/fusion_config/num_attention_heads",
            json!(5),
            &["is 5", "d_model, 64"],
        ),
        (
            "/fusion_config/gate",
            json!("row"),
            &["\"row\"", "\"channel\" or \"token\""],
        ),
        (
            "/fusion_config/layer_norm_eps",
            json!(-1e-5),
            &["layer_norm_eps", "from 0"],
        ),
        (
            "/projector_config/hidden_act",
            json!("silu"),
            &["\"silu\"", "\"gelu\""],
        ),
        (
            "/text_config/model_type",
            json!("llama"),
            &["text_config.model_type", "\"qwen3\""],
        ),
        (
            "/text_config/vocab_size",
            json!(1 << 25),
            &["is 33554432", "1048575"],
        ),
        ("/text_config/head_dim", json!(33), &["is 33", "even"]),
        (
            "/text_config/num_key_value_heads",
            json!(3),
            &["is 4", "num_key_value_heads, 3"],
        ),
        (
            "/text_config/max_position_embeddings",
            json!(u64::MAX),
            &["18446744073709551615"],
        ),
        (
            "/text_config/rms_norm_eps",
            json!(null),
            &["`text_config.rms_norm_eps` is missing"],
        ),
        (
            "/text_config/rope_theta",
            json!(0),
            &["rope_theta", "is 0", "above 0"],
        ),
        (
            "/text_config/rope_scaling",
            json!({ "type": "yarn" }),
            &["rope_scaling", "yarn"],
        ),
        (
            "/text_config/rope_parameters",
            json!({ "rope_type": "yarn" }),
            &["yarn", "default"],
        ),
        (
            "/text_config/tie_word_embeddings",
            json!(1),
            &["is 1", "true or false"],
        ),
        (
            "/text_config/attention_bias",
            json!(true),
            &["attention_bias", "is true", "false"],
        ),
        (
            "/text_config/use_sliding_window",
            json!(true),
            &["use_sliding_window", "is true"],
        ),
        (
            "/text_config/layer_types",
            json!(["sliding_attention"]),
            &["full_attention"],
        ),
        (
            "/text_config/hidden_act",
            json!("gelu"),
            &["\"gelu\"", "\"silu\""],
        ),
    ];
    for (pointer, value, parts) in cases {
        assert_refused(&edited(pointer, Some(value.clone())), parts);
    }
}

#[test]
fn cuts_long_values_short() {
    let message = parse(&edited("/model_type", Some(json!("x".repeat(10_000)))));
    assert!(message.unwrap_err().to_string().len() < 300);
}
