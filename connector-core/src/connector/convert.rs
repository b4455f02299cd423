use super::conversion::{CONVERSION_JSON, Conversion, Target};
use super::import::{container, model_yaml};
use super::planned::{Files, MAX_SHARD_SIZE};
use super::record::{OptionsRecord, Subject};
use super::same_names::SameNames;
use super::{Record, TrainedOptions};
use crate::cancel::Cancel;
use crate::checkpoint::torch_dist::LayerLayout;
use crate::checkpoint::{CONTEXT, Container, MODEL_YAML, NemoCheckpoint, WEIGHTS};
use crate::engine::{Bound, EngineOptions, NoProgress, Progress};
use crate::plan::PlanOptions;
use crate::store::{Overwrite, Staging};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// How a checkpoint is stored in another container.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// How layers are stored, to write torch_dist and not safetensors.
    pub torch_dist: Option<LayerLayout>,
    /// Which iteration, and what says which model it is.
    pub trained: TrainedOptions,
    /// The format of [`hf_config`](TrainedOptions::hf_config).
    pub format: String,
    /// The model, if the checkpoint is not to tell.
    pub model: Option<String>,
    /// Threads and memory.
    pub engine: EngineOptions,
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64,
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool,
    /// Stops the conversion.
    pub cancel: Cancel,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        ConvertOptions {
            torch_dist: None,
            trained: TrainedOptions::default(),
            format: "hf".into(),
            model: None,
            engine: EngineOptions::default(),
            max_shard_size: MAX_SHARD_SIZE,
            overwrite: Overwrite::No,
            hash: false,
            cancel: Cancel::default(),
        }
    }
}

/// A conversion to another container that is planned and checked; nothing is written yet.
pub struct PlannedConvert {
    checkpoint: NemoCheckpoint,
    conversion: Conversion,
    same: SameNames,
    files: Files,
    container: Container,
    before: Before,
    options: ConvertOptions,
}

/// Stores the model's side of a checkpoint in another container: `weights/` of the new directory
/// `output` holds the tensors of the checkpoint at `path`, bit for bit, and `context/` the files
/// beside them. No format is involved; the model need not be known to the program.
///
/// The checkpoint is one that an import wrote, or an iteration of NeMo, Megatron-LM or
/// Megatron-Bridge, cut in whatever pieces; what is written is whole. States of the optimizer are
/// left behind.
///
/// ```
/// use connector_core::checkpoint::torch_dist::LayerLayout;
/// use connector_core::connector::{ConvertOptions, VerifyOptions, convert_ckpt, verify};
/// use connector_core::engine::NoProgress;
/// use connector_core::{ImportOptions, import_ckpt};
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-convert-{}", std::process::id()));
/// # let source = std::path::Path::new(fixture);
/// # let (nemo, dist) = (scratch.join("nemo"), scratch.join("dist"));
///
/// import_ckpt(source, &nemo, ImportOptions::default())?;
/// let mut options = ConvertOptions::default();
/// options.torch_dist = Some(LayerLayout::Stacked);
/// convert_ckpt(&nemo, &dist, options)?;
///
/// assert!(dist.join("weights/.metadata").is_file());
/// assert!(verify(&nemo, &dist, &VerifyOptions::default(), &NoProgress)?.is_equal());
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with everything that is wrong with the checkpoint, before anything is written;
/// [`Error::DistLayout`] if its layers cannot be stacked; [`Error::Io`]. The output appears whole or
/// not at all.
pub fn convert_ckpt(path: &Path, output: &Path, options: ConvertOptions) -> Result<Record> {
    PlannedConvert::new(path, options)?.run(output, &NoProgress)
}

