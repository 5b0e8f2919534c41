//! Checkpoints that cannot be used: each is refused with its file, the key or tensor, what was
//! found and what was expected.

use crate::support::Home;
use serde_json::{Value, json};
use std::fs;

const ASK: &str = "ask clip.wav -p When? -m model -n 1";
const WEIGHTS: &str = "model/model.safetensors";

/// Asserts that `ask`, and `info` too where opening is enough to see it, refuse the model.
#[track_caller]
fn refuses_to_open(home: &Home, parts: &[&str]) {
    home.refuses(ASK, parts);
    home.refuses("info model", parts);
}

/// Asserts that a `config.json` changed at `pointer` is refused, naming `key`.
#[track_caller]
fn refuses_config(pointer: &str, value: Value, parts: &[&str]) {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| {
        *c.pointer_mut(pointer).unwrap() = value
    });
    refuses_to_open(&home, &[&["config.json"], parts].concat());
}

#[test]
fn no_directory() {
    let home = Home::furnished();
    home.refuses("ask clip.wav -p When? -m none", &["none"]);
    home.refuses("info none", &["none"]);
    home.refuses("info clip.wav", &["clip.wav"]);
}

#[test]
fn files_missing() {
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    ] {
        let home = Home::furnished();
        fs::remove_file(home.path("model").join(name)).unwrap();
        // Without its own file the template is looked for in this one.
        let named = name.replace("chat_template.jinja", "tokenizer_config.json");
        refuses_to_open(&home, &[&named]);
    }
}

#[test]
fn broken_json() {
    for name in ["config.json", "tokenizer.json", "generation_config.json"] {
        let home = Home::furnished();
        home.write(&format!("model/{name}"), b"{\"a\": ");
        refuses_to_open(&home, &[name]);
    }
}

#[test]
fn a_key_missing() {
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| {
        c["temporal_config"]
            .as_object_mut()
            .unwrap()
            .remove("d_model");
    });
    refuses_to_open(
        &home,
        &["config.json", "`temporal_config.d_model` is missing"],
    );
}

#[test]
fn unknown_names() {
    let activation = ["temporal_config.activation_function", "\"relu\"", "gelu"];
    refuses_config(
        "/temporal_config/activation_function",
        json!("relu"),
        &activation,
    );
    refuses_config(
        "/fusion_config/gate",
        json!("row"),
        &["fusion_config.gate", "row", "channel"],
    );
    refuses_config(
        "/text_config/hidden_act",
        json!("tanh"),
        &["hidden_act", "tanh", "silu"],
    );
}

#[test]
fn sizes_that_do_not_divide() {
    refuses_config(
        "/temporal_config/encoder_attention_heads",
        json!(7),
        &["heads", "7", "64"],
    );
    refuses_config(
        "/fusion_config/num_attention_heads",
        json!(5),
        &["heads", "5", "64"],
    );
    refuses_config(
        "/text_config/num_key_value_heads",
        json!(3),
        &["heads", "3", "4"],
    );
}

#[test]
fn absurd_sizes() {
    for (pointer, key) in [
        ("/max_audio_seconds", "max_audio_seconds"),
        ("/temporal_config/d_model", "temporal_config.d_model"),
        (
            "/global_config/encoder_layers",
            "global_config.encoder_layers",
        ),
        (
            "/projector_config/hidden_size",
            "projector_config.hidden_size",
        ),
        ("/text_config/vocab_size", "text_config.vocab_size"),
        (
            "/text_config/num_hidden_layers",
            "text_config.num_hidden_layers",
        ),
        (
            "/text_config/max_position_embeddings",
            "text_config.max_position_embeddings",
        ),
    ] {
        for value in [
            json!(0),
            json!(-1),
            json!(1u64 << 62),
            json!(1e300),
            json!("many"),
        ] {
            let found = value.to_string();
            refuses_config(pointer, value, &[key, &found, "expected"]);
        }
    }
}

#[test]
fn large_sizes_take_no_memory_before_they_are_refused() {
    // Every one within its own bound; the weights do not agree.
    let home = Home::furnished();
    home.edit_json("model/config.json", |c| {
        c["text_config"]["hidden_size"] = 1_000_000.into();
        c["text_config"]["num_hidden_layers"] = 1000.into();
        c["text_config"]["vocab_size"] = 1_000_000.into();
    });
    refuses_to_open(&home, &["model.safetensors", "tensor"]);
}

#[test]
fn a_header_cut_off() {
    for length in [0, 7, 8, 100] {
        let home = Home::furnished();
        let bytes = home.read(WEIGHTS);
        home.write(WEIGHTS, &bytes[..length]);
        refuses_to_open(&home, &["model.safetensors"]);
    }
}

