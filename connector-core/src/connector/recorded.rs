//! What a `conversion.json` says, read back.

use crate::Result;
use crate::checkpoint::Small;
use crate::store::CONVERSION_JSON;
use serde::Deserialize;
use std::path::Path;

/// The longest record. It has a line for each tensor: some 150 bytes, if hashes were asked for.
const LONGEST: u64 = 1 << 30;

/// As much of a record as is asked for later; the lines of tensors are passed over. What it does not
/// say is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Recorded {
    pub tool: String,
    /// `import`, `export` or `convert`.
    pub direction: String,
    pub model: String,
    pub format: String,
    complete: Option<bool>,
    source: SourceOf,
    options: OptionsOf,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct SourceOf {
    repository: Option<String>,
    revision: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct OptionsOf {
    ignore: Vec<String>,
    only: Vec<String>,
    carry: Vec<String>,
}

impl Recorded {
    /// The record of the directory `dir`; `None` if there is none, or it is not one of ours.
    ///
    /// # Errors
    /// If the system refuses to read it.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        Ok(match Small::up_to(&dir.join(CONVERSION_JSON), LONGEST)? {
            Small::Read(text) => serde_json::from_slice(&text).ok(),
            Small::Absent | Small::Unreasonable => None,
        })
    }

    /// Whether every parameter of the model is there. What is not said to be a part is whole.
    pub fn is_complete(&self) -> bool {
        self.complete.unwrap_or(true)
    }

    /// The repository on the hub that it was made from.
    #[cfg(feature = "train")]
    pub fn repository(self) -> Option<String> {
        self.source.repository
    }

    /// The repository and its revision.
    pub fn revision(&self) -> Option<(String, String)> {
        self.source.repository.clone().zip(self.source.revision.clone())
    }

    /// Patterns of tensors of the source that were left out.
    pub fn ignored(&self) -> &[String] {
        &self.options.ignore
    }

    /// Fields of the format's config that the connector did not have to know.
    pub fn carried(&self) -> &[String] {
        &self.options.carry
    }

    /// Patterns of the only parameters that were written.
    pub fn only(&self) -> &[String] {
        &self.options.only
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Recorded> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONVERSION_JSON), text).unwrap();
        Recorded::read(dir.path()).unwrap()
    }

    #[test]
    fn a_record_without_a_field_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Recorded::read(dir.path()).unwrap().is_none());
        for text in ["", "[1]", "{\"complete\": 3}"] {
            assert!(read(text).is_none(), "{text}");
        }
        let empty = read("{}").unwrap();
        assert!(empty.is_complete() && empty.revision().is_none() && empty.only().is_empty());
        let part = r#"{"complete": false, "source": {"repository": "o/n", "revision": "abc"},
                       "options": {"dtype": "auto", "only": ["a.*"]}}"#;
        let part = read(part).unwrap();
        assert!(!part.is_complete());
        assert_eq!(part.revision(), Some(("o/n".into(), "abc".into())));
        assert_eq!((part.only(), part.ignored()), (&["a.*".to_string()][..], &[][..]));
    }

    #[test]
    fn what_was_left_out_of_a_large_model_is_known_too() {
        let hashes = (0..300_000).map(|number| format!("\"{number}\":\"{number:064x}\""));
        let hashes = hashes.collect::<Vec<_>>().join(",");
        let text = format!("{{\"hashes\":{{{hashes}}},\"options\":{{\"ignore\":[\"a\"]}}}}");
        assert!(text.len() > 16 << 20);
        assert_eq!(read(&text).unwrap().ignored(), ["a"]);
    }
}
