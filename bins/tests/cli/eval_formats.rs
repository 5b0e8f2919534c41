//! `gamut eval` on the files of each benchmark, and on files of none.

use crate::eval::{EVAL, assert_counts, json_of, mean, questions, row};
use crate::support::{Home, tone, wav};
use serde_json::{Value, json};
use std::fs;

/// MuChoMusic's columns.
const CSV: &str = "question,dataset,dataset_identifier,correct_answer,distractor_1_answer,\
    distractor_2_answer,distractor_3_answer,genre,music_knowledge,music_reasoning\n\
    \"Which mode, here?\",sdd,415600.json,Dorian,Ionian,Lydian,Locrian,Jazz,\"['harmony', 'melody']\",\n\
    What for?,musiccaps,a_b-c_0.json,Dance,Sleep,Film,War,,,\"['functional context']\"\n";

#[test]
fn muchomusic_from_csv_to_json_and_back() {
    let home = Home::furnished();
    home.write("muchomusic.csv", CSV.as_bytes());
    fs::create_dir_all(home.path("sdd/audio/00")).unwrap();
    fs::create_dir_all(home.path("musiccaps/audio")).unwrap();
    home.write("sdd/audio/00/415600.2min.mp3", &wav(&tone(1.0)));
    home.write("musiccaps/audio/[a_b-c]-[30-40].wav", &wav(&tone(0.5)));
    let eval = "eval muchomusic.csv -m model -n 4";
    assert_counts(&home.run(eval), 2, 0, 0);
    let report = json_of(&home, "muchomusic.eval/report.json");
    assert_eq!(report["settings"]["format"], "muchomusic");
    for (name, n) in [
        ("knowledge", 1),
        ("knowledge: harmony", 1),
        ("knowledge: melody", 1),
        ("reasoning", 1),
        ("reasoning: functional context", 1),
        ("genre: Jazz", 1),
    ] {
        assert_eq!(row(&report, name)["n"], n);
    }
    // What `evaluate.py` reads.
    let filled = json_of(&home, "muchomusic.eval/muchomusic.json");
    for (question, right) in [(&filled[0], "Dorian"), (&filled[1], "Dance")] {
        let order: Vec<u64> = serde_json::from_value(question["answer_orders"].clone()).unwrap();
        let at = order.iter().position(|place| *place == 0).unwrap();
        assert_eq!(question["answers"][at], right);
        assert!(question["model_output"].is_string());
        let prompt = question["prompt"].as_str().unwrap();
        let options = question["answers"]
            .as_array()
            .unwrap()
            .iter()
            .zip(["(A)", "(B)", "(C)", "(D)"]);
        let options: String = options
            .map(|(text, letter)| format!("{letter} {} ", text.as_str().unwrap()))
            .collect();
        assert!(
            prompt.starts_with("Question: What rhythm pattern"),
            "{prompt}"
        );
        assert!(prompt.ends_with(&format!("\n Options: {options}\n The correct answer is: ")));
    }
    assert_eq!(filled[0]["id"], 415600);
    assert_eq!(filled[0]["audio_path"], "data/sdd/audio/00/415600.2min.mp3");
    assert_eq!(filled[1]["id"], "a_b-c");
    assert_eq!(filled[1]["knowledge"], json!([]));
    // Its own answers, by the letter of the right one, and by the letter within a word.
    home.edit_json("muchomusic.eval/muchomusic.json", |filled| {
        let order = filled[0]["answer_orders"].as_array().unwrap();
        let at = order.iter().position(|place| *place == 0).unwrap();
        filled[0]["model_output"] = format!("({})", ["A", "B", "C", "D"][at]).into();
        filled[1]["model_output"] = "dance".into();
    });
    home.passes("eval muchomusic.eval/muchomusic.json --rescore -o again");
    let again = json_of(&home, "again/report.json");
    assert_eq!(
        (
            mean(&again["all"], "official"),
            mean(&again["all"], "strict")
        ),
        (1.0, 0.5)
    );
    assert_eq!(again["all"]["format_errors"], 1);
    // A JSON of the script is asked as it is.
    home.write("data.json", &home.read("muchomusic.eval/muchomusic.json"));
    assert_counts(&home.run("eval data.json -m model -n 4"), 2, 0, 0);
    // The likeliest letter is the output.
    home.passes("eval data.json -m model --by likelihood -o likely");
    for question in json_of(&home, "likely/data.json").as_array().unwrap() {
        assert!(
            ["A", "B", "C", "D"]
                .map(Value::from)
                .contains(&question["model_output"])
        );
    }
}

