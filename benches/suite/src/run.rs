//! Runs the sections, each in its own process, and joins what they found.

use crate::compare;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::peers::torch;
use crate::{ceilings, counters, ops, pipeline, table, upload, verify};
use clap::Args;
use gamut_kernels::DType;
use gamut_probe::process::{this_program, wait};
use gamut_probe::report::Report;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, process};

/// Sections in order, with the seconds that each may take.
pub(crate) const SECTIONS: [(&str, u64); 8] = [
    ("ceilings", 60),
    ("ops", 150),
    ("pipeline", 120),
    ("torch", 90),
    ("upload", 45),
    ("verify bf16", 120),
    ("verify f32", 120),
    ("counters", 300),
];

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) options: Options,
    /// The file of results, written again after every section.
    #[arg(long, default_value = "suite.json")]
    pub(crate) out: PathBuf,
    /// Only these sections.
    #[arg(long)]
    pub(crate) only: Vec<String>,
    /// Seconds for all sections; what does not fit is cut off.
    #[arg(long, default_value_t = 380)]
    pub(crate) seconds: u64,
    /// Date to record [default: today's].
    #[arg(long)]
    pub(crate) date: Option<String>,
    /// Commit to record.
    #[arg(long, default_value = "unknown")]
    pub(crate) commit: String,
    /// Results to compare with.
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
}

/// Runs all sections; one that fails is only recorded.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let start = Instant::now();
    // A mistake in the arguments shows before anything is measured.
    let before = args.against.as_deref().map(compare::read).transpose()?;
    args.options.config()?;
    for name in &args.only {
        if !SECTIONS.iter().any(|(known, _)| known == name) {
            return Err(Error::Section(name.clone()));
        }
    }
    let options = Options {
        seed: Some(args.options.seed.unwrap_or_else(now_seed)),
        ..args.options.clone()
    };
    let scratch = env::temp_dir().join(format!("gamut-suite-{}", process::id()));
    fs::create_dir_all(&scratch).map_err(Error::io(&scratch))?;
    let mut results = Map::new();
    let header = [
        ("date", json!(args.date.clone().unwrap_or_else(today))),
        ("commit", json!(args.commit)),
        ("seed", json!(options.seed)),
        ("config", options.config_json()?),
        ("outcomes", json!({})),
    ];
    results.extend(header.map(|(name, value)| (name.to_owned(), value)));
    for (name, limit) in SECTIONS {
        let wanted = args.only.is_empty() || args.only.iter().any(|only| only == name);
        // PyTorch knows no virtual GPU, and only that counts.
        let foreign = if options.is_hardware() {
            "counters"
        } else {
            "torch"
        };
        if !wanted || name == foreign {
            continue;
        }
        let left = Duration::from_secs(args.seconds).saturating_sub(start.elapsed());
        eprintln!("[{:5.1} s] {name}", start.elapsed().as_secs_f64());
        let outcome = match left.is_zero() {
            true => "no time was left".to_owned(),
            false => spawn(
                name,
                &options,
                &scratch,
                left.min(Duration::from_secs(limit)),
            )
            .unwrap_or_else(|error| error.to_string()),
        };
        if outcome != "ok" {
            eprintln!("  {name}: {outcome}");
        }
        if let Some(outcomes) = results.get_mut("outcomes").and_then(Value::as_object_mut) {
            outcomes.insert(name.to_owned(), json!(outcome));
        }
        let path = scratch.join(format!("{name}.json"));
        let found = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        results.insert(name.to_owned(), found.unwrap_or(Value::Null));
        results.insert("seconds".to_owned(), json!(start.elapsed().as_secs_f64()));
        write(&args.out, &results)?;
    }
    fs::remove_dir_all(&scratch).map_err(Error::io(&scratch))?;
    let results = Value::Object(results);
    print!("{}", table::table(&results));
    if let Some(before) = before {
        print!("{}", compare::table(&before, &results));
    }
    Ok(())
}

/// Runs one section in this process.
pub(crate) fn section(name: &str, options: &Options, out: &Path) -> Result<()> {
    let mut report = Report::new(out, name)?;
    let outcome = match name {
        "ceilings" => ceilings::run(options, &mut report),
        "counters" => counters::run(options, &mut report),
        "ops" => ops::run(options, &mut report),
        "pipeline" => pipeline::run(options, &mut report),
        "torch" => torch::run(options, &mut report),
        "upload" => upload::run(options, &mut report),
        "verify bf16" => verify::run(options, DType::BF16, &mut report),
        "verify f32" => verify::run(options, DType::F32, &mut report),
        _ => Err(Error::Section(name.to_owned())),
    };
    if let Err(error) = &outcome {
        report.add("error", Ok(json!(error.to_string())))?;
    }
    outcome
}

fn spawn(name: &str, options: &Options, scratch: &Path, limit: Duration) -> Result<String> {
    let mut command = this_program()?;
    command.args(["section", name]).arg("--out").arg(scratch);
    command.args(options.arguments());
    let child = command.spawn().map_err(Error::io(scratch))?;
    Ok(wait(child, limit)?)
}

fn write(path: &Path, results: &Map<String, Value>) -> Result<()> {
    let text = serde_json::to_string_pretty(results).map_err(Error::json(path))?;
    fs::write(path, text + "\n").map_err(Error::io(path))
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn now_seed() -> u64 {
    since_1970().as_nanos() as u64
}

/// Year, month and day in UTC.
fn today() -> String {
    date(since_1970().as_secs() / 86_400)
}

/// The day after so many since 1970-01-01, by Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", year_of_era + 400 * era + next)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_783, "2026-11-26"),
        ] {
            assert_eq!(date(days), expected);
        }
    }
}
