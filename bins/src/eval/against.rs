//! The difference from another evaluation of the same questions, in pairs.

use super::By;
use super::benchmark::{Benchmark, Format};
use super::interval::{Estimate, normal};
use super::log;
use super::scoring::{Metric, Scored, metrics, score};
use crate::args::EvalArgs;
use crate::error::Error;
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::path::Path;

/// What two evaluations have to do with each other.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) folder: String,
    /// The settings of the other one.
    pub(super) settings: Map<String, Value>,
    /// Questions that both have answered.
    pub(super) n: usize,
    pub(super) differences: Vec<Difference>,
}

/// A metric here and there.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) here: Metric,
    pub(super) there: Metric,
    /// This one's mean less the other's, in pairs.
    pub(super) estimate: Estimate,
    /// Of a metric that is right or wrong: McNemar's counts.
    pub(super) counts: Option<Counts>,
}

/// How many were right where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) both: usize,
    pub(super) only_here: usize,
    pub(super) only_there: usize,
    pub(super) neither: usize,
}

/// Compares these scores, by the numbers of their questions, with those of another folder.
pub(super) fn compare(
    folder: &Path,
    args: &EvalArgs,
    benchmark: &Benchmark,
    here: &[(usize, Scored)],
) -> Result<Comparison, Error> {
    let wrong = |reason| Error::Benchmark {
        path: folder.join(log::NAME),
        reason,
    };
    let settings = log::settings(folder)?;
    let expected = benchmark.hash.as_str();
    match settings.get("benchmark_hash").and_then(Value::as_str) {
        Some(found) if found == expected => {}
        found => {
            let found = found.unwrap_or("nothing");
            return Err(wrong(format!(
                "benchmark_hash is {found}, expected {expected}"
            )));
        }
    }
    let by = settings.get("by").and_then(Value::as_str);
    let by = by.and_then(|name| By::from_str(name, true).ok());
    let by = by.ok_or_else(|| wrong("no by, expected generation or likelihood".to_owned()))?;
    let seed = settings.get("seed").and_then(Value::as_u64);
    let seed = seed.ok_or_else(|| wrong("no seed, expected a whole number".to_owned()))?;
    let format = benchmark.format;
    // The seed decides the order of options.
    let other = match format == Format::Muchomusic && seed != args.sampling.seed {
        true => Some(Benchmark::open(&benchmark.path, Some(format), seed)?),
        false => None,
    };
    let other = other.as_ref().unwrap_or(benchmark);
    let answers = log::answers(folder, by, other)?;
    let pairs: Vec<(&Scored, Scored)> = here
        .iter()
        .filter_map(|(number, scored)| {
            let question = other.questions.get(*number)?;
            let answer = answers.get(*number)?.as_ref()?;
            Some((scored, score(format, by, question, answer, args.normalize)))
        })
        .collect();
    if pairs.is_empty() {
        return Err(wrong(
            "none of its answers is to a question of these".to_owned(),
        ));
    }
    Ok(Comparison {
        folder: folder.display().to_string(),
        settings,
        n: pairs.len(),
        differences: differences(metrics(format, args.by), metrics(format, by), &pairs),
    })
}

/// The differences of metrics of the same name; where there are none, of the first ones.
fn differences(here: &[Metric], there: &[Metric], pairs: &[(&Scored, Scored)]) -> Vec<Difference> {
    let same = here.iter().enumerate().filter_map(|(i, metric)| {
        let j = there.iter().position(|other| other.name == metric.name)?;
        Some((i, j))
    });
    let mut matched: Vec<(usize, usize)> = same.collect();
    if matched.is_empty() {
        matched.push((0, 0));
    }
    let difference = |(i, j): (usize, usize)| {
        let values = || pairs.iter().map(|(a, b)| (a.values[i], b.values[j]));
        let differences: Vec<f64> = values().map(|(a, b)| a - b).collect();
        let mut counts = Counts::default();
        for (a, b) in values() {
            *match (a > 0.5, b > 0.5) {
                (true, true) => &mut counts.both,
                (true, false) => &mut counts.only_here,
                (false, true) => &mut counts.only_there,
                (false, false) => &mut counts.neither,
            } += 1;
        }
        Some(Difference {
            here: here[i],
            there: there[j],
            estimate: normal(&differences)?,
            counts: here[i].is_binary.then_some(counts),
        })
    };
    matched.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 1 of 4 pairs is right here alone, none there alone, so the differences are 1, 0, 0, 0,
    /// with a mean of 0.25 and a standard deviation of 0.5.
    #[test]
    fn pairs_are_counted_as_mcnemar_does() {
        let scored = |value: f64| Scored {
            values: vec![value, value],
            unanswered: false,
            format_error: false,
        };
        let here = [1.0, 1.0, 0.0, 1.0].map(scored);
        let there = [0.0, 1.0, 0.0, 1.0].map(scored);
        let pairs: Vec<(&Scored, Scored)> = here.iter().zip(there).collect();
        let metrics = metrics(Format::Mmau, By::Generation);
        let found = differences(metrics, metrics, &pairs);
        assert_eq!(found.len(), 2);
        let counts = Counts {
            both: 2,
            only_here: 1,
            only_there: 0,
            neither: 1,
        };
        assert_eq!(found[0].counts, Some(counts));
        let Estimate { mean, low, high } = found[0].estimate;
        assert!((mean - 0.25).abs() < 1e-12);
        assert!((high - mean - 0.489_991).abs() < 1e-6 && (mean - low - 0.489_991).abs() < 1e-6);
        // Of another kind: the first ones are compared.
        let other = super::metrics(Format::Mmau, By::Likelihood);
        let found = differences(metrics, other, &pairs);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].here.name, found[0].there.name),
            ("official", "likelihood")
        );
    }
}
