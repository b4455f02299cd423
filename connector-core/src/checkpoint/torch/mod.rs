//! What PyTorch's files are made of: pickles, the zip archives around them, how they describe a
//! tensor, the names of types.

pub(in crate::checkpoint) mod pickle;
pub(in crate::checkpoint) mod tensor;
pub(in crate::checkpoint) mod types;
pub(in crate::checkpoint) mod zip;

pub use pickle::PickleError;
pub use zip::ZipError;
