use super::format_config::{DTYPE, FormatConfig, Translation};
use super::planned::{
    Draft, Files, Input, MAX_SHARD_SIZE, Work, name_subject, settled, torch_name,
};
use super::record::OptionsRecord;
use super::recorded::Recorded;
use super::trained::TrainedOptions;
use super::{Configuration, Connect, Direction, Planned, Record, Registration, Registry};
use crate::base::panics::catch;
use crate::base::stage::stage;
use crate::base::{Cancel, DeviceChoice, json, options};
use crate::checkpoint::{
    CONFIG_JSON, Container, IO_JSON, MODEL_YAML, MegatronCheckpoint, Sidecars,
};
use crate::engine::{EngineOptions, NoProgress};
use crate::mapping::FlatMapping;
use crate::plan::PlanOptions;
use crate::store::{CONVERSION_JSON, Dtype, Overwrite, TensorInfo};
use crate::transform::Config;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

options! {
/// How a checkpoint is exported.
pub struct ExportOptions {
    /// The name of the format, `hf`.
    pub format: String = "hf".into(),
    /// The model, if `model.yaml` is not to tell.
    pub model: Option<String> = None,
    /// Which iteration, and what says which model it is.
    pub trained: TrainedOptions = TrainedOptions::default(),
    /// What is converted: types, tensors left out.
    pub plan: PlanOptions = PlanOptions::default(),
    /// Threads and memory.
    pub engine: EngineOptions = EngineOptions::default(),
    /// The largest file of tensors, in bytes.
    pub max_shard_size: u64 = MAX_SHARD_SIZE,
    /// Whether the rows that pad the vocabulary are written too, and counted in `vocab_size`.
    ///
    /// Loaders make an embedding of `vocab_size` rows, so that the two must agree. The rows belong
    /// to no token: a model that has them can predict what no tokenizer knows.
    pub keep_vocab_padding: bool = false,
    /// Where user functions run.
    pub device: DeviceChoice = DeviceChoice::default(),
    /// Whether an output that is there is replaced.
    pub overwrite: Overwrite = Overwrite::No,
    /// Whether `conversion.json` gets a hash of each tensor.
    pub hash: bool = false,
    /// Stops the export.
    pub cancel: Cancel = Cancel::default(),
}
}

/// Exports the checkpoint at `path`, a directory as [`import_ckpt`](super::import_ckpt) writes it,
/// into the new directory `output`: NeMo's `export_ckpt(path, target, output_path)`. Returns what its
/// `conversion.json` says.
///
/// The model is found by its type in `context/model.yaml`. Its importer's mapping is applied
/// in reverse, unless an exporter is registered. The output is a Hugging Face directory:
/// `model.safetensors` or shards with their index, `config.json`, every other file of `context/`
/// as it is, and `conversion.json`, the record.
///
/// `config.json` is the original in `context/` where that says the same as `model.yaml`;
/// where they differ, `model.yaml` counts. Rows that pad the vocabulary are left out.
///
/// ```
/// use connector_core::{ExportOptions, ImportOptions, export_ckpt, import_ckpt};
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-export-{}", std::process::id()));
/// # let source = std::path::Path::new(fixture);
/// # let (nemo, hf) = (scratch.join("nemo"), scratch.join("hf"));
///
/// import_ckpt(source, &nemo, ImportOptions::default())?;
/// let record = export_ckpt(&nemo, &hf, ExportOptions::default())?;
///
/// assert_eq!(record.plan.parameters, 21);
/// assert_eq!(std::fs::read(hf.join("config.json"))?, std::fs::read(source.join("config.json"))?);
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with everything that does not fit, before anything is written;
/// [`Error::NoExporter`]; [`Error::NoExport`] if its connector has no `source_config`;
/// [`Io`](crate::store::Error::Io). The output appears whole or not at all.
pub fn export_ckpt(
    path: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: ExportOptions,
) -> Result<Record> {
    Planned::export(path, options)?.run(output, &NoProgress)
}

impl Planned {
    /// Reads the headers and configs of the checkpoint at `path` and plans its export.
    ///
    /// # Errors
    /// [`Error::Refused`] with all findings, [`Error::NoExporter`], [`Error::NoExport`],
    /// [`Open`](crate::checkpoint::Error::Open).
    pub fn export(path: impl AsRef<Path>, options: ExportOptions) -> Result<Self> {
        export(path.as_ref(), options)
    }
}

