//! `gamut chat`: several questions about one song.

use crate::args::ChatArgs;
use crate::ask::{Printer, times};
use crate::error::Error;
use crate::output;
use crate::setup;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

pub(crate) fn run(args: &ChatArgs) -> Result<ExitCode, Error> {
    let opened = setup::open(args.model.as_deref(), &args.engine)?;
    let engine = &opened.engine;
    let params = setup::sampling(engine, &args.sampling);
    params.check(engine.model().config().text.vocab_size)?;
    let heard = setup::hear(engine, &args.audio)?;
    let mut session = engine.session(&heard.song);
    if let Some(text) = &args.template.system {
        session.system(text);
    }
    let variables = setup::variables(&args.template);
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
        let mut printer = Printer::new(true);
        match session.ask(&question, &params, &variables, &mut |event| {
            printer.take(event)
        }) {
            Ok(answer) => {
                printer.finish()?;
                output::note(&(times(&opened, &heard, &answer, start) + "\n"));
            }
            // Such as a question that does not fit: the conversation is as it was.
            Err(e) if prompted => output::note(&format!("error: {e}\n")),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}
