//! The layout of a kernel's shared variables.

use crate::exec::SHARED_START;
use crate::ptx::{Address, Function, Module, Operand, Space, Statement, Variable};
use std::collections::{HashMap, HashSet};

/// Where the shared variables lie that a kernel and what it calls use.
#[derive(Debug)]
pub(super) struct Shared {
    /// Addresses by the variable's identity: names repeat between functions.
    addresses: HashMap<*const (), u32>,
    pub(super) end: u32,
    pub(super) dynamic: u32,
    pub(super) dynamic_align: u32,
}

impl Shared {
    pub(super) fn lay_out(module: &Module<'_>, kernel: &Function<'_>) -> Shared {
        let mut reached = Reached {
            module,
            names: HashSet::new(),
            variables: Vec::new(),
        };
        reached.function(kernel);
        let Reached {
            names,
            mut variables,
            ..
        } = reached;
        let outer = module.variables.iter().filter(|v| v.space == Space::Shared);
        let used: Vec<_> = outer.filter(|v| names.contains(v.name)).collect();
        let fixed = used.iter().copied().filter(|v| !v.external);
        variables.splice(0..0, fixed);
        let mut end = u64::from(SHARED_START);
        let mut addresses = HashMap::new();
        for variable in variables {
            end = end.next_multiple_of(u64::from(variable.align));
            addresses.insert(identity(variable), end as u32);
            end += variable.bytes;
        }
        let align = used
            .iter()
            .filter(|v| v.external)
            .map(|v| v.align)
            .max()
            .unwrap_or(1);
        // A size beyond any block's is refused at launch.
        let end = end.min(1 << 30) as u32;
        let dynamic = end.next_multiple_of(align.min(1 << 20));
        Shared {
            addresses,
            end,
            dynamic,
            dynamic_align: align,
        }
    }

    pub(super) fn address(&self, variable: &Variable<'_>) -> Option<u32> {
        if variable.external {
            return Some(self.dynamic);
        }
        self.addresses.get(&identity(variable)).copied()
    }
}

fn identity(variable: &Variable<'_>) -> *const () {
    std::ptr::from_ref(variable).cast()
}

/// Walks over a kernel and what it calls.
struct Reached<'m> {
    module: &'m Module<'m>,
    names: HashSet<&'m str>,
    variables: Vec<&'m Variable<'m>>,
}

impl<'m> Reached<'m> {
    fn function(&mut self, function: &'m Function<'m>) {
        self.statements(function.body.as_deref().unwrap_or_default());
    }

    fn statements(&mut self, statements: &'m [Statement<'m>]) {
        for statement in statements {
            match statement {
                Statement::Block(inner) => self.statements(inner),
                Statement::Variable(v) if v.space == Space::Shared => self.variables.push(v),
                Statement::Instruction(inst) => {
                    inst.operands
                        .iter()
                        .for_each(|operand| self.operand(operand));
                }
                _ => {}
            }
        }
    }

    fn operand(&mut self, operand: &'m Operand<'m>) {
        match operand {
            Operand::Name(name) | Operand::Offset(name, _) => self.name(name),
            Operand::Address(Address {
                base: Some(name), ..
            }) => self.name(name),
            Operand::Vector(items) | Operand::List(items) => {
                items.iter().for_each(|item| self.operand(item));
            }
            _ => {}
        }
    }

    fn name(&mut self, name: &'m str) {
        if self.names.insert(name)
            && let Some(function) = self.module.functions.iter().find(|f| f.name == name)
        {
            self.function(function);
        }
    }
}
