//! What PyTorch's files are made of: pickles, the zip archives around them, how they describe a
//! tensor, the names of types.

pub(crate) mod pickle;
pub(crate) mod tensor;
pub(crate) mod types;
pub(crate) mod zip;

pub use pickle::PickleError;
pub use zip::ZipError;
