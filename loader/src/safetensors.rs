//! One safetensors file: its header, checked in full, and its data, untouched.
//!
//! The `safetensors` crate parses this format too, but it accepts duplicate names, gives up on a
//! whole file for one unknown dtype, and does not say which tensor is wrong. Its table of dtypes is
//! used here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use safetensors::Dtype;
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::error::Error;
use crate::file;

/// The largest header read, in bytes: the format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// The header's length stands before it, as a little-endian u64.
const LENGTH_BYTES: u64 = 8;

/// An open safetensors file.
pub(crate) struct SafetensorsFile {
    /// Every tensor by name.
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
    /// The data section, which the offsets count from.
    pub(crate) data: Bytes,
    /// The file, if the data section is mapped, and where in it the section begins.
    pub(crate) source: Option<(Arc<File>, u64)>,
}

/// What the header says about one tensor.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct TensorInfo {
    /// The dtype as spelled in the header.
    pub(crate) dtype: String,
    /// The dimensions, slowest first.
    pub(crate) shape: Vec<usize>,
    /// First byte and one past the last, within the data section.
    #[serde(rename = "data_offsets")]
    pub(crate) offsets: (usize, usize),
}

impl SafetensorsFile {
    /// Opens `path`, checks its header, and maps (or reads) its data.
    pub(crate) fn open(path: &Path, mmap: bool) -> Result<SafetensorsFile, Error> {
        let (mut source, length) = file::open(path)?;
        let header_length = header_length(path, &mut source, length)?;
        // At most 100 MB, and no more than the file holds.
        let mut header = Vec::new();
        (&source)
            .take(header_length)
            .read_to_end(&mut header)
            .map_err(Error::io(path, "read"))?;
        let data_start = LENGTH_BYTES + header_length;
        let tensors = parse_header(path, &header, length - data_start)?;

        let address = |offset: u64| {
            usize::try_from(offset)
                .map_err(|_| bad_header(path, "the file is too large for this machine"))
        };
        let (start, end) = (address(data_start)?, address(length)?);
        let fetch = if mmap { file::map } else { file::read };
        Ok(SafetensorsFile {
            tensors,
            data: fetch(path, &source, start, end)?,
            source: mmap.then(|| (Arc::new(source), data_start)),
        })
    }
}

