//! What a model is trained on: files of examples, as tokens, packed into rows, in batches.

mod batch;
mod lines;
mod rows;
mod tokens;

pub(super) use batch::{Batch, Sampler};

use self::lines::Problems;
use self::rows::Row;
use self::tokens::{Encoder, Template};
use crate::model::Tokenizer;
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Where training data is, and how it becomes what the model reads. NeMo's `FineTuningDataModule`.
///
/// ```
/// use connector_core::train::FineTuningData;
///
/// let data = FineTuningData { seq_length: 4096, ..FineTuningData::new("squad/training.jsonl") };
/// ```
#[derive(Clone, Debug)]
pub struct FineTuningData {
    /// The file. If its name ends in `.jsonl`, each line is one example:
    /// `{"input": …, "output": …}`, of which the output is learnt, or `{"text": …}`, all of which
    /// is. Any other file is one text. In a folder it is `training.jsonl`, as NeMo has it.
    pub path: PathBuf,
    /// Examples that are held out: nothing is learnt of them, but their loss is computed every
    /// [`val_check_interval`](super::Trainer::val_check_interval) steps. A file as that of the data;
    /// in a folder it is `validation.jsonl`, as NeMo has it.
    pub validation: Option<PathBuf>,
    /// The most tokens that the model reads in a row; examples are packed up to it.
    pub seq_length: usize,
    /// How input and output become one text. `{input}` and `{output}` stand for them.
    pub prompt_template: String,
    /// Whether an example that is longer than `seq_length` is cut at its end. Otherwise it is
    /// refused.
    pub truncate: bool,
}

impl FineTuningData {
    /// The data at `path`, with NeMo's sequence length, 2048, and template, `{input} {output}`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        FineTuningData {
            path: path.into(),
            validation: None,
            seq_length: 2048,
            prompt_template: "{input} {output}".into(),
            truncate: false,
        }
    }

    /// Reads and tokenises all of it. `end`, if there is one, is the token after each example.
    ///
    /// All tokens are held in memory, with some 9 bytes for each.
    ///
    /// # Errors
    /// [`Error::Refused`] with the number of each line that is no example or has no tokens to
    /// learn, and of each that is too long; [`Error::Model`]; [`Error::Io`].
    pub fn load(&self, tokenizer: &Tokenizer, end: Option<u32>) -> Result<Dataset> {
        self.load_file(&in_folder(&self.path, "training.jsonl"), tokenizer, end)
    }

    /// Reads and tokenises the examples that are held out, if there are any.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_validation(
        &self,
        tokenizer: &Tokenizer,
        end: Option<u32>,
    ) -> Result<Option<Dataset>> {
        let file = self.validation.as_ref().map(|path| in_folder(path, "validation.jsonl"));
        file.map(|file| self.load_file(&file, tokenizer, end)).transpose()
    }

    fn load_file(&self, path: &Path, tokenizer: &Tokenizer, end: Option<u32>) -> Result<Dataset> {
        let refuse = |field: &str, problem: String| {
            Error::refused(vec![Finding::new(FindingKind::Config, field, problem)])
        };
        if self.seq_length == 0 {
            return Err(refuse("seq_length", "is 0; it should be 1 or more".into()));
        }
        let template = Template::parse(&self.prompt_template)
            .map_err(|problem| refuse("prompt_template", problem))?;
        let examples = lines::read(path)?;
        let encoder = Encoder { tokenizer, template, end };
        let encoded = encoder.encode(examples, Problems::of(path))?;
        let mut problems = Problems::of(path);
        let (mut truncated, limit) = (0, self.seq_length);
        for (line, tokens) in &encoded {
            // The last token is only ever said, not read.
            let read = tokens.ids.len().saturating_sub(1);
            if tokens.is_text || read <= limit {
                continue;
            }
            truncated += 1;
            if tokens.learnt_from > limit {
                problems.add(
                    *line,
                    format!(
                        "has a prompt of {} tokens, which leaves none of the \
                    {limit} of seq_length to learn",
                        tokens.learnt_from
                    ),
                );
            } else if !self.truncate {
                problems.add(
                    *line,
                    format!(
                        "has {read} tokens, more than seq_length, {limit}; raise \
                    it, or set truncate"
                    ),
                );
            }
        }
        problems.finish()?;
        if truncated > 0 {
            tracing::warn!(truncated, seq_length = limit, "examples are cut at their end");
        }
        let rows = rows::pack(encoded.iter().map(|(_, tokens)| tokens), limit);
        let examples = encoded.len();
        if rows.is_empty() {
            let mut problems = Problems::of(path);
            problems.add(1, "has a single token, which nothing follows");
            problems.finish()?;
        }
        Ok(Dataset { fingerprint: rows::fingerprint(&rows), rows, examples, truncated })
    }
}

