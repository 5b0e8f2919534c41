//! Checkpoints in FP8.

use crate::support::Home;
use serde_json::Value;

const WEIGHTS: &str = "fp8/model.safetensors";

fn home() -> Home {
    let home = Home::furnished();
    home.passes("demo-model fp8 --dtype fp8");
    home
}

#[test]
fn they_answer_like_others_and_say_what_they_take() {
    let home = home();
    let about = |model: &str, flags: &str| -> Value {
        home.passes(&format!("info {model} --json {flags}")).json()
    };
    let (fp8, bf16) = (about("fp8", ""), about("model", ""));
    assert_eq!(fp8["parameters"], bf16["parameters"]);
    let size = |report: &Value, part: &str| report["memory_bytes"][part].as_u64().unwrap();
    assert_eq!(size(&bf16, "widened"), 0);
    // Four layers of 128 x (128 + 2 x 64 + 128 + 3 x 384) elements.
    assert_eq!(size(&fp8, "widened"), 4 * 128 * 1536 * 2);
    assert!(size(&fp8, "weights") < size(&bf16, "weights"));
    assert!(home.passes("info fp8").text().contains("FP8"));
    let (fp8, bf16) = (
        about("fp8", "--device cuda"),
        about("model", "--device cuda"),
    );
    assert_eq!(size(&fp8, "widened"), 0);
    assert_eq!(size(&fp8, "weights"), size(&bf16, "weights"));

    for flags in ["", "--no-mmap", "--threads 1"] {
        let line = format!("ask clip.wav -p When? -m fp8 -n 4 --ignore-eos --json {flags}");
        let report = home.passes(&line).json();
        assert_eq!(report["usage"]["completion_tokens"], 4);
    }
    home.passes("inspect clip.wav -p When? -m fp8 -n 2 -o stages");
}

#[test]
fn what_is_missing_or_strange_is_refused() {
    let scale = "language_model.model.layers.2.mlp.up_proj.weight_scale_inv";
    let refuses = |home: &Home, parts: &[&str]| {
        home.refuses("ask clip.wav -p When? -m fp8 -n 1", parts);
        home.refuses("info fp8", parts);
    };
    let home = home();
    home.edit_header(WEIGHTS, |header| {
        let entry = header.remove(scale).unwrap();
        header.insert("another".to_owned(), entry);
    });
    refuses(&home, &["model.safetensors", scale, "missing"]);

    let home = self::home();
    home.edit_header(WEIGHTS, |header| {
        header[scale]["shape"] = serde_json::json!([3]);
    });
    refuses(&home, &["model.safetensors", scale, "[3]", "[3, 1]"]);

    let home = self::home();
    home.edit_json("fp8/config.json", |config| {
        config["quantization_config"]["weight_block_size"] = serde_json::json!([64, 64]);
    });
    refuses(&home, &["q_proj.weight_scale_inv", "[1, 1]", "[2, 2]"]);

    let home = self::home();
    home.edit_json("fp8/config.json", |config| {
        config
            .as_object_mut()
            .unwrap()
            .remove("quantization_config");
    });
    refuses(
        &home,
        &["q_proj.weight", "F8_E4M3", "no quantization_config"],
    );

    let home = self::home();
    home.edit_json("fp8/config.json", |config| {
        config["quantization_config"]["quant_method"] = "gptq".into();
    });
    refuses(
        &home,
        &[
            "config.json",
            "quantization_config.quant_method",
            "gptq",
            "fp8",
        ],
    );
}

#[test]
fn real_sizes_take_half_on_the_disk_and_as_much_on_a_gpu() {
    let home = Home::new();
    home.passes("demo-model big --shape gamma-8b --dtype fp8 --fill zero --shards 4");
    let report = home.passes("info big --json --gpu-memory 24").json();
    let size = |part: &str| report["memory_bytes"][part].as_u64().unwrap() as f64 / 1e9;
    assert_eq!(
        (report["fits"].as_bool(), report["files"].as_u64()),
        (Some(true), Some(4))
    );
    assert!(
        (19.0..19.2).contains(&size("weights")),
        "{}",
        size("weights")
    );
    let stored = home.passes("info big --json").json();
    let stored = stored["memory_bytes"]["weights"].as_u64().unwrap() as f64 / 1e9;
    // Half of 6.95 G parameters of the decoder's layers is saved.
    assert!((12.0..12.2).contains(&stored), "{stored}");
}
