//! `gamut demo-model`: a checkpoint to start with, or of a real model's sizes.

use crate::args::{DTypeArg, DemoModelArgs, FillArg};
use crate::error::Error;
use crate::output;
use gamut_loader::DType;
use gamut_loader::synthetic::{self, Fill, Shape, SyntheticOptions};
use std::process::ExitCode;

pub(crate) fn run(args: &DemoModelArgs) -> Result<ExitCode, Error> {
    let config = match (&args.config, args.shape) {
        (Some(path), _) => synthetic::read_config(path).map_err(gamut_engine::Error::from)?,
        (None, Some(shape)) => Shape::from(shape).config(),
        (None, None) => synthetic::demo_config(),
    };
    let dtype = match args.dtype {
        DTypeArg::F32 => DType::F32,
        DTypeArg::F16 => DType::F16,
        DTypeArg::Bf16 => DType::BF16,
        DTypeArg::Fp8 => DType::F8E4M3,
    };
    let (fill, kind) = match args.fill {
        FillArg::Zero => (Fill::Zero, "checkpoint of zeros"),
        FillArg::Random => (Fill::Random { seed: args.seed }, "random checkpoint"),
    };
    let options = SyntheticOptions {
        config,
        dtype,
        fill,
        shards: args.shards,
    };
    synthetic::write(&args.dir, &options).map_err(gamut_engine::Error::from)?;
    output::write(&format!(
        "wrote a {kind} to {}; its words carry no meaning\n",
        args.dir.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
