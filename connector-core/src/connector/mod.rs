//! Connectors: what joins a model to a format, the registry in which they are found, and the
//! conversions that use them.

mod accepted;
pub mod cache;
mod checked;
mod conversion;
mod convert;
mod convert_state;
mod export;
mod format_config;
mod hashing;
pub mod hub;
mod import;
#[cfg(feature = "candle")]
mod in_memory;
mod mixin;
mod planned;
mod record;
mod recorded;
mod registry;
mod resume;
mod same_names;
#[cfg(feature = "candle")]
mod state;
mod trained;
mod verify;

pub use crate::mapping::Direction;
pub(crate) use checked::checked;
pub use convert::{ConvertOptions, PlannedConvert, convert_ckpt};
pub use convert_state::State;
pub use export::{ExportOptions, export_ckpt};
pub use format_config::export_config;
pub(crate) use format_config::{read_config, translate_config};
pub use import::{Experts, ImportOptions, TorchDist, Weights, import_ckpt};
#[cfg(feature = "candle")]
pub use mixin::Pretrained;
pub use mixin::{AutoModel, ConnectorMixin};
pub use planned::{Job, Planned};
pub use record::Record;
pub(crate) use recorded::Recorded;
pub use registry::{Connect, Erased, Registration, Registry, Wish};
#[cfg(feature = "train")]
pub(crate) use resume::CHECKPOINTS;
#[cfg(feature = "cli")]
pub(crate) use resume::last_of_run;
pub use resume::{AutoResume, Resume};
pub use trained::TrainedOptions;
pub use verify::{CastCount, Difference, Element, Verification, VerifyOptions, diff, verify};
#[cfg(feature = "candle")]
pub(crate) use {conversion::hash, resume::imported};
#[cfg(feature = "train")]
pub(crate) use {planned::MAX_SHARD_SIZE, record::TOOL, state::convert};

#[cfg(feature = "candle")]
pub use state::{ModelState, apply_transforms, revert_transforms};

use crate::checkpoint::{HfCheckpoint, is_tokenizer};
use crate::config::ConfigMap;
use crate::framework::Frameworks;
use crate::mapping::Mapping;
use crate::schema::{Instance, Model};
use crate::transform::Config;
use crate::{Error, Result};
use serde_json::Value;
use std::any::type_name;

/// Joins a model to a format: the mapping of its tensors and the translation of its config.
///
/// Annotate the impl with [`#[model_importer(Model, "hf")]`](crate::model_importer), which fills
/// in [`Model`](ModelConnector::Model) and registers it. NeMo's `ModelConnector`.
pub trait ModelConnector: Send + Sync + 'static {
    /// The model. The attribute writes this.
    type Model: Model;

    /// The rows, from the format to the model for an importer.
    const MAPPING: Mapping;

    /// The names in `architectures` of a `config.json` that it is for. The attribute writes this.
    const ARCHITECTURES: &'static [&'static str] = &[];

    /// How the format's config says what the model's config says: of it [`config`](Self::config)
    /// and [`source_config`](Self::source_config) are made. `None` for a connector that has its own.
    const CONFIG: Option<ConfigMap> = None;

    /// What frameworks for training call the model, so that a distributed checkpoint for them has
    /// the files that rebuild it. `None`: they do not know it, and load its tensors into a model
    /// built in code.
    const FRAMEWORKS: Option<Frameworks> = None;

    /// The model's config, from the format's. The default reads [`CONFIG`](Self::CONFIG).
    ///
    /// A connector that translates its config by hand reads the fields through [`HfCheckpoint::fields`],
    /// which collects everything that is missing or not understood and reports it at once.
    ///
    /// # Errors
    /// If a field without which there is no config is missing or malformed.
    fn config(source: &HfCheckpoint) -> Result<<Self::Model as Model>::Config> {
        let Some(map) = Self::CONFIG else {
            let reason = format!("{} has neither `CONFIG` nor `config`", type_name::<Self>());
            return Err(Error::ModelConfig { reason });
        };
        let fields = Value::Object(map.read(source)?);
        serde_json::from_value(fields).map_err(|e| Error::ModelConfig { reason: e.to_string() })
    }

    /// The format's config, from the model's: what export writes as `config.json`. `original` is
    /// the file that the model was imported from, if it is still there.
    ///
    /// # Errors
    /// If the model's config cannot be expressed in the format. The default writes
    /// [`CONFIG`](Self::CONFIG); without one it says that this connector does not export.
    fn source_config(
        config: &<Self::Model as Model>::Config,
        original: Option<&Value>,
    ) -> Result<Value> {
        let Some(map) = Self::CONFIG else {
            return Err(Error::NoExport { connector: type_name::<Self>() });
        };
        let fields = serde_json::to_value(config);
        let fields = fields.map_err(|e| Error::ModelConfig { reason: e.to_string() })?;
        let architecture = Self::ARCHITECTURES.first().copied();
        let fields = fields.as_object().cloned().unwrap_or_default();
        Ok(map.write(&fields, architecture, original).into())
    }

    /// Which of the files that are copied from the source, named by their paths below it, are the
    /// tokenizer. The default knows the names that transformers, SentencePiece and tiktoken give.
    fn tokenizer(files: &[String]) -> Vec<String> {
        files.iter().filter(|name| is_tokenizer(name)).cloned().collect()
    }

    /// The model that is to be filled: which parameters it has under `config`, and their shapes.
    /// NeMo's `init`. The default is what its schema declares.
    ///
    /// An own one refuses what the model cannot be, or gives a parameter another shape than its
    /// config says. It keeps the schema, against which the compiler has proven the rows; the plan
    /// holds them against what this returns.
    ///
    /// # Errors
    /// If there is no such model.
    fn init(config: &<Self::Model as Model>::Config) -> Result<Option<Box<dyn Instance>>> {
        Ok(Self::Model::instance(config))
    }

    /// The format's parameters under a config, of either side's, if the attribute names a
    /// `source_schema`. The attribute writes this.
    ///
    /// # Errors
    /// If the schema follows the format's config, and `format` is none.
    #[doc(hidden)]
    fn source_instance(
        config: &<Self::Model as Model>::Config,
        format: &Value,
    ) -> Result<Option<Box<dyn Instance>>> {
        let _ = (config, format);
        Ok(None)
    }

    /// Runs a planned conversion. NeMo's `apply`; the default is [`Job::convert`], which an own one
    /// calls too, with what is to be checked before or done after it.
    ///
    /// An importer whose mapping is read backwards is asked on export too;
    /// [`direction`](Planned::direction) tells.
    ///
    /// # Errors
    /// As [`import_ckpt`].
    fn apply(job: &Job<'_>) -> Result<Record> {
        job.convert()
    }

    /// Moves the state: what [`Job::convert`] runs between creating the new files and checking
    /// them. NeMo's `convert_state`; the default is [`State::convert`], which moves everything as
    /// the rows say.
    ///
    /// An own one puts what it computes in the place of what the plan makes, and needs `dynamic` in
    /// the attribute: the compiler proves rows, and of this nothing. Every output has to be written,
    /// or nothing is published. [`verify`] refuses such a connector, whose rows no longer say what
    /// its tensors are.
    ///
    /// # Errors
    /// As [`import_ckpt`].
    fn convert_state(state: &mut State<'_>) -> Result<()> {
        state.convert()
    }
}

/// A model's config, read from a checkpoint.
pub struct Configuration {
    /// The config.
    pub model: Config,
    /// The model's parameters under it; `None` without a schema.
    pub instance: Option<Box<dyn Instance>>,
}
