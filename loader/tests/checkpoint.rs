//! Whole checkpoints: written, opened, compared, and spoilt in every way that has an error.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::fs;
use std::path::Path;

use gamut_loader::synthetic::{self, Fill, SyntheticOptions};
use gamut_loader::{Checkpoint, DType, Error, Message, OpenOptions, TemplateOptions, layout};
use serde_json::{Value, json};
use tempfile::TempDir;

fn written(options: &SyntheticOptions) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), options).unwrap();
    dir
}

fn sharded() -> SyntheticOptions {
    SyntheticOptions {
        shards: 3,
        ..SyntheticOptions::default()
    }
}

fn open(dir: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open(dir, &OpenOptions::default())
}

#[track_caller]
fn assert_refused(dir: &Path, parts: &[&str]) {
    let message = open(dir).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// All tensors' names, dtypes, shapes and bytes.
fn contents(checkpoint: &Checkpoint) -> Vec<(String, DType, Vec<usize>, Vec<u8>)> {
    layout::tensors(checkpoint.config())
        .iter()
        .map(|spec| checkpoint.weights().get(&spec.name, &spec.shape).unwrap())
        .map(|tensor| {
            (
                tensor.name,
                tensor.dtype,
                tensor.shape,
                tensor.data.to_vec(),
            )
        })
        .collect()
}

#[test]
fn end_tokens_come_from_the_first_file_that_says() {
    let dir = written(&SyntheticOptions::default());
    let ends = || open(dir.path()).unwrap().end_tokens().to_vec();
    let by_generation_config = ends();
    assert_eq!(by_generation_config.len(), 2);
    fs::remove_file(dir.path().join("generation_config.json")).unwrap();
    assert_eq!(ends(), by_generation_config[..1], "tokenizer_config.json");
    let config = dir.path().join("config.json");
    edit_json(&config, |config| {
        config["text_config"]["eos_token_id"] = json!(5)
    });
    assert_eq!(ends(), [5]);
    edit_json(&config, |config| config["eos_token_id"] = json!([]));
    assert_eq!(ends(), [5]);
    edit_json(&config, |config| config["eos_token_id"] = json!([6, 7]));
    assert_eq!(ends(), [6, 7]);
    edit_json(&config, |config| config["eos_token_id"] = json!(1 << 19));
    assert_refused(
        dir.path(),
        &["config.json", "`eos_token_id` is 524288", "vocab_size"],
    );
}

#[test]
fn a_synthetic_checkpoint_opens_in_full() {
    let dir = written(&SyntheticOptions::default());
    let checkpoint = open(dir.path()).unwrap();
    assert_eq!(checkpoint.path(), dir.path());
    let weights = checkpoint.weights();
    let specs = layout::tensors(checkpoint.config());
    assert_eq!(weights.tensors().len(), specs.len());
    let file = fs::metadata(dir.path().join("model.safetensors"))
        .unwrap()
        .len();
    assert!(weights.total_bytes() < file && weights.total_bytes() > file - 32_768);
    let elements: usize = specs
        .iter()
        .map(|spec| spec.shape.iter().product::<usize>())
        .sum();
    assert_eq!(weights.total_bytes(), 2 * elements as u64);

    let tokenizer = checkpoint.tokenizer();
    let audio = checkpoint.config().audio.as_ref().unwrap().token;
    assert_eq!(tokenizer.id_to_token(audio).as_deref(), Some("<|AUDIO|>"));
    let eos = checkpoint.generation_config().eos_token_id.clone().unwrap();
    let names: Vec<_> = eos
        .iter()
        .filter_map(|id| tokenizer.id_to_token(*id))
        .collect();
    assert_eq!(names, ["<|im_end|>", "<|endoftext|>"]);
    assert_eq!(checkpoint.generation_config().do_sample, Some(false));
    assert!(tokenizer.vocab_size() < checkpoint.config().text.vocab_size);

    let prompt = checkpoint
        .chat_template()
        .render(
            &[Message::audio("user", "Which key?")],
            &TemplateOptions::default(),
        )
        .unwrap();
    let placeholders = tokenizer
        .encode(&prompt)
        .unwrap()
        .into_iter()
        .filter(|id| *id == audio)
        .count();
    assert_eq!(placeholders, 1);
}

#[test]
fn the_same_seed_gives_the_same_weights_in_any_number_of_shards() {
    let single = written(&SyntheticOptions::default());
    let shards = written(&sharded());
    let other = written(&SyntheticOptions {
        fill: Fill::Random { seed: 1 },
        ..SyntheticOptions::default()
    });
    let expected = contents(&open(single.path()).unwrap());
    let split = open(shards.path()).unwrap();
    assert_eq!(split.weights().files().len(), 3);
    assert!(contents(&split) == expected);
    assert!(contents(&open(other.path()).unwrap()) != expected);
}

#[test]
fn zeros_are_zero_in_any_number_of_shards() {
    for shards in [1, 3] {
        let dir = written(&SyntheticOptions {
            fill: Fill::Zero,
            shards,
            ..SyntheticOptions::default()
        });
        let zeros = contents(&open(dir.path()).unwrap());
        let random = contents(&open(written(&SyntheticOptions::default()).path()).unwrap());
        assert_eq!(zeros.len(), random.len());
        for ((name, dtype, shape, data), like) in zeros.into_iter().zip(random) {
            assert_eq!(
                (&name, dtype, shape, data.len()),
                (&like.0, like.1, like.2, like.3.len())
            );
            assert!(data.iter().all(|byte| *byte == 0), "{name}");
        }
    }
}

#[test]
fn narrow_dtypes_are_the_rounded_wide_one() {
    let of = |dtype| {
        let dir = written(&SyntheticOptions {
            dtype,
            ..SyntheticOptions::default()
        });
        contents(&open(dir.path()).unwrap())
    };
    let (f32s, f16s, bf16s) = (of(DType::F32), of(DType::F16), of(DType::BF16));
    for ((wide, f16), bf16) in f32s.iter().zip(&f16s).zip(&bf16s) {
        assert_eq!(
            (wide.1, f16.1, bf16.1),
            (DType::F32, DType::F16, DType::BF16)
        );
        let halves = f16.3.chunks_exact(2).zip(bf16.3.chunks_exact(2));
        for (value, (f16, bf16)) in wide.3.chunks_exact(4).zip(halves) {
            let value = f32::from_le_bytes(value.try_into().unwrap());
            assert_eq!(half::f16::from_f32(value).to_le_bytes(), f16);
            assert_eq!(half::bf16::from_f32(value).to_le_bytes(), bf16);
        }
    }
}

#[test]
fn the_safetensors_crate_reads_what_we_write_and_we_what_it_writes() {
    let dir = written(&SyntheticOptions::default());
    let path = dir.path().join("model.safetensors");
    let checkpoint = open(dir.path()).unwrap();
    let expected = contents(&checkpoint);
    let bytes = fs::read(&path).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(parsed.len(), expected.len());
    for (name, _, shape, data) in &expected {
        let tensor = parsed.tensor(name).unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (safetensors::Dtype::BF16, &shape[..])
        );
        assert!(tensor.data() == data);
    }
    let rewritten = safetensors::serialize(parsed.tensors(), None).unwrap();
    fs::write(&path, rewritten).unwrap();
    assert!(contents(&open(dir.path()).unwrap()) == expected);
}

