//! What a model is trained on: files of examples, as tokens, packed into rows, in batches.

mod batch;
mod lines;
mod rows;
mod texts;
mod tokens;

pub(super) use batch::{Batch, Sampler};

use self::lines::{Problems, Reader};
use self::rows::{MOST_TOKENS, Rows};
use self::tokens::{Encoder, NOTHING, Template, Tokens};
use crate::checkpoint::look;
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
    /// The text is read and tokenised in parts. All tokens are held in memory, with some five bytes
    /// for each, and there may be 2^30 of them.
    ///
    /// # Errors
    /// [`Error::Refused`] with the number of each line that is no example or has no tokens to
    /// learn, and of each that is too long; [`Error::Model`]; [`Io`](crate::store::Error::Io).
    pub fn load(&self, tokenizer: &Tokenizer, end: Option<u32>) -> Result<Dataset> {
        self.load_file(&in_folder(&self.path, "training.jsonl")?, tokenizer, end)
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
        let Some(path) = &self.validation else { return Ok(None) };
        self.load_file(&in_folder(path, "validation.jsonl")?, tokenizer, end).map(Some)
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
        look::check_file(path)?;
        let encoder = Encoder { tokenizer, template, end };
        let (mut reader, mut problems) = (Reader::open(path)?, Problems::of(path));
        let mut rows = Rows::new(self.seq_length);
        let (mut examples, mut truncated) = (0, 0);
        loop {
            let some = reader.next(&mut problems)?;
            if some.is_empty() {
                break;
            }
            // What comes behind a problem is only looked through for others.
            if !problems.is_empty() {
                continue;
            }
            for ((line, _), tokens) in some.iter().zip(encoder.encode(&some)?) {
                examples += usize::from(!tokens.goes_on);
                match self.fit(&tokens) {
                    Ok(is_cut) => truncated += usize::from(is_cut),
                    Err(problem) => problems.add(*line, problem),
                }
                if problems.is_empty() && !rows.push(&tokens) {
                    problems
                        .add(*line, format!("is where there are more than {MOST_TOKENS} tokens"));
                    break;
                }
            }
        }
        rows.close();
        if problems.is_empty() && rows.len() == 0 {
            problems.add(1, "has a single token, which nothing follows");
        }
        problems.finish()?;
        if truncated > 0 {
            tracing::warn!(
                truncated,
                seq_length = self.seq_length,
                "examples are cut at their end"
            );
        }
        Ok(Dataset { fingerprint: rows::fingerprint(&rows), rows, examples, truncated })
    }

    /// Whether an example has to be cut; or why it cannot be taken.
    fn fit(&self, tokens: &Tokens) -> Result<bool, String> {
        let limit = self.seq_length;
        // The last token is only ever said, not read.
        let read = tokens.ids.len().saturating_sub(1);
        if tokens.learnt_from == NOTHING {
            return Err("has no tokens to learn".into());
        }
        if tokens.is_text || read <= limit {
            return Ok(false);
        }
        if tokens.learnt_from > limit {
            return Err(format!(
                "has a prompt of {} tokens, which leaves none of the {limit} of seq_length to learn",
                tokens.learnt_from
            ));
        }
        if !self.truncate {
            return Err(format!(
                "has {read} tokens, more than seq_length, {limit}; raise it, or set truncate"
            ));
        }
        Ok(true)
    }
}

/// A file, or that of the name in a folder.
fn in_folder(path: &Path, name: &str) -> Result<PathBuf> {
    Ok(if look::is_dir(path)? { path.join(name) } else { path.to_path_buf() })
}

/// Examples as a model reads them, packed into rows.
///
/// Their tokens may take gigabytes, so that there is no second copy of them: it has no `Clone`.
#[derive(Debug)]
pub struct Dataset {
    rows: Rows,
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
        self.rows.count().0
    }

    /// How many tokens it learns in one pass.
    pub fn learnt_tokens(&self) -> usize {
        self.rows.count().1
    }

    /// The largest token, read or learnt.
    pub(super) fn largest_token(&self) -> u32 {
        self.rows.largest_token()
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
        data.load(&Tokenizer::open(path).unwrap(), Some(2))
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
