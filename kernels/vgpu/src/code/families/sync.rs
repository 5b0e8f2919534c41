//! Barriers, fences and instructions that exchange values between lanes.

use super::unsupported;
use crate::code::draft::{Draft, Source};
use crate::code::lower::Lowerer;
use crate::code::{Flow, Opcode, Strength, Width};
use crate::exec::ops::exchange::{self, ActiveMask, Elect, Shuffle, Vote, shuffle};
use crate::exec::ops::memory::{Fence, WarpBarrier};
use crate::exec::ops::select;
use crate::exec::{Nothing, barrier_action as action, handler};
use crate::ptx::{Instruction, Operand, PtxError, Type};

type Lowered = Result<(), PtxError>;

pub(super) fn lower<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    match op.stem() {
        "membar" | "fence" => {
            let narrow = op.has("cta");
            // The kind does not matter: this is the strongest.
            op.ignore(|part| {
                matches!(
                    part,
                    "gl" | "sys"
                        | "gpu"
                        | "cluster"
                        | "sc"
                        | "acq_rel"
                        | "acquire"
                        | "release"
                        | "mbarrier_init"
                        | "proxy"
                        | "async"
                        | "alias"
                        | "async::generic"
                        | "sync_restrict::shared::cta"
                        | "sync_restrict::shared::cluster"
                        | "global"
                        | "shared::cta"
                        | "async.global"
                        | "async.shared::cta"
                )
            });
            l.push(fence(if narrow {
                Strength::Block
            } else {
                Strength::Device
            }))
        }
        "griddepcontrol" => {
            // The grid before has run to its end.
            op.ignore(|part| matches!(part, "wait" | "launch_dependents"));
            Ok(())
        }
        "setmaxnreg" => {
            op.ignore(|part| matches!(part, "inc" | "dec" | "sync" | "aligned" | "u32"));
            Ok(())
        }
        "bar" if op.has("warp") => {
            op.has("sync");
            let [members] = l.operands(inst)?;
            let members = l.value(members, Width::W32)?;
            let draft = Draft::compute(handler::<WarpBarrier>(), Vec::new(), Vec::new());
            l.push(draft.members(members))
        }
        "bar" | "barrier" => barrier(l, op, inst),
        "shfl" => shfl(l, op, inst),
        "vote" => votes(l, op, inst),
        "match" => matches_lanes(l, op, inst),
        "redux" => redux(l, op, inst),
        "activemask" => {
            op.has("b32");
            let [to] = l.operands(inst)?;
            let to = l.register(to, Width::W32)?;
            l.push(Draft::compute(
                handler::<ActiveMask>(),
                vec![to],
                Vec::new(),
            ))
        }
        "elect" if op.has("sync") => {
            let [Operand::Pair(pair), members] = l.operands(inst)? else {
                return Err(l.error("two results and a member mask are wanted"));
            };
            let members = l.value(members, Width::W32)?;
            let leader = l.register(&pair[0], Width::W32)?;
            let elected = l.register(&pair[1], Width::Predicate)?;
            let draft = Draft::compute(handler::<Elect>(), vec![leader, elected], Vec::new());
            l.push(draft.members(members))
        }
        _ => Err(unsupported(l, op)),
    }
}

/// Orders a warp's accesses to device memory.
pub(super) fn fence(strength: Strength) -> Draft {
    Draft::compute(handler::<Fence>(), Vec::new(), Vec::new()).strength(strength)
}

/// `bar` and `barrier`, on the warps of a block.
fn barrier<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    op.has("cta");
    let aligned = op.has("aligned") || op.stem() == "bar";
    let kind = op.find(|part| match part {
        "sync" => Some(action::SYNC),
        "arrive" => Some(action::ARRIVE),
        "red" => Some(action::COUNT),
        _ => None,
    });
    let Some(mut kind) = kind else {
        return Err(unsupported(l, op));
    };
    let (mut results, mut operands) = (Vec::new(), inst.operands.as_slice());
    let mut predicate = None;
    if kind == action::COUNT {
        let joined = op.find(|part| match part {
            "popc" => Some(action::COUNT),
            "and" => Some(action::AND),
            "or" => Some(action::OR),
            _ => None,
        });
        op.has("u32");
        op.has("pred");
        let (Some(joined), [to, rest @ .., last]) = (joined, operands) else {
            return Err(unsupported(l, op));
        };
        kind = joined;
        let width = if joined == action::COUNT {
            Width::W32
        } else {
            Width::Predicate
        };
        results.push(l.register(to, width)?);
        if let Operand::Not(name) = last {
            kind |= action::NEGATED;
            predicate = Some(l.value(&Operand::Name(name), Width::Predicate)?);
        } else {
            predicate = Some(l.value(last, Width::Predicate)?);
        }
        operands = rest;
    }
    let zero = Source::Constant32(0);
    let mut sources = match operands {
        [id] if kind & action::MASK != action::ARRIVE => vec![l.value(id, Width::W32)?, zero],
        [id, threads] => vec![l.value(id, Width::W32)?, l.value(threads, Width::W32)?],
        _ => return Err(l.error("a wrong number of operands")),
    };
    sources.extend(predicate);
    let imm = kind | if aligned { action::ALIGNED } else { 0 };
    let draft = Draft::compute(handler::<Nothing>(), results, sources);
    l.push(draft.flow(Flow::Barrier).imm(imm))
}

