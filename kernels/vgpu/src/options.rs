//! How launches are run.

use std::num::NonZero;
use std::str::FromStr;

/// How a device runs its launches.
///
/// As text, words apart: `checks=on` or `checks=off`, and `schedule=forward`, `schedule=reversed` or
/// `schedule=random:SEED`, `steps=N` and `refuse=N`. What is not named keeps its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether accesses are checked for races, for copies that were not waited for and for bytes
    /// that nobody wrote.
    pub checks: bool,
    /// The order in which blocks and warps run.
    pub schedule: Schedule,
    /// Warp instructions that a block may run before the launch is given up, where that is fewer than
    /// the device's own limit.
    pub steps: Option<u64>,
    /// The call of the driver API that finds no memory, counted from 1 since the options were set, of
    /// those that take the device's memory or pinned memory: allocations, and loading modules and
    /// instantiating graphs. For tests of what a program does then.
    pub refuse: Option<NonZero<u64>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            checks: true,
            schedule: Schedule::Forward,
            steps: None,
            refuse: None,
        }
    }
}

/// The order in which the blocks of a grid and the warps of a block run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// From the first to the last, blocks in parallel.
    Forward,
    /// From the last to the first, blocks in parallel.
    Reversed,
    /// A few blocks at once on one thread of the host, changing between their warps after a few
    /// instructions. A seed always gives the same run.
    Random(u64),
}

/// An option that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "option `{0}` of the virtual GPU is unknown: `checks=on|off`, \
     `schedule=forward|reversed|random:SEED`, `steps=N` or `refuse=N` is wanted"
)]
pub struct UnknownOption(String);

impl FromStr for Options {
    type Err = UnknownOption;

    fn from_str(text: &str) -> Result<Options, UnknownOption> {
        let mut options = Options::default();
        for word in text.split_ascii_whitespace() {
            let unknown = || UnknownOption(word.to_owned());
            match word.split_once('=').ok_or_else(unknown)? {
                ("checks", "on") => options.checks = true,
                ("checks", "off") => options.checks = false,
                ("schedule", "forward") => options.schedule = Schedule::Forward,
                ("schedule", "reversed") => options.schedule = Schedule::Reversed,
                ("schedule", other) => {
                    let seed = other.strip_prefix("random:").and_then(|s| s.parse().ok());
                    options.schedule = Schedule::Random(seed.ok_or_else(unknown)?);
                }
                ("steps", most) => options.steps = Some(most.parse().map_err(|_| unknown())?),
                ("refuse", which) => options.refuse = Some(which.parse().map_err(|_| unknown())?),
                _ => return Err(unknown()),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_set_options() {
        assert_eq!("".parse(), Ok(Options::default()));
        let all = Options {
            checks: false,
            schedule: Schedule::Random(7),
            steps: Some(1000),
            refuse: NonZero::new(3),
        };
        let words = " schedule=random:7  checks=off steps=1000 refuse=3";
        assert_eq!(words.parse(), Ok(all));
        let back: Options = "schedule=reversed checks=on".parse().unwrap();
        assert_eq!((back.checks, back.schedule), (true, Schedule::Reversed));
    }

    #[test]
    fn unknown_words_are_named() {
        for word in [
            "checks",
            "checks=maybe",
            "schedule=random",
            "schedule=random:-1",
            "steps=few",
            "refuse=0",
            "speed=high",
        ] {
            let text = format!("checks=on {word}");
            let error = text.parse::<Options>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{word}`")), "{error}");
        }
    }
}
