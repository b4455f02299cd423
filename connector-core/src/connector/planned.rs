//! What import and export share: a plan with all that it takes to run it.

use super::conversion::{Conversion, Target};
use super::record::{OptionsRecord, Subject, TOOL};
use super::{Configuration, Direction, Record, Registration, State};
use crate::base::panics::catch;
use crate::base::stage::stage;
use crate::base::{Cancel, DeviceChoice};
use crate::checkpoint::{
    CONFIG_JSON, Container, FieldReport, Flavor, HfCheckpoint, MegatronCheckpoint, Sidecar,
    Sidecars, look,
};
use crate::engine::{self, Bound, Context, EngineOptions, NoProgress, NotZero, Progress};
use crate::mapping::FlatMapping;
use crate::plan::{Finding, FindingKind, Plan, PlanOptions, Request};
use crate::schema::Instance;
use crate::store::{self, Dtype, Overwrite, Source, Staging, Stamp, landings, write_new};
use crate::transform::Config;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The largest shard by default: what transformers writes.
pub(crate) const MAX_SHARD_SIZE: u64 = 5_000_000_000;

/// A conversion that is planned and checked; nothing is written yet.
pub struct Planned {
    input: Input,
    direction: Direction,
    registration: &'static Registration,
    configuration: Configuration,
    format: Config,
    conversion: Conversion,
    report: FieldReport,
    files: Files,
    work: Work,
    /// What the cache knows the source by, once it asked.
    pub(super) source_key: OnceLock<Value>,
    #[cfg(feature = "candle")]
    device: candle_core::Device,
}

/// What is converted.
pub(super) enum Input {
    Format(Box<HfCheckpoint>),
    Model(Box<MegatronCheckpoint>),
}

/// The options that both directions have.
#[derive(Clone)]
pub(super) struct Work {
    pub plan: PlanOptions,
    pub engine: EngineOptions,
    pub container: Container,
    pub flavor: Option<Flavor>,
    pub max_shard_size: u64,
    #[cfg_attr(not(feature = "candle"), allow(dead_code, reason = "functions run nowhere"))]
    pub device: DeviceChoice,
    pub overwrite: Overwrite,
    pub hash: bool,
    pub cancel: Cancel,
    pub record: OptionsRecord,
}

/// The files beside the tensors.
pub(super) struct Files {
    /// The folder of the tensors in the output; empty for the output itself.
    pub weights: &'static str,
    /// Files that are copied.
    pub beside: Option<Sidecars>,
    /// The folder in the output to which they are copied; empty for the output itself.
    pub to: &'static str,
    /// Files that were read, and their bytes: they must not have changed meanwhile.
    pub read: Vec<(PathBuf, Vec<u8>)>,
    /// What the user should know of them.
    pub warnings: Vec<String>,
    /// Files that are copied to another place in `to` than their own.
    pub moved: BTreeMap<String, String>,
    /// Files that are written, by their places in the output, and their bytes.
    pub made: Vec<(String, Vec<u8>)>,
}

/// A conversion before it is planned.
pub(super) struct Draft {
    pub input: Input,
    pub direction: Direction,
    pub registration: &'static Registration,
    pub configuration: Configuration,
    pub format: Config,
    pub mapping: FlatMapping,
    pub report: FieldReport,
    pub files: Files,
    pub work: Work,
    /// What keeps it from being written beside what the plan finds.
    pub refused: Vec<Finding>,
}

impl Draft {
    /// Plans it.
    ///
    /// # Errors
    /// [`Error::Refused`] with all findings.
    pub fn plan(self) -> Result<Planned> {
        let Draft { input, direction, registration, configuration, format, .. } = self;
        let Draft { mapping, report, files, work, refused, .. } = self;
        let named = |error| name_subject(error, registration, direction);
        let plan = catch(|| {
            stage!("plan");
            Plan::new(&Request {
                mapping: &mapping,
                instance: configuration.instance.as_deref(),
                model: &configuration.model,
                format: &format,
                tensors: input.source().tensors(),
                options: &work.plan,
            })
        })
        .map_err(|panic| input.cannot_compute(panic))
        .map_err(named)?;
        let config_findings = [input.findings(), refused].concat();
        let plan = match plan {
            Ok(plan) if config_findings.is_empty() => plan,
            Ok(_) => return Err(named(Error::refused(config_findings))),
            Err(mut findings) => {
                findings.extend(config_findings);
                return Err(named(Error::refused(findings)));
            }
        };
        #[cfg(feature = "candle")]
        let device = work.device.open()?;
        let context = Context {
            model: &configuration.model,
            format: &format,
            instance: configuration.instance.as_deref(),
            export: direction == Direction::Export,
            #[cfg(feature = "candle")]
            device: &device,
        };
        let conversion = Conversion::new(
            plan,
            input.source(),
            work.plan.dtype,
            (work.container.clone(), work.max_shard_size),
            &work.engine,
            &context,
        )
        .map_err(named)?;
        Ok(Planned {
            input,
            direction,
            registration,
            configuration,
            format,
            conversion,
            report,
            files,
            work,
            source_key: OnceLock::new(),
            #[cfg(feature = "candle")]
            device,
        })
    }
}

