//! A kernel's statements into drafts, with every device function inlined.

use super::allocate::allocate;
use super::draft::{Draft, Label, Register, Source};
use super::names::{Entity, Scopes};
use super::shared::Shared;
use super::{Flow, Opcode, Origin, Program, Width, families};
use crate::count::Kind;
use crate::exec::map::Alu;
use crate::exec::ops::special::Special;
use crate::ptx::{
    Function, Instruction, Module, Number, Operand, PtxError, Space, Statement, Type,
};
use std::collections::HashMap;

/// Most instructions of a kernel after inlining.
const MAX_INSTRUCTIONS: usize = 1 << 22;

/// Most bytes of local memory of a thread, as on hardware.
const MAX_LOCAL: u64 = 512 << 10;

/// Addresses of the module's global and constant variables.
pub(crate) type Globals = HashMap<String, u64>;

/// Lowers `kernel` of `module`, whose text is `source`.
pub(crate) fn lower(
    source: &str,
    module: &Module<'_>,
    globals: &Globals,
    kernel: &Function<'_>,
) -> Result<Program, PtxError> {
    let shared = Shared::lay_out(module, kernel);
    let mut lowerer = Lowerer {
        source,
        module,
        globals,
        shared: &shared,
        scopes: Scopes::default(),
        drafts: Vec::new(),
        widths: Vec::new(),
        labels: Vec::new(),
        local_bytes: 0,
        calls: Vec::new(),
        leave: None,
        carry: None,
        origin: Origin {
            line: kernel.line,
            ..Origin::default()
        },
    };
    lowerer.kernel(kernel)?;
    let local_bytes = lowerer.local_bytes.next_multiple_of(16) as u32;
    let Lowerer {
        drafts,
        widths,
        labels,
        ..
    } = lowerer;
    let too_large = |reason| PtxError::new(source, kernel.line, reason);
    let program = allocate(drafts, &widths, &labels).map_err(too_large)?;
    Ok(Program {
        local_bytes,
        static_shared_end: shared.end,
        dynamic_align: shared.dynamic_align,
        ..program
    })
}

/// The drafts of one kernel in the making.
pub(super) struct Lowerer<'m> {
    source: &'m str,
    pub(super) module: &'m Module<'m>,
    globals: &'m Globals,
    shared: &'m Shared,
    scopes: Scopes<'m>,
    drafts: Vec<Draft>,
    widths: Vec<Width>,
    /// Where each label is.
    labels: Vec<Option<u32>>,
    local_bytes: u64,
    /// Functions being inlined.
    calls: Vec<&'m str>,
    /// Where `ret` of the function being inlined goes.
    leave: Option<Label>,
    /// The condition code's carry.
    carry: Option<Register>,
    origin: Origin,
}

impl<'m> Lowerer<'m> {
    fn kernel(&mut self, kernel: &'m Function<'m>) -> Result<(), PtxError> {
        self.scopes.open();
        let mut offset = 0u64;
        for param in &kernel.params {
            offset = offset.next_multiple_of(u64::from(param.align));
            let argument = Entity::Argument(offset as u32, param.bytes as u32);
            self.scopes.insert(param.name, argument);
            offset += param.bytes;
        }
        self.calls.push(kernel.name);
        self.body(kernel.body.as_deref().unwrap_or_default())?;
        self.push(Draft::control(Flow::Exit))
    }

