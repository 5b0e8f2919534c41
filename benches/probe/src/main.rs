//! `gamut-probe`: compiles the probe's kernels without a GPU, and runs them on one.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures a GPU.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compiles all kernels with one NVRTC; needs no GPU.
    Compile {
        /// Path of libnvrtc; its builtins are expected beside it.
        #[arg(long)]
        nvrtc: PathBuf,
        /// Where the folder named after NVRTC's version goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// Runs every section, each in its own process.
    Run {
        /// What `compile` wrote.
        modules: PathBuf,
        /// Where the report and the recordings go.
        #[arg(long)]
        out: PathBuf,
        /// Only these sections.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Runs one section in this process.
    Section {
        /// Its name.
        name: String,
        /// What `compile` wrote.
        modules: PathBuf,
        /// Where its report goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// Makes one mistake and prints the driver's codes as JSON.
    Fault {
        /// Its name.
        name: String,
        /// What `compile` wrote.
        modules: PathBuf,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Compile { nvrtc, out } => gamut_probe::compile(&nvrtc, &out),
        Command::Run { modules, out, only } => gamut_probe::run(&modules, &out, &only),
        Command::Section { name, modules, out } => gamut_probe::section(&name, &modules, &out),
        Command::Fault { name, modules } => gamut_probe::fault(&name, &modules),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gamut-probe: {error}");
            ExitCode::FAILURE
        }
    }
}
