//! What flags take: names, and text that means a value.

use clap::ValueEnum;
use gamut_engine::predict::{self, Ceilings};
use gamut_engine::{DType, DeviceChoice};
use gamut_loader::synthetic::Shape;
use serde_json::Value;

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceArg {
    /// A GPU if there is one, else the host.
    #[default]
    Auto,
    /// The CPU.
    Host,
    /// A GPU.
    Cuda,
    /// A GPU emulated on the CPU: the same kernels, slowly.
    Virtual,
}

impl From<DeviceArg> for DeviceChoice {
    fn from(arg: DeviceArg) -> DeviceChoice {
        match arg {
            DeviceArg::Auto => DeviceChoice::Auto,
            DeviceArg::Host => DeviceChoice::Host,
            DeviceArg::Cuda => DeviceChoice::Cuda,
            DeviceArg::Virtual => DeviceChoice::Virtual,
        }
    }
}

/// A GPU whose ceilings are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GpuArg {
    /// H100 SXM.
    H100,
    /// H200.
    H200,
}

impl From<GpuArg> for Ceilings {
    fn from(arg: GpuArg) -> Ceilings {
        match arg {
            GpuArg::H100 => predict::H100,
            GpuArg::H200 => predict::H200,
        }
    }
}

/// What a GPU computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ComputeArg {
    /// The upper half of single precision, with sums in single precision.
    Bf16,
    /// Single precision, for sharp comparisons.
    F32,
}

impl From<ComputeArg> for DType {
    fn from(arg: ComputeArg) -> DType {
        match arg {
            ComputeArg::Bf16 => DType::BF16,
            ComputeArg::F32 => DType::F32,
        }
    }
}

/// The type of weights.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum DTypeArg {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    #[default]
    Bf16,
    /// FP8 (E4M3) with a scale for each block of 128 x 128: the decoder's matrices; all else in bf16.
    Fp8,
}

/// A real model.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ShapeArg {
    /// GaMMA with Qwen3-8B.
    #[value(name = "gamma-8b")]
    Gamma8b,
    /// GaMMA with Qwen3-14B.
    #[value(name = "gamma-14b")]
    Gamma14b,
    /// Music Flamingo, with Qwen2.5-7B.
    #[value(name = "flamingo-7b")]
    Flamingo7b,
}

impl From<ShapeArg> for Shape {
    fn from(arg: ShapeArg) -> Shape {
        match arg {
            ShapeArg::Gamma8b => Shape::Gamma8b,
            ShapeArg::Gamma14b => Shape::Gamma14b,
            ShapeArg::Flamingo7b => Shape::Flamingo7b,
        }
    }
}

/// What weights are.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum FillArg {
    /// Zeros, which take no room on the disk.
    Zero,
    /// Random numbers.
    #[default]
    Random,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputArg {
    /// A table for people.
    #[default]
    Table,
    /// A Markdown table.
    Md,
    /// Comma-separated values under a header.
    Csv,
    /// One JSON array, with the time of every repetition.
    Json,
    /// A JSON object a line.
    Jsonl,
}

pub(super) fn parse_gib(text: &str) -> Result<f64, String> {
    let gib: f64 = text.parse().map_err(|e| format!("{e}"))?;
    match gib > 0.0 && gib < 1e6 {
        true => Ok(gib),
        false => Err("expected GiB, such as 79 or 23.5".to_owned()),
    }
}

pub(super) fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) = text
        .split_once('=')
        .ok_or("expected ID=BIAS, such as 42=-1.5")?;
    let id = id.parse().map_err(|e| format!("token id {id:?}: {e}"))?;
    let bias: f32 = bias.parse().map_err(|e| format!("bias {bias:?}: {e}"))?;
    if bias.is_nan() {
        Err("the bias is not a number".to_owned())
    } else {
        Ok((id, bias))
    }
}

pub(super) fn parse_variable(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("expected NAME=JSON, such as tools=[]")?;
    let value = serde_json::from_str(value).map_err(|e| format!("{name}: {e}"))?;
    Ok((name.to_owned(), value))
}
