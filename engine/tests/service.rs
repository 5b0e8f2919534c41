//! The example service as its clients meet it: a process of its own, spoken to over sockets.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but not in what they call

use gamut_engine::{
    AudioInput, Completion, Engine, EngineOptions, Model, OpenOptions, Request, SamplingParams,
};
use gamut_loader::synthetic::{self, SyntheticOptions};
use gamut_tests::sounds::{tone, wav};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long something may take before the test fails rather than waits on.
const PATIENCE: Duration = Duration::from_secs(120);
/// More tokens than any test waits for.
const ENDLESS: usize = 11_000;

/// The service at work on a random checkpoint, in a folder that also has a song.
struct Service {
    process: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        // It is there until it is killed, and what kills it can only be this.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The program that cargo builds along with a package's tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let name = format!("service{}", std::env::consts::EXE_SUFFIX);
    let program = profile.join("examples").join(name);
    assert!(
        program.is_file(),
        "{} is not there: `cargo build -p gamut-engine --example service` makes it",
        program.display()
    );
    program
}

impl Service {
    fn start() -> Service {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("model");
        synthetic::write(&checkpoint, &SyntheticOptions::default()).unwrap();
        std::fs::write(folder.path().join("song.wav"), wav(&tone(4.0))).unwrap();
        let mut process = Command::new(program())
            .arg(checkpoint)
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        Service {
            address: address.unwrap_or_default().to_owned(),
            process,
            folder,
        }
    }

    fn song(&self) -> PathBuf {
        self.folder.path().join("song.wav")
    }

    /// Sends a request. Of HTTP/1.0, so that the body comes as it is, up to the connection's end.
    fn send(&self, line: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        stream
    }

    fn ask(&self, question: &str, max_tokens: usize) -> TcpStream {
        let audio = self.song();
        let body = json!({ "audio": audio, "question": question, "max_tokens": max_tokens });
        self.send("POST /ask", &body.to_string())
    }

    /// The status and text of what is refused.
    fn refused(&self, body: &Value) -> (u16, String) {
        let (status, mut body) = response(self.send("POST /ask", &body.to_string()));
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        (status, text)
    }

    fn stats(&self) -> Value {
        let (status, body) = response(self.send("GET /stats", ""));
        assert_eq!(status, 200);
        serde_json::from_reader(body).unwrap()
    }

    /// Waits until no request is there; returns the tokens that were drawn by then.
    fn idle(&self) -> u64 {
        let stats = self.wait_for(|stats| stats["running"] == 0 && stats["waiting"] == 0);
        stats["generated_tokens"].as_u64().unwrap()
    }

    /// Waits for statistics that are as wanted.
    fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let stats = self.stats();
            if wanted(&stats) {
                return stats;
            }
            assert!(start.elapsed() < PATIENCE, "{stats}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the engine says without the service.
    fn directly(&self, question: &str, max_tokens: usize) -> Completion {
        let dir = self.folder.path().join("model");
        let model = Arc::new(Model::open(dir, &OpenOptions::default()).unwrap());
        let engine = Engine::new(model, &EngineOptions::default()).unwrap();
        let request = Request::ask(AudioInput::path(self.song()), question);
        let params = SamplingParams {
            max_tokens,
            ..SamplingParams::default()
        };
        engine
            .submit(request.params(params))
            .unwrap()
            .wait()
            .unwrap()
    }
}

/// The status of a response, with the body that is yet to be read.
fn response(stream: TcpStream) -> (u16, BufReader<TcpStream>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "cut off: {head}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), reader)
}

/// The events of an answer.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(stream: TcpStream) -> Events {
        let (status, body) = response(stream);
        assert_eq!(status, 200);
        Events(body)
    }

    /// The text and the last event.
    fn finish(self) -> (String, Value) {
        let mut text = String::new();
        for (name, data) in self {
            text += data["text"].as_str().unwrap_or_default();
            if name != "token" {
                assert_eq!(name, "end", "{data}");
                return (text, data);
            }
        }
        panic!("no end after `{text}`");
    }
}

impl Iterator for Events {
    type Item = (String, Value);