impl Planned {
    /// Where the checkpoint is that is converted.
    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Its tensors.
    pub fn source(&self) -> &dyn Source {
        self.input.source()
    }

    /// What it calls its model: the names in `architectures`, or on export the model's type.
    pub fn model_names(&self) -> Vec<&str> {
        match &self.input {
            Input::Format(checkpoint) => checkpoint.architectures(),
            Input::Model(checkpoint) => checkpoint.model().into_iter().collect(),
        }
    }

    /// The repository and revision, if it is a snapshot in a hub cache.
    pub fn hub_revision(&self) -> Option<(String, String)> {
        match &self.input {
            Input::Format(checkpoint) => checkpoint.hub_revision(),
            Input::Model(_) => None,
        }
    }

    /// Which way it goes.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The connector.
    pub fn registration(&self) -> &'static Registration {
        self.registration
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.conversion.plan
    }

    /// The model's config.
    pub fn model_config(&self) -> &Config {
        &self.configuration.model
    }

    /// The model's parameters under its config; `None` without a schema.
    pub fn instance(&self) -> Option<&dyn Instance> {
        self.configuration.instance.as_deref()
    }

    /// The format's config, as it was read or will be written.
    pub fn format_config(&self) -> &Config {
        &self.format
    }

    /// What became of the fields of the format's config.
    pub fn field_report(&self) -> &FieldReport {
        &self.report
    }

    /// The memory that running takes, in bytes.
    pub fn bound(&self) -> &Bound {
        &self.conversion.prepared.bound
    }

    /// The folder of the output in which the tensors will lie; empty for the output itself.
    pub fn weights(&self) -> &'static str {
        self.files.weights
    }

    /// The folder of the output for the files beside the tensors; empty for the output itself.
    pub fn beside(&self) -> &'static str {
        self.files.to
    }

    /// The files of tensors that will be written: name and length in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.conversion.layout.files().into_iter()
    }

    /// Where output number `output` of the plan will lie, in one or more parts: file, first byte,
    /// number of bytes.
    pub fn places(&self, output: usize) -> Vec<(&str, u64, u64)> {
        let Conversion { plan, layout, .. } = &self.conversion;
        let (files, bytes) = (layout.files(), plan.outputs[output].bytes().unwrap_or(0));
        let parts = layout.parts(output);
        let all = landings(&parts, 0, bytes);
        all.map(|landing| (files[landing.file].0, landing.offset, landing.len)).collect()
    }

    /// The file that says the config of what is converted, as messages name it: `config.json`,
    /// `context/model.yaml`, `run_config.yaml`, `common.pt`.
    pub fn config_file(&self) -> String {
        match &self.input {
            Input::Format(_) => CONFIG_JSON.into(),
            Input::Model(checkpoint) => checkpoint.config_file(),
        }
    }

    /// The format's config from which the model was imported, as messages name it; `None` if it is
    /// not there, or nothing is exported.
    pub fn original_file(&self) -> Option<String> {
        match &self.input {
            Input::Format(_) => None,
            Input::Model(checkpoint) => {
                checkpoint.original().is_some().then(|| checkpoint.original_file())
            }
        }
    }

    /// The folder from which files are copied, if there is one.
    pub fn copied_from(&self) -> Option<&Path> {
        self.files.beside.as_ref().map(Sidecars::from)
    }

    /// The container that the tensors are written in.
    pub fn container(&self) -> &Container {
        &self.work.container
    }

    /// The framework whose directory is put around a distributed checkpoint; `None` for another
    /// container.
    pub fn flavor(&self) -> Option<Flavor> {
        self.work.flavor
    }

    /// What the user should know before the result is used.
    pub fn warnings(&self) -> &[String] {
        &self.files.warnings
    }

    /// Checks all that can be checked before the first write: that `output` may be written, that
    /// it is apart from the source, that there is room, that tensors which must be equal are, that no
    /// number is lost.
    /// [`run`](Self::run) does so too.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt).
    pub fn check(&self, output: impl AsRef<Path>) -> Result<()> {
        let output = output.as_ref();
        Staging::check(output, self.work.overwrite)?;
        self.check_over(output)
    }

    /// [`check`](Self::check), whatever lies at `output`.
    pub(super) fn check_over(&self, output: &Path) -> Result<()> {
        let target = self.target(output, &NoProgress);
        let checked = self.conversion.check(self.path(), self.source(), &target);
        checked.map(drop).map_err(self.named())
    }

    /// Converts into the new directory `output`, and returns what its `conversion.json` says.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt).
    pub fn run(&self, output: impl AsRef<Path>, progress: &dyn Progress) -> Result<Record> {
        self.run_over(output.as_ref(), self.work.overwrite, self.work.engine.sync, progress)
    }

    /// [`run`](Self::run), which replaces an output and waits for the disk as this says.
    pub(super) fn run_over(
        &self,
        output: &Path,
        overwrite: Overwrite,
        sync: bool,
        progress: &dyn Progress,
    ) -> Result<Record> {
        let job = Job { planned: self, output, overwrite, sync, progress };
        self.guarded("apply", || self.registration.connector.apply(&job))
    }

    /// Runs the connector's own code.
    fn guarded<T>(&self, what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        catch(run).unwrap_or_else(|panic| {
            let reason = format!("{} panicked in {what}: {panic}", self.registration.name);
            Err(Error::ModelConfig { reason })
        })
    }

    fn convert(&self, job: &Job<'_>) -> Result<Record> {
        let Job { output, overwrite, sync, progress, .. } = *job;
        let record = Record::new(
            Subject::new(self.direction, self.registration),
            self.plan(),
            self.source(),
            self.hub_revision(),
            self.work.record.clone(),
            self.report.clone(),
        )?;
        let target = Target { overwrite, sync, ..self.target(output, progress) };
        let connector = self.registration.connector;
        let convert = |job: &engine::Job<'_>| {
            let mut state = State::new(self, job);
            self.guarded("convert_state", || connector.convert_state(&mut state))?;
            state.finish()
        };
        let finish =
            |dir: &Path, record: &mut Record| self.files.write(dir, record, &self.work.cancel);
        let run = self.conversion.run(
            (self.path(), self.source()),
            self.context(),
            &target,
            record,
            convert,
            finish,
        );
        run.map(|(record, _)| record).map_err(self.named())
    }

    /// What a conversion depends on beside its source: the tool, the plan with the fingerprints of
    /// its functions, the configs, every option that shows in the output.
    pub(super) fn ingredients(&self) -> Value {
        let Work { container, max_shard_size, hash, device, record, .. } = &self.work;
        let made: Vec<_> = self.files.made.iter().map(|(name, bytes)| (name, hex(bytes))).collect();
        json!({
            "tool": TOOL,
            "direction": format!("{:?}", self.direction),
            "connector": self.registration.name,
            "code": self.registration.fingerprint,
            "model": self.registration.model,
            "format": self.registration.format,
            "plan": self.plan().hash(self.source().tensors()),
            "files": made,
            "options": record,
            "container": format!("{container:?}"),
            "max_shard_size": max_shard_size,
            "hash": hash,
            "device": format!("{device:?}"),
        })
    }

    /// The files of the source that are copied, as they were when this was planned.
    pub(super) fn sidecars(&self) -> &[Sidecar] {
        self.files.beside.as_ref().map_or(&[], Sidecars::files)
    }

    /// Passes if the source is what it was when this was planned.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        self.source().check_unchanged()?;
        self.files.check_unchanged()
    }

    /// How many threads it may take.
    pub(super) fn threads(&self) -> usize {
        self.work.engine.threads
    }

    /// The request to stop.
    pub(super) fn cancel(&self) -> &Cancel {
        &self.work.cancel
    }

    /// Compares the tensors that must be equal, and looks at what goes nowhere.
    pub(super) fn check_values(&self) -> Result<Vec<(usize, NotZero)>> {
        self.conversion.check_values(self.source(), &self.work.cancel).map_err(self.named())
    }

    /// What user functions may ask.
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            model: &self.configuration.model,
            format: &self.format,
            instance: self.configuration.instance.as_deref(),
            export: self.direction == Direction::Export,
            #[cfg(feature = "candle")]
            device: &self.device,
        }
    }

    fn target<'a>(&'a self, output: &'a Path, progress: &'a dyn Progress) -> Target<'a> {
        let Work { overwrite, hash, cancel, engine, .. } = &self.work;
        let (weights, sync) = (self.files.weights, engine.sync);
        Target { output, weights, overwrite: *overwrite, sync, hash: *hash, progress, cancel }
    }

    pub(super) fn named(&self) -> impl FnOnce(Error) -> Error {
        let (registration, direction) = (self.registration, self.direction);
        move |error| name_subject(error, registration, direction)
    }
}

