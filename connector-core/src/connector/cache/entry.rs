use super::key;
use crate::checkpoint::{Home, MODEL_YAML, Tensors};
use crate::connector::conversion::hash;
use crate::connector::record::{FileRecord, SCHEMA};
use crate::store::CONVERSION_JSON;
use crate::store::Source;
use crate::{Cancel, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A conversion in the cache.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The directory.
    pub path: PathBuf,
    /// The repository and revision that it was made from; `None` of a local path.
    pub revision: Option<(String, String)>,
    /// The model's type.
    pub model: String,
    /// The type that was cast to, or `auto`.
    pub dtype: String,
    /// The tool that made it.
    pub tool: String,
    /// The bytes of its tensors' files.
    pub bytes: u64,
    /// When it was made, by the time of its directory.
    pub converted: SystemTime,
    /// Why it is not used, if so: files are missing or not of their length.
    pub damage: Option<String>,
    /// Whether its name and its record say that it is a conversion of this cache. Nothing else is
    /// ever removed.
    pub is_ours: bool,
}

/// Something that was removed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Swept {
    /// Where it was.
    pub path: PathBuf,
    /// Why it was removed.
    pub why: &'static str,
}

/// As much of `conversion.json` as is needed here.
#[derive(Default, Deserialize)]
struct Conversion {
    tool: String,
    model: String,
    source: SourceOf,
    options: Options,
    weights: Vec<Weights>,
    copied: Vec<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
struct SourceOf {
    repository: Option<String>,
    revision: Option<String>,
}

#[derive(Default, Deserialize)]
struct Options {
    dtype: String,
}

#[derive(Deserialize)]
struct Weights {
    name: String,
    bytes: u64,
    header: String,
}

impl Entry {
    /// The entry in the directory `path`, if there is such a directory. A link to one is none.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
        let name = path.file_name().unwrap_or_default().to_str();
        let is_ours = name.is_some_and(key::is_name) && is_record(path);
        let conversion = read(path);
        let damage = match &conversion {
            Ok(conversion) => damage(path, conversion),
            Err(damage) => Some(damage.clone()),
        };
        let Conversion { tool, model, source, options, weights, .. } =
            conversion.unwrap_or_default();
        Some(Entry {
            path: path.into(),
            revision: source.repository.zip(source.revision),
            model,
            dtype: options.dtype.to_ascii_lowercase(),
            tool,
            bytes: weights.iter().map(|file| file.bytes).sum(),
            converted: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            damage,
            is_ours,
        })
    }

    /// What is wrong with it: its files against what `conversion.json` says, their headers, and,
    /// where it has them, the hashes of all tensors.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn verify(&self, cancel: &Cancel) -> Result<Vec<String>> {
        if let Some(damage) = &self.damage {
            return Ok(vec![damage.clone()]);
        }
        let conversion = match read(&self.path) {
            Ok(conversion) => conversion,
            Err(damage) => return Ok(vec![damage]),
        };
        let reader = Tensors::open(Home::of(&self.path, None)?.weights)?;
        let mut problems = reader.problems();
        if !problems.is_empty() {
            return Ok(problems);
        }
        for found in FileRecord::of(&reader)? {
            let recorded = conversion.weights.iter().find(|file| file.name == found.name);
            if recorded.is_none_or(|file| file.header != found.header) {
                problems
                    .push(format!("{}: its header is not the one that was written", found.name));
            }
        }
        for tensor in reader.tensors() {
            cancel.check()?;
            if let Some(recorded) = conversion.hashes.get(&tensor.name)
                && *recorded != hash(&reader, tensor)?
            {
                problems
                    .push(format!("{}: its bytes are not those that were written", tensor.name));
            }
        }
        Ok(problems)
    }

    /// Whether [`verify`](Self::verify) holds every tensor's bytes against a hash.
    pub fn has_hashes(&self) -> bool {
        read(&self.path).is_ok_and(|conversion| !conversion.hashes.is_empty())
    }
}

/// Whether the record in a directory is one of ours, in the layout that is known here, even if some
/// of it is missing.
fn is_record(path: &Path) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        schema: String,
        tool: String,
    }
    let path = path.join(CONVERSION_JSON);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    let text = if is_file { fs::read(path).unwrap_or_default() } else { Vec::new() };
    serde_json::from_slice(&text)
        .is_ok_and(|Claim { schema, tool }| schema == SCHEMA && tool.starts_with("connector "))
}

fn read(path: &Path) -> Result<Conversion, String> {
    let text = fs::read(path.join(CONVERSION_JSON))
        .map_err(|error| format!("{CONVERSION_JSON} cannot be read: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{CONVERSION_JSON}: {error}"))
}

/// The first file that is not as it was written, as far as names and lengths tell.
fn damage(path: &Path, conversion: &Conversion) -> Option<String> {
    let home = match Home::of(path, None) {
        Ok(home) => home,
        Err(error) => return Some(error.to_string()),
    };
    let shown = |file: &Path| file.strip_prefix(path).unwrap_or(file).display().to_string();
    let weights = conversion.weights.iter().map(|file| {
        let place = home.weights.join(&file.name);
        let len = fs::metadata(&place).ok().map(|found| found.len());
        (shown(&place), len == Some(file.bytes))
    });
    let beside = conversion
        .copied
        .iter()
        .map(String::as_str)
        .chain([MODEL_YAML])
        .map(|name| home.beside.join(name))
        .map(|place| (shown(&place), place.is_file()));
    let mut wrong = weights.chain(beside).filter(|(_, is_there)| !is_there);
    wrong.next().map(|(name, _)| format!("{name} is missing, or not of its length"))
}
