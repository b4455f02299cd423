//! Reading a header, and distrusting it.

use super::json::{RawError, RawHeader, StringMap};
use super::rules::{most_tensors, shown, size_of};
use super::{HeaderErrorKind, MAX_HEADER, METADATA};
use crate::store::Dtype;
use crate::store::positioned::read_exact_at;
use foldhash::{HashSet, HashSetExt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;

/// A checked header of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The tensors, in the order of their bytes. They tile the file from `data_start` to its end.
    pub tensors: Vec<HeaderTensor>,
    /// `__metadata__`, empty if there is none.
    pub metadata: BTreeMap<String, String>,
    /// Where in the file the tensors' bytes begin.
    pub data_start: u64,
}

/// A tensor of a [`Header`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderTensor {
    /// The key.
    pub name: String,
    /// The type of an element.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The bytes in the file, counted from its beginning.
    pub bytes: Range<u64>,
}

/// Reads the header of a file of `len` bytes; of the tensors it reads nothing. The outer error is
/// the system's, the inner one the file's.
pub(crate) fn read(file: &File, len: u64) -> io::Result<Result<Header, HeaderErrorKind>> {
    let Some(available) = len.checked_sub(8) else {
        return Ok(Err(HeaderErrorKind::TooShort { len }));
    };
    let mut prefix = [0; 8];
    read_exact_at(file, &mut prefix, 0)?;
    if &prefix == b"version " {
        return Ok(Err(HeaderErrorKind::LfsPointer));
    }
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER {
        return Ok(Err(HeaderErrorKind::HeaderTooLarge { header }));
    }
    if header > available {
        return Ok(Err(HeaderErrorKind::HeaderBeyondFile { header, available }));
    }
    let mut json = vec![0; header as usize];
    read_exact_at(file, &mut json, 8)?;
    Ok(parse(&json, 8 + header, available - header))
}

/// Checks the JSON of a header before `data` bytes of tensors.
fn parse(json: &[u8], data_start: u64, data: u64) -> Result<Header, HeaderErrorKind> {
    let text = std::str::from_utf8(json)
        .map_err(|error| HeaderErrorKind::NotUtf8 { at: error.valid_up_to() })?;
    if !text.starts_with('{') {
        return Err(HeaderErrorKind::NotAnObject { found: json.first().copied() });
    }
    let most = most_tensors(data);
    let raw = RawHeader::parse(text, most).map_err(wrong_form)?;
    if raw.count > most {
        return Err(HeaderErrorKind::TooManyTensors { tensors: raw.count, data, most });
    }
    if raw.metadata_repeated {
        return Err(HeaderErrorKind::DuplicateKey { key: METADATA.into() });
    }
    let StringMap { map: metadata, repeated } = raw.metadata.unwrap_or_default();
    if let Some(key) = repeated.into_iter().next() {
        return Err(HeaderErrorKind::DuplicateKey { key });
    }
    let mut tensors = Vec::with_capacity(raw.entries.len());
    for (tensor, entry) in raw.entries {
        let Ok(dtype) = entry.dtype.parse() else {
            return Err(HeaderErrorKind::UnknownDtype { tensor, dtype: entry.dtype.into_owned() });
        };
        let expected = size_of(&tensor, dtype, &entry.shape)?;
        let shape = entry.shape.into_owned();
        let (begin, end) = entry.data_offsets;
        let Some(found) = end.checked_sub(begin) else {
            return Err(HeaderErrorKind::Reversed { tensor, begin, end });
        };
        if found != expected {
            return Err(HeaderErrorKind::Size { tensor, dtype, shape, expected, found });
        }
        tensors.push(HeaderTensor { name: tensor, dtype, shape, bytes: begin..end });
    }
    check_unique(&tensors)?;
    tensors.sort_by_key(|tensor| (tensor.bytes.start, tensor.bytes.end));
    check_tiling(&tensors, data)?;
    for tensor in &mut tensors {
        tensor.bytes.start += data_start;
        tensor.bytes.end += data_start;
    }
    Ok(Header { tensors, metadata, data_start })
}

fn wrong_form(RawError { key, reason }: RawError) -> HeaderErrorKind {
    // serde quotes the offending value, which may be 100 MB long.
    let reason = shown(&reason.to_string());
    match key {
        None => HeaderErrorKind::Json { reason },
        Some(key) if key == METADATA => HeaderErrorKind::Metadata { reason },
        Some(tensor) => HeaderErrorKind::Entry { tensor, reason },
    }
}

fn check_unique(tensors: &[HeaderTensor]) -> Result<(), HeaderErrorKind> {
    let mut seen = HashSet::with_capacity(tensors.len());
    match tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        Some(tensor) => Err(HeaderErrorKind::DuplicateKey { key: tensor.name.clone() }),
        None => Ok(()),
    }
}

/// Checks that tensors in the order of their offsets fill `data` bytes, each following on the one
/// before.
fn check_tiling(tensors: &[HeaderTensor], data: u64) -> Result<(), HeaderErrorKind> {
    let mut at = 0;
    let mut before = "";
    for HeaderTensor { name, bytes, .. } in tensors {
        if bytes.start < at {
            let (first, second) = (before.into(), name.clone());
            return Err(HeaderErrorKind::Overlap { first, second, at: bytes.start });
        }
        if bytes.start > at && bytes.end > data {
            let (tensor, end) = (name.clone(), bytes.end);
            return Err(HeaderErrorKind::BeyondFile { tensor, end, available: data });
        }
        if bytes.start > at {
            let (bytes, next) = (bytes.start - at, name.clone());
            return Err(HeaderErrorKind::Hole { at, bytes, next });
        }
        at = bytes.end;
        before = name;
    }
    if at < data {
        return Err(HeaderErrorKind::Trailing { bytes: data - at });
    }
    match tensors.iter().find(|tensor| tensor.bytes.end > data) {
        Some(HeaderTensor { name, .. }) => {
            Err(HeaderErrorKind::Truncated { missing: at - data, tensor: name.clone() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
