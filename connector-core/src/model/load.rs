//! Models from checkpoints.

use super::adapter::{AdapterMetadata, LoadedAdapter};
use super::refuse::refuse;
use super::{GPTModel, ModelError, Parameters, Tokenizer, refused};
use crate::base::{json, options};
use crate::checkpoint::{MegatronCheckpoint, look};
use crate::connector::{
    ImportOptions, Planned, Pretrained, Registration, Registry, TrainedOptions,
};
use crate::gpt::GptConfig;
use crate::plan::{Finding, FindingKind};
use crate::schema::Model;
use crate::store;
use crate::{Cancel, DeviceChoice, Error, Result};
use candle_core::{DType, Device};
use serde_json::Value;
use std::any::TypeId;
use std::path::{Path, PathBuf};

options! {
/// How a model is loaded.
pub struct LoadOptions {
    /// The format of a checkpoint that is none of Megatron's side, `hf`.
    pub format: String = "hf".into(),
    /// The model, if neither `context/model.yaml` nor the architecture is to tell.
    pub model: Option<String> = None,
    /// Which iteration of a run, and what says which model it is.
    pub trained: TrainedOptions = TrainedOptions::default(),
    /// Of an adapter, the checkpoint of its model, if that is not where it was. What was imported
    /// does too.
    pub base: Option<PathBuf> = None,
    /// The type to compute in. `None` is that of the weights, but f32 for bf16 where the device does
    /// not multiply it.
    pub dtype: Option<DType> = None,
    /// Where it computes.
    pub device: DeviceChoice = DeviceChoice::default(),
}
}

/// A model's parameters, read from a checkpoint, and where the files beside them are.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The model's type and connector.
    pub registration: &'static Registration,
    /// Its config.
    pub config: GptConfig,
    /// Its parameters, to which an adapter adds.
    pub parameters: Parameters,
    /// The adapter, if the checkpoint is one's.
    pub(crate) adapter: Option<LoadedAdapter>,
    /// The directories of the files beside the weights, tokenizer and `generation_config.json`; the
    /// first counts.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Loads the checkpoint in the directory `path`: one that an import or a training framework
    /// wrote, whose weights are read as they are, or a Hugging Face directory, which is imported in
    /// memory. Of an adapter it loads the model that it names, of either kind, and what it adds.
    ///
    /// # Errors
    /// [`Error::Refused`] with everything that does not fit; [`Error::NoImporter`],
    /// [`Error::NoExporter`] for a model that is not known; [`Io`](crate::store::Error::Io);
    /// [`Error::Candle`].
    pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        let path = path.as_ref();
        let loaded = AdapterMetadata::read(path).and_then(|adapter| match adapter {
            Some(adapter) => Self::open_adapted(path, adapter, options),
            None if options.base.is_some() => {
                Err(refused(path, "is no adapter's, so no model can be given for it"))
            }
            None => Self::open_model(path, options),
        });
        loaded.map_err(|error| match error {
            Error::Refused(mut refusal) if refusal.subject.is_empty() => {
                refusal.subject = "this checkpoint cannot be computed".into();
                Error::Refused(refusal)
            }
            error => error,
        })
    }

    /// The model with these parameters, and with the adapter on it if there is one.
    ///
    /// # Errors
    /// As [`GPTModel::new`].
    pub fn model(&self) -> Result<GPTModel> {
        let mut model = GPTModel::new(&self.config, &self.parameters)?;
        if let Some(adapter) = &self.adapter {
            adapter.put_on(&mut model);
        }
        Ok(model)
    }

    /// A file beside the weights, if it is there.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io) if the system refuses to look, or it is a link that
    /// leads nowhere.
    pub fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        for path in self.files.iter().map(|dir| dir.join(name)) {
            if look::is_file(&path)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Its tokenizer.
    ///
    /// # Errors
    /// [`ModelError::NoTokenizer`]; as [`Tokenizer::open`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match self.file(Tokenizer::FILE)? {
            Some(path) => Tokenizer::open(&path),
            None => Err(ModelError::NoTokenizer { paths: self.files.clone() }.into()),
        }
    }

    /// The tokens that end a text: `eos_token_id` of `generation_config.json`, or else of
    /// `config.json`; none if neither has it.
    ///
    /// # Errors
    /// [`ModelError::GenerationConfig`] if it is no token; [`Io`](crate::store::Error::Io).
    pub fn stop_tokens(&self) -> Result<Vec<u32>> {
        for name in ["generation_config.json", "config.json"] {
            let Some(path) = self.file(name)? else { continue };
            let text = std::fs::read(&path).map_err(store::Error::io("read", &path))?;
            let wrong =
                |problem: String| ModelError::GenerationConfig { path: path.clone(), problem };
            let fields: Value = json::config(&text).map_err(wrong)?;
            let field = &fields["eos_token_id"];
            let token = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            let tokens = match field {
                Value::Null => continue,
                Value::Array(all) => all.iter().map(token).collect(),
                one => token(one).map(|token| vec![token]),
            };
            let problem = || wrong(format!("\"eos_token_id\" is {field}, which is no token"));
            return Ok(tokens.ok_or_else(problem)?);
        }
        Ok(Vec::new())
    }

    fn open_adapted(
        path: &Path,
        mut adapter: AdapterMetadata,
        options: &LoadOptions,
    ) -> Result<Self> {
        let base = adapter.base(path, options.base.as_deref(), &Cancel::default())?;
        let mut loaded = Self::open_model(&base, options)?;
        adapter.model_ckpt_path = base;
        loaded.adapter = Some(LoadedAdapter::read(path, adapter, &mut loaded.model()?)?);
        Ok(loaded)
    }

    fn open_model(path: &Path, options: &LoadOptions) -> Result<Self> {
        match MegatronCheckpoint::is_at(path)? {
            true => Self::open_checkpoint(path, options),
            false => Self::import(path, options),
        }
    }

    fn open_checkpoint(path: &Path, options: &LoadOptions) -> Result<Self> {
        let (format, model) = (&options.format, options.model.as_deref());
        let checkpoint = options.trained.open(path, format, model)?;
        let (Some(model), Some(fields), []) =
            (checkpoint.model(), checkpoint.config(), checkpoint.findings())
        else {
            return Err(Error::refused(checkpoint.findings().to_vec()));
        };
        let model = options.model.as_deref().unwrap_or(model);
        let registration = Registry::get()?.exporter(format, model)?;
        let configuration = registration.connector.restore(fields, &checkpoint.config_file())?;
        let config = gpt_config(configuration.model.downcast(), registration)?;
        // Before its parameters are counted, which a hostile number would make endless.
        refuse(&config)?;
        let source = checkpoint.source();
        let stored = source.tensors().iter().max_by_key(|tensor| tensor.bytes());
        let stored = stored.and_then(|tensor| crate::engine::to_candle_dtype(tensor.dtype));
        let device = options.device.open()?;
        let dtype = dtype(options.dtype, stored, &device);
        let instance = instance(configuration.instance, registration)?;
        let parameters = Parameters::read(&*instance, source, dtype, &device)?;
        let context = checkpoint.context();
        let folders = checkpoint.folders()?;
        let folders = folders.iter().filter_map(|folder| Some(context?.join(folder)));
        let files = context.map(Path::to_path_buf).into_iter().chain(folders).collect();
        Ok(Loaded { registration, config, parameters, adapter: None, files })
    }

    fn import(path: &Path, options: &LoadOptions) -> Result<Self> {
        let import = ImportOptions {
            format: options.format.clone(),
            model: options.model.clone(),
            device: options.device,
            ..ImportOptions::default()
        };
        let planned = Planned::import(path, import)?;
        let registration = planned.registration();
        let config = gpt_config(planned.model_config().downcast(), registration)?;
        let largest = planned.plan().outputs.iter().max_by_key(|output| output.bytes());
        let stored = largest.and_then(|output| crate::engine::to_candle_dtype(output.dtype));
        let device = options.device.open()?;
        let dtype = dtype(options.dtype, stored, &device);
        let instance = instance(planned.instance(), registration)?;
        let parameters = Parameters::new(instance, planned.in_memory()?, dtype)?;
        let files = vec![path.into()];
        Ok(Loaded { registration, config, parameters, adapter: None, files })
    }
}