impl PlannedConvert {
    /// Reads the headers and the config of the checkpoint at `path` and plans its conversion.
    ///
    /// # Errors
    /// [`Error::Refused`] with all findings, [`Error::DistLayout`], [`Error::Io`].
    pub fn new(path: &Path, options: ConvertOptions) -> Result<Self> {
        let mut checkpoint =
            options.trained.open(path, &options.format, options.model.as_deref())?;
        let (Some(model), Some(config), []) =
            (checkpoint.model(), checkpoint.config(), checkpoint.findings())
        else {
            return Err(Error::refused(checkpoint.findings().to_vec()));
        };
        let container = container(options.torch_dist, config);
        // Where the file itself is copied it stays as it is.
        let copied = checkpoint.context().is_some_and(|dir| dir.join(MODEL_YAML).is_file());
        let made = match copied {
            true => Vec::new(),
            false => vec![(MODEL_YAML, model_yaml(model, config)?.into_bytes())],
        };
        let files = Files {
            weights: WEIGHTS,
            from: checkpoint.context().map(Path::to_path_buf),
            to: CONTEXT,
            folders: Vec::new(),
            read: checkpoint.files_read(),
            but: Vec::new(),
            made,
        };
        if options.torch_dist.is_none() {
            checkpoint.spell_experts();
        }
        let same = SameNames::new()?;
        let plan = same.plan(checkpoint.source().tensors())?;
        let conversion = Conversion::new(
            plan,
            checkpoint.source(),
            None,
            (container, options.max_shard_size),
            &options.engine,
            &same.context(),
        )?;
        let before = Before::read(path);
        Ok(PlannedConvert { checkpoint, conversion, same, files, container, before, options })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &NemoCheckpoint {
        &self.checkpoint
    }

    /// The container that the tensors are written in.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The files of tensors that will be written into `weights/`: name and length in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.conversion.layout.files().into_iter()
    }

    /// The memory that running takes, in bytes.
    pub fn bound(&self) -> &Bound {
        &self.conversion.prepared.bound
    }

    /// Checks all that can be checked before the first write; [`run`](Self::run) does so too.
    ///
    /// # Errors
    /// As [`convert_ckpt`].
    pub fn check(&self, output: &Path) -> Result<()> {
        Staging::check(output, self.options.overwrite)?;
        let (path, source) = (self.checkpoint.path(), self.checkpoint.source());
        self.conversion.check(path, source, &self.target(output, &NoProgress))
    }

    /// Runs the conversion into the new directory `output`, and returns what its `conversion.json`
    /// says.
    ///
    /// # Errors
    /// As [`convert_ckpt`].
    pub fn run(&self, output: &Path, progress: &dyn Progress) -> Result<Record> {
        let source = self.checkpoint.source();
        let subject = Subject {
            direction: "convert",
            model: self.checkpoint.model().unwrap_or_default().into(),
            format: String::new(),
            connector: String::new(),
        };
        let Before { revision, options, complete } = self.before.clone();
        let plan = &self.conversion.plan;
        let mut record = Record::new(subject, plan, source, revision, options, Default::default())?;
        record.complete &= complete;
        let finish =
            |dir: &Path, record: &mut Record| self.files.write(dir, record, &self.options.cancel);
        let (path, target) = (self.checkpoint.path(), self.target(output, progress));
        let context = self.same.context();
        self.conversion
            .run(path, source, context, &target, record, finish)
            .map(|(record, _)| record)
    }

    fn target<'a>(&'a self, output: &'a Path, progress: &'a dyn Progress) -> Target<'a> {
        let ConvertOptions { overwrite, hash, cancel, .. } = &self.options;
        let overwrite = *overwrite;
        Target { output, weights: WEIGHTS, overwrite, hash: *hash, progress, cancel }
    }
}

/// What the record of the conversion that made the checkpoint says, and stays true of it.
#[derive(Clone)]
struct Before {
    /// Where on the hub it came from.
    revision: Option<(String, String)>,
    /// What was left out.
    options: OptionsRecord,
    complete: bool,
}

impl Before {
    /// Without a record, or one of ours, nothing is known.
    fn read(path: &Path) -> Self {
        let text = std::fs::read(path.join(CONVERSION_JSON)).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(String::from);
        let list = |name: &str| {
            record["options"][name].as_array().into_iter().flatten().filter_map(text).collect()
        };
        let source = &record["source"];
        let plan = PlanOptions { dtype: None, ignore: list("ignore"), only: list("only") };
        Before {
            revision: text(&source["repository"]).zip(text(&source["revision"])),
            options: OptionsRecord::new(&plan),
            complete: record["complete"].as_bool().unwrap_or(true),
        }
    }
}
