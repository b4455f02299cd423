//! What a file of training data says.

use super::texts::{Part, TextReader};
use crate::plan::{Finding, FindingKind};
use crate::store;
use crate::{Error, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Something to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Example {
    /// A prompt, and the answer that is learnt.
    Answer { input: String, output: String },
    /// A text, or a part of one, all of which is learnt.
    Text(Part),
}

impl Example {
    /// A whole text.
    pub fn text(text: String) -> Self {
        Example::Text(Part { from: 0, to: text.len(), text, first: true, last: true })
    }

    /// Whether it is white space alone, of which there is nothing to learn.
    fn is_blank(&self) -> bool {
        matches!(self, Example::Text(part) if part.text.trim().is_empty())
    }

    /// How many bytes it has.
    fn len(&self) -> usize {
        match self {
            Example::Answer { input, output } => input.len() + output.len(),
            Example::Text(part) => part.text.len(),
        }
    }
}

/// A line of JSON: the fields of NeMo's fine-tuning data, or a text. Others are of no concern.
#[derive(Deserialize)]
struct Line {
    input: Option<String>,
    output: Option<String>,
    text: Option<String>,
}

/// The longest line, in bytes. A book has about a million; what is longer is not lines of JSON.
const LONGEST: u64 = 16 << 20;
/// Problems are listed up to this many, and counted beyond.
const LISTED: usize = 20;
/// Examples are read until they have so many bytes together, or are so many.
const AT_ONCE: usize = 1 << 20;
const MOST_AT_ONCE: usize = 1024;

/// Reads a file of examples, some of them at a time: lines of JSON if its name ends in `.jsonl`, else
/// one plain text.
pub(super) struct Reader {
    path: PathBuf,
    input: Input,
    has_examples: bool,
}

enum Input {
    /// With the number of the last line.
    Lines(BufReader<File>, usize),
    Text(TextReader),
    Ended,
}

impl Reader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn open(path: &Path) -> Result<Self> {
        let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl"));
        let file = File::open(path).map_err(store::Error::io("read", path))?;
        let input = match is_json {
            true => Input::Lines(BufReader::new(file), 0),
            false => Input::Text(TextReader::new(path, file)),
        };
        Ok(Reader { path: path.into(), input, has_examples: false })
    }

    /// The next examples, each with its line, counted from 1; none at the end. What is no example is
    /// added to `problems`.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn next(&mut self, problems: &mut Problems) -> Result<Vec<(usize, Example)>> {
        let (mut examples, mut bytes) = (Vec::new(), 0);
        while bytes < AT_ONCE && examples.len() < MOST_AT_ONCE {
            let Some((line, example)) = self.one(problems)? else {
                self.input = Input::Ended;
                break;
            };
            bytes += example.len();
            self.has_examples |= !example.is_blank();
            examples.push((line, example));
        }
        if examples.is_empty() && !self.has_examples && problems.is_empty() {
            problems.whole("has no text to learn from");
        }
        Ok(examples)
    }

    fn one(&mut self, problems: &mut Problems) -> Result<Option<(usize, Example)>> {
        match &mut self.input {
            Input::Lines(input, number) => next_line(&self.path, input, number, problems),
            Input::Text(text) => Ok(text.next(problems)?.map(|part| (1, Example::Text(part)))),
            Input::Ended => Ok(None),
        }
    }
}

fn next_line(
    path: &Path,
    input: &mut BufReader<File>,
    number: &mut usize,
    problems: &mut Problems,
) -> Result<Option<(usize, Example)>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        *number += 1;
        let mut limited = std::io::Read::take(&mut *input, LONGEST);
        let read = limited.read_until(b'\n', &mut line).map_err(store::Error::io("read", path))?;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == LONGEST {
            problems.add(*number, format!("is longer than {} MiB", LONGEST >> 20));
            return Ok(None);
        }
        // A byte order mark is what some editors begin a file with.
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        match parse(text) {
            Ok(example) => return Ok(Some((*number, example))),
            Err(problem) => problems.add(*number, problem),
        }
    }
}

/// The example that a line is, or why it is none.
fn parse(line: &[u8]) -> Result<Example, String> {
    // Serde would take a list for the fields in their order.
    if !line.starts_with(b"{") {
        return Err("is no object of JSON".into());
    }
    let parsed: Line = serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        // The line of the error is always 1 here, and its number in the file is told anyway.
        let text = text.split(" at line ").next().unwrap_or_default();
        format!("{text} (column {})", error.column())
    })?;
    let example = match parsed {
        Line { input: Some(input), output: Some(output), text: None } => {
            if output.trim().is_empty() {
                return Err("has an empty \"output\", so there is nothing to learn".into());
            }
            Example::Answer { input, output }
        }
        Line { input: None, output: None, text: Some(text) } => {
            if text.trim().is_empty() {
                return Err("has an empty \"text\", so there is nothing to learn".into());
            }
            Example::text(text)
        }
        Line { input: Some(_), output: None, .. } => return Err("has no \"output\"".into()),
        Line { input: None, output: Some(_), .. } => return Err("has no \"input\"".into()),
        Line { input: None, output: None, text: None } => {
            return Err("has neither \"input\" and \"output\" nor \"text\"".into());
        }
        Line { .. } => return Err("has both \"text\" and \"input\" with \"output\"".into()),
    };
    Ok(example)
}

