//! `gamut pull`: a checkpoint from a Hugging Face hub.

use crate::args::PullArgs;
use crate::error::Error;
use std::process::ExitCode;

#[cfg(feature = "pull")]
pub(crate) fn run(args: &PullArgs) -> Result<ExitCode, Error> {
    use crate::output;
    use crate::progress::Progress;
    use gamut_hub::{Event, ModelRef, Options};

    let model = ModelRef::new(&args.model, &args.revision).map_err(Error::Hub)?;
    let mut options = Options::from_env(|name| std::env::var_os(name)).map_err(Error::Hub)?;
    options.offline |= args.offline;
    let mut progress = Progress::new();
    let dir = gamut_hub::pull(&model, &options, &mut |event| match event {
        Event::Bytes { file, done, total } => progress.show_bytes(file, done, total),
        Event::Waiting { file } => {
            progress.clear();
            output::note(&format!(
                "Another process downloads {file}: waiting for it.\n"
            ));
        }
        _ => {}
    });
    progress.clear();
    let dir = dir.map_err(Error::Hub)?;
    output::write(&format!("{}\n", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "pull"))]
pub(crate) fn run(_: &PullArgs) -> Result<ExitCode, Error> {
    Err(Error::NoPull)
}
