//! `gamut bench`.

use crate::support::{Home, keys};
use serde_json::Value;

/// Rows of everything, small.
const ROWS: &str = "bench clip.wav -m model -p 16,32 -n 4 -d 0,8 --batch 1,3 -r 2";
const LOAD: &str = "bench -m model -p 10 -n 4 --rate 50,inf --num-requests 12";

fn names(report: &Value) -> Vec<&str> {
    let rows = report.as_array().unwrap().iter();
    rows.map(|row| row["test"].as_str().unwrap()).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

/// The values of a line without quotes.
fn fields(line: &str) -> Vec<&str> {
    assert!(!line.contains('"'), "{line}");
    line.split(',').collect()
}

#[test]
fn rows_are_those_of_llama_bench_and_the_stages() {
    let home = Home::furnished();
    let report = home.passes(&format!("{ROWS} -o json")).json();
    let mut expected: Vec<String> = ["audio", "mel", "temporal", "global", "fused", "projected"]
        .map(str::to_owned)
        .into();
    for kinds in [&["pp16", "pp32"][..], &["tg4"]] {
        for batch in ["", " b3"] {
            for depth in ["", " @ d8"] {
                expected.extend(kinds.iter().map(|kind| format!("{kind}{depth}{batch}")));
            }
        }
    }
    assert_eq!(names(&report), expected);
    for row in report.as_array().unwrap() {
        let (samples, rates) = (numbers(&row["samples_ns"]), numbers(&row["samples_ts"]));
        assert_eq!((samples.len(), rates.len()), (2, 2), "{row}");
        assert!(samples.iter().all(|time| *time > 0.0), "{row}");
        let mean = samples.iter().sum::<f64>() / 2.0;
        assert!(
            (row["avg_ns"].as_f64().unwrap() - mean).abs() <= 1.0,
            "{row}"
        );
        let deviation = (samples[0] - samples[1]).abs() / 2f64.sqrt();
        assert!((row["stddev_ns"].as_f64().unwrap() - deviation).abs() <= 1.0);
        let tokens = row["tokens"].as_f64().unwrap();
        assert!((rates[0] - tokens / samples[0] * 1e9).abs() < 1e-6 * rates[0]);
        assert_eq!(row["device"], "host");
        assert_eq!(row["dtype"], "f32");
        assert!(row["n_threads"].as_u64().unwrap() > 0);
        assert_eq!(row["model_filename"], "model");
        // The demo model is stored in bf16.
        assert_eq!(
            row["model_size"].as_u64().unwrap(),
            2 * row["model_n_params"].as_u64().unwrap()
        );
        let stage = row["audio_seconds"].as_f64().is_some();
        assert_eq!(stage, row["steps"].is_null(), "{row}");
        if !stage {
            let percent = row["overhead_percent"].as_f64().unwrap();
            assert!((0.0..100.0).contains(&percent), "{row}");
            let lengths = ["n_prompt", "n_gen", "batch"].map(|key| row[key].as_f64().unwrap());
            assert_eq!(tokens, (lengths[0] + lengths[1]) * lengths[2], "{row}");
        }
    }
}

/// The formats have the same rows.
#[test]
fn results_come_in_every_format() {
    let home = Home::furnished();
    for (line, tables) in [(ROWS, 1), (LOAD, 2)] {
        let print = |format: &str| home.passes(&format!("{line} -o {format}")).text();
        let json: Value = serde_json::from_str(&print("json")).unwrap();
        let rows = json.as_array().unwrap();
        let head = keys(&rows[0]);
        assert!(rows.iter().all(|row| keys(row) == head));

        let jsonl = print("jsonl");
        let lines: Vec<Value> = (jsonl.lines().map(serde_json::from_str))
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(names(&Value::Array(lines.clone())), names(&json));
        assert!(lines.iter().all(|line| keys(line) == head));

        let csv = print("csv");
        let (first, others) = csv.split_once('\n').unwrap();
        let scalars = head.iter().filter(|key| !rows[0][**key].is_array());
        let columns = fields(first);
        assert_eq!(columns, scalars.copied().collect::<Vec<_>>());
        assert_eq!(others.lines().count(), rows.len());
        let test = columns.iter().position(|column| *column == "test").unwrap();
        for (line, name) in others.lines().zip(names(&json)) {
            // What describes the device has commas.
            let quoted = line.split('"').nth(1).unwrap();
            assert!(quoted.contains("threads"), "{line}");
            let line = line.replace(&format!("\"{quoted}\""), "");
            let values = fields(&line);
            assert_eq!(values.len(), columns.len(), "{line}");
            assert_eq!(values[test], name);
        }

        let md = print("md");
        let found: Vec<&str> = md.split("\n\n").collect();
        assert_eq!(found.len(), tables);
        for table in found {
            let lines: Vec<&str> = table.lines().collect();
            let bars = lines[0].matches('|').count();
            assert!(lines.iter().all(|line| line.matches('|').count() == bars));
            assert!(lines[0].starts_with("| model "), "{md}");
            assert!(lines[1].starts_with("| -----"), "{md}");
            assert!(names(&json).iter().all(|name| table.contains(name)), "{md}");
        }

        let table = home.passes(line).text();
        for name in names(&json) {
            let named = |line: &str| line.starts_with(&format!("{name}  "));
            assert!(table.lines().any(named), "{name} is not in {table}");
        }
        assert!(
            table.lines().last().unwrap().contains("threads)"),
            "{table}"
        );
    }
}

#[test]
fn a_load_adds_up() {
    let home = Home::furnished();
    for (line, audio) in [
        (LOAD.to_owned(), 0),
        (LOAD.replace("bench", "bench clip.wav"), 50),
        (format!("{LOAD} --seconds 1"), 25),
    ] {
        let report = home.passes(&format!("{line} -o json")).json();
        assert_eq!(names(&report), ["pp10+tg4 @ 50/s", "pp10+tg4 @ inf"]);
        for row in report.as_array().unwrap() {
            let number = |key: &str| row[key].as_f64().unwrap();
            assert_eq!((number("completed"), number("refused")), (12.0, 0.0));
            assert_eq!(number("n_audio"), f64::from(audio));
            assert_eq!(number("total_input_tokens"), 12.0 * f64::from(10 + audio));
            assert_eq!(number("total_output_tokens"), 48.0);
            assert!((1.0..=12.0).contains(&number("max_concurrent_requests")));
            let rate = number("request_throughput") * number("duration");
            assert!((rate - 12.0).abs() < 1e-6, "{row}");
            for latency in ["ttft", "tpot", "itl", "e2el"] {
                let at = |what: &str| number(&format!("{what}_{latency}_ms"));
                assert!(at("mean") > 0.0 && at("p50") <= at("p90") && at("p90") <= at("p99"));
                assert!(at("p99") <= number("duration") * 1e3, "{row}");
            }
            for what in ["mean", "p50", "p90", "p99"] {
                let at = |latency: &str| number(&format!("{what}_{latency}_ms"));
                assert!(at("ttft") <= at("e2el"), "{row}");
            }
            // The mean of the gaps is the mean of the answers' means, since all are as long.
            let difference = number("mean_tpot_ms") - number("mean_itl_ms");
            assert!(difference.abs() < 1e-3, "{row}");
        }
        let all_at_once = &report[1];
        assert_eq!(all_at_once["request_rate"], "inf");
        assert_eq!(all_at_once["max_concurrent_requests"], 12);
    }
}

#[test]
fn more_requests_than_may_wait_are_refused_and_counted() {
    let home = Home::furnished();
    let line = "bench -m model -p 1 -n 1 --rate inf --num-requests 4000 -o json";
    let row = &home.passes(line).json()[0];
    let [completed, refused] = ["completed", "refused"].map(|key| row[key].as_u64().unwrap());
    assert_eq!(completed + refused, 4000);
    assert!(refused > 0, "{row}");
    assert_eq!(row["total_output_tokens"].as_u64(), Some(completed));
}

/// Random weights are the demo model's; its config.json is the one that they are asked for with.
#[test]
fn random_weights_are_measured_and_predictions_need_no_gpu() {
    let home = Home::furnished();
    let line = "bench --random model/config.json -o json --device host --seconds 1 -p 8 -n 1 -r 1 \
        --batch 1,2 -d 0,70";
    let measured = home.passes(line).json();
    let predicted =
        ["h100", "h200"].map(|gpu| home.passes(&format!("{line} --predict {gpu}")).json());
    for predicted in &predicted {
        assert_eq!(names(&measured), names(predicted));
    }
    for row in 0..names(&measured).len() {
        let least = |report: &Value| report[row]["least_ms"].as_f64().unwrap();
        assert!(0.0 < least(&predicted[1]) && least(&predicted[1]) <= least(&predicted[0]));
    }
    let line = "bench -m model --predict h100 --no-stages -p 8 -n 0";
    let table = home.passes(line).text();
    for part in ["pp8", "attention_paged", "An H100 at 790 TFLOP/s"] {
        assert!(table.contains(part), "{table}");
    }
    let csv = home.passes(&format!("{line} -o csv")).text();
    let [head, row] = csv.lines().collect::<Vec<_>>()[..] else {
        panic!("{csv}");
    };
    assert_eq!(fields(head).len(), fields(row).len());
    assert!(fields(row).contains(&"pp8"));
    home.refuses("bench --random nowhere.json", &["nowhere.json"]);
}

#[test]
fn tests_that_do_not_fit_are_refused_before_any_runs() {
    let home = Home::furnished();
    let most = usize::MAX.to_string();
    for (args, name, tokens) in [
        (
            format!("-p 0 -n {most} -d 1"),
            format!("tg{most} @ d1"),
            &*most,
        ),
        (format!("-p {most}"), format!("pp{most}"), &most),
        ("-p 8,40960 -n 0".to_owned(), "pp40960".to_owned(), "40961"),
        (
            format!("-p 9 -n {most} --rate 1"),
            format!("pp9+tg{most} @ 1/s"),
            &most,
        ),
        (
            "-p 40960 -n 1 --rate inf --seconds 1".to_owned(),
            "pp40960+tg1 @ inf".to_owned(),
            "40986",
        ),
    ] {
        home.refuses(
            &format!("bench -m model {args}"),
            &[&name, tokens, "40960 are possible"],
        );
    }
    let line = "bench -m model -p 8,100 --max-model-len 64";
    home.refuses(line, &["pp100", "101 tokens", "64 are possible"]);
    let line = "bench -m model --max-model-len 40961";
    home.refuses(line, &["40961", "40960"]);
    home.refuses(
        &format!("bench -m model --predict h100 -p {most}"),
        &[&most, "40960 are possible"],
    );
}

#[test]
fn values_that_make_no_sense() {
    let home = Home::furnished();
    for (rate, found) in [
        ("0", "0"),
        ("-1", "-1"),
        ("-inf", "-inf"),
        ("nan", "NaN"),
        ("1e-9", "0.000000001"),
        ("2,0", "0"),
    ] {
        home.refuses(
            &format!("bench -m model --rate={rate}"),
            &[
                &format!("rate is {found} requests"),
                "0.001 to 1000000, or inf",
            ],
        );
    }
    for (args, parts) in [
        (
            "--rate 1 --num-requests 0",
            ["number of requests is 0", "1 to 1000000"],
        ),
        (
            "--rate 1 --num-requests 18446744073709551615",
            ["number of requests is 18446744073709551615", "1 to 1000000"],
        ),
        ("--rate 1 -p 0", ["length of prompts is 0", "expected 1"]),
        ("--rate 1 -n 4,0", ["length of answers is 0", "expected 1"]),
        ("none.mp3 --rate 1", ["none.mp3", "No such file"]),
    ] {
        home.refuses(&format!("bench -m model {args}"), &parts);
    }
    for (args, named) in [
        ("-r 4294967295", "--repetitions"),
        ("-r 0", "--repetitions"),
        ("--batch 0", "--batch"),
        ("--batch 1025", "--batch"),
        ("--batch 99999999999999999999", "--batch"),
        ("-p many", "--n-prompt"),
        ("--rate fast", "--rate"),
        ("--num-requests 3", "--rate"),
        ("--rate 1 --num-requests=-3", "--num-requests"),
        ("--rate 1 --batch 2", "--batch"),
        ("--rate 1 --predict h100", "--predict"),
        ("-o xml", "--output"),
        ("clip.wav --seconds 3", "--seconds"),
    ] {
        let run = home.run(&format!("bench -m model {args}"));
        assert_eq!(run.code, Some(2), "{args}: {run:?}");
        let refused = run.stderr.starts_with("error: ") && run.stderr.contains(named);
        assert!(refused, "{args}: {}", run.stderr);
    }
}
