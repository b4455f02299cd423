//! `model.safetensors.index.json` and the like: which tensor is in which shard.

use super::{OpenError, OpenErrorKind};
use crate::checkpoint::safetensors::{MAX_HEADER, StringMap, shown};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What is read of an index. Its `metadata.total_size` is not: tools get it wrong (tied tensors
/// counted twice, sizes of another dtype), and every loader ignores it.
#[derive(Deserialize)]
#[serde(expecting = "an object with a `weight_map`")]
pub(super) struct Index {
    pub(super) weight_map: StringMap,
}

impl Index {
    /// Reads an index, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, OpenError> {
        let refuse = |reason: &str| OpenErrorKind::Index { reason: shown(reason) }.at(path);
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(refuse("it is not a file")),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("open", path)(error)),
        }
        let file = File::open(path).map_err(OpenError::io("open", path))?;
        let mut json = Vec::new();
        // An index is smaller than the headers it sums up: the same limit keeps memory bounded.
        file.take(MAX_HEADER + 1).read_to_end(&mut json).map_err(OpenError::io("read", path))?;
        if json.len() as u64 > MAX_HEADER {
            return Err(refuse("it is longer than 100 MB"));
        }
        let index: Index =
            serde_json::from_slice(&json).map_err(|error| refuse(&error.to_string()))?;
        if index.weight_map.map.is_empty() {
            return Err(OpenErrorKind::EmptyIndex.at(path));
        }
        Ok(Some(index))
    }
}

/// The bytes of an index: sorted, so that the same tensors make the same file.
pub(in crate::checkpoint) fn to_json(
    weight_map: &BTreeMap<&str, &str>,
    total_size: u64,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Metadata {
        total_size: u64,
    }
    #[derive(Serialize)]
    struct Output<'a> {
        metadata: Metadata,
        weight_map: &'a BTreeMap<&'a str, &'a str>,
    }
    let output = Output { metadata: Metadata { total_size }, weight_map };
    let mut json = serde_json::to_vec_pretty(&output).expect("strings and numbers serialize");
    json.push(b'\n');
    json
}

/// Whether an index may name this file: a plain name, which leads nowhere out of the directory on
/// any system.
pub(super) fn is_plain_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains(['/', '\\', ':'])
        && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names() {
        for name in ["model.safetensors", "a b", ".x", "a..b", "日本.safetensors"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", ".", "..", "/a", "a/b", "../a", "a\\b", "C:a", "\\\\host\\a", "a\0"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }

    #[test]
    fn bytes() {
        let map = BTreeMap::from([("b", "2.safetensors"), ("a", "1.safetensors")]);
        let expected = "{\n  \"metadata\": {\n    \"total_size\": 8\n  },\n  \"weight_map\": {\n    \
                        \"a\": \"1.safetensors\",\n    \"b\": \"2.safetensors\"\n  }\n}\n";
        assert_eq!(String::from_utf8(to_json(&map, 8)).unwrap(), expected);
    }
}