#[test]
fn tied_embeddings_and_the_token_gate_change_the_layout() {
    let mut options = SyntheticOptions::default();
    options.config["text_config"]["tie_word_embeddings"] = json!(true);
    options.config["fusion_config"]["gate"] = json!("token");
    let dir = written(&options);
    let checkpoint = open(dir.path()).unwrap();
    let weights = checkpoint.weights();
    assert!(weights.get("fusion.gate.weight", &[1, 128]).is_ok());
    let missing = weights
        .get("language_model.lm_head.weight", &[576, 128])
        .unwrap_err();
    assert!(matches!(missing, Error::MissingTensor { .. }));
}

#[test]
fn tensors_are_found_by_scope_and_checked() {
    let dir = written(&SyntheticOptions::default());
    let checkpoint = open(dir.path()).unwrap();
    let layer = checkpoint
        .weights()
        .scope("temporal_expert")
        .scope("layers")
        .scope(1);
    let tensor = layer.tensor("fc1.weight", &[256, 64]).unwrap();
    assert_eq!(tensor.name, "temporal_expert.layers.1.fc1.weight");
    assert_eq!(tensor.data.len(), 256 * 64 * tensor.dtype.size());
    // Views of the same bytes, not copies.
    let again = layer.tensor("fc1.weight", &[256, 64]).unwrap();
    assert_eq!(tensor.data.as_ptr(), again.data.as_ptr());

    let file = dir.path().join("model.safetensors").display().to_string();
    let misshapen = layer
        .tensor("fc1.weight", &[64, 256])
        .unwrap_err()
        .to_string();
    for part in [
        &file,
        "temporal_expert.layers.1.fc1.weight",
        "[256, 64]",
        "[64, 256]",
    ] {
        assert!(misshapen.contains(part), "`{part}` is not in `{misshapen}`");
    }
    let missing = layer.tensor("fc3.weight", &[1]).unwrap_err().to_string();
    assert_eq!(
        missing,
        format!("{file}: tensor `temporal_expert.layers.1.fc3.weight` is missing")
    );
}

