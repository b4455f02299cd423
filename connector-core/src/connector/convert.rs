use super::accepted::Accepted;
use super::conversion::{Conversion, Target};
use super::import::comes_back;
use super::planned::{Files, MAX_SHARD_SIZE, settled};
use super::record::{OptionsRecord, Subject};
use super::recorded::Recorded;
use super::same_names::SameNames;
use super::trained::spell_experts;
use super::{ExportOptions, Planned, Record, Registry, TorchDist, TrainedOptions};
use crate::base::{Cancel, options};
use crate::checkpoint::{
    Container, Flavor, IO_JSON, MODEL_YAML, MegatronCheckpoint, Sidecars, is_tokenizer, look,
};
use crate::engine::{self, Bound, EngineOptions, NoProgress, Progress};
use crate::framework::{Described, Surroundings, Unsaid};
use crate::plan::{FindingKind, PlanOptions};
use crate::store::{Overwrite, Staging};
use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

options! {
/// How a checkpoint is stored in another container.
pub struct ConvertOptions {
    /// How torch_dist is written; `None` for safetensors.
    pub torch_dist: Option<TorchDist> = None,
    /// Which iteration, and what says which model it is.
    pub trained: TrainedOptions = TrainedOptions::default(),
    /// The format of [`hf_config`](TrainedOptions::hf_config).
    pub format: String = "hf".into(),
    /// The model, if the checkpoint is not to tell.
    pub model: Option<String> = None,
    /// Fields of the model's config that the framework may compute otherwise, as in
    /// [`ImportOptions`](super::ImportOptions::accept).
    pub accept: Vec<String> = Vec::new(),
    /// Threads and memory.
    pub engine: EngineOptions = EngineOptions::default(),
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64 = MAX_SHARD_SIZE,
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite = Overwrite::No,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool = false,
    /// Stops the conversion.
    pub cancel: Cancel = Cancel::default(),
}
}

/// A conversion to another container that is planned and checked; nothing is written yet.
pub struct PlannedConvert {
    checkpoint: MegatronCheckpoint,
    conversion: Conversion,
    same: SameNames,
    files: Files,
    container: Container,
    accepted: Vec<Unsaid>,
    /// What the record of the conversion that made the checkpoint says.
    before: Recorded,
    options: ConvertOptions,
}

/// Stores the model's side of a checkpoint in another container: `weights/` of the new directory
/// `output` holds the tensors of the checkpoint at `path`, bit for bit, and `context/` the files
/// beside them; in another [`Flavor`] they lie where its framework has them. No format is involved;
/// the model need not be known to the program.
///
/// The checkpoint is one that an import wrote, or an iteration of NeMo, Megatron-LM or
/// Megatron-Bridge, cut in whatever pieces; what is written is whole. States of the optimizer are
/// left behind.
///
/// ```
/// use connector_core::connector::{ConvertOptions, TorchDist, VerifyOptions, convert_ckpt, verify};
/// use connector_core::engine::NoProgress;
/// use connector_core::{ImportOptions, import_ckpt};
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-convert-{}", std::process::id()));
/// # let source = std::path::Path::new(fixture);
/// # let (nemo, dist) = (scratch.join("nemo"), scratch.join("dist"));
///
/// import_ckpt(source, &nemo, ImportOptions::default())?;
/// convert_ckpt(&nemo, &dist, ConvertOptions::default().torch_dist(TorchDist::default()))?;
///
/// assert!(dist.join("weights/.metadata").is_file());
/// assert!(verify(&nemo, &dist, &VerifyOptions::default(), &NoProgress)?.is_equal());
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with everything that is wrong with the checkpoint, before anything is written;
/// [`DistLayout`](crate::checkpoint::Error::DistLayout) if its layers cannot be stacked;
/// [`Io`](crate::store::Error::Io). The output appears whole or not at all.
pub fn convert_ckpt(
    path: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: ConvertOptions,
) -> Result<Record> {
    PlannedConvert::new(path, options)?.run(output, &NoProgress)
}

