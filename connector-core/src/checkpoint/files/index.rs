//! `model.safetensors.index.json` and the like: which tensor is in which shard.

use super::{OpenError, OpenErrorKind};
use crate::checkpoint::look;
use crate::checkpoint::safetensors::{MAX_HEADER, shown};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most files that an index may name.
const MOST_SHARDS: usize = 10_000;
/// The fewest bytes of an index for each tensor; real ones have a hundred. So many it may have anyway.
const BYTES_PER_TENSOR: usize = 24;
const TENSORS_ANYWAY: usize = 1 << 16;

/// What is read of an index. Its `metadata.total_size` is not: tools get it wrong (tied tensors
/// counted twice, sizes of another dtype), and every loader ignores it.
#[derive(Deserialize)]
#[serde(expecting = "an object with a `weight_map`")]
pub(super) struct Index {
    pub(super) weight_map: WeightMap,
}

/// Which tensor is in which file.
#[derive(Default)]
pub(super) struct WeightMap {
    /// The names of the files, each once.
    pub(super) shards: Vec<String>,
    /// The tensors in the order of the file, each with the number of its file.
    pub(super) tensors: Vec<(String, usize)>,
}

impl Index {
    /// Reads an index, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, OpenError> {
        let refuse = |reason: &str| OpenErrorKind::Index { reason: shown(reason) }.at(path);
        // Looked at before it is opened: opening a pipe would wait for its other end.
        let len = match look::at(path).map_err(OpenError::io("open", path))? {
            Some(found) if found.is_file() => found.len(),
            Some(_) => return Err(refuse("it is not a file")),
            None => return Ok(None),
        };
        let file = File::open(path).map_err(OpenError::io("open", path))?;
        // One byte more, so that its end is found without growing.
        let mut json = Vec::with_capacity(len.min(MAX_HEADER) as usize + 1);
        // An index is smaller than the headers it sums up: the same limit keeps memory bounded.
        file.take(MAX_HEADER + 1).read_to_end(&mut json).map_err(OpenError::io("read", path))?;
        if json.len() as u64 > MAX_HEADER {
            return Err(refuse("it is longer than 100 MB"));
        }
        // Of each tensor its name and that of its file are between quotes.
        let most = json.len() / BYTES_PER_TENSOR + TENSORS_ANYWAY;
        if json.iter().filter(|&&byte| byte == b'"').count() / 4 > most {
            let len = json.len();
            return Err(refuse(&format!(
                "it has more than {most} tensors in {len} bytes; a tensor of a model takes a hundred"
            )));
        }
        let index: Index =
            serde_json::from_slice(&json).map_err(|error| refuse(&error.to_string()))?;
        if index.weight_map.shards.len() > MOST_SHARDS {
            return Err(refuse(&format!("it names more than {MOST_SHARDS} files")));
        }
        if index.weight_map.tensors.is_empty() {
            return Err(OpenErrorKind::EmptyIndex.at(path));
        }
        Ok(Some(index))
    }
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut read = WeightMap::default();
        let mut numbers = HashMap::new();
        while let Some((tensor, Text(shard))) = map.next_entry::<String, Text<'_>>()? {
            // What is refused need not be kept.
            if read.shards.len() > MOST_SHARDS {
                continue;
            }
            let number = match numbers.get(&shard) {
                Some(number) => *number,
                None => {
                    let number = read.shards.len();
                    read.shards.push(shard.clone().into_owned());
                    numbers.insert(shard, number);
                    number
                }
            };
            read.tensors.push((tensor, number));
        }
        Ok(read)
    }
}

/// A text that is borrowed where the JSON has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The bytes of an index: sorted, so that the same tensors make the same file.
pub(in crate::checkpoint) fn to_json(
    mut weight_map: Vec<(&str, &str)>,
    total_size: u64,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Metadata {
        total_size: u64,
    }
    #[derive(Serialize)]
    struct Output<'a> {
        metadata: Metadata,
        #[serde(serialize_with = "as_map")]
        weight_map: Vec<(&'a str, &'a str)>,
    }
    fn as_map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().copied())
    }
    /// What stands around a name and its file, and around them all.
    const AROUND: usize = 16;
    weight_map.sort_unstable();
    let len = weight_map.iter().map(|(tensor, shard)| tensor.len() + shard.len() + AROUND);
    let mut json = Vec::with_capacity(len.sum::<usize>() + 8 * AROUND);
    let output = Output { metadata: Metadata { total_size }, weight_map };
    serde_json::to_writer_pretty(&mut json, &output).expect("strings and numbers serialize");
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
    fn every_entry_is_kept_with_the_number_of_its_file() {
        let map: WeightMap = serde_json::from_str(r#"{"c":"1","a":"2","b":"1","a":"3"}"#).unwrap();
        assert_eq!(map.shards, ["1", "2", "3"]);
        let expected = [("c", 0), ("a", 1), ("b", 0), ("a", 2)];
        assert_eq!(map.tensors, expected.map(|(name, shard)| (name.into(), shard)));
    }

    #[test]
    fn bytes() {
        let map = vec![("b", "2.safetensors"), ("a", "1.safetensors")];
        let expected = "{\n  \"metadata\": {\n    \"total_size\": 8\n  },\n  \"weight_map\": {\n    \
                        \"a\": \"1.safetensors\",\n    \"b\": \"2.safetensors\"\n  }\n}\n";
        assert_eq!(String::from_utf8(to_json(map, 8)).unwrap(), expected);
    }
}