fn bad_header(path: &Path, problem: impl Into<String>) -> Error {
    Error::Header {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

fn header_length(path: &Path, source: &mut impl Read, file_length: u64) -> Result<u64, Error> {
    if file_length < LENGTH_BYTES {
        let problem = format!("the file has {file_length} bytes, expected at least {LENGTH_BYTES}");
        return Err(bad_header(path, problem));
    }
    let mut bytes = [0; LENGTH_BYTES as usize];
    source
        .read_exact(&mut bytes)
        .map_err(Error::io(path, "read"))?;
    let header_length = u64::from_le_bytes(bytes);
    if header_length > MAX_HEADER {
        let problem = format!("its length is {header_length} bytes, expected at most {MAX_HEADER}");
        return Err(bad_header(path, problem));
    }
    let left = file_length - LENGTH_BYTES;
    if header_length > left {
        let problem =
            format!("its length is {header_length} bytes, but only {left} follow in the file");
        return Err(bad_header(path, problem));
    }
    Ok(header_length)
}

/// Parses a header and checks that the tensors tile the data section of `data_length` bytes.
fn parse_header(
    path: &Path,
    header: &[u8],
    data_length: u64,
) -> Result<BTreeMap<String, TensorInfo>, Error> {
    let TensorMap(tensors) = serde_json::from_slice::<TensorMap<TensorInfo>>(header)
        .map_err(|error| bad_header(path, error.to_string()))?;
    for (name, info) in &tensors {
        check_size(info).map_err(|problem| bad_entry(path, name, problem))?;
    }
    check_tiling(path, &tensors, data_length)?;
    Ok(tensors)
}

fn bad_entry(path: &Path, tensor: &str, problem: String) -> Error {
    Error::TensorEntry {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        problem,
    }
}

/// Shape times dtype must be the number of bytes between the offsets.
fn check_size(info: &TensorInfo) -> Result<(), String> {
    let (begin, end) = info.offsets;
    let Some(found) = end.checked_sub(begin) else {
        return Err(format!(
            "its data ends at byte {end}, before it begins at byte {begin}"
        ));
    };
    // The size of an unknown dtype cannot be checked; it is refused if the tensor is asked for.
    let Ok(dtype) = Dtype::deserialize(StrDeserializer::<serde_json::Error>::new(&info.dtype))
    else {
        return Ok(());
    };
    let bits = info
        .shape
        .iter()
        .try_fold(1, |elements: usize, &dim| elements.checked_mul(dim))
        .and_then(|elements| elements.checked_mul(dtype.bitsize()))
        .ok_or_else(|| format!("the size of shape {:?} in {dtype} overflows", info.shape))?;
    if bits % 8 != 0 || bits / 8 != found {
        let expected = bits.div_ceil(8);
        return Err(format!(
            "its data has {found} bytes, but shape {:?} in {dtype} takes {expected}",
            info.shape
        ));
    }
    Ok(())
}

/// Sorted by offset, each tensor must begin where the one before it ends, from the first byte of
/// the data section to its last.
fn check_tiling(
    path: &Path,
    tensors: &BTreeMap<String, TensorInfo>,
    data_length: u64,
) -> Result<(), Error> {
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, info)| info.offsets);
    let mut covered = 0;
    for (name, info) in order {
        let (begin, end) = info.offsets;
        if begin != covered {
            let what = if begin < covered {
                "overlaps"
            } else {
                "leaves a gap after"
            };
            let problem = format!(
                "its data {what} the tensor before it: it begins at byte {begin}, expected {covered}"
            );
            return Err(bad_entry(path, name, problem));
        }
        if end as u64 > data_length {
            let problem = format!(
                "its data ends at byte {end}, but the file holds {data_length} bytes of data"
            );
            return Err(bad_entry(path, name, problem));
        }
        covered = end;
    }
    if covered as u64 != data_length {
        let problem = format!("the tensors cover {covered} bytes, but {data_length} follow it");
        return Err(bad_header(path, problem));
    }
    Ok(())
}

/// A JSON object keyed by tensor name. A name that occurs twice is an error, which plain maps would
/// hide; the key `__metadata__`, reserved by the format, is skipped.
pub(crate) struct TensorMap<T>(pub(crate) BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TensorMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TensorMapVisitor(PhantomData))
    }
}

