//! Whether two checkpoints hold the same numbers: under a mapping, or name by name.

mod compare;
mod declared;
mod value;

use super::format_config::differing;
use super::planned::Planned;
use super::same_names::SameNames;
use super::trained::{schema_of, spell_experts};
use super::{Experts, ImportOptions, Registration, TrainedOptions};
use crate::base::{Cancel, DeviceChoice, options};
use crate::checkpoint::{MegatronCheckpoint, Tensors, torch_dist};
use crate::engine::{EngineOptions, Progress};
use crate::plan::{Finding, FindingKind, PlanOptions};
use crate::store::Source;
use crate::{Error, Result};
use compare::Comparison;
use declared::Declared;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

options! {
/// How two checkpoints are compared.
pub struct VerifyOptions {
    /// The name of the format, `hf`.
    pub format: String = "hf".into(),
    /// The model, if its architecture is not to tell.
    pub model: Option<String> = None,
    /// Tensors of either side that need no counterpart.
    pub ignore: Vec<String> = Vec::new(),
    /// Of checkpoints of training, which iteration, and what says which model it is.
    pub trained: TrainedOptions = TrainedOptions::default(),
    /// Threads and memory.
    pub engine: EngineOptions = EngineOptions::default(),
    /// Where user functions run.
    pub device: DeviceChoice = DeviceChoice::default(),
    /// Stops it.
    pub cancel: Cancel = Cancel::default(),
}
}

/// What a comparison found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// The importer whose mapping joins the two; `None` if tensors are compared by their names.
    pub connector: Option<&'static Registration>,
    /// How many tensors are the same, bit for bit.
    pub equal: usize,
    /// How many bytes they have in the checkpoint.
    pub bytes: u64,
    /// Tensors that were compared after the cast that the checkpoint's type asks for.
    pub casts: Vec<CastCount>,
    /// Tensors whose further rows must be, and were compared with, zeros; grouped.
    pub padded: Vec<String>,
    /// Tensors of the source whose rows of padding an export leaves out, and how many elements of
    /// these are not zero.
    pub dropped: BTreeMap<String, u64>,
    /// Tensors that need no counterpart, grouped, and why.
    pub left_out: Vec<(String, String)>,
    /// Everything that differs.
    pub differences: Vec<Difference>,
    /// Why the checkpoint cannot be read under the mapping; nothing was compared then.
    pub refused: Vec<Finding>,
}

/// How many tensors were cast before they were compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CastCount {
    /// The source's type.
    pub from: String,
    /// The checkpoint's.
    pub to: String,
    /// How many.
    pub tensors: usize,
}

/// Something that is not the same on both sides. Under a mapping keys are those of the model.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Difference {
    /// The source has it, the checkpoint has not.
    Missing {
        /// Its key.
        key: String,
    },
    /// The checkpoint has it, the source has not.
    Unexpected {
        /// Its key.
        key: String,
    },
    /// Their dimensions differ.
    Shape {
        /// Their key.
        key: String,
        /// The source's dimensions.
        source: Vec<usize>,
        /// The checkpoint's.
        checkpoint: Vec<usize>,
    },
    /// Their types differ, and are not cast into each other.
    Dtype {
        /// Their key.
        key: String,
        /// The source's type.
        source: String,
        /// The checkpoint's.
        checkpoint: String,
    },
    /// A field of the model's config differs: the same numbers would be another model.
    Config {
        /// The field.
        key: String,
        /// Its value as the source's config says.
        source: Value,
        /// As the checkpoint's says.
        checkpoint: Value,
    },
    /// Their numbers differ.
    Values {
        /// Their key.
        key: String,
        /// The first element that differs, one index for each dimension.
        index: Vec<usize>,
        /// Its value in the source.
        source: String,
        /// Its value in the checkpoint.
        checkpoint: String,
        /// How many elements differ.
        differ: u64,
        /// How many there are.
        elements: u64,
        /// Where the element is on the format's side, if operations only move it.
        origin: Option<Element>,
    },
}