#[test]
fn the_music_part_of_mmau() {
    let home = Home::furnished();
    let question = |id: &str, task: &str| {
        json!({
            "id": id, "audio_id": "./clip.wav", "question": "Which key?",
            "choices": ["A minor", "C major", "D"], "answer": "C major", "task": task,
            "split": "test-mini", "category": "Reasoning", "sub-category": "Key", "difficulty": "hard",
        })
    };
    let bench = json!([
        question("1", "sound"),
        question("2", "music"),
        question("3", "music")
    ]);
    home.write("bench.json", bench.to_string().as_bytes());
    let run = home.run(EVAL);
    assert_counts(&run, 2, 0, 0);
    assert!(
        run.text().contains("left out as not about music"),
        "{}",
        run.text()
    );
    let filled = json_of(&home, "out/bench.json");
    assert_eq!(filled.as_array().unwrap().len(), 2);
    assert_eq!(filled[0]["model_output"], filled[0]["model_prediction"]);
    home.edit_json("out/bench.json", |filled| {
        filled[0]["model_output"] = "It is C major.".into();
        let second = filled[1].as_object_mut().unwrap();
        second.remove("model_output");
        second.insert("model_prediction".to_owned(), "(B) C major".into());
    });
    home.passes("eval out/bench.json --rescore -o again");
    let again = json_of(&home, "again/report.json");
    assert_eq!(
        (
            mean(&again["all"], "official"),
            mean(&again["all"], "strict")
        ),
        (1.0, 0.5)
    );
    assert_eq!(row(&again, "sub-category: Key")["n"], 2);
    home.write(
        "bench.json",
        json!([question("1", "sound")]).to_string().as_bytes(),
    );
    home.refuses(EVAL, &["bench.json: none of its questions is about music"]);
}

#[test]
fn structure_is_scored_as_mir_eval_does() {
    let home = Home::furnished();
    for folder in ["refs", "songs"] {
        fs::create_dir(home.path(folder)).unwrap();
    }
    home.write("refs/a.live.txt", b"0 intro\n1 verse\n2 chorus\n10 end\n");
    home.write("refs/b.txt", b"0 verse\n5 end\n");
    home.write("songs/a.live.wav", &wav(&tone(1.0)));
    let run = home.run("eval refs -m model -n 8 --audio songs");
    // The demo model's words are no sections.
    assert_counts(&run, 1, 0, 0);
    let report = json_of(&home, "refs.eval/report.json");
    assert_eq!(
        (&report["all"]["n"], &report["missing_songs"]),
        (&json!(1), &json!(["b"]))
    );
    assert_eq!(
        (&report["all"]["unanswered"], mean(&report["all"], "HR3F")),
        (&json!(1), 0.0)
    );
    let written = |name: &str| home.read(&format!("refs.eval/structure/{name}"));
    assert_eq!(written("ann/a.live.txt"), home.read("refs/a.live.txt"));
    assert_eq!(written("est/a.live.txt"), b"");
    assert!(!home.path("refs.eval/structure/ann/b.txt").exists());
    // By mir_eval 0.8.2: 0.75 of these within 0.5 s, all within 3 s.
    home.write(
        "refs.eval/structure/est/a.live.txt",
        b"0.4 intro\n0.6 verse\n1.4 chorus\n10.5 end\n",
    );
    home.passes("eval refs.eval/structure --rescore -o again");
    let again = json_of(&home, "again/report.json");
    for (metric, expected) in [
        ("HR.5F", 0.75),
        ("HR.5P", 0.75),
        ("HR.5R", 0.75),
        ("HR3F", 1.0),
    ] {
        assert!(
            (mean(&again["all"], metric) - expected).abs() < 1e-12,
            "{again}"
        );
    }
    assert_eq!(again["all"]["format_errors"], 0);
    home.refuses(
        "eval refs -m model --by likelihood",
        &["refs: structure has no options"],
    );
    home.write("refs/b.txt", b"0 verse\n5 chorus\n");
    home.refuses(
        "eval refs -m model",
        &["refs/b.txt: no end", "expected a last line"],
    );
    home.refuses("eval songs -m model", &["songs: no files NAME.txt"]);
}

