//! NeMo's `ConnectorMixin`: what a model's type can do with checkpoints.

use super::cache::Cache;
use super::hub::{Hub, Origin};
use super::{ExportOptions, ImportOptions, PlannedExport, PlannedImport, Registry, Weights};
use crate::Result;
use crate::engine::NoProgress;
use crate::schema::Model;
use crate::store::Overwrite;
use std::path::{Path, PathBuf};

/// The format of a source that names none.
const DEFAULT: &str = "hf";

/// What the type of a model can do with checkpoints, through the connectors that are registered for
/// it. Every [`Model`] has it.
///
/// A source is a path, `hf://org/name[@revision]`, or `FORMAT://path` for an importer that is
/// registered under another format's name.
///
/// ```
/// use connector_core::ConnectorMixin;
/// use connector_core::families::LlamaModel;
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = std::env::temp_dir().join(format!("connector-doc-mixin-{}", std::process::id()));
/// # let output = scratch.join("llama-nemo");
///
/// let nemo = LlamaModel::import_ckpt(fixture, Some(&output), false)?;
/// let hf = LlamaModel::export_ckpt(&nemo, "hf", None)?;
///
/// assert!(hf.ends_with("llama-nemo-hf"));
/// # std::fs::remove_dir_all(scratch)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ConnectorMixin: Model {
    /// Plans an import of `source`; [`PlannedImport::run`] does it. A source on the hub is
    /// downloaded if it is not there.
    ///
    /// # Errors
    /// As [`PlannedImport::new`]; [`Error::Hub`](crate::Error::Hub).
    fn importer(source: &str) -> Result<PlannedImport>
    where
        Self: Sized,
    {
        Self::importer_with(source, ImportOptions::default())
    }

    /// [`importer`](Self::importer) with options. Their format counts where `source` names none.
    ///
    /// # Errors
    /// As [`importer`](Self::importer).
    fn importer_with(source: &str, mut options: ImportOptions) -> Result<PlannedImport>
    where
        Self: Sized,
    {
        let source = located(source, &mut options)?;
        let registration = Registry::get()?.importer_for::<Self>(&options.format)?;
        options.model = Some(registration.model.into());
        PlannedImport::new(&source, options)
    }

    /// Plans an export of the checkpoint at `path` to `format`; [`PlannedExport::run`] does it.
    ///
    /// # Errors
    /// As [`PlannedExport::new`].
    fn exporter(format: &str, path: &Path) -> Result<PlannedExport>
    where
        Self: Sized,
    {
        // Only the importer knows the model's name; an export of a model needs it to be imported
        // from some format.
        let registered = Registry::get()?.connectors().iter();
        let mut own = registered.filter(|c| c.connector.model() == std::any::TypeId::of::<Self>());
        let model = own.next().map_or(std::any::type_name::<Self>(), |c| c.model);
        let options = ExportOptions {
            format: format.into(),
            model: Some(model.into()),
            ..ExportOptions::default()
        };
        PlannedExport::new(path, options)
    }

    /// Where [`import_ckpt`](Self::import_ckpt) puts `source` if it is not told: in the cache, at a
    /// place for this source in this revision, converted in this way.
    ///
    /// # Errors
    /// As [`importer`](Self::importer), since all of that is part of the place.
    fn default_path(source: &str) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let planned = Self::importer(source)?;
        Cache::from_env().place(&planned)
    }

    /// Imports `source` into `output`, or else into the cache, where it may be already. Returns the
    /// directory.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt()); [`Error::Hub`](crate::Error::Hub).
    fn import_ckpt(source: &str, output: Option<&Path>, overwrite: bool) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let overwrite = overwrite.into();
        let options = ImportOptions { overwrite, ..ImportOptions::default() };
        Self::import_ckpt_with(source, output, options)
    }

    /// [`import_ckpt`](Self::import_ckpt) with options.
    ///
    /// # Errors
    /// As [`import_ckpt`](Self::import_ckpt).
    fn import_ckpt_with(
        source: &str,
        output: Option<&Path>,
        options: ImportOptions,
    ) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let place = Place::new(output, &options);
        place.import(&Self::importer_with(source, options)?)
    }

    /// Exports the checkpoint at `path` into `output`, or else into a directory beside it that is
    /// called after it and the format, `llama-hf`. Returns the directory.
    ///
    /// # Errors
    /// As [`export_ckpt`](super::export_ckpt()).
    fn export_ckpt(path: &Path, format: &str, output: Option<&Path>) -> Result<PathBuf>
    where
        Self: Sized,
    {
        let beside = || {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(format!("-{format}"));
            path.with_file_name(name)
        };
        let output = output.map_or_else(beside, Into::into);
        Self::exporter(format, path)?.run(&output, &NoProgress)?;
        Ok(output)
    }

    /// The model in memory: config, tokenizer files and all parameters. Nothing is written, but for
    /// what is downloaded.
    ///
    /// # Errors
    /// As [`importer`](Self::importer) and [`Planned::in_memory`](super::Planned::in_memory).
    #[cfg(feature = "candle")]
    fn import_from(source: &str) -> Result<Pretrained<Self>>
    where
        Self: Sized,
    {
        Self::import_from_with(source, ImportOptions::default())
    }

    /// [`import_from`](Self::import_from) with options; the parameters are put on their device.
    ///
    /// # Errors
    /// As [`import_from`](Self::import_from).
    #[cfg(feature = "candle")]
    fn import_from_with(source: &str, options: ImportOptions) -> Result<Pretrained<Self>>
    where
        Self: Sized,
    {
        let place = Place::new(None, &options);
        Pretrained::import(&Self::importer_with(source, options)?, place)
    }
}

