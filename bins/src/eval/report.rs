//! What came of an evaluation: for people, as Markdown, and as JSON.

use super::against::{Comparison, Difference};
use super::benchmark::Benchmark;
use super::interval::{Estimate, normal, wilson};
use super::scoring::{Metric, Scored};
use crate::error::Error;
use crate::output;
use serde_json::{Map, Value, json};

/// What came of an evaluation.
#[derive(Debug)]
pub(super) struct Report {
    /// What it depends on.
    pub(super) settings: Map<String, Value>,
    pub(super) counts: Counts,
    pub(super) metrics: &'static [Metric],
    /// How options' likelihoods are compared, if they are.
    pub(super) likelihood: Option<&'static str>,
    /// All questions, and then those of each category.
    pub(super) rows: Vec<Row>,
    /// Songs that are missing.
    pub(super) missing_audio: Vec<String>,
    pub(super) comparison: Option<Comparison>,
}

/// How many questions went which way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Those that were to be asked.
    pub(super) questions: usize,
    /// Those whose song is missing; no score counts them.
    pub(super) missing_audio: usize,
    /// Those that could not be answered; they count as wrong.
    pub(super) failed: usize,
    /// Those that may be answered at another time, or have no output to be scored; no score counts
    /// them.
    pub(super) pending: usize,
    /// Those of the file that are about something else than music.
    pub(super) left_out: usize,
}

/// Some of the questions, scored.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) n: usize,
    pub(super) unanswered: usize,
    pub(super) format_errors: usize,
    /// For each metric; of no questions none.
    pub(super) estimates: Vec<Option<Estimate>>,
}

/// All questions, and those of each category in the order in which they come.
pub(super) fn rows(
    benchmark: &Benchmark,
    metrics: &[Metric],
    scored: &[(usize, Scored)],
) -> Vec<Row> {
    let mut names: Vec<&String> = Vec::new();
    for (number, _) in scored {
        for name in &benchmark.questions[*number].categories {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort();
    let all = row("all", metrics, scored.iter().map(|(_, scored)| scored));
    let of = |name: &String| {
        let has = |number: &usize| benchmark.questions[*number].categories.contains(name);
        let scored = scored.iter().filter(|(number, _)| has(number));
        row(name, metrics, scored.map(|(_, scored)| scored))
    };
    let mut rows = vec![all];
    rows.extend(names.into_iter().map(of));
    rows
}

fn row<'a>(name: &str, metrics: &[Metric], scored: impl Iterator<Item = &'a Scored>) -> Row {
    let scored: Vec<&Scored> = scored.collect();
    let estimates = metrics.iter().enumerate().map(|(i, metric)| {
        let values: Vec<f64> = scored.iter().map(|scored| scored.values[i]).collect();
        match metric.is_binary {
            true => wilson(values.iter().filter(|v| **v > 0.5).count(), values.len()),
            false => normal(&values),
        }
    });
    Row {
        name: name.to_owned(),
        n: scored.len(),
        unanswered: scored.iter().filter(|scored| scored.unanswered).count(),
        format_errors: scored.iter().filter(|scored| scored.format_error).count(),
        estimates: estimates.collect(),
    }
}

impl Report {
    /// One JSON object.
    pub(super) fn to_json(&self) -> Value {
        let counts = &self.counts;
        let scores = |row: &Row| {
            let scores = self.metrics.iter().zip(&row.estimates);
            let scores: Map<String, Value> = scores
                .map(|(metric, estimate)| (metric.name.to_owned(), json_estimate(estimate)))
                .collect();
            json!({
                "name": row.name,
                "n": row.n,
                "unanswered": row.unanswered,
                "format_errors": row.format_errors,
                "scores": scores,
            })
        };
        let meanings: Map<String, Value> = self
            .metrics
            .iter()
            .map(|metric| (metric.name.to_owned(), metric.what.into()))
            .collect();
        json!({
            "settings": self.settings,
            "metrics": meanings,
            "likelihood": self.likelihood,
            "questions": counts.questions,
            "missing_audio": counts.missing_audio,
            "failed": counts.failed,
            "pending": counts.pending,
            "left_out": counts.left_out,
            "all": self.rows.first().map(scores),
            "categories": self.rows.iter().skip(1).map(scores).collect::<Vec<_>>(),
            "missing_songs": self.missing_audio,
            "against": self.comparison.as_ref().map(json_comparison),
        })
    }

    /// A page for people.
    pub(super) fn to_markdown(&self) -> String {
        let mut text = format!("# {}\n\n", self.title());
        for (name, value) in self.facts() {
            text.push_str(&format!("- {name}: {value}\n"));
        }
        text.push('\n');
        text.push_str(&markdown_table(&self.table()));
        text.push('\n');
        for metric in self.metrics {
            text.push_str(&format!("- {}: {}\n", metric.name, metric.what));
        }
        if let Some(comparison) = &self.comparison {
            text.push_str(&format!("\n## Against {}\n\n", comparison.folder));
            for (name, value) in comparison_facts(comparison) {
                text.push_str(&format!("- {name}: {value}\n"));
            }
            text.push('\n');
            text.push_str(&markdown_table(&comparison_table(comparison)));
        }
        text
    }

    /// Prints it.
    pub(super) fn print(&self) -> Result<(), Error> {
        let row = |(name, value): (String, String)| vec![name, value];
        let facts: Vec<Vec<String>> = self.facts().into_iter().map(row).collect();
        output::write_columns(&facts, &[0, 1])?;
        output::write_table(&self.table())?;
        if let Some(comparison) = &self.comparison {
            let facts = comparison_facts(comparison).into_iter().map(row);
            let first = vec!["against".to_owned(), comparison.folder.clone()];
            let facts: Vec<Vec<String>> = std::iter::once(first).chain(facts).collect();
            output::write_columns(&facts, &[0, 1])?;
            output::write_table(&comparison_table(comparison))?;
        }
        Ok(())
    }

    fn title(&self) -> String {
        let name = |key: &str| {
            let names = self.settings.get("names");
            names.and_then(|names| names[key].as_str()).unwrap_or("")
        };
        match name("checkpoint") {
            "" => name("benchmark").to_owned(),
            model => format!("{model} on {}", name("benchmark")),
        }
    }

    /// Settings and counts, a line each.
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = facts(&self.settings);
        facts.extend(self.likelihood.map(|how| ("likelihood".into(), how.into())));
        let counts = &self.counts;
        let missing = format!(
            "{} questions, {} songs",
            counts.missing_audio,
            self.missing_audio.len()
        );
        facts.push(("missing audio".into(), missing));
        for (name, count) in [
            ("failed, counted as wrong", counts.failed),
            ("pending, not counted", counts.pending),
            ("left out as not about music", counts.left_out),
        ] {
            if count > 0 {
                facts.push((name.into(), count.to_string()));
            }
        }
        facts
    }

    /// A row for all questions and each category, under a head.
    fn table(&self) -> Vec<Vec<String>> {
        let mut head: Vec<String> = ["questions", "n", "unanswered", "format errors"]
            .map(str::to_owned)
            .into();
        head.extend(self.metrics.iter().map(|m| format!("{} % [95 %]", m.name)));
        let rows = self.rows.iter().map(|row| {
            let counts = [row.n, row.unanswered, row.format_errors];
            let mut cells = vec![row.name.clone()];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend(row.estimates.iter().map(percent));
            cells
        });
        std::iter::once(head).chain(rows).collect()
    }
}