/// What is wrong with the lines of a file.
pub(super) struct Problems {
    path: String,
    findings: Vec<Finding>,
    more: usize,
}

impl Problems {
    pub fn of(path: &Path) -> Self {
        Problems { path: path.display().to_string(), findings: Vec::new(), more: 0 }
    }

    pub fn add(&mut self, line: usize, problem: impl Into<String>) {
        if self.findings.len() == LISTED {
            self.more += 1;
            return;
        }
        let subject = format!("{}:{line}", self.path);
        self.findings.push(Finding::new(FindingKind::Data, subject, problem));
    }

    /// About the whole file.
    pub fn whole(&mut self, problem: &str) {
        self.findings.push(Finding::new(FindingKind::Data, &self.path, problem));
    }

    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The findings; the last one says how many more there are.
    pub fn finish(mut self) -> Result<()> {
        if self.more > 0 {
            let problem = format!("{} more lines have problems", self.more);
            self.findings.push(Finding::new(FindingKind::Data, &self.path, problem));
        }
        if self.findings.is_empty() { Ok(()) } else { Err(Error::refused(self.findings)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read_as(name: &str, bytes: &[u8]) -> Result<Vec<(usize, Example)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (mut reader, mut problems) = (Reader::open(&path)?, Problems::of(&path));
        let mut all = Vec::new();
        loop {
            let some = reader.next(&mut problems)?;
            if some.is_empty() {
                return problems.finish().map(|()| all);
            }
            all.extend(some);
        }
    }

    #[test]
    fn examples_are_read_with_their_lines() {
        let answer = |input: &str, output: &str| Example::Answer {
            input: input.into(),
            output: output.into(),
        };
        let lines = "\u{feff}{\"input\": \"a\", \"output\": \"b\", \"id\": 7}\n\n{\"text\": \"c\"}\r\n\
                     {\"input\": \"\", \"output\": \"\\u00e9\"}";
        let examples = read_as("train.jsonl", lines.as_bytes()).unwrap();
        let want = [(1, answer("a", "b")), (3, Example::text("c".into())), (4, answer("", "é"))];
        assert_eq!(examples, want);
        let text = read_as("book.txt", b"Call me\nIshmael.").unwrap();
        assert_eq!(text, [(1, Example::text("Call me\nIshmael.".into()))]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (line, want) in [
            ("{", "EOF while parsing an object (column 1)"),
            ("{\"input\": 1, \"output\": \"b\"}", "invalid type: integer `1`, expected a string"),
            ("[]", "is no object"),
            ("[\"a\", \"b\", null]", "is no object"),
            ("\"text\"", "is no object"),
            ("{\"input\": \"a\"}", "has no \"output\""),
            ("{\"output\": \"a\"}", "has no \"input\""),
            ("{\"prompt\": \"a\"}", "neither \"input\" and \"output\" nor \"text\""),
            ("{\"input\": \"a\", \"output\": \" \"}", "empty \"output\""),
            ("{\"text\": \"\"}", "empty \"text\""),
            ("{\"text\": \"a\", \"input\": \"a\", \"output\": \"b\"}", "both"),
            ("{\"text\": \"a\"} x", "trailing characters (column 15)"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "duplicate field `text`"),
            ("\u{0}", "is no object"),
        ] {
            let text = format!("{{\"text\": \"good\"}}\n\n{line}\n");
            let error = read_as("train.jsonl", text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("train.jsonl:3: "), "{error}");
            assert!(error.contains(want), "{line}: {error}");
        }
    }

    #[test]
    fn all_bad_lines_are_told_at_once_up_to_a_number() {
        let error = read_as("train.jsonl", &b"{}\n".repeat(50)).unwrap_err().to_string();
        assert!(
            error.contains("train.jsonl:20: ") && !error.contains("train.jsonl:21: "),
            "{error}"
        );
        assert!(error.contains("30 more lines have problems"), "{error}");
    }

    #[test]
    fn files_without_text_are_refused() {
        for (name, bytes, want) in [
            ("train.jsonl", &b""[..], "train.jsonl: has no text"),
            ("train.jsonl", b"\n \n", "train.jsonl: has no text"),
            ("book.txt", b" \n", "book.txt: has no text"),
            ("book.txt", b"a\nb\xff", "book.txt:2: is not UTF-8"),
            ("train.jsonl", b"{\"text\": \"\xff\"}", "train.jsonl:1: "),
        ] {
            let error = read_as(name, bytes).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        let error = Reader::open("no/such.jsonl".as_ref()).map(drop).unwrap_err();
        assert!(matches!(error, Error::Store(store::Error::Io { .. })), "{error}");
    }
}
