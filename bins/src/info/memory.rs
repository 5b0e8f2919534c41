//! The memory that a model's work takes, a row of the table each.

use crate::output::bytes;
use gamut_engine::{MemoryPlan, Target};

/// What is planned for.
pub(super) struct Place {
    pub(super) target: Target,
    /// Whether the weights' files are mapped on the host.
    pub(super) mmap: bool,
    /// Free bytes of the GPU, if they were given.
    pub(super) free: Option<u64>,
}

/// The table of a plan.
pub(super) fn table(plan: &MemoryPlan, place: &Place) -> String {
    let weights = match place.target {
        Target::Cuda { .. } => "on the GPU",
        Target::Host { .. } if place.mmap => "mapped from the files",
        Target::Host { .. } => "read into memory",
    };
    let kv = format!("keys and values of {} tokens", plan.kv_tokens());
    let rows = [
        ("weights", plan.weights, weights),
        (
            "widened",
            plan.widened,
            "what the files have in FP8, in bf16",
        ),
        ("kv", plan.kv, &kv),
        (
            "workspace",
            plan.workspace,
            "activations of a step of the decoder",
        ),
        ("decode", plan.decode, "activations of generated tokens"),
        (
            "hearing",
            plan.hearing,
            "activations of what hears, for the longest song",
        ),
        ("audio", plan.audio_pool, "tokens of songs that were heard"),
        ("rope", plan.rope, "cosines and sines"),
        ("all", plan.total(), &sum(plan, place.free)),
    ];
    let mut text = format!(
        "\nmemory for contexts of {} tokens, {}\n",
        plan.max_model_len,
        match plan.max_num_seqs {
            1 => "one sequence at a time".to_owned(),
            sequences => format!("{sequences} sequences at a time"),
        }
    );
    for (name, size, note) in rows.into_iter().filter(|(_, size, _)| *size > 0) {
        let row = format!("  {name:10} {:>12}  {note}", bytes(size));
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text.push_str(&songs(plan, place.free));
    text
}

/// Whether it fits.
fn sum(plan: &MemoryPlan, free: Option<u64>) -> String {
    match free {
        Some(free) if plan.weights > free => {
            format!("not even the weights fit into {}", bytes(free))
        }
        Some(free) if plan.total() > free => {
            format!(
                "does not fit into {}, with one context at least",
                bytes(free)
            )
        }
        Some(free) => format!("of {} that are free; an engine leaves a tenth", bytes(free)),
        None => String::new(),
    }
}

/// What a song takes, and how many fit.
fn songs(plan: &MemoryPlan, free: Option<u64>) -> String {
    if plan.song_tokens == 0 {
        return String::new();
    }
    let fit = match free {
        Some(free) if plan.total() > free => "none fits".to_owned(),
        _ => format!("{} at once in kv", plan.songs()),
    };
    format!(
        "  {:10} {:>12}  keys and values of one of {} tokens, the longest; {fit}\n",
        "a song",
        bytes(plan.kv_per_song()),
        plan.song_tokens
    )
}
