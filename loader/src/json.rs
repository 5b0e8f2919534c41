//! Reading JSON files key by key, so that every complaint names the file, the dotted key and the
//! value found.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::file;

/// Reads and parses a JSON file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Value, Error> {
    let bytes = file::read_small(path, limit)?;
    serde_json::from_slice(&bytes).map_err(|cause| Error::Json {
        path: path.to_owned(),
        cause,
    })
}

/// One JSON object inside a file, which knows where it came from.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    path: &'a Path,
    /// The dotted key of this object; empty at the top of the file.
    prefix: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// The object at the top of a file.
    pub(crate) fn root(path: &'a Path, value: &'a Value) -> Result<Self, Error> {
        let Value::Object(map) = value else {
            return Err(invalid(path, ".", value, "an object"));
        };
        Ok(Section {
            path,
            prefix: "",
            map,
        })
    }

    /// A required object one level below the top of the file.
    pub(crate) fn section(&self, key: &'a str) -> Result<Section<'a>, Error> {
        match self.required(key)? {
            Value::Object(map) => Ok(Section {
                path: self.path,
                prefix: key,
                map,
            }),
            other => Err(self.invalid(key, other, "an object")),
        }
    }

    /// The value of a key; `null` counts as absent, as in transformers.
    pub(crate) fn optional(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&self, key: &str) -> Result<&'a Value, Error> {
        self.optional(key).ok_or_else(|| self.missing(key))
    }

    /// A required integer within `range`.
    pub(crate) fn size(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize, Error> {
        self.size_of(key, self.required(key)?, range)
    }

    /// As [`Section::size`], or `default` where the key is absent, if there is one.
    pub(crate) fn size_or(
        &self,
        key: &str,
        default: Option<usize>,
        range: RangeInclusive<usize>,
    ) -> Result<usize, Error> {
        match (self.optional(key), default) {
            (None, Some(default)) => Ok(default),
            _ => self.size(key, range),
        }
    }

    /// Which of two names of one key is there, the first one where none is.
    ///
    /// # Errors
    /// If both are, with different values.
    pub(crate) fn spelling<'k>(&self, name: &'k str, other: &'k str) -> Result<&'k str, Error> {
        match (self.optional(name), self.optional(other)) {
            (Some(value), Some(same)) if value != same => {
                let expected = format!("{}, {same}, or absent", self.dotted(other));
                Err(self.invalid(name, value, expected))
            }
            (None, Some(_)) => Ok(other),
            _ => Ok(name),
        }
    }

    /// An optional integer within `range`.
    pub(crate) fn optional_size(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Error> {
        self.optional(key)
            .map(|value| self.size_of(key, value, range))
            .transpose()
    }

    fn size_of(
        &self,
        key: &str,
        value: &Value,
        range: RangeInclusive<usize>,
    ) -> Result<usize, Error> {
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or_else(|| {
                let expected = format!("an integer from {} to {}", range.start(), range.end());
                self.invalid(key, value, expected)
            })
    }

    /// A required finite number that `accept`s; `expected` says in words which those are.
    pub(crate) fn number(
        &self,
        key: &str,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> Result<f64, Error> {
        self.number_of(key, self.required(key)?, expected, accept)
    }

    /// An optional finite number that `accept`s; `expected` says in words which those are.
    pub(crate) fn optional_number(
        &self,
        key: &str,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, Error> {
        self.optional(key)
            .map(|value| self.number_of(key, value, expected, accept))
            .transpose()
    }

    fn number_of(
        &self,
        key: &str,
        value: &Value,
        expected: &str,
        accept: impl Fn(f64) -> bool,
    ) -> Result<f64, Error> {
        value
            .as_f64()
            .filter(|x| x.is_finite() && accept(*x))
            .ok_or_else(|| self.invalid(key, value, expected))
    }

    /// An optional token id, or list of them, below `vocab_size`; an empty list counts as absent.
    pub(crate) fn optional_tokens(
        &self,
        key: &str,
        vocab_size: usize,
    ) -> Result<Option<Vec<u32>>, Error> {
        let Some(value) = self.optional(key) else {
            return Ok(None);
        };
        let ids = match value {
            Value::Array(ids) => ids.as_slice(),
            one => std::slice::from_ref(one),
        };
        let id = |value: &Value| {
            value
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .filter(|id| (*id as usize) < vocab_size)
                .ok_or_else(|| {
                    let expected = format!("token ids below text_config.vocab_size, {vocab_size}");
                    self.invalid(key, value, expected)
                })
        };
        let ids: Vec<u32> = ids.iter().map(id).collect::<Result<_, _>>()?;
        Ok(Some(ids).filter(|ids| !ids.is_empty()))
    }

    /// An optional boolean.
    pub(crate) fn optional_bool(&self, key: &str) -> Result<Option<bool>, Error> {
        self.optional(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.invalid(key, value, "true or false"))
            })
            .transpose()
    }

    /// A required string out of `choices`; returns the matching second half.
    pub(crate) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, Error> {
        let value = self.required(key)?;
        value
            .as_str()
            .and_then(|name| choices.iter().find(|(known, _)| *known == name))
            .map(|(_, choice)| *choice)
            .ok_or_else(|| {
                let known: Vec<_> = choices
                    .iter()
                    .map(|(known, _)| format!("{known:?}"))
                    .collect();
                self.invalid(key, value, known.join(" or "))
            })
    }

    /// The error for a key that is not there.
    pub(crate) fn missing(&self, key: &str) -> Error {
        Error::MissingKey {
            path: self.path.to_owned(),
            key: self.dotted(key),
        }
    }

    /// The error for a value that is not acceptable.
    pub(crate) fn invalid(&self, key: &str, found: &Value, expected: impl Into<String>) -> Error {
        invalid(self.path, &self.dotted(key), found, expected)
    }

    fn dotted(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.prefix)
        }
    }
}

fn invalid(path: &Path, key: &str, found: &Value, expected: impl Into<String>) -> Error {
    /// Long enough for any sensible value, short enough for a terminal.
    const SHOWN: usize = 80;
    let text = found.to_string();
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    Error::InvalidValue {
        path: path.to_owned(),
        key: key.to_owned(),
        found: shown,
        expected: expected.into(),
    }
}
