//! Sections in processes of their own: a fault or a hang in one leaves the others alone.

use crate::error::{Error, Result};
use std::env;
use std::path::Path;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// This program again, with other arguments.
///
/// # Errors
/// If the system does not say where it is.
pub fn this_program() -> Result<Command> {
    let path = env::current_exe().map_err(|e| Error::io(Path::new("this program"), e))?;
    Ok(Command::new(path))
}

/// "ok", or how the process ended; it is stopped at the limit.
///
/// # Errors
/// If the system cannot look after it.
pub fn wait(mut child: Child, limit: Duration) -> Result<String> {
    let start = Instant::now();
    let failed = |e| Error::io(Path::new("a section's process"), e);
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            let good = status.success();
            return Ok(if good {
                "ok".into()
            } else {
                status.to_string()
            });
        }
        if start.elapsed() > limit {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Ok(format!("stopped after {} s", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
