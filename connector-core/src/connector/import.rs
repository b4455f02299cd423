use super::conversion::{CONTEXT, Conversion, Target, WEIGHTS, write_new};
use super::{Configuration, Record, Registration, Registry};
use crate::cancel::Cancel;
use crate::checkpoint::{Checkpoint, copy_sidecars};
use crate::device::DeviceChoice;
use crate::engine::{Bound, Context, EngineOptions, NoProgress, Progress};
use crate::mapping::FlatMapping;
use crate::plan::{Finding, FindingKind, Plan, PlanOptions, Request};
use crate::store::{Dtype, Overwrite, Staging};
use crate::transform::Config;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The largest shard by default: what transformers writes.
const MAX_SHARD_SIZE: u64 = 5_000_000_000;

/// How a checkpoint is imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The name of the format, `hf`.
    pub format: String,
    /// The model, if its architecture is not to tell.
    pub model: Option<String>,
    /// What is converted: types, tensors left out.
    pub plan: PlanOptions,
    /// Threads and memory.
    pub engine: EngineOptions,
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64,
    /// Adds rows of zeros until the vocabulary is a multiple of this.
    pub pad_vocab_to_multiple_of: Option<usize>,
    /// Where user functions run.
    pub device: DeviceChoice,
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool,
    /// Stops the import.
    pub cancel: Cancel,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions {
            format: "hf".into(),
            model: None,
            plan: PlanOptions::default(),
            engine: EngineOptions::default(),
            max_shard_size: MAX_SHARD_SIZE,
            pad_vocab_to_multiple_of: None,
            device: DeviceChoice::default(),
            overwrite: Overwrite::No,
            hash: false,
            cancel: Cancel::default(),
        }
    }
}

/// An import that is planned and checked; nothing is written yet.
pub struct PlannedImport {
    checkpoint: Checkpoint,
    registration: &'static Registration,
    configuration: Configuration,
    format: Config,
    conversion: Conversion,
    options: ImportOptions,
    #[cfg(feature = "candle")]
    device: candle_core::Device,
}

/// What an import did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The directory that was published.
    pub output: PathBuf,
    /// What `conversion.json` says.
    pub record: Record,
}

/// Imports the checkpoint at `source` into the new directory `output`, NeMo's
/// `import_ckpt(model, source, output_path)`.
///
/// The model is found by the `architectures` of `config.json` among the importers that are linked
/// into the program. `weights/` holds the tensors under Megatron-core's names, `context/` the
/// model's config and every other file of the source, `conversion.json` the record.
///
/// ```no_run
/// use connector_core::{ImportOptions, import_ckpt};
///
/// let imported = import_ckpt("llama-3-8b".as_ref(), "llama-3-8b-nemo".as_ref(), ImportOptions::default())?;
/// println!("{} parameters", imported.record.plan.parameters);
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with everything that does not fit, before anything is written; [`Error::Io`].
/// The output appears whole or not at all.
pub fn import_ckpt(source: &Path, output: &Path, options: ImportOptions) -> Result<Imported> {
    PlannedImport::new(source, options)?.run(output, &NoProgress)
}

impl PlannedImport {
    /// Reads the headers and the config of `source` and plans its import.
    ///
    /// # Errors
    /// [`Error::Refused`] with all findings, [`Error::NoImporter`], [`Error::Open`].
    pub fn new(source: &Path, options: ImportOptions) -> Result<Self> {
        let checkpoint = Checkpoint::open(source)?;
        let refuse = |findings: Vec<Finding>| Err(Error::refused(findings));
        // A shard that cannot be read, or no config: what follows from that is no news.
        if checkpoint.config().is_none() || !checkpoint.findings().is_empty() {
            return refuse(checkpoint.findings());
        }
        let architectures = checkpoint.architectures();
        let registry = Registry::get()?;
        let registration =
            registry.importer(&options.format, options.model.as_deref(), &architectures)?;
        let connector = registration.connector;
        let named = |error| name_subject(error, registration);
        let configuration =
            catch(|| connector.configure(&checkpoint, options.pad_vocab_to_multiple_of))
                // What led to a panic, a missing number say, was recorded before.
                .unwrap_or_else(|panic| Err(if_none(&checkpoint, panic)))
                .map_err(named)?;
        // What the connector did not look at is judged all the same.
        checkpoint.fields().settle_rest(&[]);
        checkpoint.fields().finish().map_err(named)?;
        let format = Config::from_json(checkpoint.config().cloned().unwrap_or(Value::Null));

        let mapping = FlatMapping::new(&connector.mapping(), &[]);
        let plan = catch(|| {
            Plan::new(&Request {
                mapping: &mapping,
                instance: configuration.instance.as_deref(),
                model: &configuration.model,
                format: &format,
                tensors: checkpoint.source().tensors(),
                options: &options.plan,
            })
        })
        .map_err(|panic| if_none(&checkpoint, panic))
        .map_err(named)?;
        let config_findings = checkpoint.findings();
        let plan = match plan {
            Ok(plan) if config_findings.is_empty() => plan,
            Ok(_) => return refuse(config_findings).map_err(named),
            Err(mut findings) => {
                findings.extend(config_findings);
                return refuse(findings).map_err(named);
            }
        };
        #[cfg(feature = "candle")]
        let device = options.device.open()?;
        let context = Context {
            model: &configuration.model,
            format: &format,
            instance: configuration.instance.as_deref(),
            export: false,
            #[cfg(feature = "candle")]
            device: &device,
        };
        let conversion = Conversion::new(
            plan,
            checkpoint.source(),
            options.plan.dtype,
            options.max_shard_size,
            &options.engine,
            &context,
        )
        .map_err(named)?;
        Ok(PlannedImport {
            checkpoint,
            registration,
            configuration,
            format,
            conversion,
            options,
            #[cfg(feature = "candle")]
            device,
        })
    }

