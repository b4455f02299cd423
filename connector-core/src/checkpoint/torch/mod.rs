//! What PyTorch's files are made of: pickles, the zip archives around them, the names of types.

pub(in crate::checkpoint) mod pickle;
pub(in crate::checkpoint) mod types;
pub(in crate::checkpoint) mod zip;

pub use pickle::PickleError;
pub use zip::ZipError;
