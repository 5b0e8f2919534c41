//! Virtual registers into columns, by linear scan over live intervals.

use super::draft::{Draft, Label, Register, Source};
use super::liveness::{Interval, intervals};
use super::{CONSTANT, Flow, Inst, Program, TRUE, Width};
use crate::exec::column::{Column, LANES};
use std::collections::HashMap;

/// Fixes columns and branch targets. Where a kernel needs more columns than an instruction can
/// name, it says so.
pub(super) fn allocate(
    drafts: Vec<Draft>,
    widths: &[Width],
    labels: &[Option<u32>],
) -> Result<Program, String> {
    let place = |label: Label| {
        let at = labels.get(label as usize).copied().flatten();
        at.map_or(drafts.len() - 1, |at| at as usize)
    };
    let intervals = intervals(&drafts, widths.len(), place);
    let mut slots = Slots::default();
    let homes = slots.assign(&intervals, widths)?;
    let mut constants = Constants::default();
    let mut lists = Vec::new();
    let mut code = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        let home = |register: Register| homes[register as usize];
        let mut sources = Vec::with_capacity(draft.sources.len());
        for &source in &draft.sources {
            sources.push(match source {
                Source::Register(register) => home(register),
                constant => constants.slot(constant)?,
            });
        }
        let members = match draft.members {
            Some(Source::Register(register)) => home(register),
            Some(constant) => constants.slot(constant)?,
            None => 0,
        };
        let results: Vec<u16> = draft
            .results
            .iter()
            .map(|&register| home(register))
            .collect();
        let list = lists.len() as u32;
        let mut imm = draft.imm;
        if draft.listed {
            lists.extend(results.iter().chain(&sources).map(|&slot| u32::from(slot)));
        }
        if draft.flow == Flow::BranchTable {
            imm = draft.labels.len() as u64;
            lists.extend(draft.labels.iter().map(|&label| place(label) as u32));
        }
        let result = |i: usize| results.get(i).copied().unwrap_or(0);
        let source = |i: usize| sources.get(i).copied().unwrap_or(0);
        code.push(Inst {
            handler: draft.handler,
            imm,
            list,
            target: draft.labels.first().map_or(0, |&label| place(label) as u32),
            negate: if draft.guard.is_some_and(|(_, negated)| negated) {
                u32::MAX
            } else {
                0
            },
            guard: draft.guard.map_or(TRUE, |(register, _)| home(register)),
            d: result(0),
            e: result(1),
            a: source(0),
            b: source(1),
            c: source(2),
            members,
            flow: draft.flow,
            strength: draft.strength,
            counts: draft.counts,
        });
    }
    Ok(Program {
        code,
        origins: drafts.iter().map(|draft| draft.origin).collect(),
        lists,
        constants: constants.columns,
        // An operand that an instruction lacks is slot 0, which must be there for two columns.
        columns: slots.columns().max(2),
        predicates: slots.predicates.len().max(1),
        local_bytes: 0,
        static_shared_end: 0,
        dynamic_align: 1,
    })
}

/// Which slots are taken: for each the place in the code up to which. Columns of 32 and of 64 bits
/// are kept apart: if a register of one width took over columns from the other, diverged fragments
/// of a warp, each with its lanes, would write into each other's.
#[derive(Default)]
struct Slots {
    predicates: Vec<u32>,
    singles: Vec<u32>,
    doubles: Vec<u32>,
}

impl Slots {
    fn assign(&mut self, intervals: &[Interval], widths: &[Width]) -> Result<Vec<u16>, String> {
        // The constant predicate lives forever.
        self.predicates.push(u32::MAX);
        let mut order: Vec<_> = intervals
            .iter()
            .enumerate()
            .filter_map(|(register, interval)| interval.map(|(from, to)| (from, to, register)))
            .collect();
        order.sort_unstable();
        let mut homes = vec![0; intervals.len()];
        for &(from, to, register) in &order {
            let slots = match widths[register] {
                Width::Predicate => &mut self.predicates,
                Width::W32 => &mut self.singles,
                Width::W64 => &mut self.doubles,
            };
            homes[register] = take(slots, from, to);
        }
        let limit = usize::from(CONSTANT);
        if self.columns() > limit || self.predicates.len() > limit {
            return Err(format!("more than {limit} registers are live at once"));
        }
        let first_single = 2 * self.doubles.len();
        let place = |(home, width): (usize, &Width)| match width {
            Width::Predicate => home as u16,
            Width::W32 => (first_single + home) as u16,
            Width::W64 => (2 * home) as u16,
        };
        Ok(homes.into_iter().zip(widths).map(place).collect())
    }

    fn columns(&self) -> usize {
        2 * self.doubles.len() + self.singles.len()
    }
}

/// Takes the first slot that is free from `from` on, until `to`. Results are written after all
/// sources were read, yet a slot whose last read is at `from` is left alone: instructions with
/// several results may write one before they read the rest.
fn take(slots: &mut Vec<u32>, from: u32, to: u32) -> usize {
    let free = slots.iter().position(|&until| until < from);
    let slot = free.unwrap_or(slots.len());
    if free.is_none() {
        slots.push(0);
    }
    slots[slot] = to;
    slot
}

/// Columns of constants.
#[derive(Default)]
struct Constants {
    columns: Vec<Column>,
    slots: HashMap<(u64, Width), u16>,
}

impl Constants {
    fn slot(&mut self, constant: Source) -> Result<u16, String> {
        let (value, width) = match constant {
            Source::Constant32(value) => (u64::from(value), Width::W32),
            Source::Constant64(value) => (value, Width::W64),
            Source::Register(_) => return Err("a register is not a constant".to_owned()),
        };
        if let Some(&slot) = self.slots.get(&(value, width)) {
            return Ok(slot);
        }
        let slot = self.columns.len();
        if slot + 2 > usize::from(CONSTANT) {
            return Err("too many constants".to_owned());
        }
        if width == Width::W32 {
            self.columns.push(Column([value as u32; LANES]));
        } else {
            let halves = [value as u32, (value >> 32) as u32];
            let halves = if cfg!(target_endian = "big") {
                [halves[1], halves[0]]
            } else {
                halves
            };
            let pattern: [u32; LANES] = std::array::from_fn(|i| halves[i % 2]);
            self.columns.extend([Column(pattern), Column(pattern)]);
        }
        let slot = slot as u16 | CONSTANT;
        self.slots.insert((value, width), slot);
        Ok(slot)
    }
}