/// A conversion that is to be run: what a connector's [`apply`](super::ModelConnector::apply) gets.
pub struct Job<'a> {
    planned: &'a Planned,
    output: &'a Path,
    overwrite: Overwrite,
    sync: bool,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    /// What is to be converted: plan, configs, source.
    pub fn planned(&self) -> &Planned {
        self.planned
    }

    /// The new directory.
    pub fn output(&self) -> &Path {
        self.output
    }

    /// Converts as planned: into a staging directory that is checked and published whole.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt).
    pub fn convert(&self) -> Result<Record> {
        self.planned.convert(self)
    }
}

/// A checkpoint that `open` opens, no file of which changed so lately that the next change might not
/// show.
pub(super) fn settled<T>(
    open: impl FnMut() -> Result<T>,
    source: impl Fn(&T) -> &dyn Source,
) -> Result<T> {
    let stamps = |opened: &T| {
        let source = source(opened);
        let files = (0..source.file_count())
            .filter_map(|number| Some((source.path(number), source.local_file(number)?)));
        let stamp = |(path, file): (&Path, &File)| {
            let found = file.metadata().map_err(store::Error::io("read", path))?;
            Ok((path.to_path_buf(), Stamp::of(&found)))
        };
        files.map(stamp).collect()
    };
    store::settled(open, stamps)
}

