use super::rules::{InvalidTensor, byte_count, shown};
use super::{MAX_HEADER, METADATA};
use crate::store::Dtype;
use std::path::PathBuf;

/// A safetensors file is not well-formed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", file.display())]
pub struct HeaderError {
    /// The file.
    pub file: PathBuf,
    /// The rule that it breaks.
    pub kind: HeaderErrorKind,
}

/// The rule that a safetensors file breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderErrorKind {
    /// The file is what Git keeps in place of a large file.
    #[error("is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")]
    LfsPointer,
    /// There is no room for the length of the header.
    #[error("has {}; a safetensors file has at least 8", byte_count(*len))]
    TooShort {
        /// The length of the file.
        len: u64,
    },
    /// The header would be longer than 100 MB.
    #[error(
        "announces a header of {header} bytes; at most {MAX_HEADER} are allowed \
         (is it a safetensors file?)"
    )]
    HeaderTooLarge {
        /// The announced length of the header.
        header: u64,
    },
    /// The header does not fit in the file.
    #[error(
        "announces a header of {header} bytes, but only {available} follow (is the file cut off?)"
    )]
    HeaderBeyondFile {
        /// The announced length of the header.
        header: u64,
        /// The number of bytes after the first 8.
        available: u64,
    },
    /// The header is not text.
    #[error("the header is not UTF-8 from its byte {at} on")]
    NotUtf8 {
        /// The number of header bytes that are.
        at: usize,
    },
    /// The header's first byte is not `{`.
    #[error("the header must begin with `{{`, not {}", begin(*.found))]
    NotAnObject {
        /// The first byte, if there is one.
        found: Option<u8>,
    },
    /// The header is not JSON.
    #[error("the header is not a JSON object: {reason}")]
    Json {
        /// What the JSON parser says.
        reason: String,
    },
    /// A tensor's entry lacks a field, or has one of the wrong form.
    #[error("the entry of tensor `{}` has the wrong form: {reason}", shown(tensor))]
    Entry {
        /// The tensor.
        tensor: String,
        /// What the JSON parser says.
        reason: String,
    },
    /// `__metadata__` is not a map from strings to strings.
    #[error("`{METADATA}` must map strings to strings: {reason}")]
    Metadata {
        /// What the JSON parser says.
        reason: String,
    },
    /// A key comes twice.
    #[error("the key `{}` comes more than once in the header", shown(key))]
    DuplicateKey {
        /// The key, of the header or of its `__metadata__`.
        key: String,
    },
    /// More tensors than so little data can be.
    #[error(
        "the header has {tensors} tensors of {} together, and a model has larger ones; at most {most} \
         are taken",
        byte_count(*data)
    )]
    TooManyTensors {
        /// How many there are.
        tensors: u64,
        /// The size of the data.
        data: u64,
        /// How many there may be.
        most: u64,
    },
    /// The dtype is none that safetensors has.
    #[error("tensor `{}` has the unknown dtype `{}`", shown(tensor), shown(dtype))]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The dtype.
        dtype: String,
    },
    /// A tensor's name or size is refused.
    #[error(transparent)]
    Tensor(#[from] InvalidTensor),
    /// `data_offsets` go backwards.
    #[error("the data_offsets of tensor `{}` go backwards, from {begin} to {end}", shown(tensor))]
    Reversed {
        /// The tensor.
        tensor: String,
        /// Its first offset.
        begin: u64,
        /// Its second offset.
        end: u64,
    },
    /// `data_offsets` span another size than shape and dtype make.
    #[error(
        "tensor `{}`, {dtype} {shape:?}, takes {expected} bytes, but its data_offsets span {found}",
        shown(tensor)
    )]
    Size {
        /// The tensor.
        tensor: String,
        /// The type of its elements.
        dtype: Dtype,
        /// Its dimensions.
        shape: Vec<usize>,
        /// The size that they make.
        expected: u64,
        /// The size between the offsets.
        found: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "tensor `{}` begins at byte {at} of the data, inside tensor `{}`",
        shown(second),
        shown(first)
    )]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins inside it.
        second: String,
        /// Where the second begins.
        at: u64,
    },
    /// Bytes between two tensors belong to none.
    #[error(
        "the data has a hole of {} at byte {at}, before tensor `{}`",
        byte_count(*bytes),
        shown(next)
    )]
    Hole {
        /// Where the hole begins.
        at: u64,
        /// Its size.
        bytes: u64,
        /// The tensor after it.
        next: String,
    },
    /// A tensor lies behind the end of the file, and does not follow on what is in it.
    #[error(
        "tensor `{}` ends at byte {end} of the data, of which the file has {available}",
        shown(tensor)
    )]
    BeyondFile {
        /// The tensor.
        tensor: String,
        /// Its second offset.
        end: u64,
        /// The size of the data.
        available: u64,
    },
    /// The file ends before its tensors do.
    #[error(
        "the file is cut off: {} missing, from inside tensor `{}` on",
        byte_count(*missing),
        shown(tensor)
    )]
    Truncated {
        /// The number of bytes that are missing.
        missing: u64,
        /// The first tensor that is not whole.
        tensor: String,
    },
    /// The file goes on after its tensors.
    #[error("the file goes on for {} after its last tensor", byte_count(*bytes))]
    Trailing {
        /// The number of bytes too many.
        bytes: u64,
    },
}

fn begin(found: Option<u8>) -> String {
    found.map_or("end at once".into(), |byte| format!("with `{}`", byte.escape_ascii()))
}