fn shfl<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let mode = op.find(|part| match part {
        "up" => Some(shuffle::UP),
        "down" => Some(shuffle::DOWN),
        "bfly" => Some(shuffle::BUTTERFLY),
        "idx" => Some(shuffle::INDEX),
        _ => None,
    });
    let (Some(mut imm), true, Some(Type::B32)) = (mode, op.has("sync"), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let [to, value, step, limits, members] = l.operands(inst)?;
    let mut sources = Vec::new();
    for operand in [value, step, limits] {
        sources.push(l.value(operand, Width::W32)?);
    }
    let members = l.value(members, Width::W32)?;
    let mut results = Vec::new();
    if let Operand::Pair(pair) = to {
        imm |= shuffle::PREDICATE;
        results.push(l.register(&pair[0], Width::W32)?);
        results.push(l.register(&pair[1], Width::Predicate)?);
    } else {
        results.push(l.register(to, Width::W32)?);
    }
    l.push(
        Draft::compute(handler::<Shuffle>(), results, sources)
            .imm(imm)
            .members(members),
    )
}

fn votes<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    use exchange::vote as question;
    let question_asked = op.find(|part| match part {
        "all" => Some(question::ALL),
        "any" => Some(question::ANY),
        "uni" => Some(question::UNIFORM),
        "ballot" => Some(question::BALLOT),
        _ => None,
    });
    let (Some(mut imm), true) = (question_asked, op.has("sync")) else {
        return Err(unsupported(l, op));
    };
    op.has("b32");
    op.has("pred");
    let [to, source, members] = l.operands(inst)?;
    let width = if imm == question::BALLOT {
        Width::W32
    } else {
        Width::Predicate
    };
    let mut sources = Vec::new();
    match source {
        Operand::Not(name) => {
            imm |= question::NEGATED;
            sources.push(l.value(&Operand::Name(name), Width::Predicate)?);
        }
        Operand::Number(number) => {
            let constant = l.fresh(Width::Predicate);
            let logic = if number.as_u64() != 0 {
                select::logic::TRUE
            } else {
                select::logic::FALSE
            };
            let draft = Draft::compute(handler::<select::Logic>(), vec![constant], Vec::new());
            l.push(draft.imm(logic))?;
            sources.push(Source::Register(constant));
        }
        other => sources.push(l.value(other, Width::Predicate)?),
    }
    let members = l.value(members, Width::W32)?;
    let result = l.register(to, width)?;
    l.push(
        Draft::compute(handler::<Vote>(), vec![result], sources)
            .imm(imm)
            .members(members),
    )
}

fn matches_lanes<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let all = op.find(|part| match part {
        "all" => Some(true),
        "any" => Some(false),
        _ => None,
    });
    let (Some(all), true, Some(ty)) = (all, op.has("sync"), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let wide = ty.bytes() == 8;
    let [to, value, members] = l.operands(inst)?;
    let sources = vec![l.value(value, if wide { Width::W64 } else { Width::W32 })?];
    let members = l.value(members, Width::W32)?;
    let mut results = Vec::new();
    match to {
        Operand::Pair(pair) if all => {
            results.push(l.register(&pair[0], Width::W32)?);
            results.push(l.register(&pair[1], Width::Predicate)?);
        }
        to => results.push(l.register(to, Width::W32)?),
    }
    if all && results.len() == 1 {
        results.push(l.fresh(Width::Predicate));
    }
    let draft = Draft::compute(exchange::matches(wide), results, sources);
    l.push(draft.imm(all.into()).members(members))
}

fn redux<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let name = op.find(|part| {
        ["add", "min", "max", "and", "or", "xor"]
            .into_iter()
            .find(|&name| name == part)
    });
    let (Some(name), true, Some(ty)) = (name, op.has("sync"), op.ty()) else {
        return Err(unsupported(l, op));
    };
    let Some(handler) = exchange::redux(name, ty) else {
        return Err(unsupported(l, op));
    };
    let [to, value, members] = l.operands(inst)?;
    let sources = vec![l.value(value, Width::W32)?];
    let members = l.value(members, Width::W32)?;
    let result = l.register(to, Width::W32)?;
    l.push(Draft::compute(handler, vec![result], sources).members(members))
}
