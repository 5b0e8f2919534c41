//! `tokenizer.json`: text to token ids and back.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use tokenizers::DecoderWrapper;

use crate::error::Error;
use crate::file;

/// The largest `tokenizer.json` read, in bytes.
const MAX_FILE: u64 = 256 << 20;

/// A byte-level tokenizer, as Qwen's is: every token stands for a string of bytes, which need not
/// be whole UTF-8 characters.
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    byte_of: ByteAlphabet,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its decoder must be byte-level, otherwise single tokens have no
    /// bytes of their own and answers could not be streamed.
    pub fn open(path: &Path) -> Result<Tokenizer, Error> {
        Tokenizer::from_bytes(path, &file::read_small(path, MAX_FILE)?)
    }

    /// Parses the content of a `tokenizer.json`; `path` is only named in errors.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Tokenizer, Error> {
        let bad = |problem: String| Error::BadTokenizer {
            path: path.to_owned(),
            problem,
        };
        // Broken JSON is refused here, because it would make the tokenizers crate panic.
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| bad(error.to_string()))?;
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(bytes)).map_err(bad)?;
        match inner.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => {}
            Some(other) => {
                return Err(bad(format!(
                    "its decoder is {}, expected ByteLevel",
                    kind_of(other)
                )));
            }
            None => return Err(bad("it has no decoder, expected ByteLevel".into())),
        }
        // Settings left over from training; a prompt is neither cut nor filled up.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|error| bad(error.to_string()))?;
        let vocab_size = inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |largest| largest as usize + 1);
        Ok(Tokenizer {
            path: path.to_owned(),
            inner,
            byte_of: ByteAlphabet::new(),
            vocab_size,
        })
    }

    /// The tokens of a text. Special tokens written out in it are recognised; none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        guarded(|| self.inner.encode_fast(text, false))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|problem| self.failed("encode", problem))
    }

    /// The text of some tokens, with U+FFFD where their bytes are not UTF-8. Ids without text are
    /// passed over; special tokens too if `skip_special`.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        guarded(|| self.inner.decode(ids, skip_special))
            .map_err(|problem| self.failed("decode", problem))
    }

    fn failed(&self, action: &'static str, problem: String) -> Error {
        Error::Tokenize {
            path: self.path.clone(),
            action,
            problem,
        }
    }

    /// The id of a token, written as in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// A token as written in the vocabulary (byte-level tokens in their printable alphabet).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether a token is marked special, such as `<|im_end|>`.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|token| token.special)
    }

    /// Whether a token was added to those of the byte-level alphabet, special or not.
    pub fn is_added(&self, id: u32) -> bool {
        self.inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .contains_key(&id)
    }

    /// One more than the largest id that has text.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The bytes that a token stands for: for tokens in the byte-level alphabet those bytes, for
    /// added tokens such as `<think>` their text.
    pub fn token_bytes(&self, id: u32) -> Result<Vec<u8>, Error> {
        let added = self
            .inner
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id);
        if let Some(token) = added {
            return Ok(token.content.clone().into_bytes());
        }
        let token = self
            .inner
            .id_to_token(id)
            .ok_or_else(|| Error::UnknownToken {
                path: self.path.clone(),
                id,
                vocab_size: self.vocab_size,
            })?;
        let bytes: Option<Vec<u8>> = token.chars().map(|c| self.byte_of.get(c)).collect();
        // A token outside the alphabet stands for itself, as in the tokenizers crate's decoder.
        Ok(bytes.unwrap_or_else(|| token.into_bytes()))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Runs the tokenizers crate, which panics on some files that are well-formed but make no sense.
fn guarded<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers crate panicked".to_owned()),
    }
}