#[test]
fn unknown_dtypes_matter_only_when_asked_for() {
    let dir = written(&SyntheticOptions::default());
    let header = br#"{"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
                      "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 12]].concat();
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    let checkpoint = open(dir.path()).unwrap();
    assert!(checkpoint.weights().get("b", &[1]).is_ok());
    let message = checkpoint.weights().get("a", &[1]).unwrap_err().to_string();
    assert!(
        message.ends_with("tensor `a` has dtype I64, expected F32, F16, BF16 or F8_E4M3"),
        "{message}"
    );
}

#[test]
fn without_mmap_truncation_afterwards_does_not_matter() {
    let dir = written(&SyntheticOptions::default());
    let checkpoint = Checkpoint::open(dir.path(), &OpenOptions { mmap: false }).unwrap();
    let expected = contents(&checkpoint);
    fs::write(dir.path().join("model.safetensors"), b"").unwrap();
    assert!(contents(&checkpoint) == expected);
}

#[test]
fn mapped_files_may_be_replaced_or_deleted() {
    let dir = written(&SyntheticOptions::default());
    let path = dir.path().join("model.safetensors");
    let checkpoint = open(dir.path()).unwrap();
    let expected = contents(&checkpoint);
    fs::write(dir.path().join("new"), b"something else").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert!(contents(&checkpoint) == expected);
    fs::remove_file(&path).unwrap();
    assert!(contents(&checkpoint) == expected);
}