/// The settings that are not null, those within others in one line.
fn facts(settings: &Map<String, Value>) -> Vec<(String, String)> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    };
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = |value: &Value| match value {
        Value::Object(values) => {
            let given = values.iter().filter(|(_, value)| !is_empty(value));
            let parts: Vec<String> = given
                .map(|(name, value)| format!("{} {}", name.replace('_', " "), plain(value)))
                .collect();
            parts.join(", ")
        }
        other => plain(other),
    };
    let lines = settings.iter().filter(|(_, value)| !is_empty(value));
    let lines = lines.map(|(name, value)| (name.replace('_', " "), line(value)));
    lines.filter(|(_, line)| !line.is_empty()).collect()
}

fn comparison_facts(comparison: &Comparison) -> Vec<(String, String)> {
    let mut others = comparison.settings.clone();
    others.retain(|name, _| {
        [
            "names",
            "by",
            "audio",
            "checkpoint_hash",
            "prompt_hash",
            "seed",
        ]
        .contains(&name.as_str())
    });
    let mut facts = facts(&others);
    facts.push(("answered by both".into(), comparison.n.to_string()));
    facts
}

fn comparison_table(comparison: &Comparison) -> Vec<Vec<String>> {
    let head = [
        "metric",
        "difference, points [95 %]",
        "both",
        "only here",
        "only there",
        "neither",
    ];
    let rows = comparison.differences.iter().map(|difference| {
        let mut cells = vec![name(difference), percent(&Some(difference.estimate))];
        cells.extend(match difference.counts {
            Some(counts) => [
                counts.both,
                counts.only_here,
                counts.only_there,
                counts.neither,
            ]
            .map(|count| count.to_string()),
            None => [const { String::new() }; 4],
        });
        cells
    });
    let head = head.map(str::to_owned).into();
    std::iter::once(head).chain(rows).collect()
}

/// What a difference is of.
fn name(difference: &Difference) -> String {
    let (here, there) = (difference.here.name, difference.there.name);
    match here == there {
        true => here.to_owned(),
        false => format!("{here} less {there}"),
    }
}

fn json_comparison(comparison: &Comparison) -> Value {
    let differences = comparison.differences.iter().map(|difference| {
        let counts = difference.counts.map(|counts| {
            json!({
                "both": counts.both,
                "only_here": counts.only_here,
                "only_there": counts.only_there,
                "neither": counts.neither,
            })
        });
        json!({
            "metric": name(difference),
            "difference": json_estimate(&Some(difference.estimate)),
            "right": counts,
        })
    });
    json!({
        "folder": comparison.folder,
        "settings": comparison.settings,
        "n": comparison.n,
        "differences": differences.collect::<Vec<_>>(),
    })
}

fn json_estimate(estimate: &Option<Estimate>) -> Value {
    estimate.map_or(
        Value::Null,
        |Estimate { mean, low, high }| json!({ "mean": mean, "low": low, "high": high }),
    )
}

/// `79.1 [76.7, 81.3]`.
fn percent(estimate: &Option<Estimate>) -> String {
    estimate.map_or("-".to_owned(), |Estimate { mean, low, high }| {
        let [mean, low, high] = [mean, low, high].map(|part| 100.0 * part);
        format!("{mean:.1} [{low:.1}, {high:.1}]")
    })
}

fn markdown_table(rows: &[Vec<String>]) -> String {
    let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | ").replace('\n', " "));
    let mut lines = rows.iter().map(line);
    let head = lines.next().unwrap_or_default();
    let columns = rows.first().map_or(0, Vec::len);
    let rule = format!("|---|{}\n", "---:|".repeat(columns.saturating_sub(1)));
    head + &rule + &lines.collect::<String>()
}
