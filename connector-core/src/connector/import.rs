use super::accepted::Accepted;
use super::cache::Cache;
use super::hub::{Hub, Origin};
use super::planned::{
    Draft, Files, Input, MAX_SHARD_SIZE, Work, name_subject, settled, torch_name,
};
use super::record::OptionsRecord;
use super::{Configuration, Direction, Planned, Record, Registry, Wish, format_config};
use crate::base::panics::catch;
use crate::base::stage::stage;
use crate::base::{Cancel, DeviceChoice, options};
use crate::checkpoint::torch_dist::{self, DistOptions, LayerLayout};
use crate::checkpoint::{
    CONFIG_JSON, Container, Flavor, HfCheckpoint, IO_JSON, MODEL_YAML, Sidecars, look,
};
use crate::engine::{EngineOptions, NoProgress};
use crate::framework::{Described, Surroundings, Unsaid};
use crate::mapping::FlatMapping;
use crate::plan::{Finding, FindingKind, PlanOptions};
use crate::schema::{self, Instance, Schema, parameters};
use crate::store::Overwrite;
use crate::transform::Config;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The format of a source that names none.
const DEFAULT: &str = "hf";

options! {
/// How a checkpoint is imported.
pub struct ImportOptions {
    /// The name of the format, `hf`.
    pub format: String = "hf".into(),
    /// Which of the weights in a directory are taken.
    pub weights: Weights = Weights::default(),
    /// The model, if its architecture is not to tell.
    pub model: Option<String> = None,
    /// What is converted: types, tensors left out.
    pub plan: PlanOptions = PlanOptions::default(),
    /// Threads and memory.
    pub engine: EngineOptions = EngineOptions::default(),
    /// How a distributed checkpoint is written, which NeMo, Megatron-LM and Megatron-Bridge load;
    /// `None` writes safetensors.
    pub torch_dist: Option<TorchDist> = None,
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64 = MAX_SHARD_SIZE,
    /// Adds rows of zeros until the vocabulary is a multiple of this.
    pub pad_vocab_to_multiple_of: Option<usize> = None,
    /// How the experts of a mixture are named; `None` leaves it to the importer.
    pub experts: Option<Experts> = None,
    /// Fields of the model's config that the framework may compute otherwise, by name: what it cannot
    /// say is refused otherwise, and what is accepted stands in `conversion.json`.
    pub accept: Vec<String> = Vec::new(),
    /// Where user functions run.
    pub device: DeviceChoice = DeviceChoice::default(),
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite = Overwrite::No,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool = false,
    /// Where conversions are kept that are given no output; `None` is
    /// [`Cache::from_env`](super::cache::Cache::from_env).
    pub cache: Option<Cache> = None,
    /// Stops the import.
    pub cancel: Cancel = Cancel::default(),
}
}

/// Which of the weights in a directory of the format are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weights {
    /// Safetensors, or where there are none `pytorch_model.bin`, as transformers does.
    #[default]
    Auto,
    /// What `torch.save` wrote, `pytorch_model.bin`, also where there are safetensors.
    Pytorch,
}

options! {
#[derive(Copy, PartialEq, Eq)]
/// How a distributed checkpoint is written. The default is what NeMo takes.
pub struct TorchDist {
    /// The framework whose directory is put around it.
    pub flavor: Flavor = Flavor::default(),
    /// How layers are stored; `None` is on top of each other where all are of one kind, and each by
    /// itself where they differ.
    pub layers: Option<LayerLayout> = None,
    /// The number of files of tensors, if they are not more because of
    /// [`max_shard_size`](ImportOptions::max_shard_size), or fewer because a tensor is larger than
    /// its part; 0 is as many as that size makes.
    pub files: usize = 0,
}
}

impl TorchDist {
    /// How the layers of a model with these parameters are stored.
    pub(super) fn layout<N: AsRef<str>>(
        self,
        parameters: impl FnOnce() -> Vec<(N, Vec<usize>)>,
    ) -> LayerLayout {
        self.layers.unwrap_or_else(|| LayerLayout::of(&parameters()))
    }

    /// The container, for a model with these surroundings.
    pub(super) fn container(self, layers: LayerLayout, around: &mut Surroundings) -> Container {
        Container::TorchDist(DistOptions {
            layers,
            gated: around.gated,
            prefix: around.directory.prefix,
            files: self.files,
            common: std::mem::take(&mut around.common),
        })
    }
}

