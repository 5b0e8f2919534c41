//! The checksums that a hub gives, which are also the names of blobs.

use crate::model_ref::is_lower_hex;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A checksum, as an ETag has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// The sha256 of a large file, in hexadecimal.
    Sha256(String),
    /// The id of a git blob: the sha1 of a header with the size, and of the file.
    GitBlob(String),
}

impl Checksum {
    /// Reads an ETag, weak or not.
    pub(crate) fn from_etag(etag: &str) -> Option<Checksum> {
        let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        match etag.len() {
            64 if is_lower_hex(etag) => Some(Checksum::Sha256(etag.to_owned())),
            40 if is_lower_hex(etag) => Some(Checksum::GitBlob(etag.to_owned())),
            _ => None,
        }
    }

    pub(crate) fn hex(&self) -> &str {
        match self {
            Checksum::Sha256(hex) | Checksum::GitBlob(hex) => hex,
        }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Checksum::Sha256(_) => "sha256",
            Checksum::GitBlob(_) => "git blob id",
        }
    }

    /// What computes the checksum of a file of `size` bytes.
    pub(crate) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Checksum::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Checksum::GitBlob(_) => {
                Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {size}\0")))
            }
        }
    }
}

/// A checksum in the making.
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::GitBlob(hash) => hash.update(bytes),
        }
    }

    /// In hexadecimal; afterwards it begins again.
    pub(crate) fn finish(&mut self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        match self {
            Hasher::Sha256(hash) => hex(&hash.finalize_reset()),
            Hasher::GitBlob(hash) => hex(&hash.finalize_reset()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf hello | git hash-object --stdin` and `| sha256sum`.
    const BLOB: &str = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0";
    const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn both_are_computed() {
        for hex in [BLOB, SHA256] {
            let checksum = Checksum::from_etag(hex).unwrap();
            let mut hasher = checksum.hasher(5);
            hasher.update(b"he");
            hasher.update(b"llo");
            assert_eq!(hasher.finish(), hex);
        }
    }

    #[test]
    fn etags_of_any_form_are_read_and_others_refused() {
        let blob = Some(Checksum::GitBlob(BLOB.to_owned()));
        for etag in [
            BLOB.to_owned(),
            format!("\"{BLOB}\""),
            format!("W/\"{BLOB}\""),
        ] {
            assert_eq!(Checksum::from_etag(&etag), blob);
        }
        let path = format!("../{}", &BLOB[3..]);
        for etag in [
            "",
            "\"\"",
            "abc",
            &SHA256.to_uppercase(),
            &path,
            "W/\"1234-5678\"",
        ] {
            assert_eq!(Checksum::from_etag(etag), None, "{etag}");
        }
    }
}
