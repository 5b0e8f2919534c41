//! What every section is told.

use crate::error::{Error, Result};
use crate::sizes::Sizes;
use clap::{Args, ValueEnum};
use gamut_kernels::{Cuda, DType, Device, DeviceChoice, Host};
use gamut_loader::{Config, synthetic};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) device: DeviceArg,
    /// The config.json of the model whose sizes are measured [default: GaMMA-8B's; on the virtual
    /// GPU, where only the suite itself is tried, those of a very small one].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Seed of the inputs that operations are verified on [default: the time].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceArg {
    /// The first GPU.
    #[default]
    Cuda,
    /// The virtual GPU, on which sizes are small and times mean nothing.
    Virtual,
}

impl Options {
    pub(crate) fn is_hardware(&self) -> bool {
        self.device == DeviceArg::Cuda
    }

    pub(crate) fn choice(&self) -> DeviceChoice {
        match self.device {
            DeviceArg::Cuda => DeviceChoice::Cuda,
            DeviceArg::Virtual => DeviceChoice::Virtual,
        }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        match self.device {
            DeviceArg::Cuda => Sizes::SONG,
            DeviceArg::Virtual => Sizes::DRY,
        }
    }

    /// The arguments that say the same to another process.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let device = match self.device {
            DeviceArg::Cuda => "cuda",
            DeviceArg::Virtual => "virtual",
        };
        let mut arguments: Vec<OsString> = vec!["--device".into(), device.into()];
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.clone().into()]);
        }
        if let Some(seed) = self.seed {
            arguments.extend(["--seed".into(), seed.to_string().into()]);
        }
        arguments
    }

    /// The device, in bf16.
    pub(crate) fn open(&self) -> Result<Device> {
        self.open_in(DType::BF16)
    }

    pub(crate) fn open_in(&self, dtype: DType) -> Result<Device> {
        let host = Arc::new(Host::new(0)?);
        Ok(Device::open(self.choice(), Some(dtype), &host)?)
    }

    pub(crate) fn config_json(&self) -> Result<Value> {
        match (&self.config, self.device) {
            (Some(path), _) => Ok(synthetic::read_config(path)?),
            (None, DeviceArg::Cuda) => Ok(synthetic::Shape::Gamma8b.config()),
            (None, DeviceArg::Virtual) => Ok(smallest()),
        }
    }

    pub(crate) fn config(&self) -> Result<Config> {
        Ok(Config::from_json(
            Path::new("config.json"),
            &self.config_json()?,
        )?)
    }
}

/// The demo model with one layer of each kind, for clips of two seconds.
fn smallest() -> Value {
    let mut config = synthetic::demo_config();
    config["max_audio_seconds"] = json!(2);
    for expert in ["temporal_config", "global_config"] {
        config[expert]["encoder_layers"] = json!(1);
    }
    config["text_config"]["num_hidden_layers"] = json!(1);
    config["text_config"]["max_position_embeddings"] = json!(256);
    config
}

/// The GPU that a device is.
pub(crate) fn gpu(device: &Device) -> Result<&Arc<Cuda>> {
    match device {
        Device::Cuda(cuda) => Ok(cuda),
        Device::Host(_) => Err(Error::NeedsGpu(device.name())),
    }
}

/// A measurement as a report takes it.
pub(crate) fn recorded(measured: Result<Value>) -> gamut_probe::Result<Value> {
    measured.map_err(|error| gamut_probe::Error::Text(error.to_string()))
}