/// How the parameters of experts are named. Each is the same tensor under either name; which one a
/// model expects, the field of its config says that its schema names, and so `model.yaml` does.
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
    /// The directory that a source means, and in the options its format.
    pub(super) fn locate(&mut self, source: &Path) -> Result<PathBuf> {
        let scheme = source.to_str().and_then(|text| text.split_once("://"));
        let origin = match scheme {
            Some((DEFAULT | "https" | "http", _)) | None => Origin::new(source)?,
            // NeMo's word for Hugging Face's directories with weights of `torch.save`.
            Some(("pytorch", path)) => {
                self.weights = Weights::Pytorch;
                Origin::Local(path.into())
            }
            Some((format, path)) => {
                self.format = format.into();
                Origin::Local(path.into())
            }
        };
        origin.fetch(&Hub::from_env(), &(), &self.cancel)
    }

    /// The fields of the model's config that the options set.
    fn wishes(&self, schema: Option<&Schema>) -> Result<Vec<Wish>> {
        let unable = |reason: &str| Error::ModelConfig { reason: reason.into() };
        let mut wishes = Vec::new();
        if let Some(multiple) = self.pad_vocab_to_multiple_of {
            let divisor = schema.and_then(|schema| schema.vocabulary?.divisor);
            let reason = "its schema names no field that its vocabulary is padded to, so the vocabulary \
                          cannot be padded";
            let field = divisor.ok_or_else(|| unable(reason))?;
            wishes.push(Wish { field, value: multiple.into() });
        }
        if let Some(names) = self.experts {
            let experts = schema.and_then(|schema| schema.experts);
            let experts = experts.ok_or_else(|| unable("there are no experts to be named"))?;
            match experts.grouped {
                Some(field) => {
                    wishes.push(Wish { field, value: (names == Experts::Grouped).into() });
                }
                None if names == Experts::Local => {}
                None => {
                    let reason = "its schema names no field that says how experts are named, so they \
                                  have local names";
                    return Err(unable(reason));
                }
            }
        }
        Ok(wishes)
    }
}

/// Imports the checkpoint `source` into the new directory `output`, NeMo's
/// `import_ckpt(model, source, output_path)`, and returns what its `conversion.json` says.
///
/// A source is a path, `hf://org/name[@revision]`, which is downloaded if it is not in the hub's
/// cache, or `FORMAT://path` for an importer that is registered under another format's name.
///
/// The model is found by the `architectures` of `config.json` among the importers that are linked
/// into the program. `weights/` holds the tensors under Megatron-core's names, `context/` the
/// model's config and every other file of the source, `conversion.json` the record.
///
/// ```no_run
/// use connector_core::{ImportOptions, import_ckpt};
///
/// let record = import_ckpt("llama-3-8b", "llama-3-8b-nemo", ImportOptions::default())?;
/// println!("{} parameters", record.plan.parameters);
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with everything that does not fit, before anything is written;
/// [`Io`](crate::store::Error::Io). The output appears whole or not at all.
pub fn import_ckpt(
    source: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: ImportOptions,
) -> Result<Record> {
    Planned::import(source, options)?.run(output, &NoProgress)
}

impl Planned {
    /// Reads the headers and the config of a source, as [`import_ckpt`] takes it, and plans its
    /// import.
    ///
    /// # Errors
    /// [`Error::Hub`];
    /// [`Error::Refused`] with all findings, [`Error::NoImporter`],
    /// [`Open`](crate::checkpoint::Error::Open).
    pub fn import(source: impl AsRef<Path>, mut options: ImportOptions) -> Result<Self> {
        let source = options.locate(source.as_ref())?;
        import(&source, options)
    }
}

