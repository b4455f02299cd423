use super::cache::Cache;
use super::planned::{Draft, Files, Input, MAX_SHARD_SIZE, Work, catch, name_subject, torch_name};
use super::record::OptionsRecord;
use super::registry::{GROUPED_EXPERTS, VOCAB_DIVISOR};
use super::{Configuration, Direction, Planned, Record, Registry, Wish, format_config};
use crate::cancel::Cancel;
use crate::checkpoint::torch_dist::LayerLayout;
use crate::checkpoint::{CONFIG_JSON, CONTEXT, Checkpoint, Container, MODEL_YAML, WEIGHTS};
use crate::device::DeviceChoice;
use crate::engine::{EngineOptions, NoProgress, Progress};
use crate::mapping::FlatMapping;
use crate::plan::PlanOptions;
use crate::store::Overwrite;
use crate::transform::Config;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// The field of a model's config that says whether `linear_fc1` is a gate above its input.
const GATED: &str = "gated_linear_unit";

/// The format whose weights are never safetensors.
const PYTORCH: &str = "pytorch";

/// How a checkpoint is imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The name of the format: `hf`, or `pytorch` for Hugging Face's directories whose weights
    /// `torch.save` wrote, where `hf` would find safetensors too.
    pub format: String,
    /// The model, if its architecture is not to tell.
    pub model: Option<String>,
    /// What is converted: types, tensors left out.
    pub plan: PlanOptions,
    /// Threads and memory.
    pub engine: EngineOptions,
    /// How layers are stored, to write torch_dist, which NeMo loads, and not safetensors.
    pub torch_dist: Option<LayerLayout>,
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64,
    /// Adds rows of zeros until the vocabulary is a multiple of this.
    pub pad_vocab_to_multiple_of: Option<usize>,
    /// How the experts of a mixture are named; `None` leaves it to the importer.
    pub experts: Option<Experts>,
    /// Where user functions run.
    pub device: DeviceChoice,
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool,
    /// Where conversions are kept that are given no output; `None` is
    /// [`Cache::from_env`](super::cache::Cache::from_env).
    pub cache: Option<Cache>,
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
            torch_dist: None,
            max_shard_size: MAX_SHARD_SIZE,
            pad_vocab_to_multiple_of: None,
            experts: None,
            device: DeviceChoice::default(),
            overwrite: Overwrite::No,
            hash: false,
            cache: None,
            cancel: Cancel::default(),
        }
    }
}

/// How the parameters of experts are named. Each is the same tensor under either name; which one a
/// model expects, its `moe_grouped_gemm` says, and so `model.yaml` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Experts {
    /// `mlp.experts.local_experts.3.linear_fc1.weight`: Megatron-core's `SequentialMLP`, NeMo 2's
    /// default.
    Local,
    /// `mlp.experts.linear_fc1.weight3`: Megatron-core's `TEGroupedMLP`.
    Grouped,
}

impl ImportOptions {
    /// The fields of the model's config that the options set.
    fn wishes(&self) -> Vec<Wish> {
        let padded = self.pad_vocab_to_multiple_of.map(|multiple| Wish {
            field: VOCAB_DIVISOR,
            value: multiple.into(),
            what: "its vocabulary cannot be padded",
        });
        let experts = self.experts.map(|experts| Wish {
            field: GROUPED_EXPERTS,
            value: (experts == Experts::Grouped).into(),
            what: "there are no experts to be named",
        });
        padded.into_iter().chain(experts).collect()
    }
}

