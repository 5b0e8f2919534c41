//! A directory of its own for each test, and the command run inside it.

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

/// The directory that the command runs in; the demo model's cache is in it too.
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

/// A tone at 16 kHz that rises slowly.
pub(crate) fn tone(seconds: f64) -> Vec<f32> {
    let time = |i: usize| i as f64 / 16_000.0;
    let phase = |t: f64| std::f64::consts::TAU * (220.0 + 3.0 * t) * t;
    (0..(seconds * 16_000.0) as usize)
        .map(|i| 0.5 * phase(time(i)).sin() as f32)
        .collect()
}

/// A mono 16 kHz wav file of 32-bit floats.
pub(crate) fn wav(samples: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
    let size = data.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + size).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0"); // 16 bytes: float, mono
    file.extend(16_000u32.to_le_bytes());
    file.extend(64_000u32.to_le_bytes()); // bytes a second
    file.extend(b"\x04\0\x20\0data"); // bytes a frame, bits a sample
    file.extend(size.to_le_bytes());
    file.extend(data);
    file
}
