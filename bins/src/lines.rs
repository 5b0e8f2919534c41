//! Lines of a file, numbered and of bounded length.

use std::io::{self, BufRead, BufReader, Read};

/// Lines of a file, each read when it is asked for.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    most: usize,
    number: u64,
    offset: u64,
}

/// A line.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Bytes of the file before it.
    pub(crate) start: u64,
    /// What it holds, without the newline; nothing if it is too long.
    pub(crate) text: Vec<u8>,
    /// Whether a newline ends it.
    pub(crate) whole: bool,
    /// Whether it has more bytes than a line may have.
    pub(crate) too_long: bool,
}

impl<R: Read> Lines<R> {
    /// Lines of at most so many bytes.
    pub(crate) fn new(reader: R, most: usize) -> Lines<R> {
        Lines {
            reader: BufReader::new(reader),
            most,
            number: 0,
            offset: 0,
        }
    }

    /// The next line, if there is one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let mut bounded = (&mut self.reader).take(self.most as u64 + 1);
        let start = self.offset;
        self.offset += bounded.read_until(b'\n', &mut text)? as u64;
        if text.is_empty() {
            return Ok(None);
        }
        let whole = text.last() == Some(&b'\n');
        if whole {
            text.pop();
        }
        let too_long = text.len() > self.most;
        if too_long {
            text = Vec::new();
            self.offset += self.reader.skip_until(b'\n')? as u64;
        }
        self.number += 1;
        Ok(Some(Line {
            number: self.number,
            start,
            text,
            whole,
            too_long,
        }))
    }

    /// Lines read so far.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        let text = b"one\n\n12345678\n123456789\n1234567890123\nend";
        let mut lines = Lines::new(&text[..], 8);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = String::from_utf8(line.text).unwrap();
            found.push((line.number, line.start, text, line.whole, line.too_long));
        }
        let expected = [
            (1, 0, "one", true, false),
            (2, 4, "", true, false),
            (3, 5, "12345678", true, false),
            (4, 14, "", false, true),
            (5, 24, "", false, true),
            (6, 38, "end", false, false),
        ];
        let expected = expected.map(|(number, start, text, whole, too_long)| {
            (number, start, text.to_owned(), whole, too_long)
        });
        assert_eq!(found, expected);
        assert_eq!((lines.number(), lines.offset()), (6, text.len() as u64));
    }
}