impl PlannedConvert {
    /// Reads the headers and the config of the checkpoint at `path` and plans its conversion.
    ///
    /// # Errors
    /// [`Error::Refused`] with all findings,
    /// [`DistLayout`](crate::checkpoint::Error::DistLayout),
    /// [`Io`](crate::store::Error::Io).
    pub fn new(path: impl AsRef<Path>, options: ConvertOptions) -> Result<Self> {
        let path = path.as_ref();
        let open = || options.trained.open(path, &options.format, options.model.as_deref());
        let mut checkpoint = settled(open, MegatronCheckpoint::source)?;
        if !checkpoint.findings().is_empty() {
            return Err(Error::refused(checkpoint.findings().to_vec()));
        }
        if options.trained.hf_config.is_some() {
            check_described(path, &options)?;
        }
        let (files, container, accepted) = beside(&checkpoint, &options)?;
        if options.torch_dist.is_none() {
            spell_experts(&mut checkpoint, &options.format)?;
        }
        let same = SameNames::new()?;
        let plan = same.plan(checkpoint.source().tensors())?;
        let conversion = Conversion::new(
            plan,
            checkpoint.source(),
            None,
            (container.clone(), options.max_shard_size),
            &options.engine,
            &same.context(),
        )?;
        let before = Recorded::read(path)?.unwrap_or_default();
        Ok(PlannedConvert {
            checkpoint,
            conversion,
            same,
            files,
            container,
            accepted,
            before,
            options,
        })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &MegatronCheckpoint {
        &self.checkpoint
    }

    /// The container that the tensors are written in.
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// What the user should know of the files beside them.
    pub fn warnings(&self) -> &[String] {
        &self.files.warnings
    }

    /// The files of tensors that will be written into `weights/` or the framework's
    /// folder: name and length in bytes.
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
    pub fn check(&self, output: impl AsRef<Path>) -> Result<()> {
        let output = output.as_ref();
        Staging::check(output, self.options.overwrite)?;
        let (path, source) = (self.checkpoint.path(), self.checkpoint.source());
        self.conversion.check(path, source, &self.target(output, &NoProgress)).map(drop)
    }

    /// Runs the conversion into the new directory `output`, and returns what its `conversion.json`
    /// says.
    ///
    /// # Errors
    /// As [`convert_ckpt`].
    pub fn run(&self, output: impl AsRef<Path>, progress: &dyn Progress) -> Result<Record> {
        let output = output.as_ref();
        let source = self.checkpoint.source();
        let subject = Subject {
            direction: "convert",
            model: self.checkpoint.model().unwrap_or_default().into(),
            format: String::new(),
            connector: String::new(),
        };
        let (revision, complete) = (self.before.revision(), self.before.is_complete());
        let before = [self.before.ignored(), self.before.only(), self.before.carried()];
        let [ignore, only, carry] = before.map(<[_]>::to_vec);
        let options = OptionsRecord {
            accepted: self.accepted.clone(),
            ..OptionsRecord::new(&PlanOptions { dtype: None, ignore, only, carry })
        };
        let plan = &self.conversion.plan;
        let mut record = Record::new(subject, plan, source, revision, options, Default::default())?;
        record.complete &= complete;
        let finish =
            |dir: &Path, record: &mut Record| self.files.write(dir, record, &self.options.cancel);
        let (path, target) = (self.checkpoint.path(), self.target(output, progress));
        let context = self.same.context();
        self.conversion
            .run((path, source), context, &target, record, |job| Ok(engine::run(job)?), finish)
            .map(|(record, _)| record)
    }

    fn target<'a>(&'a self, output: &'a Path, progress: &'a dyn Progress) -> Target<'a> {
        let ConvertOptions { overwrite, hash, cancel, engine, .. } = &self.options;
        let (overwrite, sync) = (*overwrite, engine.sync);
        Target {
            output,
            weights: self.files.weights,
            overwrite,
            sync,
            hash: *hash,
            progress,
            cancel,
        }
    }
}

