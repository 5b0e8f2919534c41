//! The fields of a JSON object, each taken once. What is left is an error, so that nothing that is
//! asked for is passed over.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A number, in messages.
pub(crate) const NUMBER: &str = "a number";
/// A count, in messages.
pub(crate) const COUNT: &str = "a whole number of 0 or more";
/// Text, in messages.
pub(crate) const TEXT: &str = "a string";

/// Fields that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    /// What messages call the object, such as `body.messages[0]`; nothing for the line itself.
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// The fields of what should be an object.
    pub(crate) fn new(path: String, value: Value) -> Result<Fields, String> {
        match value {
            Value::Object(map) => Ok(Fields { path, map }),
            other => {
                let path = if path.is_empty() { "the line" } else { &path };
                Err(format!("{path} is {}, expected an object", shown(&other)))
            }
        }
    }

    /// What messages call a field.
    pub(crate) fn name(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// Takes a field that may be missing or null.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.take_value(key) else {
            return Ok(None);
        };
        let taken = T::deserialize(&value);
        taken
            .map(Some)
            .map_err(|_| self.wrong(key, &value, expected))
    }

    /// Takes a field of any kind but null.
    pub(crate) fn take_value(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key).filter(|value| !value.is_null())
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// Takes a field that must be there.
    pub(crate) fn need<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<T, String> {
        self.take(key, expected)?
            .ok_or_else(|| self.missing(key, expected))
    }

    /// Takes a field to a place, which stays as it is if there is none.
    pub(crate) fn set<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
        place: &mut T,
    ) -> Result<(), String> {
        if let Some(value) = self.take(key, expected)? {
            *place = value;
        }
        Ok(())
    }

    /// Takes an object that must be there.
    pub(crate) fn object(&mut self, key: &str) -> Result<Fields, String> {
        let value = self.take_value(key);
        let value = value.ok_or_else(|| self.missing(key, "an object"))?;
        Fields::new(self.name(key), value)
    }

    /// Takes fields as they are, those of them that are there.
    pub(crate) fn some(&mut self, keys: &[&str]) -> Map<String, Value> {
        let taken = keys
            .iter()
            .filter_map(|key| self.map.shift_remove_entry(*key));
        taken.collect()
    }

    /// That there are no others.
    pub(crate) fn finish(self) -> Result<(), String> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{} is not known here", shown_text(&self.name(key)))),
        }
    }

    /// That a field is not there.
    pub(crate) fn missing(&self, key: &str, expected: &str) -> String {
        format!("{} is missing, expected {expected}", self.name(key))
    }

    /// That a field is not what it should be.
    pub(crate) fn wrong(&self, key: &str, found: &Value, expected: &str) -> String {
        format!(
            "{} is {}, expected {expected}",
            self.name(key),
            shown(found)
        )
    }
}

/// A value as messages show it.
pub(crate) fn shown(value: &Value) -> String {
    shown_text(&value.to_string())
}

/// The head of a text that may be long.
pub(crate) fn shown_text(text: &str) -> String {
    /// Long enough for any sensible value, short enough for a terminal.
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}
