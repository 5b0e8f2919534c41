//! `gamut demo-model`: a checkpoint to start with.

use crate::args::{DTypeArg, DemoModelArgs};
use crate::error::Error;
use crate::output;
use gamut_loader::DType;
use gamut_loader::synthetic::{self, SyntheticOptions};
use std::process::ExitCode;

pub(crate) fn run(args: &DemoModelArgs) -> Result<ExitCode, Error> {
    let config = match &args.config {
        Some(path) => synthetic::read_config(path).map_err(gamut_engine::Error::from)?,
        None => synthetic::demo_config(),
    };
    let dtype = match args.dtype {
        DTypeArg::F32 => DType::F32,
        DTypeArg::F16 => DType::F16,
        DTypeArg::Bf16 => DType::BF16,
    };
    let options = SyntheticOptions {
        config,
        dtype,
        seed: args.seed,
        shards: args.shards,
    };
    synthetic::write(&args.dir, &options).map_err(gamut_engine::Error::from)?;
    output::write(&format!(
        "wrote a random checkpoint to {}; its words carry no meaning\n",
        args.dir.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
