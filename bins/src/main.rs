//! The `gamut` command: arguments and printing.

mod args;
mod ask;
mod asking;
mod batch;
mod bench;
mod bundled;
mod chat;
mod demo_model;
mod digest;
mod error;
mod eval;
mod fields;
mod info;
mod inspect;
mod journal;
mod lines;
mod output;
mod progress;
mod pull;
mod setup;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.verbose);
    let result = match cli.command {
        Command::Ask(args) => ask::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Batch(args) => batch::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::DemoModel(args) => demo_model::run(&args),
        Command::Pull(args) => pull::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            output::note(&format!("error: {error}\n"));
            ExitCode::from(2)
        }
    }
}

/// Logs to stderr: all there is, or only the warnings of our own crates. What libraries log about a
/// broken file is in the error already.
fn log(verbose: bool) {
    let targets = match verbose {
        true => Targets::new().with_default(Level::DEBUG),
        false => Targets::new().with_target("gamut", Level::WARN),
    };
    let colours = std::io::stderr().is_terminal();
    let lines = layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .without_time();
    tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .init();
}