/// Refuses a config that was given for the checkpoint and is another model's: what the export of that
/// model would need is missing, or has another shape. Tensors that it has no use for are stored all
/// the same, and a model that is not exported is not looked at.
fn check_described(path: &Path, options: &ConvertOptions) -> Result<()> {
    let ConvertOptions { trained, format, model, engine, .. } = options.clone();
    let export = ExportOptions { trained, format, model, engine, ..ExportOptions::default() };
    match Planned::export(path, export) {
        Ok(_) | Err(Error::NoExporter { .. } | Error::NoExport { .. }) => Ok(()),
        Err(Error::Refused(mut refusal)) => {
            let other = [FindingKind::UnusedTensor, FindingKind::Resource];
            refusal.findings.retain(|finding| !other.contains(&finding.kind));
            if refusal.findings.is_empty() { Ok(()) } else { Err(Error::Refused(refusal)) }
        }
        Err(error) => Err(error),
    }
}

/// The files beside the tensors of the output, and the container with what the framework wants in it.
///
/// Those in `context/` stay as they are where the output has such a folder too, and all are there
/// that belong in it. Otherwise they are made and put as an import does.
fn beside(
    checkpoint: &MegatronCheckpoint,
    options: &ConvertOptions,
) -> Result<(Files, Container, Vec<Unsaid>)> {
    let (model, config) =
        (checkpoint.model().unwrap_or_default(), checkpoint.config().unwrap_or(&Value::Null));
    let dist = options.torch_dist;
    let context = checkpoint.context();
    let has = |name: &str| context.map_or(Ok(false), |folder| look::is_file(&folder.join(name)));
    let is_nemo = dist.is_some_and(|dist| dist.flavor == Flavor::Nemo);
    let as_they_are = options.trained.hf_config.is_none()
        && has(MODEL_YAML)?
        && (dist.is_none() || is_nemo && has(IO_JSON)?);
    let folders = checkpoint.folders()?;
    let but = [MODEL_YAML, IO_JSON];
    let beside = context.map(|context| Sidecars::with_folders(context, &folders, &but));
    let beside = beside.transpose()?;
    let names = beside.as_ref().map(Sidecars::names).unwrap_or_default();
    // A model that no connector is for has no names in frameworks.
    let known = Registry::get()?.exporter(&options.format, model).ok().map(|known| known.connector);
    let plain = || names.iter().filter(|name| is_tokenizer(name)).cloned().collect();
    let described = Described {
        model,
        config,
        frameworks: known.and_then(|connector| connector.frameworks()),
        files: &names,
        tokenizer: &known.map_or_else(plain, |connector| connector.tokenizer(&names)),
    };
    let (container, around) = match dist {
        Some(dist) => {
            let tensors = checkpoint.source().tensors().iter();
            let layers = dist.layout(|| tensors.map(|t| (&*t.name, t.shape.clone())).collect());
            // Whoever cannot restore it will not read it by its names either.
            let restored = known.map(|known| known.restore(config, &checkpoint.config_file()));
            let restored = restored.and_then(Result::ok);
            comes_back(restored.as_ref().and_then(|restored| restored.instance.as_deref()))?;
            let mut around = described.surroundings(dist.flavor, layers)?;
            (dist.container(layers, &mut around), around)
        }
        None => (Container::Safetensors, described.plain()?),
    };
    let Surroundings { directory, mut made, mut moved, mut unsaid, mut warnings, .. } = around;
    let beside = if as_they_are {
        (made, moved, unsaid, warnings) = Default::default();
        context.map(|context| Sidecars::list(context, &[])).transpose()?
    } else {
        beside
    };
    let Accepted { refused, accepted, warnings: told } = Accepted::new(unsaid, &options.accept);
    if !refused.is_empty() {
        return Err(Error::refused(refused));
    }
    warnings.extend(told);
    warnings.extend(beside.iter().flat_map(|beside| beside.warnings.clone()));
    let files = Files {
        weights: directory.weights,
        to: directory.beside,
        read: checkpoint.files_read(),
        beside,
        moved,
        made,
        warnings,
    };
    Ok((files, container, accepted))
}
