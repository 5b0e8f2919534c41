//! A Hugging Face hub of one model, and the other host that keeps its large files.
//!
//! It speaks as much of the protocol as a download takes, notes what it is asked, and fails on
//! request.

use serde_json::json;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The model.
pub const MODEL: &str = "org/name";
/// The commit that `main` and `refs/pr/1` are at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// How a request fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these headers and no body.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Drop(usize),
    /// The body ends after so many bytes, as if it were all.
    Short(usize),
    /// The body has a byte more than the file.
    Long,
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// No length, and the connection ends after so many bytes of the body.
    NoLength(usize),
    /// Another byte in the middle.
    WrongByte,
    /// Another header in the place of the one of this name, or none.
    Header(&'static str, &'static str),
    /// This body.
    Body(&'static str),
    /// Nothing after so many bytes of the body, on an open connection.
    Stall(usize),
    /// No answer, on an open connection.
    Silence,
    /// The answer comes later.
    Late(Duration),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The address without the host.
    pub path: String,
    /// The range asked for.
    pub range: Option<String>,
    /// The token that came along.
    pub authorization: Option<String>,
    /// Bytes of a body that were sent, unless the client went away.
    pub sent: usize,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    token: Option<String>,
    /// Part of `METHOD PATH`, fault, and how often.
    faults: Vec<(String, Fault, usize)>,
    seen: Vec<Seen>,
    /// The other host.
    elsewhere: String,
}

/// The hub, until it is dropped.
pub struct Hub {
    state: Arc<Mutex<State>>,
    over: Arc<AtomicBool>,
    /// Host and port of the hub and of the other host.
    addresses: [String; 2],
}

impl Hub {
    /// A hub whose model has these files.
    ///
    /// # Panics
    /// If there is no port to listen on.
    pub fn new<N: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (N, B)>) -> Hub {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (hub, elsewhere) = (listen(), listen());
        let addresses = [&hub, &elsewhere].map(|l| l.local_addr().expect("an address").to_string());
        let files = files
            .into_iter()
            .map(|(name, bytes)| (name.into(), bytes.into()));
        let state = Arc::new(Mutex::new(State {
            files: files.collect(),
            elsewhere: format!("http://{}", addresses[1]),
            ..State::default()
        }));
        let over = Arc::new(AtomicBool::new(false));
        for listener in [hub, elsewhere] {
            let (state, over) = (state.clone(), over.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let state = state.clone();
                    // A client that goes away is part of the tests.
                    thread::spawn(move || serve(&state, &stream));
                }
            });
        }
        Hub {
            state,
            over,
            addresses,
        }
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addresses[0])
    }

    /// From now on only this token is let in.
    pub fn require_token(&self, token: &str) {
        lock(&self.state).token = Some(token.to_owned());
    }

    /// Changes a file, or adds one.
    pub fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.state)
            .files
            .insert(name.to_owned(), bytes.into());
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) {
        lock(&self.state).files.remove(name);
    }

    /// The next requests that have `part` in `METHOD PATH` fail, so many of them.
    pub fn fail(&self, part: &str, fault: Fault, times: usize) {
        lock(&self.state)
            .faults
            .push((part.to_owned(), fault, times));
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state).seen)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for address in &self.addresses {
            let _ = TcpStream::connect(address);
        }
    }
}

/// The name of a file's blob: its sha256 if it is large, else the id of its git blob.
pub fn blob_name(name: &str, bytes: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
    match is_large(name) {
        true => hex(&Sha256::digest(bytes)),
        false => {
            let mut hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
            hash.update(bytes);
            hex(&hash.finalize())
        }
    }
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    fn error(status: u16, code: &'static str) -> Answer {
        Answer::new(status).with("X-Error-Code", code)
    }

    /// A file, or the part of it that was asked for.
    fn file(bytes: Vec<u8>, range: Option<&str>) -> Answer {
        let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match from {
            Some(from) if from < bytes.len() => {
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                let mut answer = Answer::new(206).with("Content-Range", range);
                answer.body = bytes[from..].to_vec();
                answer
            }
            Some(_) => Answer::new(416),
            None => {
                let mut answer = Answer::new(200);
                answer.body = bytes;
                answer
            }
        }
    }
}

