//! Matrices in FP8 with scales of their blocks, and what is refused of them.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use std::fs;
use std::path::Path;

use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_loader::{
    BlockScales, Checkpoint, Config, DType, OpenOptions, QuantizationConfig, Tensor, Weights,
    layout,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Weights of a file with these tensors: name, dtype, shape, bytes.
fn file(tensors: &[(&str, &str, &[usize], &[u8])]) -> (TempDir, Weights) {
    let dir = tempfile::tempdir().unwrap();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
        header.insert((*name).to_owned(), entry);
        data.extend_from_slice(bytes);
    }
    let header = Value::Object(header).to_string().into_bytes();
    let bytes = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
    fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    let weights = Weights::open(dir.path(), true).unwrap();
    let quantization = QuantizationConfig {
        weight_block_size: [2, 3],
    };
    (dir, weights.quantized(Some(&quantization)))
}

/// A matrix of 3 x 4 in blocks of 2 x 3, with scales as given.
fn matrix(dtype: &str, shape: &[usize], scales: &[u8]) -> Result<Tensor, String> {
    let codes: Vec<u8> = (0..12).collect();
    let (_dir, weights) = file(&[
        ("a.weight", "F8_E4M3", &[3, 4], &codes),
        ("a.weight_scale_inv", dtype, shape, scales),
    ]);
    weights
        .get("a.weight", &[3, 4])
        .map_err(|error| error.to_string())
}

#[test]
fn scales_come_in_three_types() {
    let expected = BlockScales {
        block: [2, 3],
        values: vec![0.5, 1.0, 2.0, -3.0],
    };
    // By hand: 0.5, 1, 2, -3.
    let f16: [u16; 4] = [0x3800, 0x3C00, 0x4000, 0xC200];
    let bf16: [u16; 4] = [0x3F00, 0x3F80, 0x4000, 0xC040];
    let halves = |bits: [u16; 4]| bits.map(u16::to_le_bytes).concat();
    let singles = [0.5f32, 1.0, 2.0, -3.0].map(f32::to_le_bytes).concat();
    for (dtype, bytes) in [
        ("F32", singles),
        ("F16", halves(f16)),
        ("BF16", halves(bf16)),
    ] {
        let tensor = matrix(dtype, &[2, 2], &bytes).unwrap();
        assert_eq!(tensor.dtype, DType::F8E4M3);
        assert_eq!(*tensor.data, *(0..12).collect::<Vec<u8>>());
        assert_eq!(tensor.scales, Some(expected.clone()), "{dtype}");
    }
}

