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

/// What hears in a config of GaMMA.
fn gamma(config: &Config) -> &GammaConfig {
    match config.audio.as_ref().map(|audio| &audio.encoder) {
        Some(AudioEncoderConfig::Gamma(gamma)) => gamma,
        other => panic!("{other:?}"),
    }
}

/// What hears in a config of one encoder.
fn tower(config: &Config) -> &TowerConfig {
    match config.audio.as_ref().map(|audio| &audio.encoder) {
        Some(AudioEncoderConfig::Tower(tower)) => tower,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_every_key() {
    let config = parse(&demo_config()).unwrap();
    assert_eq!(config.architecture, Architecture::Gamma);
    let audio = config.audio.as_ref().unwrap();
    assert_eq!((audio.max_seconds, audio.token), (300, 0));
    assert_eq!((audio.max_clips, audio.around), (None, None));
    let gamma = gamma(&config);
    assert_eq!(
        gamma.global,
        EncoderConfig {
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
        gamma.temporal,
        EncoderConfig {
            encoder_layers: 2,
            ..gamma.global.clone()
        }
    );
    assert_eq!(gamma.temporal.head_dim(), 16);
    assert_eq!(
        gamma.fusion,
        FusionConfig {
            num_attention_heads: 4,
            ffn_dim: 256,
            gate: Gate::Channel,
            layer_norm_eps: 1e-5,
        }
    );
    assert_eq!(
        gamma.projector,
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
            qkv_bias: false,
            qk_norm: true,
            max_position_embeddings: 40960,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            tie_word_embeddings: false,
            hidden_act: Activation::Silu,
        }
    );
}

/// Both, for transformers leaves out what is its classes' default.
#[test]
fn what_is_absent_is_the_default_of_transformers() {
    let mut config = demo_config();
    config["text_config"] = json!({
        "model_type": "qwen3", "rope_scaling": null, "sliding_window": null,
        "torch_dtype": "bfloat16",
    });
    let qwen3 = parse(&config).unwrap().text;
    let expected = TextConfig {
        vocab_size: 151_936,
        hidden_size: 4096,
        intermediate_size: 22_016,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: 32,
        head_dim: 128,
        qkv_bias: false,
        qk_norm: true,
        max_position_embeddings: 32_768,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        hidden_act: Activation::Silu,
    };
    assert_eq!(qwen3, expected);
    // A head of Qwen2 has its share of the width.
    config["text_config"] = json!({ "model_type": "qwen2", "hidden_size": 2048 });
    let qwen2 = parse(&config).unwrap().text;
    let expected = TextConfig {
        hidden_size: 2048,
        head_dim: 64,
        qkv_bias: true,
        qk_norm: false,
        ..expected
    };
    assert_eq!(qwen2, expected);
    config["text_config"]["hidden_size"] = json!(2040);
    let parts = ["text_config.hidden_size", "2040", "num_attention_heads, 32"];
    assert_refused(&config, &parts);
}

/// The files of Qwen2-Audio-7B-Instruct and of Music Flamingo as they are published, but for keys that
/// nobody here reads.
#[test]
fn reads_what_is_published() {
    let config = parse(&json!({
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "audio_config": {
            "model_type": "qwen2_audio_encoder", "num_mel_bins": 128, "encoder_layers": 32,
            "num_hidden_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
            "d_model": 1280, "scale_embedding": false, "max_source_positions": 1500,
        },
        "audio_token_index": 151_646, "ignore_index": -100, "model_type": "qwen2_audio",
        "text_config": {
            "bos_token_id": 151_643, "eos_token_id": 151_643, "intermediate_size": 11_008,
            "max_position_embeddings": 8192, "model_type": "qwen2", "rms_norm_eps": 1e-5,
            "rope_theta": 10_000, "vocab_size": 156_032,
        },
        "vocab_size": 156_032,
    }));
    let config = config.unwrap();
    let audio = config.audio.as_ref().unwrap();
    assert_eq!((audio.max_seconds, audio.max_clips), (30, None));
    assert_eq!((audio.token, audio.around), (151_646, None));
    assert_eq!(tower(&config).projector, TowerProjector::Linear);
    assert_eq!(tower(&config).rotation, None);
    assert_eq!(config.eos_token_id, Some(vec![151_643]));
    let text = &config.text;
    assert_eq!(
        (text.hidden_size, text.head_dim, text.num_key_value_heads),
        (4096, 128, 32)
    );

    let mut flamingo = json!({
        "architectures": ["MusicFlamingoForConditionalGeneration"],
        "audio_bos_token_id": 151_670, "audio_eos_token_id": 151_671, "audio_frame_step": 0.01,
        "audio_config": {
            "model_type": "audioflamingo3_encoder", "num_mel_bins": 128, "hidden_size": 1280,
            "num_hidden_layers": 32, "num_attention_heads": 20, "intermediate_size": 5120,
        },
        "audio_token_id": 151_669, "head_dim": 1280, "max_position_embeddings": 1200.0,
        "model_type": "musicflamingo", "projector_bias": true, "projector_hidden_act": "gelu",
        "rope_parameters": {
            "partial_rotary_factor": 0.2, "rope_theta": 1200.0, "rope_type": "default",
        },
        "text_config": {
            "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18_944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "rope_parameters": { "rope_theta": 1e6, "rope_type": "default" },
            "vocab_size": 151_672,
        },
    });
    let config = parse(&flamingo).unwrap();
    let audio = config.audio.as_ref().unwrap();
    assert_eq!((audio.max_seconds, audio.max_clips), (1200, Some(1)));
    assert_eq!(
        (audio.token, audio.around),
        (151_669, Some([151_670, 151_671]))
    );
    let large = EncoderConfig {
        num_mel_bins: 128,
        d_model: 1280,
        encoder_layers: 32,
        encoder_attention_heads: 20,
        encoder_ffn_dim: 5120,
        max_source_positions: 1500,
        activation_function: Activation::Gelu,
    };
    let rotation = TimeRotation {
        theta: 1200.0,
        partial_rotary_factor: 0.2,
        frame_step: 0.01,
    };
    let expected = TowerConfig {
        encoder: large,
        rotation: Some(rotation),
        projector: TowerProjector::Mlp { bias: true },
    };
    assert_eq!(tower(&config), &expected);
    // A file that leaves the rotation to its class.
    flamingo["rope_parameters"] = Value::Null;
    assert_eq!(tower(&parse(&flamingo).unwrap()), &expected);
    flamingo["model_type"] = json!("audioflamingo3");
    flamingo["architectures"] = json!(["AudioFlamingo3ForConditionalGeneration"]);
    let config = parse(&flamingo).unwrap();
    assert_eq!(tower(&config).rotation, None);
    let audio = config.audio.as_ref().unwrap();
    assert_eq!((audio.max_seconds, audio.around), (600, None));

    // A decoder alone has its keys at the top.
    let mut decoder = flamingo["text_config"].clone();
    decoder["architectures"] = json!(["Qwen2ForCausalLM"]);
    let alone = parse(&decoder).unwrap();
    assert_eq!((alone.audio, alone.text), (None, config.text));
}

#[test]
fn names_the_architectures_that_are_known() {
    let mut config = demo_config();
    config["architectures"] = json!(["LlamaForCausalLM"]);
    let known = Architecture::ALL.map(Architecture::name);
    let parts = ["`architectures` is \"LlamaForCausalLM\"", "one of"];
    assert_refused(&config, &[&parts[..], &known].concat());
    config["architectures"] = json!([]);
    assert!(parse(&config).is_ok());
    config["model_type"] = json!("llama");
    let known = Architecture::ALL.map(Architecture::model_type);
    let parts = ["`model_type` is \"llama\"", "one of"];
    assert_refused(&config, &[&parts[..], &known].concat());
    // Both have to be of one kind.
    config["architectures"] = json!(["Qwen2ForCausalLM"]);
    config["model_type"] = json!("qwen3");
    assert_refused(&config, &["`model_type` is \"qwen3\"", "\"qwen2\""]);
}

#[test]
fn accepts_both_spellings_of_an_encoder() {
    let spellings = [
        ("d_model", "hidden_size"),
        ("encoder_layers", "num_hidden_layers"),
        ("encoder_attention_heads", "num_attention_heads"),
        ("encoder_ffn_dim", "intermediate_size"),
    ];
    let mut config = demo_config();
    let expected = parse(&config);
    for (name, newer) in spellings {
        let section = config["temporal_config"].as_object_mut().unwrap();
        let value = section[name].clone();
        section.insert(newer.to_owned(), value.clone());
        assert_eq!(parse(&config).unwrap(), *expected.as_ref().unwrap());
        config["temporal_config"][name] = json!(77);
        let dotted = format!("`temporal_config.{name}` is 77");
        let other = format!("temporal_config.{newer}, {value}, or absent");
        assert_refused(&config, &[&dotted, &other]);
        config["temporal_config"]
            .as_object_mut()
            .unwrap()
            .remove(name);
        assert_eq!(parse(&config).unwrap(), *expected.as_ref().unwrap());
    }
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
        let text = key == "text_config";
        // Of the decoder, transformers itself leaves out what is its class's default.
        for inner in nested.filter(|inner| !text || *inner == "model_type") {
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
    assert_eq!(checked, 7 + 7 + 4 + 2 + 1);
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
            json!(2),
            &["text_config.rms_norm_eps", "is 2", "from 0 to 1"],
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
