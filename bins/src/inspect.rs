//! `gamut inspect`: every stage of one pass, to a file.

use crate::args::InspectArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::setup::Weights;
use crate::{output, setup};
use gamut_engine::Inspection;
use gamut_loader::Message;
use std::process::ExitCode;

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Error> {
    let model = setup::model(Weights::Stored(&args.model), !args.engine.no_mmap)?;
    let inputs = setup::audio(&args.audio)?;
    let clips = inputs
        .iter()
        .map(|audio| Ok(model.decode_audio(audio)?.samples));
    let clips = clips.collect::<Result<Vec<_>, Error>>()?;
    let clips: Vec<&[f32]> = clips.iter().map(|samples| &**samples).collect();
    let question = Message::about(clips.len(), "user", &args.prompt);
    let mut progress = Progress::new();
    let inspection = Inspection::run(
        &model,
        &setup::one_at_a_time(&args.engine),
        &clips,
        vec![question],
        args.max_tokens,
        &mut |name, done, total| progress.show(name, done, total),
    )?;
    drop(progress);
    inspection.write(&args.out)?;
    let mut text = String::new();
    for (stage, shape, _) in &inspection.stages {
        text.push_str(&format!("{:13} f32 {shape:?}\n", stage.name()));
    }
    text.push_str(&format!(
        "{:13} f32 [{}]\n",
        "logits",
        inspection.logits.len()
    ));
    text.push_str(&format!(
        "{:13} i64 [{}]\n",
        "prompt_tokens",
        inspection.prompt_tokens.len()
    ));
    text.push_str(&format!("{:13} i64 {:?}\n", "tokens", inspection.tokens));
    output::write(&text)?;
    Ok(ExitCode::SUCCESS)
}