fn import(source: &Path, options: ImportOptions) -> Result<Planned> {
    let checkpoint = {
        stage!("open");
        let open = || {
            Ok(match options.weights {
                Weights::Auto => HfCheckpoint::open(source)?,
                Weights::Pytorch => HfCheckpoint::open_torch_save(source)?,
            })
        };
        settled(open, HfCheckpoint::source)?
    };
    checkpoint.carry(&options.plan.carry);
    // A shard that cannot be read, or no config: what follows from that is no news.
    if checkpoint.config().is_none() || !checkpoint.findings().is_empty() {
        return Err(Error::refused(checkpoint.findings()));
    }
    let architectures = checkpoint.architectures();
    let registration =
        Registry::get()?.importer(&options.format, options.model.as_deref(), &architectures)?;
    let connector = registration.connector;
    let named = |error| name_subject(error, registration, Direction::Import);
    let wishes = options.wishes(connector.schema()).map_err(named)?;
    let configured = catch(|| connector.configure(&checkpoint, &wishes));
    // What the connector did not look at is judged all the same.
    let settle = || {
        checkpoint.fields().settle_rest(&[]);
        checkpoint.fields().finish().map_err(Error::from)
    };
    let configuration = match configured {
        Ok(configured) => configured.and_then(|done| settle().map(|()| done)).map_err(named)?,
        Err(panic) => {
            return Err(named(Input::Format(Box::new(checkpoint)).cannot_compute(panic)));
        }
    };
    let config = written_config(&configuration, &options);
    // Files of the source that would stand in the way of those that are made.
    let but = match options.torch_dist {
        Some(TorchDist { flavor: Flavor::Nemo, .. }) => vec![MODEL_YAML, IO_JSON],
        _ => vec![MODEL_YAML],
    };
    for file in &but {
        if look::exists(&source.join(file))? {
            tracing::warn!(file, "left out: what is made from the model's config takes this name");
        }
    }
    let beside = Sidecars::list(source, &but)?;
    let names = beside.names();
    let described = Described {
        model: registration.model,
        config: &config,
        frameworks: connector.frameworks(),
        files: &names,
        tokenizer: &connector.tokenizer(&names),
    };
    let (container, Surroundings { directory, made, moved, unsaid, warnings, .. }) = match &options
        .torch_dist
    {
        Some(dist) => {
            let instance = configuration.instance.as_deref();
            comes_back(instance)?;
            let layers = dist.layout(|| instance.map(parameters).unwrap_or_default());
            let around = described.surroundings(dist.flavor, layers);
            let mut around = around.map_err(Error::from).map_err(named)?;
            (dist.container(layers, &mut around), around)
        }
        None => (Container::Safetensors, described.plain().map_err(Error::from).map_err(named)?),
    };
    let Accepted { refused, accepted, warnings: told } = Accepted::new(unsaid, &options.accept);
    let draft = Draft {
        direction: Direction::Import,
        registration,
        configuration,
        format: Config::from_json(checkpoint.config().cloned().unwrap_or(Value::Null)),
        mapping: FlatMapping::new(&connector.mapping(), &[]),
        report: checkpoint.field_report(),
        files: Files {
            weights: directory.weights,
            to: directory.beside,
            read: vec![(source.join(CONFIG_JSON), checkpoint.config_text().to_vec())],
            moved,
            made,
            warnings: [warnings, told, beside.warnings.clone()].concat(),
            beside: Some(beside),
        },
        work: options.work(container, accepted),
        refused,
        input: Input::Format(Box::new(checkpoint)),
    };
    draft.plan()
}

impl ImportOptions {
    fn work(self, container: Container, accepted: Vec<Unsaid>) -> Work {
        let record = OptionsRecord {
            pad_vocab_to_multiple_of: self.pad_vocab_to_multiple_of,
            experts: self.experts,
            accepted,
            ..OptionsRecord::new(&self.plan)
        };
        let flavor = self.torch_dist.map(|dist| dist.flavor);
        let ImportOptions { plan, engine, max_shard_size, device, overwrite, hash, cancel, .. } =
            self;
        Work {
            plan,
            engine,
            container,
            flavor,
            max_shard_size,
            device,
            overwrite,
            hash,
            cancel,
            record,
        }
    }
}

/// Refuses parameters that a torch_dist checkpoint would give back under names which the schema does
/// not know: the spelling of grouped experts, without the other one.
pub(super) fn comes_back(instance: Option<&dyn Instance>) -> Result<()> {
    let Some(instance) = instance else { return Ok(()) };
    let mut seen = HashSet::new();
    let mut findings = Vec::new();
    for parameter in schema::existing(instance) {
        if !seen.insert(parameter.number) {
            continue;
        }
        let Some(names) = schema::names(instance, &parameter) else { continue };
        let back = torch_dist::canonical(&names[0]);
        if !names.contains(&back) {
            let declared = &instance.schema().parameters[parameter.number];
            let name = declared.pattern.to_string();
            let problem = format!("would come back from torch_dist as {back}");
            findings.push(
                Finding::new(FindingKind::Rule, name, problem)
                    .note(
                        "declare its axis in the schema as one of `experts`, and it has both names",
                    )
                    .rule(declared.at),
            );
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
}

/// The model's config as it is written.
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
