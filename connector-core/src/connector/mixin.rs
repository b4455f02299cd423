//! NeMo's `ConnectorMixin`: what a model's type can do with checkpoints.

use super::cache::Cache;
use super::{ExportOptions, ImportOptions, Planned, Registry};
use crate::Result;
use crate::engine::NoProgress;
use crate::schema::Model;
use crate::store::Overwrite;
use std::path::{Path, PathBuf};

/// What the type of a model can do with checkpoints, through the connectors that are registered for
/// it. Every [`Model`] has it.
///
/// Sources are those of [`import_ckpt`](super::import_ckpt()). The format that a source names counts;
/// where it names none, that of the options.
///
/// ```
/// use connector_core::families::LlamaModel;
/// use connector_core::{ConnectorMixin, ImportOptions};
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-mixin-{}", std::process::id()));
/// # let output = scratch.join("llama-nemo");
///
/// let nemo = LlamaModel::import_ckpt(fixture, Some(&output), ImportOptions::default())?;
/// let hf = LlamaModel::export_ckpt(&nemo, "hf", None)?;
///
/// assert!(hf.ends_with("llama-nemo-hf"));
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ConnectorMixin: Model {
    /// Plans an import of `source`; [`Planned::run`] does it.
    ///
    /// # Errors
    /// As [`Planned::import`].
    fn importer(source: impl AsRef<Path>, mut options: ImportOptions) -> Result<Planned>
    where
        Self: Sized,
    {
        let source = options.locate(source.as_ref())?;
        let registration = Registry::get()?.importer_for::<Self>(&options.format)?;
        Planned::import(source, options.model(registration.model))
    }

    /// Plans an export of the checkpoint at `path` to `format`; [`Planned::run`] does it.
    ///
    /// # Errors
    /// As [`Planned::export`].
    fn exporter(format: &str, path: impl AsRef<Path>) -> Result<Planned>
    where
        Self: Sized,
    {
        // Only the importer knows the model's name; an export of a model needs it to be imported
        // from some format.
        let registered = Registry::get()?.connectors().iter();
        let mut own = registered.filter(|c| c.connector.model() == std::any::TypeId::of::<Self>());
        let model = own.next().map_or(std::any::type_name::<Self>(), |c| c.model);
        Planned::export(path, ExportOptions::default().format(format).model(model))
    }

    /// Where [`import_ckpt`](Self::import_ckpt) puts `source` if it is not told: in the cache, at a
    /// place for this source in this revision, converted in this way.
    ///
    /// # Errors
    /// As [`importer`](Self::importer), since all of that is part of the place.
    fn default_path(source: impl AsRef<Path>) -> Result<PathBuf>
    where
        Self: Sized,
    {
        Cache::from_env().place(&Self::importer(source, ImportOptions::default())?)
    }

    /// Imports `source` into `output`, or else into the cache, where it may be already. Returns the
    /// directory.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt()).
    fn import_ckpt(
        source: impl AsRef<Path>,
        output: Option<&Path>,
        options: ImportOptions,
    ) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let place = Place::new(output, &options);
        place.import(&Self::importer(source, options)?)
    }

    /// Exports the checkpoint at `path` into `output`, or else into a directory beside it that is
    /// called after it and the format, `llama-hf`. Returns the directory.
    ///
    /// # Errors
    /// As [`export_ckpt`](super::export_ckpt()).
    fn export_ckpt(path: impl AsRef<Path>, format: &str, output: Option<&Path>) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let path = path.as_ref();
        let beside = || {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(format!("-{format}"));
            path.with_file_name(name)
        };
        let output = output.map_or_else(beside, Into::into);
        Self::exporter(format, path)?.run(&output, &NoProgress)?;
        Ok(output)
    }

    /// The model in memory: config, tokenizer files and all parameters, on the device of the
    /// options. Nothing is written, but for what is downloaded.
    ///
    /// # Errors
    /// As [`importer`](Self::importer) and [`Planned::in_memory`](super::Planned::in_memory).
    #[cfg(feature = "candle")]
    fn import_from(source: impl AsRef<Path>, options: ImportOptions) -> Result<Pretrained<Self>>
    where
        Self: Sized,
    {
        let place = Place::new(None, &options);
        Pretrained::import(&Self::importer(source, options)?, place)
    }
}