/// The type of a decoder, as `tokenizer.json` spells it.
fn kind_of(decoder: &DecoderWrapper) -> String {
    serde_json::to_value(decoder)
        .ok()
        .and_then(|value| Some(value.get("type")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "of an unknown type".to_owned())
}

/// GPT-2's printable alphabet of bytes: a printable Latin-1 character stands for its own byte; the
/// other 68 bytes are written, in order, as the characters from U+0100 on.
pub(crate) struct ByteAlphabet {
    chars: [char; 256],
}

impl ByteAlphabet {
    /// The first character that stands for a byte which is not printable.
    const FIRST_STAND_IN: u32 = 0x100;

    pub(crate) fn new() -> ByteAlphabet {
        let mut stand_ins = (Self::FIRST_STAND_IN..).filter_map(char::from_u32);
        let chars = std::array::from_fn(|byte| match byte as u8 {
            byte @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(byte),
            byte => stand_ins.next().unwrap_or(char::from(byte)),
        });
        ByteAlphabet { chars }
    }

    /// The 256 characters, by byte.
    pub(crate) fn chars(&self) -> &[char; 256] {
        &self.chars
    }

    /// The byte that a character stands for.
    pub(crate) fn get(&self, c: char) -> Option<u8> {
        self.chars
            .iter()
            .position(|known| *known == c)
            .map(|byte| byte as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::tokenizer_json;

    fn tokenizer() -> Tokenizer {
        let json = tokenizer_json().to_string();
        Tokenizer::from_bytes(Path::new("tokenizer.json"), json.as_bytes()).unwrap()
    }

    #[test]
    fn encodes_and_decodes() {
        let tokenizer = tokenizer();
        for text in [
            "",
            "When does the chorus start?\n",
            " 3/4, naïve — 日本 🎵\t\r\n\n",
            "It's",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
            let bytes: Vec<u8> = ids
                .iter()
                .flat_map(|id| tokenizer.token_bytes(*id).unwrap())
                .collect();
            assert_eq!(bytes, text.as_bytes());
        }
        // Words of the corpus are whole tokens.
        assert_eq!(tokenizer.encode(" the chorus").unwrap().len(), 2);
    }

    #[test]
    fn recognises_special_tokens_in_text() {
        let tokenizer = tokenizer();
        let id = |token| tokenizer.token_to_id(token).unwrap();
        let ids = tokenizer.encode("<|im_end|><think><|AUDIO|>").unwrap();
        assert_eq!(ids, [id("<|im_end|>"), id("<think>"), id("<|AUDIO|>")]);
        let special: Vec<bool> = ids.iter().map(|id| tokenizer.is_special(*id)).collect();
        assert_eq!(special, [true, false, true]);
        assert!(ids.iter().all(|id| tokenizer.is_added(*id)) && !tokenizer.is_added(0));
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), "<think>");
        assert_eq!(tokenizer.token_bytes(ids[0]).unwrap(), b"<|im_end|>");
        assert_eq!(tokenizer.id_to_token(ids[0]).as_deref(), Some("<|im_end|>"));
    }

    #[test]
    fn ids_without_text_are_errors() {
        let tokenizer = tokenizer();
        let size = tokenizer.vocab_size();
        assert!(tokenizer.token_bytes(size as u32 - 1).is_ok());
        let message = tokenizer.token_bytes(size as u32).unwrap_err().to_string();
        assert_eq!(
            message,
            format!("tokenizer.json: token id {size} has no text, expected one below {size}")
        );
        assert_eq!(tokenizer.id_to_token(size as u32), None);
        assert_eq!(tokenizer.token_to_id("no such token"), None);
    }

    #[test]
    fn forgets_truncation_and_padding() {
        let mut json = tokenizer_json();
        json["truncation"] = serde_json::json!({
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
        });
        let tokenizer = Tokenizer::from_bytes(Path::new("t"), json.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("1234567890").unwrap().len(), 10);
    }

    #[test]
    fn refuses_what_is_not_byte_level() {
        let refusal = |bytes: &[u8]| {
            Tokenizer::from_bytes(Path::new("t.json"), bytes)
                .unwrap_err()
                .to_string()
        };
        assert!(refusal(b"{").starts_with("t.json: bad tokenizer: "));
        let mut json = tokenizer_json();
        json["decoder"] = serde_json::json!({ "type": "Fuse" });
        assert_eq!(
            refusal(json.to_string().as_bytes()),
            "t.json: bad tokenizer: its decoder is Fuse, expected ByteLevel"
        );
        json["decoder"] = serde_json::Value::Null;
        assert!(refusal(json.to_string().as_bytes()).contains("no decoder, expected ByteLevel"));
    }

    #[test]
    fn the_byte_alphabet_is_gpt2s() {
        let alphabet = ByteAlphabet::new();
        for (byte, c) in [
            (b'A', 'A'),
            (b' ', 'Ġ'),
            (b'\n', 'Ċ'),
            (0, 'Ā'),
            (0x7F, 'ġ'),
            (0xAD, 'Ń'),
        ] {
            assert_eq!(alphabet.chars()[usize::from(byte)], c);
            assert_eq!(alphabet.get(c), Some(byte));
        }
        for byte in 0..=255 {
            assert_eq!(
                alphabet.get(alphabet.chars()[usize::from(byte)]),
                Some(byte)
            );
        }
        assert_eq!(alphabet.get('語'), None);
    }
}