#[test]
fn benchmarks_that_are_none() {
    let home = Home::furnished();
    let refuses = |text: &str, parts: &[&str]| {
        home.write("bench.json", text.as_bytes());
        home.refuses(EVAL, &[&["bench.json: "], parts].concat());
        assert!(!home.path("out").exists());
    };
    refuses("", &["columns", "expected MuChoMusic's", "question"]);
    refuses("[]", &["no questions, expected at least one"]);
    refuses("[{\"question\": ", &["no JSON"]);
    refuses("[7]", &["question 1 is 7", "expected answer_orders"]);
    refuses(
        "{\"a\": 1}\n",
        &["line 1 is {\"a\":1}", "options (MusicBench)"],
    );
    refuses("\n{\"options\": []}\n{\n", &["line 3: no JSON at column"]);
    refuses(
        &CSV.replace("distractor_2_answer", "other"),
        &["columns", "distractor_2_answer"],
    );
    refuses(
        &CSV.replace("'melody'", "melody"),
        &["line 2: music_knowledge is", "a list such as"],
    );
    refuses(
        &CSV.replace("sdd", "fma"),
        &["line 2: dataset is \"fma\"", "sdd or musiccaps"],
    );
    refuses(
        &CSV.replace("415600", "x"),
        &["line 2: dataset_identifier is \"x.json\""],
    );
    let with = |key: &str, value: Value| {
        let mut questions = questions(2);
        questions[1][key] = value;
        json!(questions).to_string()
    };
    refuses(
        &with("answer", json!("E")),
        &["question 2.answer is \"E\"", "A to D or the text"],
    );
    refuses(
        &with("answer", Value::Null),
        &["question 2.answer is missing"],
    );
    refuses(
        &with("options", json!(["A"])),
        &["question 2.answer is", "A to A"],
    );
    refuses(
        &with("options", json!("A")),
        &["question 2.options is \"A\"", "a list of strings"],
    );
    refuses(
        &with("split", json!("both")),
        &["question 2.split is \"both\"", "\"global\""],
    );
    refuses(
        &with("audio", json!(7)),
        &["question 2.audio is 7, expected a string"],
    );
    let many: Vec<String> = (0..27).map(|i| i.to_string()).collect();
    let mut questions = questions(1);
    questions[0]["options"] = json!(many);
    questions[0]["answer"] = "3".into();
    refuses(
        &json!(questions).to_string(),
        &["question 1.options: 27 options, expected 2 to 26"],
    );
    let orders = json!([{ "prompt": "Why?", "answers": ["a", "b"], "answer_orders": [1, 2] }]);
    refuses(
        &orders.to_string(),
        &["question 1.answer_orders is [1,2]", "one 0 among 2"],
    );
    home.refuses("eval none.json -m model", &["cannot read none.json"]);
    home.refuses("eval model -m model", &["model: no files NAME.txt"]);
    home.refuses(
        "eval model -m model --format mmau",
        &["model: a folder holds files of structure"],
    );
    home.refuses(
        "eval bench.json --format structure -m model",
        &["bench.json: line 1 is"],
    );
    home.refuses(
        "eval bench.json --rescore",
        &["bench.json: ", "answer_orders"],
    );
}
