//! The results as one table.

use serde_json::Value;
use std::fmt::Write;

/// The libraries whose times stand beside an operation's in its own process.
const LIBRARIES: [&str; 2] = ["cuBLASLt", "cuFFT"];

/// All sections' results as text; "-" where something is missing.
pub(crate) fn table(results: &Value) -> String {
    let mut text = String::new();
    let ceilings = Ceilings::of(results);
    header(&mut text, results, &ceilings);
    operations(&mut text, results, &ceilings);
    pipeline(&mut text, results);
    counters(&mut text, results);
    let outcomes = results.get("outcomes").and_then(Value::as_object);
    for (name, outcome) in outcomes.into_iter().flatten() {
        let outcome = outcome.as_str().unwrap_or("-");
        if outcome != "ok" {
            let error = results
                .get(name)
                .map_or("-".to_owned(), |section| show(section, "error"));
            line(&mut text, format!("NOT OK: {name}: {outcome}: {error}"));
        }
    }
    text
}

/// Measured ceilings.
struct Ceilings {
    /// Operations a second.
    products: Option<f64>,
    /// Bytes a second.
    bytes: Option<f64>,
}

impl Ceilings {
    fn of(results: &Value) -> Ceilings {
        Ceilings {
            products: number(results, "/ceilings/products/operations_per_second"),
            bytes: number(results, "/ceilings/copy/bytes_per_second"),
        }
    }

    /// The least microseconds for an operation's work.
    fn least_us(&self, row: &Value) -> Option<f64> {
        let operations = number(row, "/operations")? / self.products?;
        let bytes = number(row, "/bytes")? / self.bytes?;
        Some(operations.max(bytes) * 1e6)
    }
}

fn header(text: &mut String, results: &Value, ceilings: &Ceilings) {
    let field = |path| results.pointer(path).and_then(Value::as_str).unwrap_or("-");
    let (device, driver) = (field("/ceilings/device"), field("/ceilings/driver"));
    line(
        text,
        format!(
            "{device}; {driver}; commit {}, {}",
            field("/commit"),
            field("/date")
        ),
    );
    let tera = |rate: Option<f64>| cell(rate.map(|rate| rate / 1e12), 2);
    let pinned = number(results, "/ceilings/pinned upload/bytes_per_second");
    let upload = number(results, "/upload/page cache to device/bytes_per_second");
    let share = pinned
        .zip(upload)
        .map(|(pinned, upload)| upload / pinned * 100.0);
    line(
        text,
        format!(
            "ceilings: products {} TFLOP/s, copy {} TB/s; weights from the page cache {} GB/s, {} % of a \
            pinned copy's {} GB/s (target 80 %)",
            tera(ceilings.products),
            tera(ceilings.bytes),
            cell(upload.map(|rate| rate / 1e9), 1),
            cell(share, 0),
            cell(pinned.map(|rate| rate / 1e9), 1),
        ),
    );
    for section in ["verify bf16", "verify f32"] {
        let Some(found) = results.get(section) else {
            continue;
        };
        let failed = found.get("failed").and_then(Value::as_array);
        let count = failed.map_or("-".to_owned(), |failed| failed.len().to_string());
        let cases = cell(number(found, "/cases"), 0);
        line(
            text,
            format!(
                "{section}: {cases} cases, {count} failed; seed {}",
                show(found, "seed")
            ),
        );
        for case in failed.into_iter().flatten() {
            line(text, format!("  FAILED: {case}"));
        }
    }
}

fn counters(text: &mut String, results: &Value) {
    let Some(rows) = results.get("counters").and_then(Value::as_object) else {
        return;
    };
    line(
        text,
        format!(
            "\n{:<66} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
            "operation, counted",
            "launches",
            "touched",
            "moved",
            "sectors",
            "wavefronts",
            "products"
        ),
    );
    let rows = rows.iter().filter(|(_, row)| row.is_object());
    for (id, row) in rows {
        if number(row, "/launches").is_none() {
            line(text, format!("{id:<66} {}", show(row, "error")));
            continue;
        }
        let ratio = |name: &str| cell(number(row, &format!("/{name}")), 2);
        line(
            text,
            format!(
                "{id:<66} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
                cell(number(row, "/launches"), 0),
                ratio("touched"),
                ratio("moved"),
                ratio("sectors"),
                ratio("wavefronts"),
                ratio("products"),
            ),
        );
    }
}

