//! The name of a model, and which of its versions.

use crate::Error;
use std::fmt;

/// Longest name of an organisation or a model, in bytes.
const MAX_NAME: usize = 96;
/// Longest revision, in bytes.
const MAX_REVISION: usize = 255;

/// A model of a hub at a revision. Shown as `ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    id: String,
    revision: String,
}

impl ModelRef {
    /// `id` is `ORG/NAME`, `revision` a branch, a tag or a commit. Both become parts of addresses and
    /// paths: what could mean something else there is refused.
    ///
    /// # Errors
    /// [`Error::ModelId`] and [`Error::Revision`].
    pub fn new(id: &str, revision: &str) -> Result<ModelRef, Error> {
        if !id.split('/').all(is_name) || id.split('/').count() != 2 {
            return Err(Error::ModelId {
                found: id.to_owned(),
            });
        }
        if revision.len() > MAX_REVISION || !revision.split('/').all(is_step) {
            return Err(Error::Revision {
                found: revision.to_owned(),
            });
        }
        Ok(ModelRef {
            id: id.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// `ORG/NAME`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// The hub's rule; `--` stands for `/` in the cache.
fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= MAX_NAME
        && name.starts_with(word)
        && name.ends_with(word)
        && name.chars().all(|c| word(c) || c == '-' || c == '.')
        && !name.contains("--")
        && !name.contains("..")
}

/// A part of a revision, which needs no escape in an address.
fn is_step(step: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+=@".contains(c);
    !step.is_empty() && !step.starts_with('.') && !step.contains("..") && step.chars().all(plain)
}

/// Whether the text is a commit, in full.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_lower_hex(text)
}

pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_two_plain_parts() {
        for id in [
            "org/name",
            "Qwen/Qwen2-Audio-7B-Instruct",
            "a/b_c.d-1",
            "1/2",
            "_a/b_",
        ] {
            assert_eq!(ModelRef::new(id, "main").unwrap().id(), id);
        }
        let long = format!("org/{}", "a".repeat(97));
        for id in [
            "",
            "name",
            "/",
            "org/",
            "/name",
            "a/b/c",
            "../etc",
            "org/..",
            "org/.git",
            "a--b/c",
            "org/a..b",
            "org/-a",
            "org/a-",
            "or g/a",
            "org\\a/b",
            "org/näme",
            "org/a?b",
            "org/a%2f",
            "org/a\n",
            &long,
        ] {
            let error = ModelRef::new(id, "main").unwrap_err().to_string();
            assert!(error.contains("expected ORG/NAME"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn revisions_are_plain_paths() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for revision in ["main", "v1.0", "refs/pr/12", "feature/x+y", commit] {
            let model = ModelRef::new("o/n", revision).unwrap();
            assert_eq!(model.to_string(), format!("o/n@{revision}"));
        }
        let long = "a".repeat(256);
        for revision in [
            "", "/main", "main/", "a//b", "..", "../main", "a/../b", ".hidden", "a b", "a\\b",
            "a?b", "a#b", "a%2e", "a\0b", &long,
        ] {
            let error = ModelRef::new("o/n", revision).unwrap_err().to_string();
            assert!(error.contains("is not a revision"), "{error}");
        }
        assert!(
            is_commit(commit) && !is_commit(&commit[1..]) && !is_commit(&commit.to_uppercase())
        );
    }
}