#[test]
fn missing_and_bad_files_are_named() {
    let dir = written(&SyntheticOptions::default());
    for name in ["config.json", "tokenizer.json", "generation_config.json"] {
        let path = dir.path().join(name);
        let content = fs::read(&path).unwrap();
        fs::write(&path, b"{ nonsense").unwrap();
        assert_refused(dir.path(), &[name, "line 1"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_refused(dir.path(), &[name, "not a regular file"]);
        fs::remove_dir(&path).unwrap();
        if name != "generation_config.json" {
            assert_refused(dir.path(), &[name, "cannot open"]);
        }
        fs::write(&path, content).unwrap();
    }
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert_refused(dir.path(), &["no weights", "model.safetensors.index.json"]);
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    assert_refused(dir.path(), &["no chat template", "tokenizer_config.json"]);
}

#[test]
fn oversized_files_are_not_read() {
    let dir = written(&SyntheticOptions::default());
    let config = fs::File::create(dir.path().join("config.json")).unwrap();
    config.set_len(1 << 40).unwrap();
    assert_refused(
        dir.path(),
        &["config.json", "1099511627776 bytes", "at most 16777216"],
    );
}

#[test]
fn config_and_tokenizer_must_agree() {
    let dir = written(&SyntheticOptions::default());
    let config = dir.path().join("config.json");
    edit_json(&config, |value| value["audio_token_index"] = json!(550));
    assert_refused(
        dir.path(),
        &["config.json", "audio_token_index", "550", "520"],
    );
    edit_json(&config, |value| {
        value["text_config"]["vocab_size"] = json!(519)
    });
    edit_json(&config, |value| value["audio_token_index"] = json!(518));
    assert_refused(
        dir.path(),
        &["config.json", "text_config.vocab_size", "519", "520"],
    );
}

#[test]
fn bad_indexes_are_named() {
    let dir = written(&sharded());
    let index = dir.path().join("model.safetensors.index.json");
    let original = fs::read(&index).unwrap();
    let gate = "fusion.gate.bias";
    for (shard, parts) in [
        (
            "../model-00001-of-00003.safetensors",
            &[gate, "../model-00001", "plain file name"][..],
        ),
        ("/etc/passwd", &[gate, "/etc/passwd", "plain file name"]),
        ("..", &[gate, "plain file name"]),
        ("", &[gate, "plain file name"]),
        (
            "model-00009-of-00003.safetensors",
            &["model-00009-of-00003.safetensors", "cannot open"],
        ),
        (
            "model-00003-of-00003.safetensors",
            &[gate, "not in model-00003-of-00003.safetensors"],
        ),
    ] {
        edit_json(&index, |value| value["weight_map"][gate] = json!(shard));
        assert_refused(dir.path(), parts);
        fs::write(&index, &original).unwrap();
    }
    let twice = String::from_utf8(original).unwrap().replacen(
        "\"weight_map\": {",
        "\"weight_map\": { \"fusion.gate.bias\": \"model-00001-of-00003.safetensors\",",
        1,
    );
    fs::write(&index, twice).unwrap();
    assert_refused(dir.path(), &["index.json", gate, "occurs twice"]);
    fs::write(&index, "{}").unwrap();
    assert_refused(dir.path(), &["index.json", "weight_map"]);
}

#[test]
fn the_template_may_stand_in_the_tokenizer_config() {
    let dir = written(&SyntheticOptions::default());
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    let config = dir.path().join("tokenizer_config.json");
    let render = || {
        let checkpoint = open(dir.path())?;
        checkpoint
            .chat_template()
            .render(&[], &TemplateOptions::default())
    };
    edit_json(&config, |value| {
        value["chat_template"] = json!("one {{ eos_token }}")
    });
    assert_eq!(render().unwrap(), "one <|im_end|>");
    let named = |name: &str| json!([{ "name": "rag", "template": "r" }, { "name": name, "template": "two" }]);
    edit_json(&config, |value| value["chat_template"] = named("default"));
    assert_eq!(render().unwrap(), "two");
    edit_json(&config, |value| value["chat_template"] = named("other"));
    assert_refused(
        dir.path(),
        &["tokenizer_config.json", "`chat_template`", "`default`"],
    );
    edit_json(&config, |value| value["chat_template"] = json!("{% if %}"));
    assert_refused(
        dir.path(),
        &["tokenizer_config.json", "chat template", "syntax error"],
    );
    edit_json(&config, |value| {
        value["chat_template"] = json!("{{ bos_token }}{{ eos_token }}")
    });
    edit_json(&config, |value| {
        value["eos_token"] = json!({ "content": "<e>", "special": true })
    });
    assert_eq!(render().unwrap(), "<e>");
    edit_json(&config, |value| value["eos_token"] = json!(7));
    assert_refused(dir.path(), &["tokenizer_config.json", "`eos_token` is 7"]);
}

#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let error = synthetic::write(dir.path(), &SyntheticOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn bad_options_are_refused_before_anything_is_written() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new");
    let refusal = |options: SyntheticOptions| {
        let message = synthetic::write(&dir, &options).unwrap_err().to_string();
        assert!(!dir.exists());
        message
    };
    let shards = |shards| {
        refusal(SyntheticOptions {
            shards,
            ..SyntheticOptions::default()
        })
    };
    assert!(shards(0).contains("into 0 shards"));
    assert!(shards(171).contains("170 tensors into 171 shards"));
    let mut options = SyntheticOptions::default();
    options.config["text_config"]["vocab_size"] = json!(519);
    assert!(refusal(options.clone()).contains("text_config.vocab_size"));
    options.config = json!("no object");
    assert!(refusal(options).contains("no object"));
}
