//! A progress bar on stderr for work that takes over a second.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::borrow::Cow;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// One bar for the stages, one after the other. Nothing where stderr is not a terminal.
pub(crate) struct Progress {
    start: Instant,
    bar: Option<ProgressBar>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress {
            start: Instant::now(),
            bar: None,
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// `done` of `total` steps of what is called `name`.
    pub(crate) fn show(&mut self, name: &'static str, done: usize, total: usize) {
        let style = "{msg:10} [{bar:40}] {pos}/{len} {eta}";
        self.draw(style, name.into(), done as u64, total as u64);
    }

    /// `done` of `total` bytes, of what is called `name` at the moment.
    #[cfg(feature = "pull")]
    pub(crate) fn show_bytes(&mut self, name: &str, done: u64, total: u64) {
        let style =
            "{msg} [{bar:40}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        self.draw(style, name.to_owned().into(), done, total);
    }

    fn draw(&mut self, style: &str, name: Cow<'static, str>, done: u64, total: u64) {
        if !self.terminal || self.start.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            // What was done before the bar was there says nothing about the speed.
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
                .with_position(done);
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        bar.set_message(name);
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar away, for something else to be written.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