/// An import that is planned and checked; nothing is written yet.
///
/// [`Planned`] has all that can be asked of it.
pub struct PlannedImport(Planned);

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
        let checkpoint = match options.format.as_str() {
            PYTORCH => Checkpoint::open_torch_save(source)?,
            _ => Checkpoint::open(source)?,
        };
        // A shard that cannot be read, or no config: what follows from that is no news.
        if checkpoint.config().is_none() || !checkpoint.findings().is_empty() {
            return Err(Error::refused(checkpoint.findings()));
        }
        let architectures = checkpoint.architectures();
        let registration =
            Registry::get()?.importer(&options.format, options.model.as_deref(), &architectures)?;
        let connector = registration.connector;
        let named = |error| name_subject(error, registration, Direction::Import);
        let configured = catch(|| connector.configure(&checkpoint, &options.wishes()));
        // What the connector did not look at is judged all the same.
        let settle = || {
            checkpoint.fields().settle_rest(&[]);
            checkpoint.fields().finish()
        };
        let configuration = match configured {
            Ok(configured) => configured.and_then(|done| settle().map(|()| done)).map_err(named)?,
            Err(panic) => {
                return Err(named(Input::Format(checkpoint).cannot_compute(panic)));
            }
        };
        let config = written_config(&configuration, &options);
        let yaml = model_yaml(registration.model, &config).map_err(named)?;
        if source.join(MODEL_YAML).exists() {
            tracing::warn!(file = MODEL_YAML, "left out: the model's own config takes this name");
        }
        let container = options.container(&configuration);
        let draft = Draft {
            direction: Direction::Import,
            registration,
            configuration,
            format: Config::from_json(checkpoint.config().cloned().unwrap_or(Value::Null)),
            mapping: FlatMapping::new(&connector.mapping(), &[]),
            report: checkpoint.field_report(),
            files: Files {
                weights: WEIGHTS,
                from: Some(source.into()),
                to: CONTEXT,
                folders: Vec::new(),
                read: vec![(source.join(CONFIG_JSON), checkpoint.config_text().to_vec())],
                but: vec![MODEL_YAML],
                made: vec![(MODEL_YAML, yaml.into_bytes())],
            },
            work: options.work(container),
            input: Input::Format(checkpoint),
        };
        draft.plan().map(PlannedImport)
    }

    /// Runs the import into the new directory `output`.
    ///
    /// # Errors
    /// As [`import_ckpt`].
    pub fn run(&self, output: &Path, progress: &dyn Progress) -> Result<Imported> {
        let record = self.0.run(output, progress)?;
        Ok(Imported { output: output.into(), record })
    }
}

impl From<PlannedImport> for Planned {
    fn from(planned: PlannedImport) -> Self {
        planned.0
    }
}

impl Deref for PlannedImport {
    type Target = Planned;

    fn deref(&self) -> &Planned {
        &self.0
    }
}

impl ImportOptions {
    /// The container, for a model of this config.
    fn container(&self, configuration: &Configuration) -> Container {
        let gated = configuration.model.json().get(GATED).and_then(Value::as_bool);
        match self.torch_dist {
            Some(layers) => Container::TorchDist { layers, gated: gated.unwrap_or(false) },
            None => Container::Safetensors,
        }
    }

    fn work(self, container: Container) -> Work {
        let record = OptionsRecord {
            pad_vocab_to_multiple_of: self.pad_vocab_to_multiple_of,
            experts: self.experts,
            ..OptionsRecord::new(&self.plan)
        };
        let ImportOptions { plan, engine, max_shard_size, device, overwrite, hash, cancel, .. } =
            self;
        Work { plan, engine, container, max_shard_size, device, overwrite, hash, cancel, record }
    }
}

/// The model's config as it will be after the import.
fn written_config(configuration: &Configuration, options: &ImportOptions) -> Value {
    let mut config = configuration.model.json().clone();
    // After a cast the type is no longer the source's.
    if let (Some(dtype), Some(field)) =
        (options.plan.dtype.and_then(torch_name), config.get_mut(format_config::DTYPE))
    {
        *field = dtype.into();
    }
    config
}

/// `model.yaml`: a model's type and config, with the keys that NeMo 2 writes.
pub(crate) fn model_yaml(model: &str, config: &Value) -> Result<String> {
    #[derive(Serialize)]
    struct ModelYaml<'a> {
        #[serde(rename = "_target_")]
        target: &'a str,
        config: &'a Value,
    }
    serde_saphyr::to_string(&ModelYaml { target: model, config })
        .map_err(|error| Error::ModelConfig { reason: error.to_string() })
}
