//! Removes each barrier, wait, fence and guard of the kernels in turn and says which case notices.
//!
//! `--dtype bf16|f32` and `--stem NAME` choose kernels, `--seed N --count K` K mutants of each file.
//! Without `--count` the record in `tests/mutants.json` is renewed. `--json FILE` writes the table.
//! Fails if a mutant survives.

use gamut_kernels::DType;
use gamut_tests::mutants::{DTYPES, Record, Survey, draw, files};
use gamut_tests::nvrtc;
use serde_json::{Value, json};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Default)]
struct Args {
    dtype: Option<String>,
    stem: Option<String>,
    seed: u64,
    count: Option<usize>,
    json: Option<String>,
}

fn args() -> Result<Args, Box<dyn Error>> {
    let mut args = Args::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        match word.as_str() {
            "--dtype" => args.dtype = Some(value),
            "--stem" => args.stem = Some(value),
            "--seed" => args.seed = value.parse()?,
            "--count" => args.count = Some(value.parse()?),
            "--json" => args.json = Some(value),
            _ => return Err(format!("{word} is unknown").into()),
        }
    }
    Ok(args)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = args()?;
    nvrtc::NEWEST.nvrtc();
    let mut record = Record::read();
    let mut table: Vec<Value> = Vec::new();
    let (mut all, mut survivors) = (0, 0);
    let start = Instant::now();
    let wanted = |dtype: DType| args.dtype.as_ref().is_none_or(|d| *d == dtype.to_string());
    for dtype in DTYPES.into_iter().filter(|&dtype| wanted(dtype)) {
        for file in files() {
            let stem = file.trim_end_matches(".cu");
            if args.stem.as_ref().is_some_and(|wanted| wanted != stem) {
                continue;
            }
            let survey = Survey::new(dtype, file)?;
            let sites = survey.sites();
            let (mutants, whole) = (sites.len(), args.count.is_none());
            let count = args.count.unwrap_or(mutants);
            let (mut tried, mut alive) = (0, Vec::new());
            for site in draw(sites, args.seed, count) {
                let verdict = survey.try_without(site)?;
                println!("{dtype} {stem} {site}: {verdict}");
                tried += 1;
                if !verdict.is_dead() {
                    alive.push(site.to_string());
                }
                table.push(json!({
                    "dtype": dtype.to_string(), "stem": stem, "site": site.to_string(),
                    "verdict": verdict.to_string(), "dead": verdict.is_dead(),
                }));
            }
            println!(
                "{dtype} {stem}: {} of {tried} noticed, {mutants} mutants, {:.0?} so far",
                tried - alive.len(),
                start.elapsed()
            );
            all += tried;
            survivors += alive.len();
            if whole {
                alive.sort_unstable();
                record.note(dtype, file, mutants, alive);
                record.write()?;
            }
        }
    }
    println!(
        "{all} mutants, {survivors} survive, {:.0?}",
        start.elapsed()
    );
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&table)? + "\n")?;
    }
    Ok(if survivors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