#[test]
fn wrong_scales_are_refused() {
    let nan = [1.0, f32::NAN, 1.0, 1.0].map(f32::to_le_bytes).concat();
    for (dtype, shape, bytes, part) in [
        (
            "F32",
            &[1, 2][..],
            &[0; 8][..],
            "has shape [1, 2], expected [2, 2]",
        ),
        ("BF16", &[4], &[0; 8], "has shape [4], expected [2, 2]"),
        (
            "F8_E4M3",
            &[2, 2],
            &[0; 4],
            "a scale in F8_E4M3, expected F32, F16 or BF16",
        ),
        ("F8_E8M0", &[2, 2], &[0; 4], "has dtype F8_E8M0"),
        (
            "F32",
            &[2, 2],
            &nan,
            "a scale is NaN, expected a finite one",
        ),
    ] {
        let message = matrix(dtype, shape, bytes).unwrap_err();
        assert!(message.contains("`a.weight_scale_inv`"), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_has_no_scales_is_refused() {
    let refused = |weights: &Weights, shape: &[usize]| {
        weights.get("a.weight", shape).unwrap_err().to_string()
    };
    let tensor = ("a.weight", "F8_E4M3", &[2, 2][..], &[0; 4][..]);
    let (_dir, weights) = file(&[tensor]);
    let message = refused(&weights, &[2, 2]);
    assert!(
        message.ends_with("tensor `a.weight_scale_inv` is missing"),
        "{message}"
    );
    let message = refused(&weights.quantized(None), &[2, 2]);
    assert!(
        message.contains("`a.weight`: F8_E4M3, but config.json has no quantization_config"),
        "{message}"
    );
    let (_dir, weights) = file(&[("a.weight", "F8_E4M3", &[4], &[0; 4])]);
    let message = refused(&weights, &[4]);
    assert!(
        message.contains("F8_E4M3 of shape [4], expected a matrix"),
        "{message}"
    );
    // Another kind of FP8.
    let (_dir, weights) = file(&[("a.weight", "F8_E5M2", &[2, 2], &[0; 4])]);
    let message = refused(&weights, &[2, 2]);
    assert!(
        message.contains("has dtype F8_E5M2, expected F32, F16, BF16 or F8_E4M3"),
        "{message}"
    );
}

#[test]
fn configs_say_how() {
    let read = |place: &str, quantization: Value| {
        let mut config = synthetic::demo_config();
        *config.pointer_mut(place).unwrap() = match place {
            "" => {
                let mut config = config.clone();
                config["quantization_config"] = quantization;
                config
            }
            place => {
                let mut section = config.pointer(place).unwrap().clone();
                section["quantization_config"] = quantization;
                section
            }
        };
        Config::from_json(Path::new("config.json"), &config)
    };
    let good = json!({ "quant_method": "fp8", "weight_block_size": [64, 128] });
    for place in ["", "/text_config"] {
        let quantization = read(place, good.clone()).unwrap().quantization;
        assert_eq!(quantization.unwrap().weight_block_size, [64, 128]);
    }
    assert_eq!(read("", Value::Null).unwrap().quantization, None);
    for (key, value, part) in [
        ("quant_method", json!("awq"), "\"awq\", expected \"fp8\""),
        ("quant_method", Value::Null, "expected \"fp8\""),
        ("fmt", json!("e5m2"), "\"e5m2\", expected \"e4m3\""),
        (
            "activation_scheme",
            json!("static"),
            "\"static\", expected \"dynamic\"",
        ),
        (
            "weight_block_size",
            Value::Null,
            "null, expected two integers",
        ),
        (
            "weight_block_size",
            json!([128]),
            "[128], expected two integers",
        ),
        (
            "weight_block_size",
            json!([0, 128]),
            "[0,128], expected two integers",
        ),
        (
            "weight_block_size",
            json!([128, 1u64 << 40]),
            "expected two integers",
        ),
        (
            "weight_block_size",
            json!([128.5, 128]),
            "expected two integers",
        ),
        ("weight_block_size", json!("128"), "expected two integers"),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let message = read("", bad).unwrap_err().to_string();
        assert!(
            message.contains(&format!("`quantization_config.{key}`")),
            "{message}"
        );
        assert!(message.contains(part), "{message}");
    }
    let message = read("", json!("fp8")).unwrap_err().to_string();
    assert!(message.contains("quantization_config"), "{message}");
}

/// Blocks that are cut short at the edges, in several files.
#[test]
fn synthetic_checkpoints_are_near_those_of_single_precision() {
    let mut config = synthetic::demo_config();
    config["text_config"]["intermediate_size"] = 200.into();
    let written = |dtype, shards| {
        let dir = tempfile::tempdir().unwrap();
        let options = SyntheticOptions {
            config: config.clone(),
            dtype,
            shards,
            ..SyntheticOptions::default()
        };
        synthetic::write(dir.path(), &options).unwrap();
        let checkpoint = Checkpoint::open(dir.path(), &OpenOptions::default()).unwrap();
        (dir, checkpoint)
    };
    let (_dir, narrow) = written(DType::F8E4M3, 3);
    let (_dir, wide) = written(DType::F32, 1);
    let mut matrices = 0;
    for spec in layout::tensors(narrow.config()) {
        let found = narrow.weights().get(&spec.name, &spec.shape).unwrap();
        let exact = wide.weights().get(&spec.name, &spec.shape).unwrap();
        let Some(scales) = found.scales else {
            assert_eq!(found.dtype, DType::BF16, "{}", spec.name);
            continue;
        };
        matrices += 1;
        let cols = spec.shape[1];
        let exact = exact
            .data
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes));
        for (index, (code, exact)) in found.data.iter().zip(exact).enumerate() {
            let block = index / cols / 128 * cols.div_ceil(128) + index % cols / 128;
            let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7));
            let magnitude = match exponent {
                0 => fraction / 8.0 * 2f32.powi(-6),
                _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
            };
            let sign = if *code >= 0x80 { -1.0 } else { 1.0 };
            let widened = sign * magnitude * scales.values[block];
            // Half a step of three fraction bits, or of the least numbers; and the scale's own rounding.
            let most = exact.abs() / 16.0 + scales.values[block] * 2f32.powi(-10);
            assert!(
                (widened - exact).abs() <= most * 1.01,
                "{}: {index}",
                spec.name
            );
        }
    }
    assert_eq!(matrices, 4 * 7);
}