impl<M: Model> ConnectorMixin for M {}

/// A model whose family the config tells. NeMo's `AutoModel`, for imports.
#[derive(Clone, Copy, Debug)]
pub struct AutoModel;

impl AutoModel {
    /// Imports `source`, as [`ConnectorMixin::import_ckpt`].
    ///
    /// # Errors
    /// As [`ConnectorMixin::import_ckpt`].
    pub fn import_ckpt(
        source: impl AsRef<Path>,
        output: Option<&Path>,
        options: ImportOptions,
    ) -> Result<PathBuf> {
        let place = Place::new(output, &options);
        place.import(&Planned::import(source, options)?)
    }
}

/// Where an import goes.
enum Place {
    Directory(PathBuf),
    Cache(Cache, Overwrite),
}

impl Place {
    fn new(output: Option<&Path>, options: &ImportOptions) -> Self {
        match output {
            Some(output) => Place::Directory(output.into()),
            None => {
                let cache = options.cache.clone().unwrap_or_else(Cache::from_env);
                Place::Cache(cache, options.overwrite)
            }
        }
    }

    fn import(self, planned: &Planned) -> Result<PathBuf> {
        match self {
            Place::Directory(output) => planned.run(&output, &NoProgress).map(|_| output),
            Place::Cache(cache, overwrite) => {
                let waiting = |owner: &str| tracing::warn!(owner, "waiting: it converts the same");
                let cached = cache.convert(planned, overwrite, &NoProgress, waiting)?;
                Ok(cached.path().into())
            }
        }
    }
}

/// A model in memory.
#[cfg(feature = "candle")]
#[non_exhaustive]
pub struct Pretrained<M: Model> {
    /// The model's config.
    pub config: M::Config,
    /// Its parameters under Megatron-core's names.
    pub tensors: std::collections::BTreeMap<String, candle_core::Tensor>,
    /// The files of its tokenizer.
    pub tokenizer: Vec<PathBuf>,
    /// The directory that it was imported from, with all other files.
    pub path: PathBuf,
}

#[cfg(feature = "candle")]
impl<M: Model> Pretrained<M> {
    /// Imports into memory, or, where the connector moves the state of a checkpoint in its own way,
    /// into `place`.
    fn import(planned: &Planned, place: Place) -> Result<Self> {
        let config = planned.model_config().downcast::<M::Config>().cloned();
        let reason = || "it is another model's".into();
        let config = config.ok_or_else(|| crate::Error::ModelConfig { reason: reason() })?;
        let registration = planned.registration();
        let tensors = match registration.own_state {
            false => planned.in_memory()?,
            true => read(&place.import(planned)?, planned.context().device)?,
        };
        let path = planned.path().to_path_buf();
        let names: Vec<_> = planned.sidecars().iter().map(|file| file.name.clone()).collect();
        let tokenizer = registration.connector.tokenizer(&names);
        let tokenizer = tokenizer.iter().map(|name| path.join(name)).collect();
        Ok(Pretrained { config, tensors, tokenizer, path })
    }
}

/// The tensors of the checkpoint that an import wrote to `path`.
#[cfg(feature = "candle")]
fn read(
    path: &Path,
    device: &candle_core::Device,
) -> Result<std::collections::BTreeMap<String, candle_core::Tensor>> {
    let checkpoint = crate::checkpoint::MegatronCheckpoint::open(path)?;
    let source = checkpoint.source();
    let tensors = source.tensors().iter().map(|tensor| {
        let loaded = crate::engine::read_tensor(source, tensor, device)?;
        Ok((tensor.name.clone(), loaded))
    });
    tensors.collect()
}
