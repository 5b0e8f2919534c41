//! `gamut pull`, from a hub on this machine.

use crate::support::{Home, Run, assert_refused};
use gamut_tests::hub::{COMMIT, Fault, Hub};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// The demo model, of three shards, on a hub.
struct Furnished {
    home: Home,
    hub: Hub,
}

impl Furnished {
    fn new() -> Furnished {
        let home = Home::new();
        home.passes("demo-model model --shards 3");
        let entries = fs::read_dir(home.path("model")).unwrap();
        let files = entries.map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        });
        let hub = Hub::new(files);
        Furnished { home, hub }
    }

    /// The command, which finds nothing of the one who runs the test.
    fn command(&self, line: &str) -> Command {
        let mut command = self.home.command(line);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let ours = name.starts_with("HF_") || name.starts_with("HUGGING");
            if ours || name.to_lowercase().ends_with("_proxy") || name == "TRANSFORMERS_OFFLINE" {
                command.env_remove(&*name);
            }
        }
        command.env("HF_ENDPOINT", self.hub.endpoint());
        command
    }

    fn run(&self, line: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(line);
        command.envs(variables.iter().copied());
        Run::of(command.output().unwrap())
    }

    /// Pulls, and gives the path that is printed.
    #[track_caller]
    fn pull(&self, line: &str, variables: &[(&str, &str)]) -> PathBuf {
        let run = self.run(line, variables);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.stderr, "");
        let text = run.text();
        let path = text.strip_suffix('\n').unwrap();
        assert!(!path.contains('\n'), "{path}");
        path.into()
    }

    #[track_caller]
    fn refuses(&self, line: &str, variables: &[(&str, &str)], parts: &[&str]) {
        let run = self.run(line, variables);
        assert_refused(&run, parts);
        assert!(run.stdout.is_empty());
    }
}

#[test]
fn the_path_that_pull_prints_is_a_model_to_ask() {
    let f = Furnished::new();
    let dir = f.pull("pull org/name", &[]);
    let cache = "cache/huggingface/hub/models--org--name/snapshots";
    assert_eq!(dir, f.home.path(cache).join(COMMIT));
    let dir = dir.to_str().unwrap();
    let ask = |model: &str| {
        f.home
            .passes(&format!("ask -p When? -n 4 -m {model}"))
            .stdout
    };
    assert_eq!(ask(dir), ask("model"));
}

#[test]
fn pull_goes_by_the_environment() {
    let f = Furnished::new();
    let path = |name: &str| f.home.path(name).to_str().unwrap().to_owned();
    let (home, cache) = (path("hf"), path("c"));
    f.hub.require_token("hf_good");
    f.refuses(
        "pull org/name",
        &[],
        &["401", "without a token", "HF_TOKEN"],
    );
    f.refuses(
        "pull org/name",
        &[("HF_TOKEN", "hf_bad")],
        &["401", "with this token"],
    );
    let dir = f.pull(
        "pull org/name",
        &[("HF_TOKEN", "hf_good"), ("HF_HOME", &home)],
    );
    assert!(dir.starts_with(&home), "{}", dir.display());
    fs::write(f.home.path("hf/token"), "hf_good\n").unwrap();
    let dir = f.pull(
        "pull org/name",
        &[("HF_HOME", &home), ("HF_HUB_CACHE", &cache)],
    );
    assert!(dir.starts_with(&cache), "{}", dir.display());

    f.hub.seen();
    let here = [("HF_HOME", home.as_str())];
    let offline = [("HF_HOME", home.as_str()), ("HF_HUB_OFFLINE", "1")];
    assert_eq!(
        f.pull("pull org/name", &offline),
        f.pull("pull org/name --offline", &here)
    );
    f.refuses(
        "pull org/other",
        &offline,
        &["org/other@main", "not in the cache", &home],
    );
    f.refuses(
        "pull org/name --revision v2 --offline",
        &here,
        &["org/name@v2", "not in the cache"],
    );
    assert!(f.hub.seen().is_empty());
    f.refuses(
        "pull org/name",
        &[("HF_ENDPOINT", "hub")],
        &["HF_ENDPOINT", "\"hub\""],
    );
}

#[test]
fn pull_says_in_a_line_what_failed() {
    let f = Furnished::new();
    f.refuses("pull name", &[], &["\"name\"", "expected ORG/NAME"]);
    f.refuses("pull ../../etc/passwd", &[], &["expected ORG/NAME"]);
    f.refuses(
        "pull org/name --revision ../x",
        &[],
        &["\"../x\" is not a revision"],
    );
    f.refuses(
        "pull org/name --revision v2",
        &[],
        &["org/name@v2", "no such revision"],
    );
    let token = [("HF_TOKEN", "hf_x")];
    f.refuses(
        "pull org/other",
        &token,
        &["org/other@main", "no such model"],
    );
    let shard = "model-00002-of-00003.safetensors";
    f.hub
        .fail(&format!("GET /large/{shard}"), Fault::WrongByte, 1);
    f.refuses("pull org/name", &[], &[shard, "sha256", "expected"]);
    f.hub.fail("GET /api/", Fault::Silence, 100);
    let hurry = [("HF_HUB_DOWNLOAD_TIMEOUT", "1")];
    f.refuses(
        "pull org/name",
        &hurry,
        &["/api/models/org/name", "timeout"],
    );
}

/// Both a process that is killed and the one that waits for it.
#[test]
fn a_pull_that_is_killed_is_taken_over() {
    let f = Furnished::new();
    let shard = "model-00002-of-00003.safetensors";
    let size = f.home.read(&format!("model/{shard}")).len();
    f.hub
        .fail(&format!("GET /large/{shard}"), Fault::Stall(size / 2), 1);
    let start = || {
        let mut command = f.command("pull org/name");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut killed = start();
    let blobs = f.home.path("cache/huggingface/hub/models--org--name/blobs");
    let half_is_there = || {
        let entries = fs::read_dir(&blobs).into_iter().flatten().flatten();
        let mut parts = entries.filter(|e| e.path().extension().is_some());
        parts.any(|part| part.metadata().is_ok_and(|m| m.len() == size as u64 / 2))
    };
    while !half_is_there() {
        assert!(killed.try_wait().unwrap().is_none(), "it does not wait");
        thread::sleep(Duration::from_millis(20));
    }
    let waits = start();
    thread::sleep(Duration::from_millis(500));
    f.hub.seen();
    killed.kill().unwrap();
    killed.wait().unwrap();

    let run = Run::of(waits.wait_with_output().unwrap());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr
            .contains(&format!("Another process downloads {shard}")),
        "{}",
        run.stderr
    );
    let seen = f.hub.seen();
    let range = format!("bytes={}-", size / 2);
    let mut large = seen.iter().filter(|s| s.path.starts_with("/large/"));
    let resumed = large.find(|s| s.range.as_deref() == Some(&range)).unwrap();
    assert_eq!(resumed.sent, size - size / 2);
    let dir = PathBuf::from(run.text().trim_end());
    assert_eq!(
        fs::read(dir.join(shard)).unwrap(),
        f.home.read(&format!("model/{shard}"))
    );
    assert_eq!(f.pull("pull org/name", &[]), dir);
}
