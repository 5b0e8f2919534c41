//! The engine as a service: questions about songs in by HTTP, answers out as they are drawn.
//!
//! ```sh
//! cargo run --release --example service -- CHECKPOINT [ADDRESS]
//! curl -N localhost:8000/ask --json '{"audio": "song.mp3", "question": "When does the chorus start?"}'
//! ```
//!
//! An answer is a stream of server-sent events. There is nothing here about batches, caches or queues:
//! each request is submitted as it comes, and one whose client has gone away ends as its
//! [`Generation`](gamut_engine::Generation) is dropped.

use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::response::sse::{self, Sse};
use axum::routing::{Router, get, post};
use futures_util::{StreamExt, stream};
use gamut_engine::{AudioInput, Engine, EngineOptions, Error, Event, Model, OpenOptions, Piece};
use gamut_engine::{Request, SamplingParams};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;

/// What a client asks.
#[derive(serde::Deserialize)]
struct Question {
    /// A file on this machine. An upload would be [`AudioInput::Bytes`].
    audio: std::path::PathBuf,
    question: String,
    max_tokens: Option<usize>,
    /// Users share the engine fairly, whatever number of questions each has.
    #[serde(default)]
    user: String,
}

async fn ask(
    State(engine): State<Engine>,
    Json(question): Json<Question>,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let mut params = SamplingParams::recommended(engine.model().checkpoint().generation_config());
    params.max_tokens = question.max_tokens.unwrap_or(params.max_tokens);
    let request = Request::ask(AudioInput::path(question.audio), question.question);
    let mut events = engine
        .submit(request.params(params).client(question.user))
        .map_err(refuse)?;
    // What is wrong with the audio shows before the first token, in time for the status.
    let first = loop {
        match events.next().await.transpose().map_err(refuse)? {
            Some(Event::Progress { .. }) => {}
            first => break first.map(Ok),
        }
    };
    Ok(Sse::new(stream::iter(first).chain(events).map(tell)))
}

/// An event as a client gets it.
fn tell(event: Result<Event, Error>) -> Result<sse::Event, axum::Error> {
    let (name, data) = match event {
        Ok(Event::Token { pieces, .. }) => ("token", json!({ "text": text(&pieces) })),
        Ok(Event::Finished {
            finish,
            pieces,
            usage,
            ..
        }) => {
            let usage = json!({
                "prompt_tokens": usage.prompt_tokens,
                "cached_tokens": usage.cached_tokens,
                "completion_tokens": usage.completion_tokens,
                "audio_seconds": usage.audio_seconds,
                "audio_cached": usage.stages.is_empty(),
            });
            (
                "end",
                json!({ "text": text(&pieces), "finish": finish, "usage": usage }),
            )
        }
        // What was not asked for.
        Ok(_) => return Ok(sse::Event::default()),
        Err(error) => ("error", json!({ "error": error.to_string() })),
    };
    sse::Event::default().event(name).json_data(data)
}

/// The text without thoughts.
fn text(pieces: &[Piece]) -> String {
    let pieces = pieces.iter().filter(|piece| !piece.reasoning);
    pieces.map(|piece| piece.text.as_str()).collect()
}

async fn stats(State(engine): State<Engine>) -> Json<Value> {
    let stats = engine.stats();
    Json(json!({
        "running": stats.running,
        "waiting": stats.waiting,
        "generated_tokens": stats.generated_tokens,
    }))
}

/// An error as a status, with a line of text.
fn refuse(error: impl Into<Error>) -> (StatusCode, String) {
    let error = error.into();
    let status = match error {
        Error::Submit(_) | Error::ShutDown => StatusCode::SERVICE_UNAVAILABLE,
        Error::Device(_) | Error::NoToken(_) | Error::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    (status, error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let checkpoint = args.next().ok_or("usage: service CHECKPOINT [ADDRESS]")?;
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let model = Arc::new(Model::open(checkpoint, &OpenOptions::default())?);
    // A client had better ask another server than wait behind many.
    let options = EngineOptions {
        max_queued: 16,
        ..EngineOptions::default()
    };
    let engine = Engine::new(model, &options)?;
    let routes = Router::new()
        .route("/ask", post(ask))
        .route("/stats", get(stats));
    let listener = tokio::net::TcpListener::bind(&address).await;
    let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, routes.with_state(engine)).await?)
}