impl Input {
    pub fn path(&self) -> &Path {
        match self {
            Input::Format(checkpoint) => checkpoint.path(),
            Input::Model(checkpoint) => checkpoint.path(),
        }
    }

    pub fn source(&self) -> &dyn Source {
        match self {
            Input::Format(checkpoint) => checkpoint.source(),
            Input::Model(checkpoint) => checkpoint.source(),
        }
    }

    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Input::Format(checkpoint) => checkpoint.findings(),
            Input::Model(checkpoint) => checkpoint.findings().to_vec(),
        }
    }

    /// The findings that led to a panic of a connector's own code, a missing number say, or else
    /// the panic itself.
    pub fn cannot_compute(&self, panic: String) -> Error {
        let mut findings = self.findings();
        if findings.is_empty() {
            let subject = match self {
                Input::Format(_) => CONFIG_JSON.into(),
                Input::Model(checkpoint) => checkpoint.config_file(),
            };
            let problem = format!("the connector cannot compute with it: {panic}");
            findings.push(Finding::new(FindingKind::Config, subject, problem));
        }
        Error::refused(findings)
    }
}

impl Files {
    /// Writes them into the new directory `dir`; those that are copied must not have changed.
    pub fn write(&self, dir: &Path, record: &mut Record, cancel: &Cancel) -> Result<()> {
        let to = dir.join(self.to);
        if let Some(beside) = &self.beside {
            record.copied = beside.copy(&to, &self.moved, cancel)?;
        }
        for (file, bytes) in &self.read {
            // What is published is the copy; of what is not copied, the file itself.
            let from = self.beside.as_ref().map(Sidecars::from);
            let inside = from.and_then(|from| file.strip_prefix(from).ok());
            let copy = inside.map(|name| to.join(name));
            let is_copied = copy.as_ref().map_or(Ok(false), |copy| look::exists(copy))?;
            let now = copy.as_ref().filter(|_| is_copied).unwrap_or(file);
            if std::fs::read(now).map_err(store::Error::io("read", now))? != *bytes {
                return Err(store::Error::SourceChanged { path: file.clone() }.into());
            }
        }
        self.made.iter().try_for_each(|(name, bytes)| {
            let file = dir.join(name);
            let folder = file.parent().unwrap_or(dir);
            std::fs::create_dir_all(folder).map_err(store::Error::io("create", folder))?;
            write_new(&file, bytes)
        })?;
        self.check_unchanged()
    }

    /// Passes if what is copied is as it was when it was listed.
    fn check_unchanged(&self) -> Result<()> {
        Ok(self.beside.as_ref().map_or(Ok(()), Sidecars::check_unchanged)?)
    }
}

fn hex(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// What PyTorch calls a type that can be cast to.
pub(super) fn torch_name(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::F64 => Some("float64"),
        Dtype::F32 => Some("float32"),
        Dtype::F16 => Some("float16"),
        Dtype::Bf16 => Some("bfloat16"),
        _ => None,
    }
}

/// Says in a refusal which connector refuses.
pub(super) fn name_subject(
    error: Error,
    registration: &Registration,
    direction: Direction,
) -> Error {
    match error {
        Error::Refused(mut refusal) if refusal.subject.is_empty() => {
            let model = registration.model.trim_end_matches("Model");
            let connector = match direction {
                Direction::Import => "importer",
                Direction::Export => "exporter",
            };
            refusal.subject = format!("this checkpoint does not fit the {model} {connector}");
            let last = |finding: &Finding| finding.kind == FindingKind::Config;
            refusal.findings.sort_by_key(last);
            Error::Refused(refusal)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;
