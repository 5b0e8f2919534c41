//! Results as they are printed.

use crate::args::{BenchArgs, OutputArg};
use crate::error::Error;
use crate::{output, setup};
use gamut_engine::{DType, Engine, Model};
use serde_json::{Map, Value, json};
use std::fmt;

/// Results of one kind.
pub(super) struct Results {
    /// Objects, one a test, all with the same names. Lists in them are for JSON alone.
    pub(super) records: Vec<Value>,
    /// The same for people: rows under a head.
    pub(super) tables: Vec<Vec<Vec<String>>>,
    /// A line below the tables.
    pub(super) note: String,
}

/// What was measured.
pub(super) struct About {
    model: String,
    bytes: u64,
    parameters: u64,
    device: String,
    description: String,
    dtype: DType,
    /// Of the host; none where nothing runs.
    threads: Option<usize>,
}

impl About {
    /// A model on an engine.
    pub(super) fn engine(args: &BenchArgs, engine: &Engine) -> About {
        let device = engine.device();
        About {
            device: device.name().to_owned(),
            description: device.describe(),
            threads: Some(engine.threads()),
            ..About::predicted(args, &engine.model(), "", device.target().dtype())
        }
    }

    /// A model on a device that is not there.
    pub(super) fn predicted(args: &BenchArgs, model: &Model, device: &str, dtype: DType) -> About {
        let path = args.model.as_ref().or(args.random.as_ref());
        About {
            model: path.map_or("bundled".to_owned(), |path| path.display().to_string()),
            bytes: model.checkpoint().weights().total_bytes(),
            parameters: setup::parameters(model),
            device: device.to_owned(),
            description: device.to_owned(),
            dtype,
            threads: None,
        }
    }

    fn params(&self) -> String {
        match self.parameters as f64 {
            n if n < 1e9 => format!("{:.2} M", n / 1e6),
            n => format!("{:.2} B", n / 1e9),
        }
    }

    /// The names are llama-bench's, where it has them.
    fn record(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "model_filename": self.model,
            "model_size": self.bytes,
            "model_n_params": self.parameters,
            "device": self.device,
            "description": self.description,
            "dtype": self.dtype.to_string(),
            "n_threads": self.threads,
        })
    }

    /// Columns of a Markdown table.
    fn cells(&self) -> [(&'static str, String); 6] {
        let threads = self.threads.map_or(String::new(), |n| n.to_string());
        [
            ("model", self.model.clone()),
            ("size", output::bytes(self.bytes)),
            ("params", self.params()),
            ("device", self.device.clone()),
            ("dtype", self.dtype.to_string()),
            ("threads", threads),
        ]
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} parameters in {}, computed in {} on {}",
            self.model,
            self.params(),
            output::bytes(self.bytes),
            self.dtype,
            self.description,
        )
    }
}

impl Results {
    pub(super) fn write(self, about: &About, format: OutputArg) -> Result<(), Error> {
        match format {
            OutputArg::Table => {
                for table in &self.tables {
                    output::write_table(table)?;
                }
                output::write(&self.note)
            }
            OutputArg::Md => {
                let tables = self.tables.into_iter().map(|table| {
                    let rows = table.into_iter().enumerate().map(|(index, row)| {
                        let about = about.cells().map(|(head, cell)| match index {
                            0 => head.to_owned(),
                            _ => cell,
                        });
                        about.into_iter().chain(row).collect()
                    });
                    markdown(&rows.collect::<Vec<_>>())
                });
                output::write(&tables.collect::<Vec<_>>().join("\n"))
            }
            OutputArg::Csv => output::write(&csv(&self.described(about))),
            OutputArg::Json => output::write_json(&self.described(about)),
            OutputArg::Jsonl => {
                let lines = self.described(about);
                let lines = lines.iter().map(|record| format!("{}\n", json!(record)));
                output::write(&lines.collect::<String>())
            }
        }
    }

    /// The records, each with what all are about.
    fn described(self, about: &About) -> Vec<Map<String, Value>> {
        let described = self.records.into_iter().map(|record| {
            let parts = [about.record(), record];
            let objects = parts.into_iter().filter_map(|part| match part {
                Value::Object(object) => Some(object),
                _ => None,
            });
            objects.flatten().collect()
        });
        described.collect()
    }
}

/// A Markdown table whose columns are as wide as they need to be; the first is flush left. The first
/// row is its head.
fn markdown(rows: &[Vec<String>]) -> String {
    let cells = |row: &Vec<String>| -> Vec<String> {
        row.iter().map(|cell| cell.replace('|', "\\|")).collect()
    };
    let rows: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let widths = (0..columns).map(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        // Three for the rule.
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    });
    let widths: Vec<usize> = widths.collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(&match column {
                0 => format!("| {cell:width$} |"),
                _ => format!(" {cell:>width$} |"),
            });
        }
        text.push('\n');
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                text.push_str(&match column {
                    0 => format!("| {} |", "-".repeat(*width)),
                    _ => format!(" {}: |", "-".repeat(width - 1)),
                });
            }
            text.push('\n');
        }
    }
    text
}

/// Comma-separated values as RFC 4180 has them, but for ends of lines: those of the system's tools.
fn csv(records: &[Map<String, Value>]) -> String {
    let scalar = |(_, value): &(&String, &Value)| !value.is_array() && !value.is_object();
    let Some(first) = records.first() else {
        return String::new();
    };
    let head: Vec<String> = (first.iter().filter(scalar))
        .map(|(name, _)| name.clone())
        .collect();
    let rows = records.iter().map(|record| {
        let values = head.iter().map(|name| match record.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => quoted(text),
            Some(value) => value.to_string(),
        });
        values.collect::<Vec<_>>()
    });
    std::iter::once(head.clone())
        .chain(rows)
        .map(|row| row.join(",") + "\n")
        .collect()
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_it_must_and_leaves_lists_out() {
        let record = |name: &str| {
            let record = json!({ "name": name, "list": [1], "n": 1.5, "none": null, "last": 7 });
            record.as_object().unwrap().clone()
        };
        let records = ["plain", "a,b \"c\"\nd"].map(record);
        assert_eq!(
            csv(&records),
            "name,n,none,last\nplain,1.5,,7\n\"a,b \"\"c\"\"\nd\",1.5,,7\n"
        );
        assert_eq!(csv(&[]), "");
    }

    #[test]
    fn markdown_lines_up() {
        let rows = [["model", "t/s"], ["a|b", "12345.6"], ["long name", "7"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let expected = [
            "| model     |     t/s |",
            "| --------- | ------: |",
            "| a\\|b      | 12345.6 |",
            "| long name |       7 |",
            "",
        ];
        assert_eq!(markdown(&rows), expected.join("\n"));
    }
}
