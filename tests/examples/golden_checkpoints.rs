//! Writes the checkpoint of every golden case under a directory, for `golden/make.py` to read.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: golden_checkpoints OUT_DIR");
        return ExitCode::from(2);
    };
    for case in gamut_tests::golden::cases() {
        if let Err(error) = case.write_checkpoint(&out.join(&case.name)) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