impl<M: Model> ConnectorMixin for M {}

/// A model whose family the config tells. NeMo's `AutoModel`, for imports.
#[derive(Clone, Copy, Debug)]
pub struct AutoModel;

impl AutoModel {
    /// Plans an import of `source`, as [`ConnectorMixin::importer`], for the architecture that its
    /// config names.
    ///
    /// # Errors
    /// As [`ConnectorMixin::importer`].
    pub fn importer(source: &str) -> Result<PlannedImport> {
        Self::importer_with(source, ImportOptions::default())
    }

    /// [`importer`](Self::importer) with options.
    ///
    /// # Errors
    /// As [`ConnectorMixin::importer`].
    pub fn importer_with(source: &str, mut options: ImportOptions) -> Result<PlannedImport> {
        let source = located(source, &mut options)?;
        PlannedImport::new(&source, options)
    }

    /// Imports `source`, as [`ConnectorMixin::import_ckpt`].
    ///
    /// # Errors
    /// As [`ConnectorMixin::import_ckpt`].
    pub fn import_ckpt(source: &str, output: Option<&Path>, overwrite: bool) -> Result<PathBuf> {
        let overwrite = overwrite.into();
        let options = ImportOptions { overwrite, ..ImportOptions::default() };
        Self::import_ckpt_with(source, output, options)
    }

    /// [`import_ckpt`](Self::import_ckpt) with options.
    ///
    /// # Errors
    /// As [`ConnectorMixin::import_ckpt`].
    pub fn import_ckpt_with(
        source: &str,
        output: Option<&Path>,
        options: ImportOptions,
    ) -> Result<PathBuf> {
        let place = Place::new(output, &options);
        place.import(&Self::importer_with(source, options)?)
    }
}

/// The directory that a source means, and in the options its format.
fn located(source: &str, options: &mut ImportOptions) -> Result<PathBuf> {
    let origin = match source.split_once("://") {
        Some((DEFAULT | "https" | "http", _)) | None => Origin::new(source)?,
        // NeMo's word for Hugging Face's directories with weights of `torch.save`.
        Some(("pytorch", path)) => {
            options.weights = Weights::Pytorch;
            Origin::Local(path.into())
        }
        Some((format, path)) => {
            options.format = format.into();
            Origin::Local(path.into())
        }
    };
    origin.fetch(&Hub::from_env(), &(), &options.cancel)
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

    fn import(self, planned: &PlannedImport) -> Result<PathBuf> {
        match self {
            Place::Directory(output) => {
                planned.run(&output, &NoProgress).map(|imported| imported.output)
            }
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
    fn import(planned: &PlannedImport, place: Place) -> Result<Self> {
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
    let checkpoint = crate::checkpoint::NemoCheckpoint::open(path)?;
    let source = checkpoint.source();
    let tensors = source.tensors().iter().map(|tensor| {
        let loaded = crate::engine::read_tensor(source, tensor, device)?;
        Ok((tensor.name.clone(), loaded))
    });
    tensors.collect()
}