    /// Inlines `function`, whose parameters and results lie in local memory at `storage`.
    pub(super) fn inline(
        &mut self,
        function: &'m Function<'m>,
        storage: &[(&'m str, u64)],
    ) -> Result<(), PtxError> {
        if self.calls.contains(&function.name) {
            return Err(self.error(format!(
                "recursion into `{}` is not supported",
                function.name
            )));
        }
        let Some(body) = &function.body else {
            return Err(self.error(format!("`{}` has no body", function.name)));
        };
        let origin = self.origin;
        let outer = std::mem::take(&mut self.scopes);
        self.scopes.open();
        for &(name, address) in storage {
            self.scopes
                .insert(name, Entity::Variable(Space::Local, address));
        }
        let leave = self.label();
        let outer_leave = self.leave.replace(leave);
        self.calls.push(function.name);
        self.body(body)?;
        self.calls.pop();
        self.place(leave);
        self.leave = outer_leave;
        self.scopes = outer;
        self.origin = origin;
        Ok(())
    }

    fn body(&mut self, statements: &'m [Statement<'m>]) -> Result<(), PtxError> {
        self.scopes.open();
        for statement in statements {
            if let Statement::Label(name) = statement {
                let label = self.label();
                self.scopes.insert(name, Entity::Label(label));
            }
            if let Statement::Targets { name, labels } = statement {
                self.scopes.insert(name, Entity::Targets(labels.clone()));
            }
        }
        for statement in statements {
            self.statement(statement)?;
        }
        self.scopes.close();
        Ok(())
    }

    fn statement(&mut self, statement: &'m Statement<'m>) -> Result<(), PtxError> {
        match statement {
            Statement::Registers(set) => {
                let width = match set.ty {
                    Type::Pred => Width::Predicate,
                    Type::B128 => return Err(self.error("128-bit registers are not supported")),
                    ty if ty.bytes() == 8 => Width::W64,
                    _ => Width::W32,
                };
                let first = self.widths.len() as Register;
                let count = set.count.unwrap_or(1);
                if self.widths.len() + count as usize > MAX_INSTRUCTIONS {
                    return Err(self.error("too many registers"));
                }
                self.widths.extend((0..count).map(|_| width));
                let entity = match set.count {
                    Some(count) => Entity::Range {
                        first,
                        count,
                        width,
                    },
                    None => Entity::Register(first, width),
                };
                self.scopes.insert(set.name, entity);
            }
            Statement::Variable(variable) => {
                let address = match variable.space {
                    Space::Local | Space::Param => self.reserve(variable.bytes, variable.align)?,
                    Space::Shared => {
                        u64::from(self.shared.address(variable).unwrap_or(self.shared.dynamic))
                    }
                    Space::Global | Space::Constant => {
                        return Err(self.error("a global variable inside a function"));
                    }
                };
                // What is passed to a function that is inlined lies in local memory.
                let space = match variable.space {
                    Space::Param => Space::Local,
                    space => space,
                };
                self.scopes
                    .insert(variable.name, Entity::Variable(space, address));
            }
            Statement::Label(name) => {
                if let Some(Entity::Label(label)) = self.scopes.find(name) {
                    self.place(label);
                }
            }
            Statement::Targets { .. } => {}
            Statement::Block(statements) => self.body(statements)?,
            Statement::Instruction(instruction) => {
                self.origin = Origin {
                    line: instruction.line,
                    source: instruction.source,
                    kind: Kind::of(instruction.opcode),
                };
                let opcode = Opcode::new(instruction.opcode);
                let first = self.drafts.len();
                families::lower(self, &opcode, instruction)?;
                if let Some(modifier) = opcode.leftover() {
                    let reason = format!("`.{modifier}` of `{}` is not supported", opcode.text());
                    return Err(self.error(reason));
                }
                self.guard(instruction, first)?;
                if let Some(last) = self.drafts[first..].last_mut() {
                    last.counts = true;
                }
            }
        }
        Ok(())
    }

    /// Puts the instruction's guard on the drafts from `first` on, unless they have their own.
    fn guard(&mut self, instruction: &Instruction<'m>, first: usize) -> Result<(), PtxError> {
        let Some(guard) = instruction.guard else {
            return Ok(());
        };
        if instruction.opcode.starts_with("call") {
            return Ok(());
        }
        let register = self.register(&Operand::Name(guard.name), Width::Predicate)?;
        for draft in &mut self.drafts[first..] {
            draft.guard.get_or_insert((register, guard.negated));
        }
        Ok(())
    }

    fn reserve(&mut self, bytes: u64, align: u32) -> Result<u64, PtxError> {
        let address = self.local_bytes.next_multiple_of(u64::from(align));
        self.local_bytes = address + bytes;
        if self.local_bytes > MAX_LOCAL {
            return Err(self.error(format!("more than {MAX_LOCAL} bytes of local memory")));
        }
        Ok(address)
    }

    pub(super) fn push(&mut self, draft: Draft) -> Result<(), PtxError> {
        if self.drafts.len() >= MAX_INSTRUCTIONS {
            return Err(self.error("too many instructions"));
        }
        self.drafts.push(Draft {
            origin: self.origin,
            ..draft
        });
        Ok(())
    }

    /// The drafts of all steps of `alu`.
    pub(super) fn compute(
        &mut self,
        mut alu: Alu,
        to: Register,
        mut sources: Vec<Source>,
    ) -> Result<(), PtxError> {
        while let Some(next) = alu.then {
            let between = self.fresh(alu.result);
            self.push(Draft::compute(alu.handler, vec![between], sources))?;
            sources = vec![Source::Register(between)];
            alu = *next;
        }
        self.push(Draft::compute(alu.handler, vec![to], sources))
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        self.labels.len() as Label - 1
    }

    pub(super) fn place(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label as usize) {
            *place = Some(self.drafts.len() as u32);
        }
    }

    /// Where `ret` goes; none where it ends the thread.
    pub(super) fn leave(&self) -> Option<Label> {
        self.leave
    }

    /// A new register.
    pub(super) fn fresh(&mut self, width: Width) -> Register {
        self.widths.push(width);
        self.widths.len() as Register - 1
    }

