//! A plain text, read in parts that are tokenised one by one.

use super::lines::Problems;
use crate::Result;
use crate::store;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How long a part is, about.
const PART: usize = 128 << 10;
/// How much of the text is read with a part on either side. What a word is cut into depends on the few
/// words around it, so that with them the tokens are those of the whole text.
const AROUND: usize = 1 << 10;

/// A part of a text, with some of what stands around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub text: String,
    /// Where in it the part is, in bytes.
    pub from: usize,
    pub to: usize,
    /// Whether the whole text begins and ends with it.
    pub first: bool,
    pub last: bool,
}

/// Reads a plain text.
#[derive(Debug)]
pub(super) struct TextReader {
    path: PathBuf,
    file: File,
    /// What was read and is still needed.
    window: Vec<u8>,
    /// Where in it the next part begins.
    from: usize,
    /// How much of it is known to be text.
    checked: usize,
    /// How many lines end before what is not checked.
    lines: usize,
    first: bool,
    ended: bool,
}

impl TextReader {
    pub fn new(path: &Path, file: File) -> Self {
        TextReader {
            path: path.into(),
            file,
            window: Vec::new(),
            from: 0,
            checked: 0,
            lines: 0,
            first: true,
            ended: false,
        }
    }

    /// The next part; none behind the last, or where something is no text.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn next(&mut self, problems: &mut Problems) -> Result<Option<Part>> {
        while !self.ended && self.window.len() < self.from + PART + AROUND {
            let room = self.from + PART + AROUND - self.window.len();
            let mut limited = self.file.by_ref().take(room as u64);
            let read = limited.read_to_end(&mut self.window);
            self.ended = read.map_err(store::Error::io("read", &self.path))? < room;
            if let Err((line, problem)) = self.check() {
                problems.add(line, problem);
                (self.ended, self.checked) = (true, self.from);
            }
        }
        // A character whose bytes are not all there belongs to the next part.
        let Ok(text) = std::str::from_utf8(&self.window[..self.checked]) else { return Ok(None) };
        if self.from == text.len() {
            return Ok(None);
        }
        let last = self.ended && text.len() <= self.from + PART + AROUND;
        let to = if last { text.len() } else { cut(text, self.from + PART, self.from + PART / 2) };
        let part = Part {
            text: text[..cut(text, to + AROUND, to)].into(),
            from: self.from,
            to,
            first: std::mem::replace(&mut self.first, false),
            last,
        };
        let keep = cut(text, to.saturating_sub(AROUND), to.saturating_sub(2 * AROUND));
        self.window.drain(..keep);
        (self.from, self.checked) = (to - keep, self.checked - keep);
        Ok(Some(part))
    }

    /// Looks at what was read last.
    fn check(&mut self) -> Result<(), (usize, &'static str)> {
        let new = &self.window[self.checked..];
        let (valid, problem) = match std::str::from_utf8(new) {
            Ok(_) => (new.len(), None),
            // The rest of the character follows.
            Err(error) if error.error_len().is_none() && !self.ended => (error.valid_up_to(), None),
            Err(error) => (error.valid_up_to(), Some("is not UTF-8")),
        };
        let zero = new[..valid].iter().position(|&byte| byte == 0);
        let (valid, problem) = match zero {
            Some(at) => (at, Some("has a byte of 0, which no text has")),
            None => (valid, problem),
        };
        self.lines += new[..valid].iter().filter(|&&byte| byte == b'\n').count();
        self.checked += valid;
        problem.map_or(Ok(()), |problem| Err((self.lines + 1, problem)))
    }
}

/// Where to cut a text at or before `at`: before the last white space from `least` on, or else between
/// two characters.
fn cut(text: &str, at: usize, least: usize) -> usize {
    let at = text.floor_char_boundary(at);
    if at == text.len() || at == 0 {
        return at;
    }
    let least = text.floor_char_boundary(least.min(at));
    let space = text[least..at].char_indices().rev().find(|(_, c)| c.is_whitespace());
    space.map_or(at, |(place, _)| least + place).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(bytes: &[u8]) -> Result<Vec<Part>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("book.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut reader = TextReader::new(&path, File::open(&path).unwrap());
        let mut problems = Problems::of(&path);
        let mut all = Vec::new();
        while let Some(part) = reader.next(&mut problems)? {
            assert!(part.text.len() <= PART + 3 * AROUND + 8, "{}", part.text.len());
            all.push(part);
        }
        problems.finish().map(|()| all)
    }

    #[test]
    fn parts_make_up_the_text_with_some_around_each() {
        let words: String = (0..200_000).map(|n| format!("wörd{n}\n")).collect();
        for text in ["a", "é b", &words, &"ß".repeat(500_000), &" ".repeat(300_000)] {
            let all = parts(text.as_bytes()).unwrap();
            let whole: String = all.iter().map(|part| &part.text[part.from..part.to]).collect();
            assert!(whole == text);
            assert!(all[0].first && all[all.len() - 1].last);
            assert_eq!(all.iter().filter(|part| part.first || part.last).count(), all.len().min(2));
            for part in &all[1..] {
                assert!((AROUND..=2 * AROUND + 3).contains(&part.from), "{}", part.from);
            }
            for part in &all[..all.len() - 1] {
                assert!(part.text.len() > part.to, "{}", part.to);
            }
        }
        let all = parts(words.as_bytes()).unwrap();
        assert!(all.iter().all(|part| part.first || part.text[part.from..].starts_with('\n')));
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        let far = [b"line\n".repeat(100_000), b"\xff".to_vec()].concat();
        for (bytes, want) in [
            (&b"a\nb\xff"[..], "book.txt:2: is not UTF-8"),
            (b"a\nb\xc3", "book.txt:2: is not UTF-8"),
            (&far, "book.txt:100001: is not UTF-8"),
            (b"\na\0b", "book.txt:2: has a byte of 0"),
            (&[0; 1 << 20], "book.txt:1: has a byte of 0"),
        ] {
            let problem = parts(bytes).unwrap_err().to_string();
            assert!(problem.contains(want), "{problem}");
        }
    }
}
