//! The JSON of headers and indices. serde's own maps keep the last of two equal keys; these keep
//! both, so that a file which says two things about one tensor is refused.

use super::METADATA;
use super::rules::MOST_DIMENSIONS;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::fmt;

/// What a header says about a tensor.
///
/// The safetensors crate's `TensorInfo` with the dtype as text: an unknown one gets an error that
/// names the tensor.
#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object of dtype, shape and data_offsets")]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) dtype: Cow<'a, str>,
    #[serde(deserialize_with = "dimensions")]
    pub(super) shape: Cow<'a, [usize]>,
    pub(super) data_offsets: (u64, u64),
}

/// The dimensions of a tensor; of too many, one more than there may be.
fn dimensions<'de, D: Deserializer<'de>>(json: D) -> Result<Cow<'static, [usize]>, D::Error> {
    json.deserialize_seq(Dimensions).map(Cow::Owned)
}

struct Dimensions;

impl<'de> Visitor<'de> for Dimensions {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<usize>, A::Error> {
        let mut dimensions = Vec::new();
        while let Some(dimension) = list.next_element()? {
            // As many as most have: a vector that grows by itself takes room for four at once.
            if dimensions.is_empty() {
                dimensions.reserve_exact(2);
            }
            dimensions.push(dimension);
            if dimensions.len() > MOST_DIMENSIONS {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(dimensions)
    }
}

/// A header's JSON, unchecked, in the order of the file.
#[derive(Default)]
pub(super) struct RawHeader<'a> {
    pub(super) metadata: Option<StringMap>,
    /// Of too many tensors the first.
    pub(super) entries: Vec<(String, Entry<'a>)>,
    /// How many tensors there are.
    pub(super) count: u64,
    /// Whether `__metadata__` comes twice.
    pub(super) metadata_repeated: bool,
}

/// Why a text is not a [`RawHeader`].
pub(super) struct RawError {
    /// The key whose value is at fault; `None` if the fault lies between the values.
    pub(super) key: Option<String>,
    pub(super) reason: serde_json::Error,
}

impl<'a> RawHeader<'a> {
    /// Reads a header that may have `most` tensors.
    pub(super) fn parse(text: &'a str, most: u64) -> Result<Self, RawError> {
        let mut key = None;
        let mut json = serde_json::Deserializer::from_str(text);
        let parsed = HeaderSeed { key: &mut key, most }.deserialize(&mut json);
        match parsed.and_then(|raw| json.end().map(|()| raw)) {
            Ok(raw) => Ok(raw),
            Err(reason) => Err(RawError { key, reason }),
        }
    }
}

struct HeaderSeed<'k> {
    /// The key being read: serde's errors do not carry it.
    key: &'k mut Option<String>,
    most: u64,
}

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = RawHeader<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = RawHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut raw = RawHeader::default();
        while let Some(key) = map.next_key::<String>()? {
            let key = self.key.insert(key);
            if key == METADATA {
                raw.metadata_repeated |= raw.metadata.replace(map.next_value()?).is_some();
            } else if raw.count < self.most {
                let entry = map.next_value()?;
                raw.entries.push((std::mem::take(key), entry));
                raw.count += 1;
            } else {
                map.next_value::<IgnoredAny>()?;
                raw.count += 1;
            }
            *self.key = None;
        }
        Ok(raw)
    }
}

/// A map from strings to strings, with the keys that come more than once.
#[derive(Default)]
pub(super) struct StringMap {
    pub(super) map: BTreeMap<String, String>,
    pub(super) repeated: Vec<String>,
}

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StringMapVisitor)
    }
}

struct StringMapVisitor;

impl<'de> Visitor<'de> for StringMapVisitor {
    type Value = StringMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StringMap, A::Error> {
        let mut strings = StringMap::default();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            match strings.map.entry(key) {
                Vacant(place) => {
                    place.insert(value);
                }
                Occupied(place) => strings.repeated.push(place.key().clone()),
            }
        }
        Ok(strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_map_keeps_the_first_value_and_tells_of_the_others() {
        let strings: StringMap =
            serde_json::from_str(r#"{"a":"1","b":"2","a":"3","a":"4"}"#).unwrap();
        assert_eq!(strings.map["a"], "1");
        assert_eq!(strings.repeated, ["a", "a"]);
    }
}
