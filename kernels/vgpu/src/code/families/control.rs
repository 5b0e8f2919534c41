//! Branches, calls and exits.

use super::unsupported;
use crate::code::draft::Draft;
use crate::code::lower::Lowerer;
use crate::code::names::Entity;
use crate::code::{Flow, Opcode, Width};
use crate::exec::handler;
use crate::exec::ops::debug::{AssertFail, Print, Trap};
use crate::ptx::{Instruction, Operand, PtxError, Space};

type Lowered = Result<(), PtxError>;

pub(super) fn lower<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    op.has("uni");
    match op.stem() {
        "bra" => {
            let [target] = l.operands(inst)?;
            let label = l.target(target)?;
            l.push(Draft {
                labels: vec![label],
                ..Draft::control(Flow::Branch)
            })
        }
        "brx" if op.has("idx") => {
            let [index, Operand::Name(table)] = l.operands(inst)? else {
                return Err(l.error("an index and a table are wanted"));
            };
            let Some(Entity::Targets(names)) = l.find(table) else {
                return Err(l.error(format!("`{table}` is not a branch table")));
            };
            let mut labels = Vec::with_capacity(names.len());
            for name in names {
                labels.push(l.named_label(name)?);
            }
            let index = l.value(index, Width::W32)?;
            let sources = vec![index];
            l.push(Draft {
                labels,
                sources,
                ..Draft::control(Flow::BranchTable)
            })
        }
        "ret" => match l.leave() {
            Some(label) => l.push(Draft {
                labels: vec![label],
                ..Draft::control(Flow::Branch)
            }),
            None => l.push(Draft::control(Flow::Exit)),
        },
        "exit" => l.push(Draft::control(Flow::Exit)),
        "trap" => l.push(Draft::compute(handler::<Trap>(), Vec::new(), Vec::new())),
        "brkpt" | "pmevent" => Ok(()),
        "nanosleep" => {
            op.has("u32");
            l.push(Draft::control(Flow::Yield))
        }
        _ => Err(unsupported(l, op)),
    }
}

/// `call (result), function, (arguments)`: the function is inlined.
pub(super) fn call<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    op.has("uni");
    let (results, name, arguments): (&[Operand<'m>], _, &[Operand<'m>]) =
        match inst.operands.as_slice() {
            [Operand::Name(name)] => (&[], *name, &[]),
            [Operand::Name(name), Operand::List(arguments)] => (&[], *name, arguments),
            [Operand::List(results), Operand::Name(name)] => (results, *name, &[]),
            [
                Operand::List(results),
                Operand::Name(name),
                Operand::List(arguments),
            ] => (results, *name, arguments),
            _ => return Err(l.error("indirect calls are not supported")),
        };
    // A guarded call is branched around.
    let around = l.label();
    if let Some(guard) = inst.guard {
        let register = l.register(&Operand::Name(guard.name), Width::Predicate)?;
        let branch = Draft::control(Flow::Branch);
        let guard = Some((register, !guard.negated));
        l.push(Draft {
            labels: vec![around],
            guard,
            ..branch
        })?;
    }
    let mut storage = Vec::new();
    for operand in results.iter().chain(arguments) {
        storage.push(address(l, operand)?);
    }
    let (results, arguments) = storage.split_at(results.len());
    match name {
        "__assertfail" => assert_fail(l, arguments)?,
        "vprintf" => print(l, results, arguments)?,
        _ => {
            let Some(function) = l.module.functions.iter().find(|f| f.name == name) else {
                return Err(l.error(format!("function `{name}` is unknown")));
            };
            if function.results.len() != results.len() || function.params.len() != arguments.len() {
                return Err(l.error(format!("a wrong number of arguments for `{name}`")));
            }
            let formals = function
                .results
                .iter()
                .chain(&function.params)
                .map(|p| p.name);
            let actuals = results.iter().chain(arguments).copied();
            let storage: Vec<_> = formals.zip(actuals).collect();
            l.inline(function, &storage)?;
        }
    }
    l.place(around);
    Ok(())
}

/// Where in local memory a call's argument or result lies.
fn address<'m>(l: &Lowerer<'m>, operand: &Operand<'m>) -> Result<u64, PtxError> {
    match operand {
        Operand::Name(name) => match l.find(name) {
            Some(Entity::Variable(Space::Local, address)) => Ok(address),
            _ => Err(l.error(format!("`{name}` is not in .param space"))),
        },
        _ => Err(l.error("arguments must be in .param space")),
    }
}

fn assert_fail(l: &mut Lowerer<'_>, arguments: &[u64]) -> Lowered {
    let &[message, file, line, ..] = arguments else {
        return Err(l.error("a wrong number of arguments for `__assertfail`"));
    };
    let message = super::memory::load_local(l, message, Width::W64)?;
    let file = super::memory::load_local(l, file, Width::W64)?;
    let line = super::memory::load_local(l, line, Width::W32)?;
    let sources = vec![message, file, line];
    l.push(Draft::compute(handler::<AssertFail>(), Vec::new(), sources))
}

fn print(l: &mut Lowerer<'_>, results: &[u64], arguments: &[u64]) -> Lowered {
    let (&[result], &[format, values]) = (results, arguments) else {
        return Err(l.error("a wrong number of arguments for `vprintf`"));
    };
    let format = super::memory::load_local(l, format, Width::W64)?;
    let values = super::memory::load_local(l, values, Width::W64)?;
    let printed = l.fresh(Width::W32);
    l.push(Draft::compute(
        handler::<Print>(),
        vec![printed],
        vec![format, values],
    ))?;
    super::memory::store_local(l, result, printed)
}
