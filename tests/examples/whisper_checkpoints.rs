//! Writes the checkpoints with Whisper base's weights under a directory, in each the samples that it
//! hears (`song.i16`), for `golden/whisper.py` to read.

use gamut_tests::whisper::Part;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(out) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: whisper_checkpoints OUT_DIR");
        return ExitCode::from(2);
    };
    for part in Part::ALL {
        let dir = out.join(part.name());
        part.write_checkpoint(&dir);
        let bytes: Vec<u8> = part.song().into_iter().flat_map(i16::to_le_bytes).collect();
        if let Err(error) = std::fs::write(dir.join("song.i16"), bytes) {
            eprintln!("{}: {error}", dir.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
