//! `gamut-suite`: verifies every operation on a GPU, times each beside the library that one would
//! use instead and beside the device's ceiling, runs the whole model, and prints one table.

mod ceilings;
mod compare;
mod counters;
mod error;
mod measure;
mod ops;
mod options;
mod peers;
mod pipeline;
mod row;
mod rows;
mod run;
mod sizes;
mod table;
mod upload;
mod verify;

use clap::{Parser, Subcommand};
use options::Options;
use run::RunArgs;
use std::path::PathBuf;
use std::process::ExitCode;

/// Verifies and times Gamut on one GPU.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs every section, each in its own process.
    Run(RunArgs),
    /// Runs one section in this process.
    Section {
        /// Its name.
        name: String,
        #[command(flatten)]
        options: Options,
        /// Folder for its report.
        #[arg(long)]
        out: PathBuf,
    },
    /// Prints the table of results again.
    Show {
        /// The results.
        results: PathBuf,
        /// Results to compare with.
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Section { name, options, out } => run::section(&name, &options, &out),
        Command::Show { results, against } => show(&results, against.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gamut-suite: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(path: &std::path::Path, against: Option<&std::path::Path>) -> error::Result<()> {
    let results = compare::read(path)?;
    print!("{}", table::table(&results));
    if let Some(before) = against {
        print!("{}", compare::table(&compare::read(before)?, &results));
    }
    Ok(())
}
