//! What names mean inside a function.

use super::Width;
use super::draft::{Label, Register};
use crate::ptx::Space;
use std::collections::HashMap;

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Entity<'a> {
    Register(Register, Width),
    /// `count` registers from `first` on, named by the prefix and a number.
    Range {
        first: Register,
        count: u32,
        width: Width,
    },
    /// A variable and its address in its space.
    Variable(Space, u64),
    /// A kernel's parameter: offset and size in bytes.
    Argument(u32, u32),
    Label(Label),
    /// A branch table.
    Targets(Vec<&'a str>),
}

/// Nested scopes, innermost last.
#[derive(Debug, Default)]
pub(super) struct Scopes<'a> {
    scopes: Vec<HashMap<&'a str, Entity<'a>>>,
}

impl<'a> Scopes<'a> {
    pub(super) fn open(&mut self) {
        self.scopes.push(HashMap::new());
    }

    pub(super) fn close(&mut self) {
        self.scopes.pop();
    }

    pub(super) fn insert(&mut self, name: &'a str, entity: Entity<'a>) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, entity);
        }
    }

    /// What `name` stands for; a member of a range comes as a register.
    pub(super) fn find(&self, name: &str) -> Option<Entity<'a>> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[prefix.len()..].parse::<u32>().ok();
        for scope in self.scopes.iter().rev() {
            match scope.get(name) {
                None | Some(Entity::Range { .. }) => {}
                Some(found) => return Some(found.clone()),
            }
            if let (
                Some(Entity::Range {
                    first,
                    count,
                    width,
                }),
                Some(number),
            ) = (scope.get(prefix), number)
                && number < *count
            {
                return Some(Entity::Register(first + number, *width));
            }
        }
        None
    }
}