/// What the types of the GPT families can load. Every [`Model`] with a [`GptConfig`] has it.
///
/// ```
/// use candle_core::{DType, Tensor};
/// use connector_core::DeviceChoice;
/// use connector_core::families::LlamaModel;
/// use connector_core::model::GptFamily;
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
///
/// let device = DeviceChoice::default();
/// let model = LlamaModel::load(fixture, Some(DType::F32), device)?;
/// let tokens = Tensor::new(&[[1u32, 17, 42]], model.device())?;
/// assert_eq!(model.forward(&tokens)?.dims(), [1, 3, 97]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait GptFamily: Model<Config = GptConfig> {
    /// The model of the checkpoint in `path`, as [`Loaded::open`] opens it.
    ///
    /// # Errors
    /// As [`Loaded::open`]; [`Error::Refused`] if it is another family's.
    fn load(path: impl AsRef<Path>, dtype: Option<DType>, device: DeviceChoice) -> Result<GPTModel>
    where
        Self: Sized,
    {
        let path = path.as_ref();
        let loaded = Loaded::open(path, &LoadOptions { dtype, device, ..LoadOptions::default() })?;
        if loaded.registration.connector.model() != TypeId::of::<Self>() {
            let problem = format!(
                "holds a {}, not a {}",
                loaded.registration.model,
                std::any::type_name::<Self>().rsplit("::").next().unwrap_or_default()
            );
            let subject = path.display().to_string();
            return Err(Error::refused(vec![Finding::new(FindingKind::Config, subject, problem)]));
        }
        loaded.model()
    }
}

impl<M: Model<Config = GptConfig>> GptFamily for M {}

impl<M: Model<Config = GptConfig>> Pretrained<M> {
    /// The model, in the type `dtype`. It shares the tensors that have this type already.
    ///
    /// # Errors
    /// As [`Parameters::new`] and [`GPTModel::new`].
    pub fn model(&self, dtype: DType) -> Result<GPTModel> {
        refuse(&self.config)?;
        let undeclared = || Error::ModelConfig { reason: "it declares no parameters".into() };
        let instance = M::instance(&self.config).ok_or_else(undeclared)?;
        let parameters = Parameters::new(&*instance, self.tensors.clone(), dtype)?;
        GPTModel::new(&self.config, &parameters)
    }
}

fn dtype(asked: Option<DType>, stored: Option<DType>, device: &Device) -> DType {
    match (asked, stored) {
        (Some(dtype), _) => dtype,
        (None, Some(DType::BF16)) => device.bf16_default_to_f32(),
        (None, Some(dtype)) if dtype.is_float() => dtype,
        (None, _) => DType::F32,
    }
}

fn gpt_config(config: Option<&GptConfig>, registration: &Registration) -> Result<GptConfig> {
    config.cloned().ok_or_else(|| {
        let model = registration.model;
        let reason =
            format!("{model} has one of its own; only models with a GptConfig are computed");
        Error::ModelConfig { reason }
    })
}

fn instance<I>(instance: Option<I>, registration: &Registration) -> Result<I> {
    instance.ok_or_else(|| {
        let reason =
            format!("{} declares no parameters, so it cannot be computed", registration.model);
        Error::ModelConfig { reason }
    })
}
