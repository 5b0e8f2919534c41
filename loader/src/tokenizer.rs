//! `tokenizer.json`: text to token ids and back.

use std::path::{Path, PathBuf};

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
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| bad(error.to_string()))?;
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
        self.inner
            .encode_fast(text, false)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|error| self.failed("encode", error))
    }

    /// The text of some tokens, with U+FFFD where their bytes are not UTF-8. Ids without text are
    /// passed over; special tokens too if `skip_special`.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, Error> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|error| self.failed("decode", error))
    }

    fn failed(&self, action: &'static str, error: tokenizers::Error) -> Error {
        Error::Tokenize {
            path: self.path.clone(),
            action,
            problem: error.to_string(),
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
