//! `gamut chat`: several questions, one after the other.

use crate::args::TalkArgs;
use crate::ask::{Printer, times};
use crate::error::Error;
use crate::output;
use crate::setup::{self, Talk};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

pub(crate) fn run(args: &TalkArgs) -> Result<ExitCode, Error> {
    let Talk {
        opened,
        songs,
        mut session,
        params,
    } = setup::talk(args)?;
    let mut questions = std::io::stdin().lock().lines();
    let prompted = std::io::stdin().is_terminal();
    loop {
        if prompted {
            output::write("> ")?;
        }
        let Some(question) = questions.next().transpose().map_err(Error::Input)? else {
            break;
        };
        if question.trim().is_empty() {
            break;
        }
        let start = Instant::now();
        let mut printer = Printer::new(true, params.max_tokens);
        match session.ask(&question, &params, &mut |event| printer.take(event)) {
            Ok(answer) => {
                printer.finish()?;
                output::note(&(times(&opened, &songs, &answer, start) + "\n"));
            }
            // Such as a question that does not fit: the conversation is as it was.
            Err(e) if prompted => {
                drop(printer);
                output::note(&format!("error: {e}\n"));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}
