//! `gamut ask`: one question, one answer.

use crate::args::AskArgs;
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use crate::setup::{self, Opened, Talk};
use gamut_engine::{Answer, Event, Song, Token};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

pub(crate) fn run(args: &AskArgs) -> Result<ExitCode, Error> {
    let start = Instant::now();
    let Talk {
        opened,
        songs,
        mut session,
        params,
    } = setup::talk(&args.talk)?;
    let most = params.max_tokens.min(opened.engine.plan().max_model_len);
    let mut printer = Printer::new(!args.json, most);
    let answer = session.ask(&args.prompt, &params, &mut |event| printer.take(event))?;
    printer.finish()?;
    if args.json {
        output::write_json(&report(
            &opened,
            &songs,
            &answer,
            args.talk.logprobs.logprobs.is_some(),
        ))?;
    } else if args.talk.logprobs.logprobs.is_some() {
        for token in &answer.tokens {
            output::write(&(logprob_line(&opened, token) + "\n"))?;
        }
    }
    output::note(&(times(&opened, &songs, &answer, start) + "\n"));
    Ok(ExitCode::SUCCESS)
}

/// Shows an answer as it comes: the answer on stdout, thoughts on stderr.
pub(crate) struct Printer {
    shown: bool,
    drawn: usize,
    max_tokens: usize,
    progress: Progress,
    failed: Option<Error>,
}

impl Printer {
    /// For an answer of at most `max_tokens`, which is shown or only waited for.
    pub(crate) fn new(shown: bool, max_tokens: usize) -> Printer {
        Printer {
            shown,
            drawn: 0,
            max_tokens,
            progress: Progress::new(),
            failed: None,
        }
    }

    pub(crate) fn take(&mut self, event: &Event) -> ControlFlow<()> {
        match event {
            Event::Progress { phase, done, total } => {
                self.progress.show(phase.name(), *done, *total);
            }
            Event::Token { pieces, .. } if self.shown => {
                self.progress.clear();
                for piece in pieces {
                    if piece.reasoning {
                        output::note(&piece.text);
                    } else if let Err(e) = output::write(&piece.text) {
                        self.failed = Some(e);
                        return ControlFlow::Break(());
                    }
                }
            }
            Event::Token { .. } => {
                self.drawn += 1;
                self.progress.show("decode", self.drawn, self.max_tokens);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Ends the answer's last line.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.failed {
            Some(e) => Err(e),
            None if self.shown => output::write("\n"),
            None => Ok(()),
        }
    }
}

/// One line of where the time went.
pub(crate) fn times(opened: &Opened, songs: &[Song], answer: &Answer, start: Instant) -> String {
    let mut parts = vec![format!("open {}", output::duration(opened.load))];
    for song in songs {
        let heard = song.usage();
        let load = output::duration(heard.load);
        parts.push(format!("audio {:.1} s in {load}", song.seconds()));
        for (stage, time) in &heard.stages {
            parts.push(format!("{} {}", stage.name(), output::duration(*time)));
        }
    }
    let usage = &answer.usage;
    let fresh = usage.prompt_tokens - usage.cached_tokens;
    parts.push(format!(
        "prefill {fresh} tokens {}",
        output::duration(usage.prefill)
    ));
    // The first token comes with the prompt.
    let steps = answer.tokens.len().saturating_sub(1);
    let rate = steps as f64 / usage.decode.as_secs_f64();
    let rate = if steps == 0 {
        String::new()
    } else {
        format!(", {rate:.1} tok/s")
    };
    let (tokens, decode) = (answer.tokens.len(), output::duration(usage.decode));
    parts.push(format!("decode {tokens} tokens {decode}{rate}"));
    parts.push(format!("total {}", output::duration(start.elapsed())));
    parts.join(" | ")
}

fn logprob_line(opened: &Opened, token: &Token) -> String {
    let model = opened.engine.model();
    let name = |id: u32| model.checkpoint().tokenizer().id_to_token(id);
    let show =
        |id: u32, logprob: f32| format!("{id} {:?} {logprob:.4}", name(id).unwrap_or_default());
    let top = token.top.iter().map(|(id, logprob)| show(*id, *logprob));
    std::iter::once(show(token.id, token.logprob))
        .chain(top)
        .collect::<Vec<_>>()
        .join("  ")
}

fn report(opened: &Opened, songs: &[Song], answer: &Answer, logprobs: bool) -> Value {
    let model = opened.engine.model();
    let tokenizer = model.checkpoint().tokenizer();
    let token = |id: u32, logprob: f32| json!({ "id": id, "token": tokenizer.id_to_token(id), "logprob": logprob });
    let tokens = answer.tokens.iter().map(|t| {
        let mut entry = token(t.id, t.logprob);
        let top = t.top.iter().map(|(id, logprob)| token(*id, *logprob));
        entry["top_logprobs"] = top.collect();
        entry
    });
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let usage = &answer.usage;
    let mut times = json!({ "open": ms(opened.load) });
    let mut add = |name: &str, time| {
        times[name] = (times[name].as_f64().unwrap_or(0.0) + ms(time)).into();
    };
    for song in songs {
        let heard = song.usage();
        add("audio", heard.load);
        heard
            .stages
            .iter()
            .for_each(|(stage, time)| add(stage.name(), *time));
    }
    times["prefill"] = ms(usage.prefill).into();
    times["decode"] = ms(usage.decode).into();
    let mut report = json!({
        "answer": answer.text,
        "reasoning": answer.reasoning,
        "finish_reason": answer.finish,
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": songs.iter().map(Song::tokens).sum::<usize>(),
            "completion_tokens": answer.tokens.len(),
        },
        "audio_seconds": songs.iter().map(Song::seconds).sum::<f64>(),
        "times_ms": times,
    });
    if logprobs {
        report["logprobs"] = tokens.collect();
    }
    report
}
