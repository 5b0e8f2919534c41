//! The audio of a request: a file's path, or a file in base64.

use crate::fields::shown_text;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gamut_engine::{AudioInput, Excerpt};
use std::path::Path;
use std::sync::Arc;

/// Standard base64, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a URL of audio may be, in messages.
const URL: &str = "a file's path, a file:// URL or a data: URL in base64";

/// The audio that a path or URL names. Relative paths start from `folder`.
pub(super) fn from_url(url: &str, folder: &Path) -> Result<AudioInput, String> {
    let wrong = || format!("{:?} is not {URL}", shown_text(url));
    if let Some(rest) = url.strip_prefix("data:") {
        let (_, data) = rest.split_once(";base64,").ok_or_else(wrong)?;
        return from_base64("data: URL", data);
    }
    let path = match url.split_once("://") {
        None if url.is_empty() => return Err(wrong()),
        None => folder.join(url),
        Some(("file", rest)) => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            let path = path.starts_with('/').then(|| percent_decoded(path));
            path.flatten().ok_or_else(wrong)?.into()
        }
        Some(_) => return Err(wrong()),
    };
    // A pipe would hold up all others until somebody writes to it.
    match path.metadata() {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(format!("{} is no regular file", path.display()))
        }
        _ => Ok(AudioInput::path(path)),
    }
}

/// The audio that is given in base64, which errors call `name`.
pub(super) fn from_base64(name: &str, data: &str) -> Result<AudioInput, String> {
    let data = BASE64.decode(data);
    let data = data.map_err(|e| format!("the {name} is no base64: {e}"))?;
    Ok(AudioInput::Bytes {
        name: format!("<{name}>"),
        data: Arc::from(data),
        excerpt: Excerpt::default(),
    })
}

/// Bytes of audio that wait in memory.
pub(super) fn held(audio: &AudioInput) -> usize {
    match audio {
        AudioInput::Bytes { data, .. } => data.len(),
        _ => 0,
    }
}

/// The text with every `%41` the byte that it stands for; nothing if that is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(url: &str) -> String {
        match from_url(url, Path::new("folder")) {
            Ok(AudioInput::Path(path, _)) => path.display().to_string(),
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn urls_are_paths_or_data() {
        assert_eq!(path("a b%20.mp3"), "folder/a b%20.mp3");
        assert_eq!(path("/a.mp3"), "/a.mp3");
        assert_eq!(path("file:///a%20%C3%BC.mp3"), "/a ü.mp3");
        assert_eq!(path("file://localhost/a.mp3"), "/a.mp3");
        for data in ["data:audio/mp3;base64,aGk=", "data:;base64,aGk"] {
            let Ok(AudioInput::Bytes { data, .. }) = from_url(data, Path::new("")) else {
                panic!("{data}");
            };
            assert_eq!(*data, *b"hi");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for (url, part) in [
            ("", "\"\" is not a file's path"),
            ("https://host/a.mp3", "\"https://host/a.mp3\" is not"),
            ("file://a.mp3", "\"file://a.mp3\" is not"),
            ("file:///a%2", "is not"),
            ("file:///%ff", "is not"),
            ("data:audio/mp3,hi", "is not"),
            ("data:;base64,a\n", "data: URL is no base64"),
        ] {
            let error = from_url(url, Path::new("")).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        if cfg!(unix) {
            let error = from_url("/dev/null", Path::new("")).unwrap_err();
            assert_eq!(error, "/dev/null is no regular file");
        }
    }
}
