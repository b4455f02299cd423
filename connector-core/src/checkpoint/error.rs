use super::Damage;
use super::files::{OpenError, OpenErrorKind};
use super::safetensors::{self, HeaderError};
use super::torch::ZipError;
use super::torch_dist::{self, Malformed};
use crate::base::{Advice, Cancelled, Refusal, WorkerPanicked};
use crate::store;
use std::path::PathBuf;

/// The result of what is done to checkpoints.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a checkpoint cannot be read, or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no checkpoint where one was expected.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A safetensors file is not well-formed.
    #[error(transparent)]
    Header(#[from] HeaderError),
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
    /// A checkpoint has no tensor of this name.
    #[error("no tensor is called {name:?}")]
    NoTensor {
        /// What was asked for.
        name: String,
    },
    /// The tensors cannot be laid out in safetensors files.
    #[error(transparent)]
    Layout(#[from] safetensors::LayoutError),
    /// The tensors cannot be laid out in a distributed checkpoint.
    #[error(transparent)]
    DistLayout(#[from] torch_dist::LayoutError),
    /// Bytes of the source are not those that were written, by the checksums in its files.
    #[error("the checkpoint is damaged: {}", some(records))]
    Damaged {
        /// Every record that was read and is not what was written.
        records: Vec<Damage>,
    },
    /// The model's config cannot be written.
    #[error("the model's config: {reason}")]
    ModelConfig {
        /// Why.
        reason: String,
    },
    /// What the config says is not understood.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A thread panicked.
    #[error(transparent)]
    WorkerPanicked(#[from] WorkerPanicked),
}

impl Error {
    /// What can be done about it.
    pub fn advice(&self) -> Option<Advice> {
        match self {
            Error::Store(error) => error.advice(),
            Error::DistLayout(error) => error.advice(),
            Error::NoSuchIteration { there, .. } | Error::TrackedIteration { there, .. } => {
                (!there.is_empty()).then_some(Advice::NameIteration)
            }
            _ => None,
        }
    }

    /// Whether the system refused: what was asked for may be well, and was not seen.
    pub(crate) fn is_io(&self) -> bool {
        match self {
            Error::Store(store::Error::Io { .. }) => true,
            Error::Open(open) => matches!(open.kind, OpenErrorKind::Io { .. }),
            _ => false,
        }
    }
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
            } if is_refusal => store::Error::io("read", path)(source).into(),
            malformed => Error::TorchDist(Box::new(malformed)),
        }
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
        (..=MOST, all) => format!("it has {all}; {}", Advice::NameIteration),
        (count, last) => format!("it has {count}, the last are {last}; {}", Advice::NameIteration),
    }
}
