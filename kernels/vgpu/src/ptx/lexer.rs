//! PTX text into tokens.

use super::{Number, PtxError};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TokenKind<'a> {
    /// A name, a directive or a dotted opcode.
    Word(&'a str),
    /// A literal without its sign.
    Number(Number),
    /// A string, without its quotes.
    Text(&'a str),
    /// Any other character.
    Mark(char),
}

/// A token and its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind<'a>,
    pub(super) line: u32,
}

/// Splits `source` into tokens.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let mut found = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                line += 1;
                rest = &rest[1..];
                continue;
            }
            c if c.is_whitespace() || c == '\0' => {
                rest = &rest[c.len_utf8()..];
                continue;
            }
            '/' if rest.starts_with("//") => {
                rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                continue;
            }
            '/' if rest.starts_with("/*") => {
                let end = rest.find("*/").map_or(rest.len(), |at| at + 2);
                line += rest[..end].matches('\n').count() as u32;
                rest = &rest[end..];
                continue;
            }
            '"' => {
                let Some(end) = rest[1..].find('"') else {
                    return Err(PtxError::new(source, line, "a string does not end"));
                };
                found.push(Token {
                    kind: TokenKind::Text(&rest[1..1 + end]),
                    line,
                });
                end + 2
            }
            c if c.is_ascii_digit() => {
                let length = number_length(rest);
                let Some(number) = Number::parse(&rest[..length]) else {
                    let reason = format!("`{}` is not a number", &rest[..length]);
                    return Err(PtxError::new(source, line, reason));
                };
                found.push(Token {
                    kind: TokenKind::Number(number),
                    line,
                });
                length
            }
            c if is_word(c) => {
                let length = word_length(rest);
                found.push(Token {
                    kind: TokenKind::Word(&rest[..length]),
                    line,
                });
                length
            }
            c => {
                found.push(Token {
                    kind: TokenKind::Mark(c),
                    line,
                });
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '%' | '.')
}

/// A word may hold `::` (as in `.L2::128B`), while a single colon ends a label.
fn word_length(text: &str) -> usize {
    let mut length = 0;
    loop {
        let rest = &text[length..];
        match rest.chars().next() {
            Some(c) if is_word(c) => length += 1,
            Some(':') if rest.starts_with("::") => length += 2,
            _ => return length,
        }
    }
}

fn number_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .unwrap_or(text.len())
}
