//! What a file of training data says.

use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// One text to learn from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Example {
    /// A prompt, and the answer that is learnt.
    Answer { input: String, output: String },
    /// A text, all of which is learnt.
    Text(String),
}

/// A line of JSON: the fields of NeMo's fine-tuning data, or a text. Others are of no concern.
#[derive(Deserialize)]
struct Line {
    input: Option<String>,
    output: Option<String>,
    text: Option<String>,
}

/// The longest line, in bytes. A book has about a million; what is longer is not lines of JSON.
const LONGEST: u64 = 64 << 20;
/// Problems are listed up to this many, and counted beyond.
const LISTED: usize = 20;

/// Reads the file at `path`: lines of JSON if its name ends in `.jsonl`, else one plain text. With
/// each example comes its line, counted from 1.
///
/// # Errors
/// [`Error::Refused`] with the lines that are no examples; [`Error::Io`].
pub(super) fn read(path: &Path) -> Result<Vec<(usize, Example)>> {
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl"));
    let mut problems = Problems::of(path);
    let examples = match is_json {
        true => read_lines(path, &mut problems)?,
        false => {
            let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
            match String::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => Vec::new(),
                Ok(text) => vec![(1, Example::Text(text))],
                Err(error) => {
                    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                    let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
                    problems.add(line, "is not UTF-8");
                    Vec::new()
                }
            }
        }
    };
    if problems.is_empty() && examples.is_empty() {
        problems.whole("has no text to learn from");
    }
    problems.finish()?;
    Ok(examples)
}

fn read_lines(path: &Path, problems: &mut Problems) -> Result<Vec<(usize, Example)>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = BufReader::new(file);
    let mut examples = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, LONGEST);
        let read = limited.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
        if read == 0 {
            break;
        }
        if read as u64 == LONGEST {
            problems.add(number, format!("is longer than {} MiB", LONGEST >> 20));
            break;
        }
        // A byte order mark is what some editors begin a file with.
        let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        match parse(text) {
            Ok(example) => examples.push((number, example)),
            Err(problem) => problems.add(number, problem),
        }
    }
    Ok(examples)
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
            Example::Text(text)
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
    fn whole(&mut self, problem: &str) {
        self.findings.push(Finding::new(FindingKind::Data, &self.path, problem));
    }

    fn is_empty(&self) -> bool {
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
        read(&path)
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
        let want = [(1, answer("a", "b")), (3, Example::Text("c".into())), (4, answer("", "é"))];
        assert_eq!(examples, want);
        let text = read_as("book.txt", b"Call me\nIshmael.").unwrap();
        assert_eq!(text, [(1, Example::Text("Call me\nIshmael.".into()))]);
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
        assert!(matches!(read("no/such.jsonl".as_ref()), Err(Error::Io { .. })));
    }
}