fn operations(text: &mut String, results: &Value, ceilings: &Ceilings) {
    let Some(rows) = results.get("ops").and_then(Value::as_object) else {
        return;
    };
    line(
        text,
        format!(
            "\n{:<66} {:>10} {:>8} {:>7} {:>9} {:>10} {:>6}  {}",
            "operation, cold cache",
            "us",
            "TFLOP/s",
            "TB/s",
            "% ceiling",
            "peer us",
            "ratio",
            "peer"
        ),
    );
    for (id, row) in rows {
        let is_peer = LIBRARIES
            .iter()
            .any(|library| id.ends_with(&format!(" | {library}")));
        if is_peer || !row.is_object() {
            continue;
        }
        let us = number(row, "/us");
        if us.is_none() {
            line(text, format!("{id:<66} {}", show(row, "error")));
            continue;
        }
        let rate = |work: &str| Some(number(row, work)? / us? / 1e6);
        let share = ceilings
            .least_us(row)
            .zip(us)
            .map(|(least, us)| least / us * 100.0);
        let peers = peers(results, id);
        let mut columns = [
            cell(us, 1),
            cell(rate("/operations"), 1),
            cell(rate("/bytes"), 3),
            cell(share, 1),
        ];
        let mut name = id.as_str();
        for (peer, peer_us) in peers {
            let ratio = us.zip(peer_us).map(|(us, peer)| us / peer);
            let [time, flops, bytes, ceiling] = columns;
            line(
                text,
                format!(
                    "{name:<66} {time:>10} {flops:>8} {bytes:>7} {ceiling:>9} {:>10} {:>6}  {peer}",
                    cell(peer_us, 1),
                    cell(ratio, 2),
                ),
            );
            // A further peer stands below.
            (name, columns) = ("", Default::default());
        }
    }
}

/// The peers of a row with their times, PyTorch first, or a dash for none.
fn peers(results: &Value, id: &str) -> Vec<(String, Option<f64>)> {
    let torch = results.get("torch").and_then(|torch| torch.get(id));
    let torch = torch.map(|row| (show(row, "name"), number(row, "/us")));
    let in_process = LIBRARIES.iter().filter_map(|library| {
        let row = results.get("ops")?.get(format!("{id} | {library}"))?;
        Some(((*library).to_owned(), number(row, "/us")))
    });
    let mut peers: Vec<_> = torch.into_iter().chain(in_process).collect();
    if peers.is_empty() {
        peers.push(("-".to_owned(), None));
    }
    peers
}

fn pipeline(text: &mut String, results: &Value) {
    let Some(rows) = results.get("pipeline").and_then(Value::as_object) else {
        return;
    };
    line(
        text,
        format!(
            "\n{:<24} {:>12} {:>12} {:>22} {:>12}",
            "pipeline", "ms", "target ms", "tokens/s", "target"
        ),
    );
    for (name, row) in rows.iter().filter(|(_, row)| row.is_object()) {
        if name == "open" {
            let gigabytes = number(row, "/weights_bytes").map(|bytes| bytes / 1e9);
            let seconds = cell(number(row, "/seconds"), 2);
            line(
                text,
                format!(
                    "{name:<24} {seconds:>10} s, {} GB of weights",
                    cell(gigabytes, 2)
                ),
            );
            continue;
        }
        let ms = |path| cell(number(row, path).map(|us| us / 1e3), 3);
        if row.get("us").is_none() {
            line(text, format!("{name:<24} {}", show(row, "error")));
            continue;
        }
        let rate = cell(number(row, "/tokens_per_second"), 1);
        let deviation = cell(number(row, "/tokens_per_second_deviation"), 1);
        line(
            text,
            format!(
                "{name:<24} {:>12} {:>12} {:>22} {:>12}",
                ms("/us"),
                ms("/target_us"),
                format!("{rate} ± {deviation}"),
                cell(number(row, "/target_tokens_per_second"), 1),
            ),
        );
    }
}

fn line(text: &mut String, content: impl AsRef<str>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", content.as_ref().trim_end());
}

fn number(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path)?.as_f64()
}

fn show(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// 100 GFLOP and 1 GB in 250 us, under ceilings of 800 TFLOP/s and 10 TB/s: 50 % of the first.
    #[test]
    fn rates_ceilings_and_ratios() {
        let results = json!({
            "ceilings": {
                "products": { "operations_per_second": 800e12 },
                "copy": { "bytes_per_second": 10e12 },
            },
            "ops": {
                "gemm a": { "us": 250.0, "operations": 100_000_000_000u64, "bytes": 1_000_000_000u64 },
                "gemm a | cuBLASLt": { "us": 200.0 },
                "norm": { "us": 10.0, "operations": 1, "bytes": 50_000_000u64 },
                "broken": { "error": "no memory" },
            },
            "torch": { "norm": { "us": 5.0, "name": "PyTorch" } },
            "pipeline": { "mel": { "us": 1500.0, "target_us": 1000.0, "tokens_per_second": 12.5 } },
            "outcomes": { "ops": "ok", "upload": "stopped after 45 s" },
        });
        let text = table(&results);
        let words = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(
            words("gemm a")[2..],
            [
                "250.0", "400.0", "4.000", "50.0", "200.0", "1.25", "cuBLASLt"
            ]
        );
        assert_eq!(
            words("norm")[1..],
            ["10.0", "0.0", "5.000", "50.0", "5.0", "2.00", "PyTorch"]
        );
        assert_eq!(words("broken")[1..], ["no", "memory"]);
        assert_eq!(words("mel")[1..4], ["1.500", "1.000", "12.5"]);
        assert!(
            text.contains("NOT OK: upload: stopped after 45 s"),
            "{text}"
        );
        assert!(!text.contains("gemm a | cuBLASLt"), "{text}");
    }
}
