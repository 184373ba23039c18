//! Lines of a body as its pieces come, some at a time.

use std::ops::Range;

/// Most lines that are handed on together.
const MAX_LINES: usize = 128;
/// Bytes at which lines are handed on in any case.
const MAX_BYTES: usize = 64 * 1024;

/// Cuts pieces into lines; of an endless line no more is kept than a line may have.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// Whether the line is too long and the rest of it passed over.
    too_long: bool,
    number: u64,
}

/// Lines that were read together.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    lines: Vec<(u64, Option<Range<usize>>)>,
}

impl Batch {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether it should be handed on.
    pub fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES || self.bytes.len() >= MAX_BYTES
    }

    /// The bytes of all lines together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Each line with its number, counted from 1; `None` where it was too long.
    pub fn lines(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        self.lines.iter().map(|(number, range)| (*number, range.clone().map(|range| &self.bytes[range])))
    }

    fn add(&mut self, number: u64, line: &[u8]) {
        // An empty line says nothing; that between `\r` and `\n` is one.
        if line.trim_ascii().is_empty() {
            return;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(line);
        self.lines.push((number, Some(begin..self.bytes.len())));
    }
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, rest: Vec::new(), too_long: false, number: 0 }
    }

    /// Lines whose end has come so far.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Bytes that are kept of a line whose end has not come.
    pub fn kept(&self) -> usize {
        self.rest.capacity()
    }

    /// Moves lines of `piece` to `batch` until that is full; what it leaves comes first the next time.
    pub fn take<'a>(&mut self, mut piece: &'a [u8], batch: &mut Batch) -> &'a [u8] {
        while !batch.is_full() && !piece.is_empty() {
            let Some(end) = piece.iter().position(|byte| *byte == b'\n') else {
                self.keep(piece);
                return &[];
            };
            self.number += 1;
            if self.too_long {
                batch.lines.push((self.number, None));
            } else if self.rest.is_empty() {
                self.end(&piece[..end], batch);
            } else {
                self.keep(&piece[..end]);
                let line = std::mem::take(&mut self.rest);
                if self.too_long {
                    batch.lines.push((self.number, None));
                } else {
                    self.end(&line, batch);
                }
            }
            self.too_long = false;
            piece = &piece[end + 1..];
        }
        piece
    }

    /// The last line, which may lack its end.
    pub fn finish(&mut self, batch: &mut Batch) {
        if !self.rest.is_empty() || self.too_long {
            self.take(b"\n", batch);
        }
    }

    fn end(&self, line: &[u8], batch: &mut Batch) {
        match line.len() > self.limit {
            true => batch.lines.push((self.number, None)),
            false => batch.add(self.number, line),
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.too_long || self.rest.len() + piece.len() > self.limit {
            self.too_long = true;
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &[u8], limit: usize, step: usize) -> Vec<(u64, Option<String>)> {
        let (mut lines, mut all) = (Lines::new(limit), Vec::new());
        let mut note =
            |batch: &Batch| {
                all.extend(batch.lines().map(|(number, line)| {
                    (number, line.map(|line| String::from_utf8(line.to_vec()).unwrap()))
                }));
            };
        for piece in text.chunks(step) {
            let mut piece = piece;
            while !piece.is_empty() {
                let mut batch = Batch::default();
                piece = lines.take(piece, &mut batch);
                note(&batch);
            }
            assert!(lines.kept() <= 2 * limit.max(8));
        }
        let mut batch = Batch::default();
        lines.finish(&mut batch);
        note(&batch);
        all
    }

    #[test]
    fn pieces_of_any_size_give_the_same_lines() {
        let text = b"one\r\n\n  \ntwo and more\nfar too long a line\nlast";
        let line = |number: u64, text: &str| (number, Some(text.to_string()));
        let expected = vec![line(1, "one\r"), line(4, "two and more"), (5, None), line(6, "last")];
        for step in 1..=text.len() {
            assert_eq!(cut(text, 14, step), expected, "{step}");
        }
        assert_eq!(cut(b"", 10, 1), []);
        assert_eq!(cut(b"an endless one without an end", 10, 7), [(1, None)]);
    }

    #[test]
    fn a_full_batch_takes_no_more() {
        let text = "x\n".repeat(1000);
        let mut batch = Batch::default();
        let rest = Lines::new(10).take(text.as_bytes(), &mut batch);
        assert_eq!((batch.len(), rest.len()), (MAX_LINES, 2 * (1000 - MAX_LINES)));
    }
}
