//! Loads and stores, and addresses for them.

use super::{convert, unsupported};
use crate::code::draft::{Draft, Register, Source};
use crate::code::lower::Lowerer;
use crate::code::names::Entity;
use crate::code::{Opcode, Strength, Width};
use crate::exec::ops::address::Reach;
use crate::exec::ops::memory::{self, Access, LoadArgument};
use crate::exec::ops::select::{self, copy as copy_handler};
use crate::exec::ops::window;
use crate::exec::{LOCAL_WINDOW, SHARED_WINDOW, handler};
use crate::ptx::{Address, Instruction, Operand, PtxError, Space, Type};

type Lowered = Result<(), PtxError>;

/// Modifiers of loads and stores that change nothing here: orders, scopes and hints to caches.
pub(super) fn is_hint(part: &str) -> bool {
    matches!(
        part,
        "weak"
            | "volatile"
            | "relaxed"
            | "acquire"
            | "release"
            | "acq_rel"
            | "mmio"
            | "cta"
            | "cluster"
            | "gpu"
            | "sys"
            | "ca"
            | "cg"
            | "cs"
            | "cv"
            | "lu"
            | "wb"
            | "wt"
            | "nc"
            | "unified"
            | "L2::cache_hint"
            | "noftz"
    ) || part.starts_with("L1::evict")
        || part.starts_with("L1::no_allocate")
        || part.starts_with("L2::evict")
        || part.starts_with("L2::64B")
        || part.starts_with("L2::128B")
        || part.starts_with("L2::256B")
}

/// How far an access reaches that is `otherwise` as strong, and the fences around it that its
/// order stands for.
pub(super) struct Order {
    pub(super) strength: Strength,
    pub(super) acquires: bool,
    pub(super) releases: bool,
}

impl Order {
    /// That of an opcode which is `otherwise` as strong.
    pub(super) fn of(op: &Opcode<'_>, otherwise: Strength) -> Order {
        let narrow = op.has("cta");
        let both = op.has("acq_rel");
        let acquires = op.has("acquire") || both;
        let releases = op.has("release") || both;
        let strong = ["relaxed", "volatile", "mmio"].map(|word| op.has(word));
        let strong = strong.contains(&true) || acquires || releases;
        let strength = match (strong || otherwise != Strength::Weak, narrow) {
            (false, _) => Strength::Weak,
            (true, true) => Strength::Block,
            (true, false) => Strength::Device,
        };
        Order {
            strength,
            acquires,
            releases,
        }
    }
}

/// The state space of an access; none is the generic one.
pub(super) fn space(op: &Opcode<'_>) -> &'static str {
    op.find(|part| match part {
        "global" => Some("global"),
        "shared" | "shared::cta" => Some("shared"),
        "local" => Some("local"),
        "const" => Some("const"),
        "param" | "param::entry" | "param::func" => Some("param"),
        _ => None,
    })
    .unwrap_or("")
}

/// An address: where it reaches, and its value without the offset.
pub(super) struct Place {
    pub(super) reach: Reach,
    pub(super) base: Source,
    pub(super) offset: i32,
}

/// The place that `[...]` names in a space.
pub(super) fn place<'m>(
    l: &mut Lowerer<'m>,
    space: &str,
    operand: &Operand<'m>,
) -> Result<Place, PtxError> {
    let Operand::Address(Address { base, offset }) = operand else {
        return Err(l.error("an address is wanted"));
    };
    let reach = match space {
        "shared" => Reach::Shared,
        "local" => Reach::Local,
        _ => Reach::Generic,
    };
    let Some(name) = base else {
        let base = match reach {
            Reach::Shared => Source::Constant32(u32::try_from(*offset).unwrap_or(u32::MAX)),
            _ => Source::Constant64(*offset as u64),
        };
        return Ok(Place {
            reach,
            base,
            offset: 0,
        });
    };
    if let Some(Entity::Variable(home, address)) = l.find(name) {
        let address = address.wrapping_add_signed(*offset);
        let home = match home {
            Space::Shared => Reach::Shared,
            Space::Local | Space::Param => Reach::Local,
            Space::Global | Space::Constant => Reach::Generic,
        };
        let fits = home == reach || matches!(space, "" | "param");
        if !fits {
            return Err(l.error(format!("`{name}` is not in .{space} space")));
        }
        let base = match home {
            Reach::Shared => Source::Constant32(address as u32),
            _ => Source::Constant64(address),
        };
        return Ok(Place {
            reach: home,
            base,
            offset: 0,
        });
    }
    let Ok(offset) = i32::try_from(*offset) else {
        return Err(l.error(format!("the offset {offset} does not fit 32 bits")));
    };
    let register = Operand::Name(name);
    let wide = l.width(&register) != Some(Width::W32);
    let value = l.value(&register, if wide { Width::W64 } else { Width::W32 })?;
    let base = match (reach, wide) {
        (Reach::Shared, false) | (Reach::Generic | Reach::Local, true) => value,
        // An address beyond 32 bits is clamped, to stay out of bounds.
        (Reach::Shared, true) => convert(l, "cvt.sat.u32.u64", value)?,
        (Reach::Local, false) => convert(l, "cvt.u64.u32", value)?,
        (Reach::Generic, false) => {
            return Err(l.error(format!(
                "`{name}` is 32 bits wide, too short for this address"
            )));
        }
    };
    Ok(Place {
        reach,
        base,
        offset,
    })
}