/// A file, or that of the name in a folder.
fn in_folder(path: &Path, name: &str) -> PathBuf {
    if path.is_dir() { path.join(name) } else { path.to_path_buf() }
}

/// Examples as a model reads them, packed into rows.
#[derive(Clone, Debug)]
pub struct Dataset {
    rows: Vec<Row>,
    fingerprint: String,
    examples: usize,
    truncated: usize,
}

impl Dataset {
    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// How many of them were cut.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Into how many rows they are packed.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many tokens the model reads in one pass over all rows.
    pub fn tokens(&self) -> usize {
        self.rows.iter().map(|row| row.inputs.len()).sum()
    }

    /// How many tokens it learns in one pass.
    pub fn learnt_tokens(&self) -> usize {
        self.rows.iter().flat_map(|row| &row.learnt).filter(|&&learnt| learnt).count()
    }

    /// The largest token, read or learnt.
    pub(super) fn largest_token(&self) -> u32 {
        let tokens = self.rows.iter().flat_map(|row| row.inputs.iter().chain(&row.labels));
        tokens.copied().max().unwrap_or(0)
    }

    /// A hash of all rows.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(lines: &str, change: impl FnOnce(&mut FineTuningData)) -> Result<Dataset> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("training.jsonl"), lines).unwrap();
        let mut data = FineTuningData::new(dir.path());
        change(&mut data);
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf/tokenizer.json");
        data.load(&Tokenizer::open(path.as_ref()).unwrap(), Some(2))
    }

    const LINES: &str = "{\"input\": \"the sand\", \"output\": \"is on\"}\n{\"text\": \"we ride\"}";

    #[test]
    fn a_dataset_counts_what_it_has() {
        let data = load(LINES, |_| {}).unwrap();
        assert_eq!((data.examples(), data.rows(), data.truncated()), (2, 1, 0));
        // <s> ▁the ▁s a nd ▁is ▁on, then <s> ▁we ▁r i de.
        assert_eq!((data.tokens(), data.learnt_tokens()), (12, 8));
        assert_eq!(load(LINES, |data| data.seq_length = 7).unwrap().rows(), 2);
    }

    #[test]
    fn the_fingerprint_tells_data_apart() {
        let of = |lines: &str, length| {
            load(lines, |data| data.seq_length = length).unwrap().fingerprint().to_string()
        };
        assert_eq!(of(LINES, 100), of(LINES, 100));
        assert_ne!(of(LINES, 100), of(LINES, 7));
        assert_ne!(of(LINES, 100), of(&LINES.replace("sand", "sea"), 100));
    }

    #[test]
    fn what_is_too_long_is_refused_or_cut() {
        let error = load(LINES, |data| data.seq_length = 6).unwrap_err().to_string();
        assert!(
            error.contains("training.jsonl:1: has 7 tokens, more than seq_length, 6"),
            "{error}"
        );
        let cut = |length| load(LINES, |data| (data.seq_length, data.truncate) = (length, true));
        assert_eq!(cut(6).unwrap().truncated(), 1);
        let error = cut(4).unwrap_err().to_string();
        assert!(error.contains("training.jsonl:1: has a prompt of 5 tokens"), "{error}");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let error = load(LINES, |data| data.seq_length = 0).unwrap_err().to_string();
        assert!(error.contains("seq_length: is 0"), "{error}");
        let error = load(LINES, |data| data.prompt_template = "{input}".into()).unwrap_err();
        assert!(error.to_string().contains("prompt_template: is \"{input}\""), "{error}");
    }
}