    fn next(&mut self) -> Option<(String, Value)> {
        let mut field = |name: &str| {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            Some(line.strip_prefix(name)?.trim_end().to_owned())
        };
        let event = (field("event: ")?, field("data: ")?);
        assert_eq!(field(""), Some(String::new()));
        Some((event.0, serde_json::from_str(&event.1).unwrap()))
    }
}

#[test]
fn two_clients_share_a_song() {
    let service = Service::start();
    let first = service.ask("When does the chorus start?", 400);
    let mut first = Events::of(first);
    // The song is heard, and the first answer under way.
    let (name, begin) = first.next().unwrap();
    assert_eq!(name, "token", "{begin}");
    let second = Events::of(service.ask("Which key is it in?", 40));
    let (second, end) = second.finish();
    let usage = &end["usage"];
    assert_eq!(usage["audio_cached"], true, "{end}");
    assert!(usage["cached_tokens"].as_u64().unwrap() >= 64, "{end}");
    let expected = service.directly("Which key is it in?", 40);
    assert_eq!(second, expected.answers[0].text);
    assert_eq!(usage["completion_tokens"], expected.answers[0].tokens.len());

    let (rest, end) = first.finish();
    let usage = &end["usage"];
    assert_eq!(usage["audio_cached"], false, "{end}");
    assert_eq!(usage["audio_seconds"], 4.0);
    let expected = service.directly("When does the chorus start?", 400);
    let text = begin["text"].as_str().unwrap().to_owned() + &rest;
    assert_eq!(text, expected.answers[0].text);
    let finish = serde_json::to_value(expected.answers[0].finish).unwrap();
    assert_eq!(end["finish"], finish);
}

#[test]
fn a_client_that_goes_away_ends_its_request() {
    let service = Service::start();
    let mut events = Events::of(service.ask("?", ENDLESS));
    // The statistics are as of the first token's step, or a later one.
    assert_eq!(events.next().unwrap().0, "token");
    assert_eq!(events.next().unwrap().0, "token");
    assert_eq!(service.stats()["running"], 1);
    drop(events);
    let drawn = service.idle();
    assert!(
        drawn < ENDLESS as u64,
        "{drawn} tokens: it went on to its end"
    );
    // So does one that waits for its first token.
    let waiting = service.ask("!", ENDLESS);
    service.wait_for(|stats| stats["running"] != 0 || stats["waiting"] != 0);
    drop(waiting);
    let drawn = service.idle() - drawn;
    assert!(
        drawn < ENDLESS as u64,
        "{drawn} tokens: it went on to its end"
    );
}

#[test]
fn what_cannot_be_answered_is_a_status() {
    let service = Service::start();
    let status = |body: &str| response(service.send("POST /ask", body)).0;
    assert_eq!(status("{\"audio\": "), 400);
    assert_eq!(status("{}"), 422);
    let song = service.song();
    let (status, text) = service.refused(&json!({ "audio": "/nowhere.mp3", "question": "?" }));
    assert_eq!(status, 400);
    assert!(text.contains("/nowhere.mp3: cannot be read"), "{text}");
    let model = service.folder.path().join("model").join("config.json");
    let (status, text) = service.refused(&json!({ "audio": model, "question": "?" }));
    assert_eq!(status, 400, "{text}");
    let long = "la ".repeat(20_000);
    let (status, text) = service.refused(&json!({ "audio": song, "question": long }));
    assert_eq!(status, 400);
    assert!(text.starts_with("the prompt has "), "{text}");

    // More than can run and wait: nobody's answer ends before the last of them has come.
    let clients: Vec<TcpStream> = (0..64 + 16 + 8)
        .map(|i| service.ask(&format!("{i}?"), ENDLESS))
        .collect();
    let refused = |client: &TcpStream| {
        let mut head = [0; 12];
        client.set_nonblocking(true).unwrap();
        client.peek(&mut head).is_ok() && &head == b"HTTP/1.0 503"
    };
    let start = Instant::now();
    while !clients.iter().any(refused) {
        assert!(start.elapsed() < PATIENCE, "{}", service.stats());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(clients);
    service.idle();
    let (_, end) = Events::of(service.ask("?", 4)).finish();
    assert_eq!(end["usage"]["completion_tokens"], 4);
}