pub(super) fn imm(offset: i32, flags: u32) -> u64 {
    u64::from(flags) << 32 | u64::from(offset as u32)
}

pub(super) fn access<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let load = op.stem() != "st";
    let space = space(op);
    let order = Order::of(op, Strength::Weak);
    op.ignore(is_hint);
    let count = op.find(|part| match part {
        "v2" => Some(2),
        "v4" => Some(4),
        _ => None,
    });
    let Some(ty) = op.ty() else {
        return Err(unsupported(l, op));
    };
    // A cache policy may follow.
    let [first, second, ..] = inst.operands.as_slice() else {
        return Err(l.error("two operands are wanted"));
    };
    let (address, data) = if load {
        (second, first)
    } else {
        (first, second)
    };
    let single = std::slice::from_ref(data);
    let data = match (data, count) {
        (Operand::Vector(items), Some(count)) if items.len() == count => items.as_slice(),
        (Operand::Vector(_), _) | (_, Some(_)) => {
            return Err(l.error("a wrong number of vector elements"));
        }
        _ => single,
    };
    if ty.bytes() as usize * data.len() > 16 || ty == Type::Pred {
        return Err(unsupported(l, op));
    }
    let wide = data.iter().find_map(|item| l.width(item));
    let width = match wide {
        Some(Width::W64) => Width::W64,
        None if ty.bytes() == 8 => Width::W64,
        _ => Width::W32,
    };
    if let Operand::Address(Address {
        base: Some(name),
        offset,
    }) = address
        && load
        && let Some(Entity::Argument(start, size)) = l.find(name)
    {
        return arguments(l, ty, data, width, (start, size), *offset);
    }
    let place = place(l, space, address)?;
    let access = Access {
        reach: place.reach,
        bytes: ty.bytes(),
        signed: ty.is_signed(),
    };
    let handler = if load {
        memory::load(access)
    } else {
        memory::store(access)
    };
    let Some(handler) = handler else {
        return Err(unsupported(l, op));
    };
    let element = if ty.bytes() == 8 {
        Width::W64
    } else {
        Width::W32
    };
    if width == Width::W32 && element == Width::W64 {
        return Err(l.error("64 bits do not fit the register"));
    }
    // Registers may be wider than the elements.
    let differs = width != element;
    let (mut results, mut sources) = (Vec::new(), vec![place.base]);
    let mut wide_results = Vec::new();
    for item in data {
        if !load {
            let value = l.value(item, width)?;
            sources.push(if differs {
                convert(l, "cvt.u32.u64", value)?
            } else {
                value
            });
        } else if differs {
            results.push(l.fresh(element));
            wide_results.push(l.register(item, width)?);
        } else {
            results.push(l.register(item, width)?);
        }
    }
    if order.releases {
        l.push(super::sync::fence(order.strength))?;
    }
    let draft = Draft::compute(handler, results.clone(), sources);
    let draft = if data.len() > 1 {
        draft.listed()
    } else {
        draft
    };
    let draft = draft.imm(imm(place.offset, data.len() as u32));
    l.push(draft.strength(order.strength))?;
    if order.acquires {
        l.push(super::sync::fence(order.strength))?;
    }
    let extend = if ty.is_signed() {
        "cvt.s64.s32"
    } else {
        "cvt.u64.u32"
    };
    for (narrow, wide) in results.into_iter().zip(wide_results) {
        let op = Opcode::new(extend);
        let Some(alu) = crate::exec::ops::alu(&op) else {
            return Err(unsupported(l, &op));
        };
        l.compute(alu, wide, vec![Source::Register(narrow)])?;
    }
    Ok(())
}

