use crate::checkpoint::safetensors::shown;
use crate::checkpoint::torch::{PickleError, ZipError};
use std::path::PathBuf;

/// A file is no state of a model that can be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct Malformed {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file of `torch.save`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It begins with neither of the two signatures.
    #[error(
        "it is no file of torch.save: it begins neither as a zip archive nor as torch's pickles"
    )]
    NotTorch,
    /// It is a program.
    #[error(
        "it is a TorchScript program, not the state of a model; in Python, \
         `torch.save(torch.jit.load(FILE).state_dict(), \"pytorch_model.bin\")` makes one"
    )]
    TorchScript,
    /// The archive is malformed.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// The pickle is malformed, or describes something else.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// The archive was written on another kind of machine.
    #[error("its numbers are in big-endian order; save it again on a machine of today")]
    BigEndian,
    /// What is pickled holds no tensor.
    #[error("it holds no tensors")]
    Empty,
    /// A dict in the dict: what training keeps beside the model.
    #[error(
        "under `{}` lies another dict: this is a checkpoint of training; in Python, \
         `torch.save(torch.load(FILE)[{key:?}], \"pytorch_model.bin\")` saves a model's state by itself",
        shown(key)
    )]
    Nested {
        /// The key.
        key: String,
    },
    /// A key comes twice.
    #[error("`{}` is in the pickle twice", shown(.0))]
    Twice(String),
    /// A type that connector does not know.
    #[error(
        "tensor `{}` has the type {}, which connector does not read",
        shown(tensor),
        shown(dtype)
    )]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The type's name, or its storage's.
        dtype: String,
    },
    /// A tensor's storage is not in the file.
    #[error(
        "tensor `{}` is in the storage `{}`, which the file does not have",
        shown(tensor),
        shown(storage)
    )]
    NoStorage {
        /// The tensor.
        tensor: String,
        /// The storage.
        storage: String,
    },
    /// A tensor reaches beyond its storage, which may have been cut off.
    #[error(
        "tensor `{}` {shape:?} reaches beyond its storage, which has {bytes} bytes; was the file cut off?",
        shown(tensor)
    )]
    Beyond {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<usize>,
        /// The bytes of the storage.
        bytes: u64,
    },
    /// The storages of a file of before torch 1.6 do not follow each other as its pickles say.
    #[error("its storages are not where its pickles say: {0}")]
    Storages(&'static str),
}
