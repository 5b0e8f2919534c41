//! Writing to standard output, whose reader may be gone.

use crate::error::Error;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Writes text and flushes it, so that a stream is seen as it comes.
pub(crate) fn write(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Writes a note to standard error. Where nobody reads it, it is lost and nothing else.
pub(crate) fn note(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Whether both are there, and one file or folder.
pub(crate) fn is_same_file(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    whole(a).is_some_and(|a| Some(a) == whole(b))
}

/// Writes one JSON object and a newline.
pub(crate) fn write_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Output(e.into()))?;
    write(&(text + "\n"))
}

/// Writes a table: the first row is its head, columns are as wide as they need to be, all but the
/// first flush right.
pub(crate) fn write_table(rows: &[Vec<String>]) -> Result<(), Error> {
    write_columns(rows, &[0])
}

/// As [`write_table`], with the columns that are flush left named.
pub(crate) fn write_columns(rows: &[Vec<String>], left: &[usize]) -> Result<(), Error> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|x| x.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(if c == 0 { "" } else { "  " });
            line.push_str(&match left.contains(&c) {
                true => format!("{cell:width$}"),
                false => format!("{cell:>width$}"),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    write(&text)
}

/// `12.3 ms` or `4.56 s`.
pub(crate) fn duration(time: std::time::Duration) -> String {
    match time.as_secs_f64() {
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// `12.3 MiB` or the like.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} GiB")
}
