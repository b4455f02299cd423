use crate::checkpoint::safetensors::shown;
use crate::checkpoint::torch::pickle::PickleError;
use crate::checkpoint::torch::zip::ZipError;
use crate::store::Dtype;
use std::path::PathBuf;

/// A directory is no distributed checkpoint that can be read, or a part of it is not.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Malformed {
    /// The directory, or the file in it that is at fault.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: Problem,
}

impl Malformed {
    /// Whether the system refused to read the file, which may be well.
    pub(crate) fn is_refusal(&self) -> bool {
        match &self.problem {
            Problem::Archive(error) | Problem::Zip { error, .. } => error.is_refusal(),
            _ => false,
        }
    }
}

/// What is wrong with a distributed checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// `.metadata` is missing or no file of reasonable length.
    #[error(
        "is missing, or no file of reasonable length; it says which tensors there are and is written \
         last: was the save cut off?"
    )]
    NoMetadata,
    /// `metadata.json` is not JSON or names another container.
    #[error("{0}; connector reads the backend \"torch_dist\"")]
    Backend(String),
    /// `.metadata` is no pickle, or not that of a checkpoint.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// A file that should be an archive of torch is none.
    #[error(transparent)]
    Archive(ZipError),
    /// What is the same on all ranks cannot be read.
    #[error("{0}")]
    Common(&'static str),
    /// Two entries of `.metadata` are for one tensor or piece.
    #[error("`{}` is described twice", shown(.0))]
    Twice(String),
    /// Two tensors stand for one parameter of the model.
    #[error("`{}` and another tensor both are the parameter `{}`", shown(tensor), shown(parameter))]
    SameParameter {
        /// The tensor.
        tensor: String,
        /// The parameter.
        parameter: String,
    },
    /// Layers or experts beyond reason.
    #[error("`{}` has {count} {what}; at most {most} are read", shown(tensor))]
    TooMany {
        /// The tensor.
        tensor: String,
        /// How many.
        count: usize,
        /// Of what.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A type that connector does not know.
    #[error(
        "tensor `{}` has the type torch.{}, which connector does not read",
        shown(tensor),
        shown(dtype)
    )]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The type's name.
        dtype: String,
    },
    /// The pieces of a tensor do not cover it, each element once.
    #[error("the pieces of tensor `{}`, {shape:?}, do not tile it: {what}", shown(tensor))]
    Tiling {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<usize>,
        /// What is wrong.
        what: &'static str,
    },
    /// A piece has no record.
    #[error(
        "`.metadata` does not say where the piece at {start:?} of tensor `{}` is",
        shown(tensor)
    )]
    NoRecord {
        /// The tensor.
        tensor: String,
        /// The piece's first index.
        start: Vec<usize>,
    },
    /// A record's file has a path that leads out of the directory.
    #[error(
        "the record of `{}` is in `{}`; only files inside the checkpoint are read",
        shown(tensor),
        shown(file)
    )]
    Outside {
        /// The tensor.
        tensor: String,
        /// The path.
        file: String,
    },
    /// A file is not there.
    #[error("does not exist; it holds {records} of the model's records")]
    MissingFile {
        /// How many records it should have.
        records: usize,
    },
    /// A record reaches beyond the end of its file.
    #[error(
        "the record of `{}` is bytes {offset} to {} of the file, which has {len}; was it cut off?",
        shown(tensor), offset.saturating_add(*length)
    )]
    BeyondEnd {
        /// The tensor.
        tensor: String,
        /// The record's first byte.
        offset: u64,
        /// Its number of bytes.
        length: u64,
        /// The file's.
        len: u64,
    },
    /// Two records share bytes.
    #[error("the records of `{}` and `{}` overlap", shown(one), shown(other))]
    Overlap {
        /// A tensor.
        one: String,
        /// Another, or the same.
        other: String,
    },
    /// A record is no zip archive of torch.
    #[error("the record of `{}` at byte {offset}: {error}", shown(tensor))]
    Zip {
        /// The tensor.
        tensor: String,
        /// The record's first byte.
        offset: u64,
        /// What is wrong.
        error: ZipError,
    },
    /// A record's pickle is not that of a tensor.
    #[error("the record of `{}` at byte {offset}: {error}", shown(tensor))]
    Record {
        /// The tensor.
        tensor: String,
        /// The record's first byte.
        offset: u64,
        /// What is wrong.
        error: PickleError,
    },
    /// A record holds another tensor than `.metadata` says.
    #[error(
        "the record of `{}` at byte {offset} holds {} {found_shape:?}; `.metadata` says {dtype} {shape:?}",
        shown(tensor), found.map_or("another type", Dtype::name)
    )]
    Other {
        /// The tensor.
        tensor: String,
        /// The record's first byte.
        offset: u64,
        /// The type in the record.
        found: Option<Dtype>,
        /// The dimensions there.
        found_shape: Vec<usize>,
        /// The type in `.metadata`.
        dtype: Dtype,
        /// The dimensions there.
        shape: Vec<usize>,
    },
    /// The elements of a record are not one behind the other, or not all there.
    #[error("the record of `{}` at byte {offset}: {what}", shown(tensor))]
    Elements {
        /// The tensor.
        tensor: String,
        /// The record's first byte.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
}
