use crate::Location;
use crate::checkpoint::Damage;
use crate::checkpoint::files::{OpenError, OpenErrorKind};
use crate::checkpoint::safetensors::{HeaderError, LayoutError};
use crate::checkpoint::torch::ZipError;
use crate::checkpoint::torch_dist::{self, Malformed};
use crate::connector::hub::HubError;
use crate::plan::Finding;
use crate::transform::BoxError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an import, an export or a look at a checkpoint did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read, write or rename a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "create", "rename".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is no file, where only a file can be read.
    #[error("{} is {what}, where a file should be", path.display())]
    NotAFile {
        /// Where it is.
        path: PathBuf,
        /// What it is: "a pipe", "a device".
        what: &'static str,
    },
    /// A safetensors file is not well-formed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// There is no checkpoint where one was expected.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A distributed checkpoint of PyTorch cannot be understood.
    #[error(transparent)]
    TorchDist(#[from] Box<Malformed>),
    /// A directory of Megatron-LM does not say which iteration is meant.
    #[error(
        "{} names no iteration, where \"release\" or a number should stand; give the directory of \
         one iteration", path.display()
    )]
    NoIteration {
        /// The file that should.
        path: PathBuf,
    },
    /// A directory of training has no such iteration.
    #[error("{} has no iteration {iteration}; {}", path.display(), those(there))]
    NoSuchIteration {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        iteration: u64,
        /// Those that are there.
        there: Vec<u64>,
    },
    /// The tracker in a directory of training names what is not there.
    #[error(
        "{} has no {folder}, which its latest_checkpointed_iteration.txt names; {}",
        path.display(),
        those(there)
    )]
    TrackedIteration {
        /// The directory.
        path: PathBuf,
        /// The folder of what is named.
        folder: String,
        /// The iterations that are there.
        there: Vec<u64>,
    },
    /// The tensors cannot be laid out in safetensors files.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file of the source changed while it was converted.
    #[error("{} changed while it was read; nothing was written, try again when it is complete", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// Bytes of the source are not those that were written, by the checksums in its files.
    #[error("the checkpoint is damaged: {}", some(records))]
    Damaged {
        /// Every record that was read and is not what was written.
        records: Vec<Damage>,
    },
    /// The tensors cannot be laid out in a distributed checkpoint.
    #[error(transparent)]
    DistLayout(#[from] torch_dist::LayoutError),
    /// The path cannot be that of an output.
    #[error("`{}` cannot be the output: {reason}", path.display())]
    InvalidOutput {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The output exists, and nobody asked to replace it.
    #[error("{} already exists; pass --overwrite to replace it, or another --output", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The output exists and is nothing that may be replaced, even on request.
    #[error("{} is not replaced: {reason}; remove it yourself or pass another --output", path.display())]
    NotReplaceable {
        /// The output.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
    },
    /// What is in the cache's folder is no conversion of the cache, and stays.
    #[error(
        "{} is not removed: its name and its record do not say that connector put it there; remove \
         it yourself", path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// The output is the source, lies inside it, or holds it.
    #[error(
        "the output {} and the source {} overlap; pass an --output outside of the source",
        output.display(), input.display()
    )]
    NotSeparate {
        /// The source.
        input: PathBuf,
        /// The output.
        output: PathBuf,
    },
    /// Another run is writing the same output.
    #[error("another process{} is writing {}", owner.as_ref().map(|o| format!(" ({o})")).unwrap_or_default(), path.display())]
    Locked {
        /// The output.
        path: PathBuf,
        /// The process, `pid 17 on host`, if it could be found out.
        owner: Option<String>,
    },
    /// The checkpoint, its config and the mapping do not fit together.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A user's function failed.
    #[error("{name} ({at}) failed at {output}: {source}")]
    Function {
        /// The function.
        name: &'static str,
        /// Where it is written.
        at: Location,
        /// The tensor that it was to make.
        output: String,
        /// What it said.
        source: BoxError,
    },
    /// The plan calls a user's function, and this build has no candle.
    #[error("{name} ({at}) works on tensors; build with the feature `candle`")]
    NeedsCandle {
        /// The function.
        name: &'static str,
        /// Where it is written.
        at: Location,
    },
    /// candle could not make, move or read a tensor.
    #[error("candle: {0}")]
    Candle(String),
    /// A model does not compute with what it was given.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// What was written is not what was planned, which is a defect of this crate or of the disk.
    #[error("{} was not published: {what}", path.display())]
    WrittenWrong {
        /// The output.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A thread of the engine panicked, which is a defect of this crate.
    #[error("a worker thread panicked; this is a defect, please report it")]
    WorkerPanicked,
    /// No importer is registered for the checkpoint.
    #[error(
        "no importer from {format} for {wanted}; registered: {}\n\
         help: name one with --model, or, if its crate is a dependency, link it: `use my_crate as _;`",
        if registered.is_empty() { "none".into() } else { registered.join("; ") }
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
    /// A model of the Hugging Face hub is not there.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// Stopped on request, with nothing left behind.
    #[error("stopped on request; nothing was written")]
    Cancelled,
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let is_refusal = malformed.is_refusal();
        match malformed {
            Malformed {
                path,
                problem:
                    torch_dist::Problem::Archive(ZipError::Io(source))
                    | torch_dist::Problem::Zip { error: ZipError::Io(source), .. },
            } if is_refusal => Error::Io { action: "read", path, source },
            malformed => Error::TorchDist(Box::new(malformed)),
        }
    }
}

