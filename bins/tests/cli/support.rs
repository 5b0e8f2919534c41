//! A directory of its own for each test, and the command run inside it.

pub(crate) use gamut_tests::sounds::{tone, wav};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::{fs, io::Write};
use tempfile::TempDir;

/// What a run of the command left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Run {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Run {
            code: output.status.code(),
            stdout: output.stdout,
            stderr,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }
}

/// The directory that the command runs in; the bundled model's cache is in it too.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With two seconds of a tone in `clip.wav` and the demo model in `model`.
    pub(crate) fn furnished() -> Home {
        let home = Home::new();
        home.write("clip.wav", &wav(&tone(2.0)));
        home.passes("demo-model model");
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The command with the words of `line` as its arguments.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gamut"));
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path());
        command
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_with(line, b"")
    }

    /// Runs with `input` on standard input.
    pub(crate) fn run_with(&self, line: &str, input: &[u8]) -> Run {
        let mut command = self.command(line);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that fails early does not read its input.
        let _ = child.stdin.take().unwrap().write_all(input);
        Run::of(child.wait_with_output().unwrap())
    }

    /// Runs what must succeed.
    #[track_caller]
    pub(crate) fn passes(&self, line: &str) -> Run {
        let run = self.run(line);
        assert_eq!(run.code, Some(0), "gamut {line}: {}", run.stderr);
        run
    }

    /// Runs what must be refused: exit code 2 and one line that holds all of `parts`.
    #[track_caller]
    pub(crate) fn refuses(&self, line: &str, parts: &[&str]) {
        assert_refused(&self.run(line), parts);
    }

    /// Changes a JSON file.
    pub(crate) fn edit_json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.read(name)).unwrap();
        edit(&mut value);
        self.write(name, value.to_string().as_bytes());
    }

    /// Changes the header of a safetensors file, whose data stay as they are.
    pub(crate) fn edit_header(&self, name: &str, edit: impl FnOnce(&mut Map<String, Value>)) {
        let bytes = self.read(name);
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let mut header = serde_json::from_slice(header).unwrap();
        edit(&mut header);
        let header = serde_json::to_vec(&header).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        self.write(name, &[&length, &header[..], data].concat());
    }
}

/// The names in a JSON object.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

/// Asserts exit code 2, and on stderr one line that begins with `error:` and holds all of `parts`.
#[track_caller]
pub(crate) fn assert_refused(run: &Run, parts: &[&str]) {
    assert_eq!(run.code, Some(2), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "`{part}` is not in `{}`",
            run.stderr.trim_end()
        );
    }
}
