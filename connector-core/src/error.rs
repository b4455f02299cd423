use crate::base::{Advice, Cancelled, CandleError, Finding, Refusal, WorkerPanicked};
use crate::connector::hub::HubError;
use crate::{checkpoint, engine, store};
use std::path::PathBuf;

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an import, an export or a look at a checkpoint did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read, or an output not written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(checkpoint::Error),
    /// A plan did not run to its end.
    #[error(transparent)]
    Engine(engine::Error),
    /// The checkpoint, its config and the mapping do not fit together.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// candle could not make, move or read a tensor.
    #[error(transparent)]
    Candle(#[from] CandleError),
    /// A model does not compute with what it was given.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A model of the Hugging Face hub is not there.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// What is in the cache's folder is no conversion of the cache, and stays.
    #[error(
        "{} is not removed: its name and its record do not say that connector put it there; remove \
         it yourself", path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// What was written is not what was planned, which is a defect of this crate or of the disk.
    #[error("{} was not published: {what}", path.display())]
    WrittenWrong {
        /// The output.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// No importer is registered for the checkpoint.
    #[error(
        "no importer from {format} for {wanted}; registered: {}\n\
         help: {}, or, if its crate is a dependency, link it: `use my_crate as _;`",
        if registered.is_empty() { "none".into() } else { registered.join("; ") },
        Advice::NameModel
    )]
    NoImporter {
        /// The model or architectures.
        wanted: String,
        /// The format.
        format: String,
        /// All importers there are.
        registered: Vec<String>,
    },
    /// No exporter is registered for the model.
    #[error(
        "no exporter of {model} to {format}; registered: {}\n\
         help: if its crate is a dependency, link it: `use my_crate as _;`",
        if registered.is_empty() { "none".into() } else { registered.join("; ") }
    )]
    NoExporter {
        /// The model's type.
        model: String,
        /// The format.
        format: String,
        /// All exporters there are.
        registered: Vec<String>,
    },
    /// Connectors that claim the same model, format or architecture.
    #[error("{conflicts}")]
    Registry {
        /// Both places of each conflict, one a line.
        conflicts: String,
    },
    /// The model's config cannot be written, or not changed as asked.
    #[error("the model's config: {reason}")]
    ModelConfig {
        /// Why.
        reason: String,
    },
    /// The connector was written without `source_config`, which export needs.
    #[error("{connector} does not export: it has no `source_config`")]
    NoExport {
        /// The connector's type.
        connector: &'static str,
    },
    /// A number of a training run is no longer finite.
    #[error(
        "{what} of step {step} is not finite; the last checkpoint is as it was\n\
         help: a lower learning rate, a longer warm-up, or clipped gradients keep a run from diverging"
    )]
    Diverged {
        /// "the loss", "the gradient".
        what: &'static str,
        /// The step, counted from 0.
        step: u64,
    },
    /// A thread panicked, which is a defect of this crate.
    #[error(transparent)]
    WorkerPanicked(#[from] WorkerPanicked),
    /// Stopped on request, with nothing left behind.
    #[error("{}", Cancelled)]
    Cancelled,
}

impl From<Cancelled> for Error {
    fn from(_: Cancelled) -> Self {
        Error::Cancelled
    }
}

/// What several floors can say has one place, whichever of them said it.
impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        match error {
            checkpoint::Error::Store(error) => error.into(),
            checkpoint::Error::Refused(refusal) => refusal.into(),
            checkpoint::Error::ModelConfig { reason } => Error::ModelConfig { reason },
            checkpoint::Error::Cancelled(cancelled) => cancelled.into(),
            checkpoint::Error::WorkerPanicked(panicked) => panicked.into(),
            error => Error::Checkpoint(error),
        }
    }
}

/// The same of the engine.
impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Store(error) => error.into(),
            engine::Error::Refused(refusal) => refusal.into(),
            engine::Error::Candle(error) => error.into(),
            engine::Error::Cancelled(cancelled) => cancelled.into(),
            engine::Error::WorkerPanicked(panicked) => panicked.into(),
            error => Error::Engine(error),
        }
    }
}

impl Error {
    /// What can be done about it. Findings have advice of their own.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Error::Store(error) => error.advice(),
            Error::Checkpoint(error) => error.advice(),
            Error::NoImporter { .. } => Some(Advice::NameModel),
            _ => None,
        }
    }

    /// Whether the system refused: what was asked for may be well, and was not seen.
    pub(crate) fn is_io(&self) -> bool {
        match self {
            Error::Store(store::Error::Io { .. }) => true,
            Error::Checkpoint(error) => error.is_io(),
            _ => false,
        }
    }

    /// A refusal with these findings.
    pub(crate) fn refused(findings: Vec<Finding>) -> Self {
        Refusal::new(findings).into()
    }

    /// For `map_err`: the model's config cannot be written.
    pub(crate) fn config(reason: impl ToString) -> Self {
        Error::ModelConfig { reason: reason.to_string() }
    }

    /// For `map_err`: an error of candle.
    #[cfg(feature = "candle")]
    pub(crate) fn candle(error: candle_core::Error) -> Self {
        CandleError::from(error).into()
    }
}
