//! The table at the end of a run.

use serde_json::Value;
use std::fmt::Write;

/// A line for each figure that a performance engineer asks for first; "-" where it is missing.
pub(crate) fn table(report: &Value) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<44} {value}");
    };
    let lines = [
        ("read, cold, GB/s", "/bandwidth/read 4 GiB, cold/best GB~1s"),
        (
            "read, 24 MiB in L2, GB/s",
            "/bandwidth/read 24 MiB again and again/best GB~1s",
        ),
        (
            "copy kernel, GB/s",
            "/bandwidth/copy kernel 2+2 GiB/best GB~1s",
        ),
        (
            "cuMemcpyDtoD, GB/s",
            "/bandwidth/cuMemcpyDtoD 2+2 GiB/GB~1s",
        ),
        (
            "pinned to device, GB/s",
            "/bandwidth/pinned host to device/GB~1s",
        ),
        (
            "device to pinned, GB/s",
            "/bandwidth/pinned device to host/GB~1s",
        ),
        (
            "pageable to device, GB/s",
            "/bandwidth/pageable host to device/GB~1s",
        ),
        ("launch, CPU us", "/overheads/launch, 1 block of 32/CPU us"),
        (
            "kernels back to back, GPU us",
            "/overheads/launch, 1 block of 32/GPU us",
        ),
        (
            "graph node, GPU us",
            "/overheads/graph of 1,000 kernels/GPU us per node",
        ),
        (
            "dependent graph node, GPU us",
            "/overheads/graph of 1,000 dependent launches/GPU us per node",
        ),
        (
            "launch and synchronize, us",
            "/overheads/launch and synchronize/us",
        ),
        ("wgmma layout correct", "/chains/wgmma layout/correct"),
    ];
    for (label, path) in lines {
        line(label, show(report.pointer(path)));
    }
    for (name, case) in object(report, "/chains") {
        let ways = object(case, "");
        let compared = ways
            .iter()
            .filter(|(_, way)| way.get("equal").is_some())
            .count();
        let equal = ways.iter().filter(|(_, way)| way["equal"] == true).count();
        if compared > 0 {
            line(
                &format!("chains, {name}"),
                format!("{equal} of {compared} ways equal mma's bits"),
            );
        }
    }
    for (name, group) in object(report, "") {
        if let Some(rows) = group.pointer("/rows") {
            let failed = group
                .pointer("/failed")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            line(name, format!("{rows} rows, {failed} failed"));
        }
    }
    for (name, shape) in object(report, "/cublaslt") {
        if let (Some(flops), Some(bytes)) = (shape.get("TFLOP/s"), shape.get("TB/s")) {
            let (flops, bytes) = (show(Some(flops)), show(Some(bytes)));
            let time = show(shape.get("us"));
            line(
                &format!("cuBLASLt {name}"),
                format!("{time} us, {flops} TFLOP/s, {bytes} TB/s"),
            );
        }
    }
    for (name, peer) in object(report, "/peers") {
        let best = object(peer, "")
            .into_iter()
            .filter_map(|(_, way)| way.get("TFLOP/s")?.as_f64())
            .fold(
                peer.get("TFLOP/s").and_then(Value::as_f64),
                |best, flops| Some(best.unwrap_or(0.0).max(flops)),
            );
        if let Some(best) = best {
            line(&format!("PyTorch {name}"), format!("{best:.1} TFLOP/s"));
        }
    }
    for (name, outcome) in object(report, "/outcomes") {
        if outcome != "ok" {
            line(&format!("section {name}"), show(Some(outcome)));
        }
    }
    text
}

/// An object's entries; none of anything else.
fn object<'a>(value: &'a Value, path: &str) -> Vec<(&'a String, &'a Value)> {
    let found = value.pointer(path).and_then(Value::as_object);
    found
        .map(|entries| entries.iter().collect())
        .unwrap_or_default()
}

fn show(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |number| format!("{number:.2}")),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_figures_are_dashes_and_slashes_in_keys_are_found() {
        let report = json!({ "bandwidth": { "read 4 GiB, cold": { "best GB/s": 3012.345 } } });
        let table = table(&report);
        assert!(
            table.contains("3012.35") || table.contains("3012.34"),
            "{table}"
        );
        assert!(
            table
                .lines()
                .any(|line| line.starts_with("launch, CPU us") && line.ends_with('-'))
        );
    }
}
