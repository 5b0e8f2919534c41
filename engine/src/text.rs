//! Tokens to text as they come: whole characters, thoughts apart, stopping at stop strings.

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";

/// A stretch of text that is ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether it is a thought rather than the answer.
    pub reasoning: bool,
}

/// Turns the bytes of tokens into pieces. Text that may yet turn out to be a marker or a stop
/// string is held back.
#[derive(Debug)]
pub(crate) struct TextStream {
    /// Bytes of a character that is not complete.
    bytes: Vec<u8>,
    /// Text that may be the head of a marker.
    held: String,
    stops: Vec<String>,
    thinking: bool,
    /// Whether newlines are to be dropped: they follow a marker.
    after_marker: bool,
    stopped: bool,
}

impl TextStream {
    /// For an answer that opens inside a thought or not.
    pub(crate) fn new(stops: &[String], thinking: bool) -> TextStream {
        TextStream {
            bytes: Vec::new(),
            held: String::new(),
            stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(),
            thinking,
            after_marker: thinking,
            stopped: false,
        }
    }

    /// Whether a stop string has come.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the text so far ends in a thought.
    pub(crate) fn is_thinking(&self) -> bool {
        self.thinking
    }

    /// Takes the bytes of a token.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.bytes.extend_from_slice(bytes);
        self.take_characters(false);
        self.release(false)
    }

    /// What is held back, when nobody wants more tokens: without a head of a character.
    pub(crate) fn cancel(&mut self) -> Vec<Piece> {
        self.release(true)
    }

    /// The rest, when no more tokens come.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        self.take_characters(true);
        self.release(true)
    }

    /// Moves whole characters to `held`; bytes that no character has become U+FFFD.
    fn take_characters(&mut self, last: bool) {
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            taken += chunk.valid().len();
            let invalid = chunk.invalid();
            // A head that more bytes may complete stands at the very end.
            let incomplete = taken + invalid.len() == self.bytes.len() && may_go_on(invalid);
            if invalid.is_empty() || (incomplete && !last) {
                break;
            }
            self.held.push(char::REPLACEMENT_CHARACTER);
            taken += invalid.len();
        }
        self.bytes.drain(..taken);
    }

    fn release(&mut self, last: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !self.stopped {
            let marker = if self.thinking { END_THINK } else { THINK };
            let stops = self.stops.iter().map(|stop| (stop.as_str(), true));
            // Whatever was complete first as the characters came, however tokens cut them.
            let first = stops
                .chain([(marker, false)])
                .filter_map(|(found, stops)| {
                    let at = self.held.find(found)?;
                    Some((at + found.len(), at, stops))
                })
                .min_by_key(|(end, at, _)| (*end, *at));
            let Some((end, at, stops)) = first else { break };
            let text = self.held[..at].to_owned();
            self.held.drain(..end);
            self.emit(text, &mut pieces);
            if stops {
                self.stopped = true;
            } else {
                self.thinking = !self.thinking;
                self.after_marker = true;
            }
        }
        if self.stopped {
            self.held.clear();
        }
        let kept = if last { 0 } else { self.possible_marker() };
        let text: String = self.held.drain(..self.held.len() - kept).collect();
        self.emit(text, &mut pieces);
        pieces
    }

    /// Bytes at the end of `held` that a marker or stop string may begin with.
    fn possible_marker(&self) -> usize {
        let marker = if self.thinking { END_THINK } else { THINK };
        let markers = self.stops.iter().map(String::as_str).chain([marker]);
        let overlap = |marker: &str| {
            let heads = marker.char_indices().map(|(at, _)| at).filter(|at| *at > 0);
            heads
                .filter(|at| self.held.ends_with(&marker[..*at]))
                .max()
                .unwrap_or(0)
        };
        markers.map(overlap).max().unwrap_or(0)
    }

    fn emit(&mut self, text: String, pieces: &mut Vec<Piece>) {
        let text = if self.after_marker {
            text.trim_start_matches('\n').to_owned()
        } else {
            text
        };
        if text.is_empty() {
            return;
        }
        self.after_marker = false;
        let reasoning = self.thinking;
        match pieces.last_mut() {
            Some(piece) if piece.reasoning == reasoning => piece.text.push_str(&text),
            _ => pieces.push(Piece { text, reasoning }),
        }
    }
}

/// Whether more bytes may make a character of these, which are not one yet.
fn may_go_on(bytes: &[u8]) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => false,
        Err(e) => e.valid_up_to() == 0 && e.error_len().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in every size of step and checks that the outcome is the same.
    fn outcome(text: &[u8], stops: &[&str], thinking: bool) -> (String, String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut outcomes = Vec::new();
        for step in 1..=text.len().max(1) {
            let mut stream = TextStream::new(&stops, thinking);
            let mut pieces: Vec<Piece> = text
                .chunks(step)
                .flat_map(|bytes| stream.push(bytes))
                .collect();
            pieces.extend(stream.finish());
            let join = |reasoning| -> String {
                let pieces = pieces.iter().filter(|p| p.reasoning == reasoning);
                pieces.map(|p| p.text.as_str()).collect()
            };
            outcomes.push((join(true), join(false), stream.stopped()));
        }
        assert!(outcomes.iter().all(|o| *o == outcomes[0]), "{outcomes:?}");
        outcomes.swap_remove(0)
    }

    fn owned(reasoning: &str, answer: &str, stopped: bool) -> (String, String, bool) {
        (reasoning.to_owned(), answer.to_owned(), stopped)
    }

    #[test]
    fn characters_are_never_split() {
        assert_eq!(
            outcome("dür 🎵 ♭".as_bytes(), &[], false),
            owned("", "dür 🎵 ♭", false)
        );
        assert_eq!(
            outcome(b"a\xff\xe2\x99", &[], false),
            owned("", "a\u{fffd}\u{fffd}", false)
        );
    }

    #[test]
    fn thoughts_are_told_apart() {
        let text = b"<think>\nlow <b> hum\n</think>\n\nAt 0:42.";
        assert_eq!(
            outcome(text, &[], false),
            owned("low <b> hum\n", "At 0:42.", false)
        );
        assert_eq!(
            outcome(b"hm</think>yes", &[], true),
            owned("hm", "yes", false)
        );
        assert_eq!(outcome(b"<thin", &[], false), owned("", "<thin", false));
    }

    #[test]
    fn stop_strings_end_the_text_and_are_not_shown() {
        assert_eq!(
            outcome(b"one, two, three", &["wo", ", th"], false),
            owned("", "one, t", true)
        );
        assert_eq!(
            outcome(b"one, two", &["three", ""], false),
            owned("", "one, two", false)
        );
        assert_eq!(
            outcome("né♭x".as_bytes(), &["♭"], false),
            owned("", "né", true)
        );
        assert_eq!(
            outcome(b"xabcd", &["xabcd", "bc", "abc"], false),
            owned("", "x", true)
        );
        assert_eq!(
            outcome(b"hm</think>yes", &["think"], true),
            owned("hm</", "", true)
        );
    }
}
