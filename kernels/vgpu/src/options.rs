//! How launches are run.

use std::str::FromStr;

/// How a device runs its launches.
///
/// As text, words apart: `checks=on` or `checks=off`, and `schedule=forward`, `schedule=reversed` or
/// `schedule=random:SEED`. What is not named keeps its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether accesses are checked for races, for copies that were not waited for and for bytes
    /// that nobody wrote.
    pub checks: bool,
    /// The order in which blocks and warps run.
    pub schedule: Schedule,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            checks: true,
            schedule: Schedule::Forward,
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
    "option `{0}` of the virtual GPU is unknown: `checks=on|off` or \
     `schedule=forward|reversed|random:SEED` is wanted"
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
        let both = Options {
            checks: false,
            schedule: Schedule::Random(7),
        };
        assert_eq!(" schedule=random:7  checks=off".parse(), Ok(both));
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
            "speed=high",
        ] {
            let text = format!("checks=on {word}");
            let error = text.parse::<Options>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{word}`")), "{error}");
        }
    }
}