    /// The register of the condition code's carry.
    pub(super) fn carry(&mut self) -> Register {
        match self.carry {
            Some(register) => register,
            None => {
                let register = self.fresh(Width::Predicate);
                self.carry = Some(register);
                register
            }
        }
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> PtxError {
        PtxError::new(self.source, self.origin.line, reason)
    }

    pub(super) fn find(&self, name: &str) -> Option<Entity<'m>> {
        if let Some(found) = self.scopes.find(name) {
            return Some(found);
        }
        if let Some(&address) = self.globals.get(name) {
            return Some(Entity::Variable(Space::Global, address));
        }
        let mut shared = self
            .module
            .variables
            .iter()
            .filter(|v| v.space == Space::Shared);
        let variable = shared.find(|v| v.name == name)?;
        let address = self.shared.address(variable)?;
        Some(Entity::Variable(Space::Shared, u64::from(address)))
    }

    /// The width of a register operand.
    pub(super) fn width(&self, operand: &Operand<'_>) -> Option<Width> {
        match operand {
            Operand::Name(name) => match self.scopes.find(name)? {
                Entity::Register(_, width) => Some(width),
                _ => None,
            },
            _ => None,
        }
    }

    /// The register that `operand` names, which must have `width`; `_` gives one that nobody reads.
    pub(super) fn register(
        &mut self,
        operand: &Operand<'m>,
        width: Width,
    ) -> Result<Register, PtxError> {
        let Operand::Name(name) = operand else {
            return Err(self.error("a register is wanted"));
        };
        if *name == "_" {
            return Ok(self.fresh(width));
        }
        match self.scopes.find(name) {
            Some(Entity::Register(register, found)) if found == width => Ok(register),
            Some(Entity::Register(_, found)) => Err(self.error(format!(
                "register `{name}` is {found:?} where {width:?} is wanted"
            ))),
            _ => Err(self.error(format!("`{name}` is not a register"))),
        }
    }

    /// The value of `operand`, in `width`.
    pub(super) fn value(
        &mut self,
        operand: &Operand<'m>,
        width: Width,
    ) -> Result<Source, PtxError> {
        if width == Width::Predicate {
            return self.register(operand, width).map(Source::Register);
        }
        let constant = |value: u64| match width {
            Width::W64 => Source::Constant64(value),
            _ => Source::Constant32(value as u32),
        };
        match operand {
            Operand::Number(number) if width == Width::W64 => {
                Ok(Source::Constant64(number.as_u64()))
            }
            Operand::Number(number) => Ok(Source::Constant32(number.as_u32())),
            Operand::Name("WARP_SZ") => Ok(constant(32)),
            Operand::Name(name) => match self.find(name) {
                Some(Entity::Variable(_, address)) => Ok(constant(address)),
                Some(Entity::Argument(offset, _)) => {
                    Ok(constant(crate::exec::PARAM_WINDOW + u64::from(offset)))
                }
                Some(_) => self.register(operand, width).map(Source::Register),
                None => match Special::parse(name) {
                    Some(special) if special.width() == width => {
                        let register = self.fresh(width);
                        self.push(special_draft(special, register))?;
                        Ok(Source::Register(register))
                    }
                    _ => Err(self.error(format!("`{name}` is unknown"))),
                },
            },
            Operand::Offset(name, offset) => match self.find(name) {
                Some(Entity::Variable(_, address)) => {
                    Ok(constant(address.wrapping_add_signed(*offset)))
                }
                _ => Err(self.error(format!("`{name}` is not a variable"))),
            },
            _ => Err(self.error("a value is wanted")),
        }
    }

    /// An integer that must be known here.
    pub(super) fn constant(&self, operand: &Operand<'m>) -> Result<u64, PtxError> {
        match operand {
            Operand::Number(number @ Number::Integer(_)) => Ok(number.as_u64()),
            _ => Err(self.error("an integer constant is wanted")),
        }
    }

    /// The label that `operand` names.
    pub(super) fn target(&self, operand: &Operand<'m>) -> Result<Label, PtxError> {
        match operand {
            Operand::Name(name) => self.named_label(name),
            _ => Err(self.error("a label is wanted")),
        }
    }

    pub(super) fn named_label(&self, name: &str) -> Result<Label, PtxError> {
        match self.scopes.find(name) {
            Some(Entity::Label(label)) => Ok(label),
            _ => Err(self.error(format!("`{name}` is not a label"))),
        }
    }

    /// The operands, which must be exactly `N`.
    pub(super) fn operands<'i, const N: usize>(
        &self,
        instruction: &'i Instruction<'m>,
    ) -> Result<&'i [Operand<'m>; N], PtxError> {
        <&[Operand<'m>; N]>::try_from(instruction.operands.as_slice()).map_err(|_| {
            let found = instruction.operands.len();
            self.error(format!("{found} operands where {N} are wanted"))
        })
    }
}

/// A draft that reads a special register.
pub(super) fn special_draft(special: Special, to: Register) -> Draft {
    Draft::compute(special.handler(), vec![to], Vec::new()).imm(special as u64)
}
