//! What got slower or faster since other results.

use crate::error::{Error, Result};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Sections with times, of which a row is the same thing in every run.
const COMPARED: [&str; 2] = ["ops", "pipeline"];
/// A change of less is noise, whatever the spread.
const LEAST: f64 = 0.03;

/// Reads results.
pub(crate) fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).map_err(Error::io(path))?;
    serde_json::from_slice(&text).map_err(Error::json(path))
}

/// A row whose time changed beyond the noise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) row: String,
    pub(crate) before_us: f64,
    pub(crate) after_us: f64,
}

/// The rows that both have and that differ: by more than a little, and so that the middle four
/// fifths of the times do not overlap. What got slower most comes first. Libraries' rows, which
/// tell how alike the machines are, take part.
pub(crate) fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    for section in COMPARED {
        let rows = after.get(section).and_then(Value::as_object);
        for (row, after) in rows.into_iter().flatten() {
            let before = before.get(section).and_then(|section| section.get(row));
            let (Some(before), Some(after)) = (before.and_then(span), span(after)) else {
                continue;
            };
            let apart = before.high < after.low || after.high < before.low;
            if apart && (after.us / before.us - 1.0).abs() > LEAST {
                changes.push(Change {
                    row: row.clone(),
                    before_us: before.us,
                    after_us: after.us,
                });
            }
        }
    }
    changes.sort_by(|a, b| (b.after_us / b.before_us).total_cmp(&(a.after_us / a.before_us)));
    changes
}

struct Span {
    us: f64,
    low: f64,
    high: f64,
}

fn span(row: &Value) -> Option<Span> {
    let number = |name| row.get(name)?.as_f64();
    Some(Span {
        us: number("us").filter(|us| *us > 0.0)?,
        low: number("low_us")?,
        high: number("high_us")?,
    })
}

/// The changes as lines of text.
pub(crate) fn table(before: &Value, after: &Value) -> String {
    let name = |value: &Value| {
        let field = |name| value.get(name).and_then(Value::as_str).unwrap_or("?");
        format!("{} of {}", field("commit"), field("date"))
    };
    let mut text = format!("\nAgainst {}:\n", name(before));
    let changes = changes(before, after);
    for Change {
        row,
        before_us,
        after_us,
    } in &changes
    {
        let ratio = after_us / before_us;
        let word = if ratio > 1.0 { "slower" } else { "faster" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {word} {ratio:6.3} x  {before_us:12.1} -> {after_us:12.1} us  {row}"
        );
    }
    if changes.is_empty() {
        text.push_str("  no time changed beyond the noise\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(us: f64, spread: f64) -> Value {
        json!({ "us": us, "low_us": us - spread, "high_us": us + spread })
    }

    #[test]
    fn only_what_lies_beyond_the_noise_is_a_change() {
        let before = json!({ "date": "2026-11-01", "commit": "abc", "ops": {
            "steady": row(100.0, 1.0), "slower": row(100.0, 1.0), "faster": row(100.0, 1.0),
            "noisy": row(100.0, 30.0), "a little": row(100.0, 0.1), "gone": row(1.0, 0.0),
            "failed": row(100.0, 1.0),
        }, "pipeline": { "mel": row(10.0, 0.1) } });
        let after = json!({ "ops": {
            "steady": row(100.5, 1.0), "slower": row(150.0, 1.0), "faster": row(50.0, 1.0),
            "noisy": row(140.0, 30.0), "a little": row(102.0, 0.1), "new": row(1.0, 0.0),
            "failed": { "error": "out of memory" },
        }, "pipeline": { "mel": row(20.0, 0.1) } });
        let found: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|c| c.row)
            .collect();
        assert_eq!(found, ["mel", "slower", "faster"]);
        let text = table(&before, &after);
        assert!(
            text.contains("abc of 2026-11-01") && text.contains("slower  2.000 x"),
            "{text}"
        );
        assert!(table(&before, &before).contains("no time changed"));
    }
}