#[test]
fn a_huge_header() {
    let home = Home::furnished();
    let mut bytes = home.read(WEIGHTS);
    bytes[..8].copy_from_slice(&(u64::MAX >> 1).to_le_bytes());
    home.write(WEIGHTS, &bytes);
    refuses_to_open(&home, &["model.safetensors", &(u64::MAX >> 1).to_string()]);
}

#[test]
fn data_cut_off() {
    let home = Home::furnished();
    let bytes = home.read(WEIGHTS);
    home.write(WEIGHTS, &bytes[..bytes.len() - 100]);
    refuses_to_open(&home, &["model.safetensors"]);
}

#[test]
fn tensors_that_overlap() {
    let home = Home::furnished();
    home.edit_header(WEIGHTS, |header| {
        let other = header["fusion.gate.weight"]["data_offsets"][0].clone();
        header["projector.linear_1.bias"]["data_offsets"][0] = other;
    });
    refuses_to_open(&home, &["model.safetensors", "tensor"]);
}

#[test]
fn a_tensor_past_the_end() {
    let home = Home::furnished();
    home.edit_header(WEIGHTS, |header| {
        let ends = header
            .values()
            .filter_map(|tensor| tensor["data_offsets"][1].as_u64());
        let end = ends.max().unwrap();
        let beyond = json!({ "dtype": "BF16", "shape": [64], "data_offsets": [end, end + 128] });
        header.insert("beyond".into(), beyond);
    });
    refuses_to_open(&home, &["model.safetensors", "beyond"]);
}

#[test]
fn a_tensor_missing() {
    let home = Home::furnished();
    home.edit_header(WEIGHTS, |header| {
        let tensor = header.remove("fusion.gate.bias").unwrap();
        header.insert("other".into(), tensor);
    });
    refuses_to_open(
        &home,
        &["model.safetensors", "`fusion.gate.bias` is missing"],
    );
}

#[test]
fn a_tensor_of_another_shape() {
    let home = Home::furnished();
    home.edit_header(WEIGHTS, |header| {
        header["fusion.gate.bias"]["shape"] = json!([2, 32])
    });
    refuses_to_open(
        &home,
        &["model.safetensors", "fusion.gate.bias", "[2, 32]", "[64]"],
    );
}

#[test]
fn a_shape_that_does_not_fit_its_bytes() {
    let home = Home::furnished();
    home.edit_header(WEIGHTS, |header| {
        header["fusion.gate.bias"]["shape"] = json!([65])
    });
    refuses_to_open(&home, &["model.safetensors", "fusion.gate.bias", "65"]);
}

#[test]
fn an_unknown_dtype() {
    for dtype in ["I16", "Q4_K"] {
        let home = Home::furnished();
        home.edit_header(WEIGHTS, |header| {
            header["fusion.gate.bias"]["dtype"] = dtype.into()
        });
        refuses_to_open(
            &home,
            &["model.safetensors", "fusion.gate.bias", dtype, "BF16"],
        );
    }
}

#[test]
fn a_shard_missing() {
    let home = Home::furnished();
    home.passes("demo-model sharded --shards 3");
    fs::remove_file(home.path("sharded/model-00002-of-00003.safetensors")).unwrap();
    home.refuses("info sharded", &["model-00002-of-00003.safetensors"]);
}

#[test]
fn a_template_that_raises() {
    let home = Home::furnished();
    home.write(
        "model/chat_template.jinja",
        b"{{ raise_exception('no songs today') }}",
    );
    home.refuses(ASK, &["chat_template.jinja", "no songs today"]);
}

#[test]
fn a_template_that_fails() {
    let home = Home::furnished();
    home.write(
        "model/chat_template.jinja",
        b"{{ messages.nothing.at_all }}",
    );
    home.refuses(ASK, &["chat_template.jinja"]);
    home.write("model/chat_template.jinja", b"{% if %}");
    home.refuses(ASK, &["chat_template.jinja"]);
}

#[test]
fn a_template_that_does_not_end() {
    let home = Home::furnished();
    let nested = "{% for a in range(9999) %}".repeat(4) + &"{% endfor %}".repeat(4);
    home.write("model/chat_template.jinja", nested.as_bytes());
    home.refuses(ASK, &["chat_template.jinja", "did not end within"]);
    let endless = b"{% for a in range(9999) %}{{ 'la' * 9999 }}{% endfor %}";
    home.write("model/chat_template.jinja", endless);
    home.refuses(ASK, &["chat_template.jinja"]);
}

#[test]
fn a_template_without_the_placeholder_or_with_two() {
    let home = Home::furnished();
    let template = String::from_utf8(home.read("model/chat_template.jinja")).unwrap();
    for (text, found) in [("", "0 times"), ("<|AUDIO|><|AUDIO|>", "2 times")] {
        home.write(
            "model/chat_template.jinja",
            template.replace("<|AUDIO|>", text).as_bytes(),
        );
        home.refuses(ASK, &["placeholder", found, "expected 1"]);
    }
}