/// An element of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Element {
    /// The tensor's key.
    pub key: String,
    /// One index for each dimension.
    pub index: Vec<usize>,
}

impl Difference {
    /// The key, or the field, that it is about.
    pub fn key(&self) -> &str {
        match self {
            Difference::Missing { key }
            | Difference::Unexpected { key }
            | Difference::Shape { key, .. }
            | Difference::Dtype { key, .. }
            | Difference::Config { key, .. }
            | Difference::Values { key, .. } => key,
        }
    }
}

impl Difference {
    fn config((key, source, checkpoint): (String, Value, Value)) -> Self {
        Difference::Config { key, source, checkpoint }
    }
}

impl Verification {
    /// Whether the checkpoint holds what the source does, bit for bit.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.refused.is_empty()
    }
}

/// States whether `checkpoint` holds the numbers of `source`, tensor by tensor, bit for bit. Either
/// may be a Hugging Face directory or one that an import wrote.
///
/// Of two of different kinds the mapping of the importer joins them: it is run on the bytes of the
/// one and what comes out held against the other. Casts follow the checkpoint's types; rows that
/// pad are zeros; `ignore` rows, tensors that repeat others and what `conversion.json` says was
/// left out need no counterpart. Of two of one kind tensors are compared by their names.
///
/// What the two configs say of the model must be the same too, but for padding and type.
///
/// Both are streamed in bounded memory, each byte is read once, but for tensors that must repeat
/// others, which are looked at first.
///
/// ```
/// use connector_core::connector::{VerifyOptions, verify};
/// use connector_core::engine::NoProgress;
/// use connector_core::{ImportOptions, import_ckpt};
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-verify-{}", std::process::id()));
/// # let (source, output) = (std::path::Path::new(fixture), scratch.as_path());
///
/// import_ckpt(source, output, ImportOptions::default())?;
/// let verification = verify(source, output, &VerifyOptions::default(), &NoProgress)?;
/// assert!(verification.is_equal());
/// # std::fs::remove_dir_all(output).unwrap();
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] if the source does not fit its importer;
/// [`Open`](crate::checkpoint::Error::Open), [`Io`](crate::store::Error::Io),
/// [`Error::NoImporter`]; [`Function`](crate::engine::Error::Function) where a user's function
/// fails. That they differ is no error.
pub fn verify(
    source: impl AsRef<Path>,
    checkpoint: impl AsRef<Path>,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verification> {
    let (source, checkpoint) = (source.as_ref(), checkpoint.as_ref());
    match [MegatronCheckpoint::is_at(source)?, MegatronCheckpoint::is_at(checkpoint)?] {
        [false, true] => mapped(source, checkpoint, false, options, progress),
        [true, false] => mapped(checkpoint, source, true, options, progress),
        [_, _] => {
            let declared = Declared::of_both(source, checkpoint, options)?;
            named(source, checkpoint, declared, true, options, progress)
        }
    }
}

/// Compares two checkpoints, or files of tensors, of any kind by the names of their tensors, as
/// they are: nothing is cast, nothing left out but what `options` say.
///
/// # Errors
/// [`Open`](crate::checkpoint::Error::Open), [`Io`](crate::store::Error::Io). That they
/// differ is no error.
pub fn diff(
    source: impl AsRef<Path>,
    checkpoint: impl AsRef<Path>,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verification> {
    let (source, checkpoint) = (source.as_ref(), checkpoint.as_ref());
    let declared = Declared::by_patterns(&options.ignore)?;
    named(source, checkpoint, declared, false, options, progress)
}

/// Compares under the mapping of the importer for the format's side. `from_model` says that the
/// model's side is the source.
fn mapped(
    format: &Path,
    model: &Path,
    from_model: bool,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verification> {
    let mut trained = options.trained.open(model, &options.format, options.model.as_deref())?;
    if !trained.findings().is_empty() {
        return Err(Error::refused(trained.findings().to_vec()));
    }
    let schema = schema_of(&trained, &options.format)?;
    let grouped = spell_experts(&mut trained, &options.format)?;
    let vocabulary = schema.and_then(|schema| schema.vocabulary);
    let mut declared = Declared::by_patterns(&options.ignore)?;
    let only = declared.record(model)?;
    declared.record(format)?;
    let multiple =
        vocabulary.and_then(|vocabulary| trained.config()?.get(vocabulary.divisor?)?.as_u64());
    let import = ImportOptions {
        format: options.format.clone(),
        model: options.model.clone(),
        plan: PlanOptions {
            dtype: None,
            ignore: declared.patterns(),
            only,
            carry: declared.carried.clone(),
        },
        engine: options.engine.clone(),
        pad_vocab_to_multiple_of: multiple.and_then(|multiple| multiple.try_into().ok()),
        experts: grouped.then_some(Experts::Grouped),
        device: options.device,
        cancel: options.cancel.clone(),
        ..ImportOptions::default()
    };
    let planned = Planned::import(format, import);
    let planned = match planned.and_then(|p| declared.unmapped(&p).map(|()| p)) {
        Ok(planned) => planned,
        // A checkpoint that lacks a tensor is not what the source is.
        Err(Error::Refused(refusal)) if from_model => {
            return Ok(Verification { refused: refusal.findings, ..Verification::default() });
        }
        Err(error) => return Err(error),
    };
    if let registration @ Registration { own_state: true, .. } = planned.registration() {
        let problem = "converts its state in its own way";
        let note = "its rows do not say what its tensors are; `connector diff` compares by names";
        let finding = Finding::new(FindingKind::Rule, registration.name, problem);
        return Err(Error::refused(vec![finding.note(note).rule(registration.at)]));
    }
    let comparison = Comparison {
        made: planned.source(),
        other: trained.source(),
        context: planned.context(),
        swapped: from_model,
        casts: true,
        padding: !from_model,
        options,
    };
    let mut compared = comparison.run(planned.plan().clone(), progress)?;
    let fields = trained.config().unwrap_or(&Value::Null);
    let config = planned.registration().connector.restore(fields, &trained.config_file())?.model;
    let [one, other] = if from_model {
        [&config, planned.model_config()]
    } else {
        [planned.model_config(), &config]
    };
    // Whether the format's side counts the padding in its vocabulary, as an export does on request.
    let kept = vocabulary.filter(|vocabulary| {
        let rows = vocabulary.rows(config.json());
        rows.is_some() && planned.model_config().number(vocabulary.tokens) == rows.map(|n| n as u64)
    });
    let differ = differing(schema, one, other);
    let differ =
        differ.into_iter().filter(|(name, ..)| kept.is_none_or(|kept| kept.tokens != name));
    compared.differences.extend(differ.map(Difference::config));
    Ok(declared.settle(compared, Some(planned.registration()), from_model))
}

/// Compares by names.
fn named(
    source: &Path,
    checkpoint: &Path,
    declared: Declared,
    casts: bool,
    options: &VerifyOptions,
    progress: &dyn Progress,
) -> Result<Verification> {
    let iteration = options.trained.iteration;
    let [source, checkpoint] = [reader(source, iteration)?, reader(checkpoint, iteration)?];
    let same = SameNames::new()?;
    let plan = same.plan(source.tensors())?;
    let comparison = Comparison {
        made: &source,
        other: &checkpoint,
        context: same.context(),
        swapped: false,
        casts,
        padding: false,
        options,
    };
    let compared = comparison.run(plan, progress)?;
    Ok(declared.settle(compared, None, false))
}

/// The tensors of a directory of either kind, or of a file.
fn reader(path: &Path, iteration: Option<u64>) -> Result<Tensors> {
    let is_model = MegatronCheckpoint::is_at(path)?;
    let path = if is_model { MegatronCheckpoint::weights(path, iteration)? } else { path.into() };
    let mut tensors = Tensors::open(&path)?;
    if is_model {
        // A mixture's experts have two names, and torch_dist does not say which.
        tensors.rename(torch_dist::canonical);
    }
    match tensors.findings(&path.display().to_string()) {
        findings if findings.is_empty() => Ok(tensors),
        findings => Err(Error::refused(findings)),
    }
}