struct TensorMapVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TensorMapVisitor<T> {
    type Value = TensorMap<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object keyed by tensor name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map
                .next_value::<T>()
                .map_err(|error| A::Error::custom(format!("tensor `{name}`: {error}")))?;
            match tensors.entry(name) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(entry) => {
                    let name = entry.key();
                    return Err(A::Error::custom(format!("tensor `{name}` occurs twice")));
                }
            };
        }
        Ok(TensorMap(tensors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the error for a header over `data` bytes of data.
    #[track_caller]
    fn assert_refused(header: &str, data: u64, parts: &[&str]) {
        let path = Path::new("w.safetensors");
        let message = parse_header(path, header.as_bytes(), data)
            .unwrap_err()
            .to_string();
        for part in ["w.safetensors: "].iter().chain(parts) {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
    }

    #[test]
    fn accepts_any_order_empty_tensors_and_unknown_dtypes() {
        let header = r#"{
            "b": {"dtype": "F16", "shape": [2, 3], "data_offsets": [8, 20]},
            "__metadata__": {"format": "pt"},
            "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [8, 8]},
            "wide": {"dtype": "F32", "shape": [18446744073709551615, 0], "data_offsets": [8, 8]},
            "scalar": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
            "new": {"dtype": "F3_E1M1", "shape": [5], "data_offsets": [20, 22]}
        }   "#;
        let tensors = parse_header(Path::new("w"), header.as_bytes(), 22).unwrap();
        assert_eq!(
            tensors.keys().collect::<Vec<_>>(),
            ["b", "new", "none", "scalar", "wide"]
        );
        assert_eq!(tensors["b"].shape, [2, 3]);
        assert_eq!(tensors["b"].offsets, (8, 20));
    }

    #[test]
    fn refuses_bad_entries() {
        let two = |a: &str, b: &str| {
            format!(
                r#"{{"a": {{"dtype": "U8", "shape": [4], "data_offsets": {a}}},
                     "b": {{"dtype": "U8", "shape": [4], "data_offsets": {b}}}}}"#
            )
        };
        assert!(parse_header(Path::new("w"), two("[0, 4]", "[4, 8]").as_bytes(), 8).is_ok());
        assert_refused(
            &two("[0, 4]", "[3, 7]"),
            8,
            &["`b`", "overlaps", "byte 3", "expected 4"],
        );
        assert_refused(
            &two("[0, 4]", "[5, 9]"),
            9,
            &["`b`", "gap", "byte 5", "expected 4"],
        );
        assert_refused(
            &two("[1, 5]", "[5, 9]"),
            9,
            &["`a`", "gap", "byte 1", "expected 0"],
        );
        assert_refused(&two("[0, 4]", "[4, 8]"), 7, &["`b`", "byte 8", "7 bytes"]);
        assert_refused(&two("[0, 4]", "[4, 8]"), 9, &["cover 8 bytes", "9"]);
        assert_refused(&two("[0, 4]", "[8, 4]"), 8, &["`b`", "byte 4", "byte 8"]);
        assert_refused(
            &two("[0, 4]", "[4, 9]"),
            9,
            &["`b`", "5 bytes", "[4]", "takes 4"],
        );
        assert_refused(&two("[0, 4]", "[4, -1]"), 8, &["`b`", "-1"]);
        assert_refused(&two("[0, 4]", "[4]"), 8, &["`b`"]);
    }

    #[test]
    fn refuses_sizes_that_overflow() {
        let header =
            r#"{"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}"#;
        assert_refused(header, 0, &["`a`", "4294967296", "overflows"]);
    }

    #[test]
    fn refuses_duplicate_names_and_bad_json() {
        let entry = r#"{"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}"#;
        assert_refused(
            &format!(r#"{{"a": {entry}, "a": {entry}}}"#),
            0,
            &["`a` occurs twice"],
        );
        assert_refused(
            r#"{"a": {"dtype": "U8", "shape": [0]}}"#,
            0,
            &["`a`", "data_offsets"],
        );
        assert_refused("[]", 0, &["an object keyed by tensor name"]);
        assert_refused(r#"{"a": "#, 0, &["EOF"]);
        assert_refused("", 0, &["EOF"]);
    }

    #[test]
    fn refuses_bad_header_lengths() {
        let length_of = |bytes: &[u8]| {
            let length = bytes.len() as u64;
            header_length(Path::new("w.safetensors"), &mut &*bytes, length)
        };
        let with_length = |length: u64| [&length.to_le_bytes()[..], b"{}"].concat();
        assert_eq!(length_of(&with_length(2)).unwrap(), 2);
        for (bytes, parts) in [
            (b"1234567".to_vec(), ["7 bytes", "at least 8"]),
            (with_length(3), ["3 bytes", "only 2 follow"]),
            (
                with_length(100_000_001),
                ["100000001 bytes", "at most 100000000"],
            ),
            (
                with_length(u64::MAX),
                ["18446744073709551615 bytes", "at most 100000000"],
            ),
        ] {
            let message = length_of(&bytes).unwrap_err().to_string();
            for part in ["w.safetensors", parts[0], parts[1]] {
                assert!(message.contains(part), "`{part}` is not in `{message}`");
            }
        }
    }
}