/// Loads of a kernel's own parameter, one for each element.
fn arguments<'m>(
    l: &mut Lowerer<'m>,
    ty: Type,
    data: &[Operand<'m>],
    width: Width,
    (start, size): (u32, u32),
    offset: i64,
) -> Lowered {
    let bytes = i64::from(ty.bytes());
    let mut at = offset;
    for item in data {
        if at < 0 || at + bytes > i64::from(size) {
            return Err(l.error(format!(
                "bytes {at}..{} of a parameter of {size}",
                at + bytes
            )));
        }
        let result = l.register(item, width)?;
        let handler = match width {
            Width::W64 => handler::<LoadArgument<true>>(),
            _ => handler::<LoadArgument<false>>(),
        };
        let flags = ty.bytes() | if ty.is_signed() { 256 } else { 0 };
        let draft = Draft::compute(handler, vec![result], Vec::new());
        l.push(draft.imm(imm((i64::from(start) + at) as i32, flags)))?;
        at += bytes;
    }
    Ok(())
}

/// Loads a call's argument from local memory.
pub(super) fn load_local(
    l: &mut Lowerer<'_>,
    address: u64,
    width: Width,
) -> Result<Source, PtxError> {
    let bytes = if width == Width::W64 { 8 } else { 4 };
    let to = l.fresh(width);
    let handler = memory::load(local(bytes));
    let Some(handler) = handler else {
        return Err(l.error("no such load"));
    };
    let draft = Draft::compute(handler, vec![to], vec![Source::Constant64(address)]);
    l.push(draft.imm(imm(0, 1)))?;
    Ok(Source::Register(to))
}

/// Stores a call's 32-bit result to local memory.
pub(super) fn store_local(l: &mut Lowerer<'_>, address: u64, from: Register) -> Lowered {
    let handler = memory::store(local(4));
    let Some(handler) = handler else {
        return Err(l.error("no such store"));
    };
    let sources = vec![Source::Constant64(address), Source::Register(from)];
    l.push(Draft::compute(handler, Vec::new(), sources).imm(imm(0, 1)))
}

fn local(bytes: u32) -> Access {
    Access {
        reach: Reach::Local,
        bytes,
        signed: false,
    }
}

/// Generic addresses from and to those of a space.
pub(super) fn cvta<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    let to = op.has("to");
    let space = space(op);
    if op.ty() != Some(Type::U64) || space.is_empty() {
        return Err(unsupported(l, op));
    }
    let [result, source] = l.operands(inst)?;
    let source = l.value(source, Width::W64)?;
    let result = l.register(result, Width::W64)?;
    let window = match space {
        "shared" => SHARED_WINDOW,
        "local" => LOCAL_WINDOW,
        _ => 0,
    };
    if window == 0 {
        return l.push(Draft::compute(
            copy_handler(Width::W64),
            vec![result],
            vec![source],
        ));
    }
    let distance = if to { window.wrapping_neg() } else { window };
    let sources = vec![source, Source::Constant64(distance)];
    let add = crate::exec::ops::alu(&Opcode::new("add.u64"));
    let Some(add) = add else {
        return Err(unsupported(l, op));
    };
    l.push(Draft::compute(add.handler, vec![result], sources))
}

pub(super) fn isspacep<'m>(
    l: &mut Lowerer<'m>,
    op: &Opcode<'_>,
    inst: &Instruction<'m>,
) -> Lowered {
    let space = space(op);
    let [result, address] = l.operands(inst)?;
    let address = l.value(address, Width::W64)?;
    let result = l.register(result, Width::Predicate)?;
    let which = match space {
        "shared" => window::SHARED,
        "local" => window::LOCAL,
        "param" => window::PARAM,
        "global" => window::GLOBAL,
        "const" => window::NONE,
        _ => return Err(unsupported(l, op)),
    };
    let draft = Draft::compute(handler::<window::IsSpace>(), vec![result], vec![address]);
    l.push(draft.imm(which))
}

/// Prefetches and discards do nothing.
pub(super) fn hint(op: &Opcode<'_>) -> Lowered {
    op.ignore(|part| {
        is_hint(part) || matches!(part, "global" | "local" | "L1" | "L2" | "tensormap")
    });
    Ok(())
}

/// A cache policy is a number that nobody looks at.
pub(super) fn policy<'m>(l: &mut Lowerer<'m>, op: &Opcode<'_>, inst: &Instruction<'m>) -> Lowered {
    op.ignore(|_| true);
    let Some(to) = inst.operands.first() else {
        return Err(unsupported(l, op));
    };
    let result = l.register(to, Width::W64)?;
    let zero = vec![Source::Constant64(0)];
    l.push(Draft::compute(select::copy(Width::W64), vec![result], zero))
}
