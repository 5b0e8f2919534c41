//! A dotted opcode taken apart.

use crate::ptx::Type;
use std::cell::Cell;

/// An opcode whose modifiers are ticked off as they are understood, so that one nobody asked for is
/// found and refused.
#[derive(Debug)]
pub(crate) struct Opcode<'a> {
    text: &'a str,
    stem: &'a str,
    parts: Vec<&'a str>,
    used: Cell<u64>,
}

impl<'a> Opcode<'a> {
    pub(crate) fn new(text: &'a str) -> Opcode<'a> {
        let mut parts = text.split('.');
        let stem = parts.next().unwrap_or("");
        // Real opcodes have a dozen parts; more cannot be ticked off and are refused.
        Opcode {
            text,
            stem,
            parts: parts.collect(),
            used: Cell::new(0),
        }
    }

    /// The whole dotted name.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The first part.
    pub(crate) fn stem(&self) -> &'a str {
        self.stem
    }

    /// Whether `modifier` is there.
    pub(crate) fn has(&self, modifier: &str) -> bool {
        self.find(|part| (part == modifier).then_some(())).is_some()
    }

    /// The first modifier not yet ticked off that `pick` knows.
    pub(crate) fn find<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        for (i, part) in self.parts.iter().enumerate().take(64) {
            if self.used.get() >> i & 1 == 0
                && let Some(found) = pick(part)
            {
                self.used.set(self.used.get() | 1 << i);
                return Some(found);
            }
        }
        None
    }

    /// The next type.
    pub(crate) fn ty(&self) -> Option<Type> {
        self.find(Type::parse)
    }

    /// Ticks off whatever satisfies `known`.
    pub(crate) fn ignore(&self, known: impl Fn(&str) -> bool) {
        while self.find(|part| known(part).then_some(())).is_some() {}
    }

    /// A modifier that nobody understood.
    pub(crate) fn leftover(&self) -> Option<&'a str> {
        let unused = |i: usize| i >= 64 || self.used.get() >> i & 1 == 0;
        self.parts
            .iter()
            .enumerate()
            .find(|(i, _)| unused(*i))
            .map(|(_, part)| *part)
    }
}