fn serve(state: &Mutex<State>, stream: &TcpStream) -> io::Result<()> {
    let mut seen = read_request(stream)?;
    let what = format!("{} {}", seen.method, seen.path);
    let fault = take_fault(&mut lock(state), &what);
    if let Some(Fault::IgnoreRange) = fault {
        seen.range = None;
    }
    let mut answer = answer(&lock(state), &seen);
    match &fault {
        Some(Fault::Silence) => {
            lock(state).seen.push(seen);
            return wait_for_end(stream);
        }
        Some(Fault::Late(time)) => thread::sleep(*time),
        Some(Fault::Status(status, headers)) => {
            answer = Answer::new(*status);
            if let Some((name, value)) = headers.split_once(": ") {
                answer = answer.with(name, value);
            }
        }
        Some(Fault::Header(name, value)) => {
            answer.headers.retain(|(n, _)| n != name);
            if !value.is_empty() {
                answer = answer.with(name, *value);
            }
        }
        Some(Fault::Body(text)) => answer.body = text.as_bytes().to_vec(),
        Some(Fault::Long) => answer.body.push(0),
        Some(Fault::WrongByte) => {
            let middle = answer.body.len() / 2;
            answer.body[middle] ^= 1;
        }
        Some(Fault::Short(length)) => answer.body.truncate(*length),
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} -\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let told = answer
        .headers
        .iter()
        .any(|(name, _)| *name == "Content-Length");
    if !told && !matches!(fault, Some(Fault::NoLength(_))) {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    let body = match (&fault, seen.method.as_str()) {
        (_, "HEAD") => &[],
        (Some(Fault::Drop(length) | Fault::Stall(length) | Fault::NoLength(length)), _) => {
            &answer.body[..*length]
        }
        _ => &answer.body[..],
    };
    seen.sent = body.len();
    lock(state).seen.push(seen);
    let mut out = stream;
    out.write_all(format!("{head}\r\n").as_bytes())?;
    out.write_all(body)?;
    match fault {
        Some(Fault::Stall(_)) => wait_for_end(stream),
        _ => stream.shutdown(Shutdown::Write),
    }
}

fn wait_for_end(mut stream: &TcpStream) -> io::Result<()> {
    stream.read(&mut [0]).map(|_| ())
}

fn read_request(stream: &TcpStream) -> io::Result<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let mut next = || lines.next().unwrap_or_else(|| Ok(String::new()));
    let first = next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut seen = Seen {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        range: None,
        authorization: None,
        sent: 0,
    };
    loop {
        let line = next()?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                seen.range = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                seen.authorization = Some(value.to_owned());
            }
            Some(_) => {}
            None => return Ok(seen),
        }
    }
}

fn take_fault(state: &mut State, what: &str) -> Option<Fault> {
    let mut faults = state.faults.iter_mut();
    let (_, fault, times) = faults.find(|(part, _, times)| *times > 0 && what.contains(part))?;
    *times -= 1;
    Some(fault.clone())
}

fn answer(state: &State, seen: &Seen) -> Answer {
    let path = seen.path.as_str();
    if let Some(rest) = path.strip_prefix("/large/") {
        let name = rest.split('?').next().unwrap_or_default();
        let file = state.files.get(name).cloned();
        return file.map_or(Answer::new(404), |file| {
            Answer::file(file, seen.range.as_deref())
        });
    }
    let asked = path
        .strip_prefix(&format!("/api/models/{MODEL}/revision/"))
        .map(|revision| (revision, None));
    let asked = asked.or_else(|| {
        let rest = path.strip_prefix(&format!("/{MODEL}/resolve/"))?;
        let (revision, name) = rest.split_once('/')?;
        Some((revision, Some(name)))
    });
    let Some((revision, name)) = asked else {
        // The hub's way of not telling whether there is one.
        let status = if seen.authorization.is_some() {
            404
        } else {
            401
        };
        return Answer::error(status, "RepoNotFound");
    };
    if let Some(token) = &state.token
        && seen.authorization.as_deref() != Some(&format!("Bearer {token}"))
    {
        return Answer::error(401, "GatedRepo");
    }
    if ![COMMIT, "main", "refs%2Fpr%2F1"].contains(&revision) {
        return Answer::error(404, "RevisionNotFound");
    }
    let Some(name) = name else {
        let names = state.files.keys().map(|name| json!({"rfilename": name}));
        let mut answer = Answer::new(200).with("Content-Type", "application/json");
        answer.body = json!({"id": MODEL, "sha": COMMIT, "siblings": names.collect::<Vec<_>>()})
            .to_string()
            .into_bytes();
        return answer;
    };
    let Some(file) = state.files.get(name) else {
        return Answer::error(404, "EntryNotFound");
    };
    let etag = format!("\"{}\"", blob_name(name, file));
    match is_large(name) {
        false => Answer::file(file.clone(), seen.range.as_deref()).with("ETag", etag),
        true => Answer::new(302)
            .with(
                "Location",
                format!("{}/large/{name}?signature=secret", state.elsewhere),
            )
            .with("X-Linked-Etag", etag)
            .with("X-Linked-Size", file.len().to_string()),
    }
    .with("X-Repo-Commit", COMMIT)
}