impl Error {
    /// Whether the system refused: what was asked for may be well, and was not seen.
    pub(crate) fn is_io(&self) -> bool {
        match self {
            Error::Io { .. } => true,
            Error::Open(open) => matches!(open.kind, OpenErrorKind::Io { .. }),
            _ => false,
        }
    }

    /// A refusal with these findings.
    pub(crate) fn refused(findings: Vec<Finding>) -> Self {
        Error::Refused(Refusal { subject: String::new(), findings })
    }

    /// An error of candle, without the backtrace that its own text carries.
    #[cfg(feature = "candle")]
    pub(crate) fn candle(error: candle_core::Error) -> Self {
        let text = error.to_string();
        Error::Candle(text.lines().next().unwrap_or_default().into())
    }

    /// For `map_err`: the error of `action` on `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io { action, path: path.as_ref().into(), source }
    }
}

/// The first of the records that are damaged, for a message.
fn some(records: &[Damage]) -> String {
    let first = records.first().map(ToString::to_string).unwrap_or_default();
    match records.len() {
        ..=1 => first,
        count => format!("{first}; so are {} more", count - 1),
    }
}

/// Which iterations there are, for a message.
fn those(there: &[u64]) -> String {
    const MOST: usize = 8;
    let last = there.iter().rev().take(MOST).rev().map(ToString::to_string).collect::<Vec<_>>();
    match (there.len(), last.join(", ")) {
        (0, _) => "it has no iterations".into(),
        (..=MOST, all) => format!("it has {all} (--iteration N takes one)"),
        (count, last) => format!("it has {count}, the last are {last} (--iteration N takes one)"),
    }
}

/// Everything that keeps a checkpoint from being converted. Nothing was written.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// What was refused, and by whom: "this checkpoint does not fit the Llama importer".
    pub subject: String,
    /// What is wrong, grouped.
    pub findings: Vec<Finding>,
}

impl std::error::Error for Refusal {}

/// All findings, numbered.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.subject.is_empty() { "refused" } else { &self.subject };
        let (count, s) = (self.findings.len(), if self.findings.len() == 1 { "" } else { "s" });
        write!(f, "{subject} ({count} finding{s}); nothing was written")?;
        for (number, finding) in self.findings.iter().enumerate() {
            write!(f, "\n\n  {}  {}", number + 1, finding.to_string().replace('\n', "\n   "))?;
        }
        Ok(())
    }
}
