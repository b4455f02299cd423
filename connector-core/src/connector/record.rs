use super::{Direction, Experts, Registration};
use crate::Result;
use crate::checkpoint::FieldReport;
use crate::engine::{Done, Loss, NotZero};
use crate::framework::Unsaid;
use crate::plan::{Plan, PlanOptions, Summary};
use crate::store::{Source, TensorInfo};
use serde::Serialize;
use std::collections::BTreeMap;

/// The tool and its version.
pub(crate) const TOOL: &str = concat!("connector ", env!("CARGO_PKG_VERSION"));

/// The version of the layout of `conversion.json`.
pub(super) const SCHEMA: &str = "connector.conversion/1";

/// What `conversion.json` says: where a checkpoint came from and what was done to it.
///
/// It holds no time, host or path, so that the same input gives the same bytes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of this layout.
    pub schema: &'static str,
    /// The tool and its version.
    pub tool: String,
    /// `import`, `export` or `convert`.
    pub direction: &'static str,
    /// The model's type.
    pub model: String,
    /// The format's name; none of a `convert`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// The connector; none of a `convert`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub connector: String,
    /// Whether every parameter of the model is there (who asks for a part leaves some out).
    pub complete: bool,
    /// The source.
    pub source: SourceRecord,
    /// What the user asked for.
    pub options: OptionsRecord,
    /// A hash of everything the plan does.
    pub plan_hash: String,
    /// The plan in numbers: rules used, tensors left behind.
    pub plan: Summary,
    /// What became of the fields of the source's config.
    pub config: FieldReport,
    /// What casts lost, by tensor; absent tensors lost nothing beyond rounding.
    pub losses: BTreeMap<String, Loss>,
    /// What was not zero of the padding of a vocabulary that an export leaves out, by tensor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, NotZero>,
    /// The files of tensors that were written.
    pub weights: Vec<FileRecord>,
    /// The other files that were copied from the source.
    pub copied: Vec<String>,
    /// The blake3 hash of each tensor's bytes, if asked for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hashes: BTreeMap<String, String>,
}

/// Where the tensors came from.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SourceRecord {
    /// The hub repository, if the source is a snapshot in a hub cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Its revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The files of tensors.
    pub files: Vec<FileRecord>,
}

/// A file of tensors.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRecord {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The blake3 hash of its header; in a distributed checkpoint, of `.metadata`.
    pub header: String,
}

/// What the user asked for.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OptionsRecord {
    /// The type that was cast to, or `auto`.
    pub dtype: String,
    /// Patterns of source tensors that were left out.
    pub ignore: Vec<String>,
    /// Patterns of the only parameters that were written.
    pub only: Vec<String>,
    /// Fields of the format's config that the connector did not have to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<String>,
    /// What the framework computes otherwise, and the user accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Unsaid>,
    /// What the vocabulary was padded to a multiple of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_vocab_to_multiple_of: Option<usize>,
    /// How experts were to be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experts: Option<Experts>,
    /// Whether the padding of the vocabulary was written too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_vocab_padding: bool,
}

/// What a record is about.
pub(super) struct Subject {
    pub direction: &'static str,
    pub model: String,
    pub format: String,
    pub connector: String,
}

impl Subject {
    /// A conversion by a connector.
    pub fn new(direction: Direction, registration: &Registration) -> Self {
        Subject {
            direction: match direction {
                Direction::Import => "import",
                Direction::Export => "export",
            },
            model: registration.model.into(),
            format: registration.format.into(),
            connector: registration.name.into(),
        }
    }
}

impl OptionsRecord {
    pub(super) fn new(options: &PlanOptions) -> Self {
        OptionsRecord {
            dtype: options.dtype.map_or("auto".into(), |dtype| dtype.to_string()),
            ignore: options.ignore.clone(),
            only: options.only.clone(),
            carry: options.carry.clone(),
            accepted: Vec::new(),
            pad_vocab_to_multiple_of: None,
            experts: None,
            keep_vocab_padding: false,
        }
    }
}

impl FileRecord {
    /// The records of a source's files.
    ///
    /// # Errors
    /// If a header cannot be read.
    pub fn of(source: &dyn Source) -> Result<Vec<FileRecord>> {
        (0..source.file_count())
            .map(|file| {
                let name = source.path(file).file_name().unwrap_or_default();
                Ok(FileRecord {
                    name: name.to_string_lossy().into_owned(),
                    bytes: source.file_len(file),
                    header: blake3::hash(&source.description(file)?).to_hex().to_string(),
                })
            })
            .collect()
    }
}

impl Record {
    pub(super) fn new(
        subject: Subject,
        plan: &Plan,
        source: &dyn Source,
        revision: Option<(String, String)>,
        options: OptionsRecord,
        config: FieldReport,
    ) -> Result<Self> {
        let Subject { direction, model, format, connector } = subject;
        let (repository, revision) = revision.unzip();
        let tensors = source.tensors();
        Ok(Record {
            schema: SCHEMA,
            tool: TOOL.into(),
            direction,
            model,
            format,
            connector,
            complete: plan.skipped == 0,
            source: SourceRecord { repository, revision, files: FileRecord::of(source)? },
            options,
            plan_hash: plan.hash(tensors),
            plan: plan.summary(tensors),
            config,
            losses: BTreeMap::new(),
            dropped: BTreeMap::new(),
            weights: Vec::new(),
            copied: Vec::new(),
            hashes: BTreeMap::new(),
        })
    }

    pub(super) fn add_left_out(
        &mut self,
        plan: &Plan,
        tensors: &[TensorInfo],
        left_out: Vec<(usize, NotZero)>,
    ) {
        let name = |number: usize| tensors[plan.dropped[number].tensor].name.clone();
        self.dropped.extend(left_out.into_iter().map(|(number, lost)| (name(number), lost)));
    }

    pub(super) fn add_losses(&mut self, plan: &Plan, done: &Done) {
        let named =
            done.losses.iter().map(|(output, loss)| (plan.outputs[*output].name.clone(), *loss));
        self.losses.extend(named);
    }
}
