//! Asking a model the questions that have no answer yet, song by song.

use super::By;
use super::benchmark::Benchmark;
use super::log::{Answer, Answers, Log};
use super::scoring::continuation;
use super::songs::Song;
use crate::args::TemplateArgs;
use crate::asking::{Asking, Asks, Failure};
use crate::error::Error;
use crate::output;
use crate::progress::Progress;
use crate::setup;
use gamut_engine::{
    AudioInput, Completion, Continuation, Engine, Finish, Input, Message, Request, SamplingParams,
    Variables,
};

/// What stands for the logarithm of a probability of zero, which JSON has no number for.
const LEAST_LOGPROB: f32 = -9999.0;

/// Asks an engine, and logs its answers.
pub(super) struct Asker<'a> {
    engine: &'a Engine,
    benchmark: &'a Benchmark,
    system: Option<&'a str>,
    variables: Variables,
    params: SamplingParams,
    log: &'a mut Log,
    answers: &'a mut Answers,
    progress: Progress,
    /// Questions in all, and of them those that are done with.
    total: usize,
    done: usize,
}

/// A question on its way.
struct Asked {
    question: usize,
    song: u128,
    inner: Request,
}

impl Asks for Asked {
    fn song(&self) -> u128 {
        self.song
    }

    fn request(&self) -> &Request {
        &self.inner
    }

    fn held(&self) -> usize {
        0
    }
}

impl<'a> Asker<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        benchmark: &'a Benchmark,
        template: &'a TemplateArgs,
        params: SamplingParams,
        (log, answers): (&'a mut Log, &'a mut Answers),
    ) -> Result<Asker<'a>, Error> {
        Ok(Asker {
            engine,
            benchmark,
            system: template.system.as_deref(),
            variables: setup::variables(template)?,
            params,
            log,
            answers,
            progress: Progress::new(),
            total: 0,
            done: 0,
        })
    }

    /// Asks the questions of these numbers, each about its song.
    pub(super) fn ask(&mut self, by: By, mut todo: Vec<(usize, &Song)>) -> Result<(), Error> {
        // Else a song would be heard again for each of its questions that are far apart.
        todo.sort_by_key(|(_, song)| match song {
            Song::There(number, _) => *number,
            _ => 0,
        });
        self.total = todo.len();
        match by {
            By::Generation => self.generate(&todo),
            By::Likelihood => self.score(&todo),
        }
    }

    fn generate(&mut self, todo: &[(usize, &Song)]) -> Result<(), Error> {
        let mut asking = Asking::new(self.engine);
        let mut todo = todo.iter();
        loop {
            while asking.has_room()
                && let Some((question, song)) = todo.next()
            {
                asking.push(self.request(*question, song));
            }
            let Some((asked, ended)) = asking.next()? else {
                return Ok(());
            };
            self.take(asked.question, ended.map(generated))?;
        }
    }

    fn score(&mut self, todo: &[(usize, &Song)]) -> Result<(), Error> {
        for (question, song) in todo {
            let asked = self.request(*question, song);
            let options = self.benchmark.questions[*question].options().iter();
            let format = self.benchmark.format;
            let continuations: Vec<Continuation> = options
                .enumerate()
                .map(|(i, option)| Continuation::Text(continuation(format, i, option)))
                .collect();
            let scored = match self.engine.score(&asked.inner, &continuations) {
                Ok(scored) => Ok(likelihoods(&scored)),
                Err(error) => Err(Failure::of(error)?),
            };
            self.take(*question, scored)?;
        }
        Ok(())
    }

    fn request(&self, question: usize, song: &Song) -> Asked {
        let prompt = self.benchmark.questions[question].prompt.clone();
        let (number, audio) = match song {
            Song::There(number, path) => (*number, Some(AudioInput::path(path.clone()))),
            Song::Missing(_) | Song::None => (0, None),
        };
        let mut messages = Vec::new();
        messages.extend(self.system.map(|text| Message::text("system", text)));
        messages.push(Message::about(usize::from(audio.is_some()), "user", prompt));
        let input = Input::Messages(messages, self.variables.clone());
        let mut inner = Request::new(input).params(self.params.clone());
        inner.audio.extend(audio);
        Asked {
            question,
            song: number as u128,
            inner,
        }
    }

    /// Logs an answer, or that there is none; unless there may be one at another time.
    fn take(&mut self, question: usize, answer: Result<Answer, Failure>) -> Result<(), Error> {
        let id = &self.benchmark.questions[question].id;
        let answer = answer.or_else(|Failure { code, error }| match code {
            Some(_) => Ok(Answer::Failed {
                error: error.to_string(),
            }),
            None => Err(error),
        });
        match answer {
            Ok(answer) => {
                self.log.add(question, id, &answer)?;
                self.answers[question] = Some(answer);
            }
            Err(error) => {
                self.progress.clear();
                output::note(&format!("question {id} stays unanswered: {error}\n"));
            }
        }
        self.done += 1;
        self.progress.show("eval", self.done, self.total);
        Ok(())
    }
}

fn generated(completion: Completion) -> Answer {
    let answer = completion.answers.into_iter().next().unwrap_or_default();
    let finish = answer.finish.map(|finish| match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        _ => "cancelled",
    });
    Answer::Text {
        output: answer.text,
        reasoning: answer.reasoning,
        finish: finish.map(str::to_owned),
        tokens: answer.tokens.len(),
    }
}

fn likelihoods(scored: &[Completion]) -> Answer {
    let logprob = |scored: &Completion| {
        let tokens = scored.prompt.iter();
        tokens
            .map(|t| f64::from(t.logprob.max(LEAST_LOGPROB)))
            .sum()
    };
    Answer::Likelihoods {
        logprobs: scored.iter().map(logprob).collect(),
        tokens: scored.iter().map(|scored| scored.prompt.len()).collect(),
    }
}