fn export(path: &Path, options: ExportOptions) -> Result<Planned> {
    let checkpoint = {
        stage!("open");
        let model = options.model.as_deref();
        let open = || options.trained.open(path, &options.format, model);
        settled(open, MegatronCheckpoint::source)?
    };
    let (Some(model), Some(fields), []) =
        (checkpoint.model(), checkpoint.config(), checkpoint.findings())
    else {
        return Err(Error::refused(checkpoint.findings().to_vec()));
    };
    let mut carry = options.plan.carry.clone();
    carry.extend_from_slice(Recorded::read(path)?.unwrap_or_default().carried());
    let registry = Registry::get()?;
    let model = options.model.as_deref().unwrap_or(model);
    let registration = registry.exporter(&options.format, model)?;
    let importer = registry.importer_of(registration.model, registration.format);
    let dtype = written(checkpoint.source().tensors(), options.plan.dtype);
    let (file, original) = (checkpoint.config_file(), checkpoint.original_file());
    let translated = catch(|| {
        let exporter = registration.connector;
        let fields = (fields, file.as_str());
        let configuration = configure(exporter, fields, dtype, options.keep_vocab_padding)?;
        let importer = importer.map(|importer| importer.connector);
        let (file, original) = (&file, &original);
        let carry = &carry;
        let translation = Translation { exporter, importer, dtype, file, original, carry };
        let config = translation.write(&configuration.model, checkpoint.original())?;
        Ok((configuration, config))
    });
    let named = |error| name_subject(error, registration, Direction::Export);
    let (configuration, FormatConfig { value, report }) = match translated {
        Ok(translated) => translated.map_err(named)?,
        Err(panic) => {
            return Err(named(Input::Model(Box::new(checkpoint)).cannot_compute(panic)));
        }
    };
    let config_json = if checkpoint.original() == Some(&value) {
        checkpoint.original_bytes().to_vec()
    } else {
        json::pretty(&value).map_err(Error::config)?
    };
    let (context, folders) = (checkpoint.context(), checkpoint.folders()?);
    let but = [MODEL_YAML, IO_JSON, CONFIG_JSON, CONVERSION_JSON];
    let beside = context.map(|context| Sidecars::with_folders(context, &folders, &but));
    let beside = beside.transpose()?;
    let draft = Draft {
        direction: Direction::Export,
        registration,
        configuration,
        format: Config::from_json(value),
        mapping: mapping(registration),
        report,
        files: Files {
            weights: "",
            to: "",
            read: checkpoint.files_read(),
            moved: BTreeMap::new(),
            made: vec![(CONFIG_JSON.into(), config_json)],
            warnings: beside.as_ref().map(|files| files.warnings.clone()).unwrap_or_default(),
            beside,
        },
        work: options.work(),
        refused: Vec::new(),
        input: Input::Model(Box::new(checkpoint)),
    };
    draft.plan()
}

impl ExportOptions {
    fn work(self) -> Work {
        let record = OptionsRecord {
            keep_vocab_padding: self.keep_vocab_padding,
            ..OptionsRecord::new(&self.plan)
        };
        let ExportOptions { plan, engine, max_shard_size, device, overwrite, hash, cancel, .. } =
            self;
        let container = Container::Safetensors;
        let flavor = None;
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

/// The rows from the model to the format.
fn mapping(registration: &Registration) -> FlatMapping {
    let mapping = FlatMapping::new(&registration.connector.mapping(), &[]);
    match registration.direction {
        Direction::Import => mapping.reversed(),
        Direction::Export => FlatMapping { direction: Direction::Export, ..mapping },
    }
}

/// The model's config: that of `model.yaml` or another file, with the type of the weights as they are
/// written, and the padding of the vocabulary counted in if it is kept.
fn configure(
    connector: &dyn Connect,
    (fields, file): (&Value, &str),
    dtype: Option<&str>,
    keep_vocab_padding: bool,
) -> Result<Configuration> {
    let configuration = connector.restore(fields, file)?;
    let mut fields = configuration.model.json().clone();
    if let (Some(dtype), Some(field)) = (dtype, fields.get_mut(DTYPE)) {
        *field = dtype.into();
    }
    if keep_vocab_padding {
        let vocabulary = connector.schema().and_then(|schema| schema.vocabulary);
        let rows = vocabulary.and_then(|vocabulary| Some((vocabulary, vocabulary.rows(&fields)?)));
        let Some((vocabulary, rows)) = rows else {
            let reason = "its schema names no field that its vocabulary is padded to, so it has no \
                          padding to keep";
            return Err(Error::ModelConfig { reason: reason.into() });
        };
        fields[vocabulary.tokens] = rows.into();
    }
    if fields == *configuration.model.json() {
        Ok(configuration)
    } else {
        connector.restore(&fields, file)
    }
}

/// What PyTorch calls the type that most bytes of the floating-point tensors will have.
fn written(tensors: &[TensorInfo], asked: Option<Dtype>) -> Option<&'static str> {
    let mut bytes: BTreeMap<Dtype, u64> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.dtype.is_castable()) {
        *bytes.entry(tensor.dtype).or_default() += tensor.bytes();
    }
    let most = bytes.into_iter().max_by_key(|(_, bytes)| *bytes)?.0;
    torch_name(asked.unwrap_or(most))
}
