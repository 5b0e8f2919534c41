//! `gamut inspect`: every stage of one pass, to a file.

use crate::args::InspectArgs;
use crate::error::Error;
use crate::progress::Progress;
use crate::setup::Weights;
use crate::{output, setup};
use gamut_engine::Inspection;
use std::process::ExitCode;

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Error> {
    let model = setup::model(Weights::Stored(&args.model), !args.engine.no_mmap)?;
    let samples = model.decode_audio(&setup::audio(&args.audio)?)?.samples;
    let mut progress = Progress::new();
    let inspection = Inspection::run(
        &model,
        &setup::one_at_a_time(&args.engine),
        &samples,
        &args.prompt,
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