    /// The source.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The importer.
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

    /// The memory that running takes, in bytes.
    pub fn bound(&self) -> &Bound {
        &self.conversion.prepared.bound
    }

    /// The files of tensors that will be written: name and length in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.conversion.layout.files().iter().map(|file| (file.name.as_str(), file.len))
    }

    /// Where output number `output` of the plan will lie: file, first byte, number of bytes.
    pub fn place(&self, output: usize) -> (&str, u64, u64) {
        let place = &self.conversion.layout.placements()[output];
        (&self.conversion.layout.files()[place.file].name, place.offset, place.len)
    }

    /// Checks all that can be checked before the first write: that `output` may be written, that
    /// it is apart from the source, that there is room, that tensors which must be equal are.
    /// [`run`](Self::run) does so too.
    ///
    /// # Errors
    /// As [`import_ckpt`].
    pub fn check(&self, output: &Path) -> Result<()> {
        Staging::check(output, self.options.overwrite)?;
        let target = self.target(output, &NoProgress);
        let checked =
            self.conversion.check(self.checkpoint.path(), self.checkpoint.source(), &target);
        checked.map_err(|error| name_subject(error, self.registration))
    }

    fn target<'a>(&'a self, output: &'a Path, progress: &'a dyn Progress) -> Target<'a> {
        let ImportOptions { overwrite, hash, cancel, .. } = &self.options;
        Target { output, weights: WEIGHTS, overwrite: *overwrite, hash: *hash, progress, cancel }
    }

    /// Runs the import into the new directory `output`.
    ///
    /// # Errors
    /// As [`import_ckpt`].
    pub fn run(&self, output: &Path, progress: &dyn Progress) -> Result<Imported> {
        let PlannedImport { checkpoint, registration, configuration, options, .. } = self;
        let record = Record::new(
            checkpoint,
            registration,
            &self.conversion.plan,
            &options.plan,
            options.pad_vocab_to_multiple_of,
        )?;
        let target = self.target(output, progress);
        let context = Context {
            model: &configuration.model,
            format: &self.format,
            instance: configuration.instance.as_deref(),
            export: false,
            #[cfg(feature = "candle")]
            device: &self.device,
        };
        let yaml = self.model_yaml()?;
        let finish = |dir: &Path, record: &mut Record| {
            let context = dir.join(CONTEXT);
            record.copied = copy_sidecars(checkpoint.path(), &context, &options.cancel)?;
            let config = context.join("config.json");
            let copied = std::fs::read(&config).map_err(Error::io("read", &config))?;
            if copied != checkpoint.config_text() {
                let path = checkpoint.path().join("config.json");
                return Err(Error::SourceChanged { path });
            }
            std::fs::create_dir_all(&context).map_err(Error::io("create", &context))?;
            write_new(&context.join("model.yaml"), yaml.as_bytes())
        };
        let input = checkpoint.path();
        let source = checkpoint.source();
        let named = |error| name_subject(error, registration);
        let (record, _) =
            self.conversion.run(input, source, context, &target, record, finish).map_err(named)?;
        Ok(Imported { output: output.into(), record })
    }

    /// `model.yaml`: the model's type and config, with the keys that NeMo 2 writes.
    fn model_yaml(&self) -> Result<String> {
        #[derive(Serialize)]
        struct ModelYaml<'a> {
            #[serde(rename = "_target_")]
            target: &'a str,
            config: &'a Value,
        }
        let mut config = self.configuration.model.json().clone();
        // After a cast the type is no longer the source's.
        if let (Some(dtype), Some(field)) =
            (self.options.plan.dtype.and_then(torch_name), config.get_mut("params_dtype"))
        {
            *field = dtype.into();
        }
        serde_saphyr::to_string(&ModelYaml { target: self.registration.model, config: &config })
            .map_err(|error| Error::ModelConfig { reason: error.to_string() })
    }
}

/// Runs a connector's own code, whose mistakes (a division by a missing number, a shape that
/// overflows) are errors and not the end of the program. `Err` has the text of the panic.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> std::result::Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
    })
}

/// The findings that led to a panic, or the panic itself.
fn if_none(checkpoint: &Checkpoint, panic: String) -> Error {
    let mut findings = checkpoint.findings();
    if findings.is_empty() {
        let problem = format!("the importer cannot compute with it: {panic}");
        findings.push(Finding::new(FindingKind::Config, "config.json", problem));
    }
    Error::refused(findings)
}

/// What PyTorch calls a type that can be cast to.
fn torch_name(dtype: Dtype) -> Option<&'static str> {
    match dtype {
        Dtype::F64 => Some("float64"),
        Dtype::F32 => Some("float32"),
        Dtype::F16 => Some("float16"),
        Dtype::Bf16 => Some("bfloat16"),
        _ => None,
    }
}

/// Says in a refusal which importer refuses.
fn name_subject(error: Error, registration: &Registration) -> Error {
    match error {
        Error::Refused(mut refusal) if refusal.subject.is_empty() => {
            let model = registration.model.trim_end_matches("Model");
            refusal.subject = format!("this checkpoint does not fit the {model} importer");
            let last = |finding: &Finding| finding.kind == FindingKind::Config;
            refusal.findings.sort_by_key(last);
            Error::Refused(refusal)
        }
        error => error,
    }
}
