use super::key;
use crate::checkpoint::{Home, MODEL_YAML, Tensors};
use crate::connector::conversion::hash;
use crate::connector::record::{FileRecord, SCHEMA};
use crate::store::{self, CONVERSION_JSON, Source};
use crate::{Cancel, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
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
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io): what cannot be looked at is neither absent nor damaged.
    pub(super) fn at(path: &Path) -> Result<Option<Self>> {
        let metadata = match look(fs::symlink_metadata(path), path)? {
            Some(found) if found.is_dir() => found,
            _ => return Ok(None),
        };
        let text = record(path)?;
        let name = path.file_name().unwrap_or_default().to_str();
        let is_ours = name.is_some_and(key::is_name) && is_record(&text);
        let conversion = parse(&text);
        let damage = match &conversion {
            Ok(conversion) => damage(path, conversion)?,
            Err(damage) => Some(damage.clone()),
        };
        let Conversion { tool, model, source, options, weights, .. } =
            conversion.unwrap_or_default();
        Ok(Some(Entry {
            path: path.into(),
            revision: source.repository.zip(source.revision),
            model,
            dtype: options.dtype.to_ascii_lowercase(),
            tool,
            bytes: weights.iter().map(|file| file.bytes).sum(),
            converted: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            damage,
            is_ours,
        }))
    }

    /// What is wrong with it: its files against what `conversion.json` says, their headers, and,
    /// where it has them, the hashes of all tensors.
    ///
    /// # Errors
    /// [`Error::Io`](crate::store::Error::Io), [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn verify(&self, cancel: &Cancel) -> Result<Vec<String>> {
        if let Some(damage) = &self.damage {
            return Ok(vec![damage.clone()]);
        }
        let conversion = match parse(&record(&self.path)?) {
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
        let conversion = record(&self.path).ok().and_then(|text| parse(&text).ok());
        conversion.is_some_and(|conversion| !conversion.hashes.is_empty())
    }
}

/// Whether a record is one of ours, in the layout that is known here, even if some of it is missing.
fn is_record(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Claim {
        schema: String,
        tool: String,
    }
    serde_json::from_slice(text)
        .is_ok_and(|Claim { schema, tool }| schema == SCHEMA && tool.starts_with("connector "))
}

/// The text of the record in a directory; empty if there is none, or a link in its place.
fn record(path: &Path) -> Result<Vec<u8>> {
    let path = path.join(CONVERSION_JSON);
    match look(fs::symlink_metadata(&path), &path)? {
        Some(found) if found.is_file() => {
            let text = look(fs::read(&path), &path)?.unwrap_or_default();
            if text.len() as u64 != found.len() {
                return Err(store::Error::io("read", &path)(ErrorKind::UnexpectedEof.into()).into());
            }
            Ok(text)
        }
        _ => Ok(Vec::new()),
    }
}

fn parse(text: &[u8]) -> Result<Conversion, String> {
    if text.is_empty() {
        return Err(format!("{CONVERSION_JSON} is missing"));
    }
    serde_json::from_slice(text).map_err(|error| format!("{CONVERSION_JSON}: {error}"))
}

/// The first file that is not as it was written, as far as names and lengths tell.
fn damage(path: &Path, conversion: &Conversion) -> Result<Option<String>> {
    let home = match Home::of(path, None) {
        Ok(home) => home,
        Err(error) if error.is_io() => return Err(error.into()),
        Err(error) => return Ok(Some(error.to_string())),
    };
    let weights =
        conversion.weights.iter().map(|file| (home.weights.join(&file.name), Some(file.bytes)));
    let copied = conversion.copied.iter().map(String::as_str).chain([MODEL_YAML]);
    let beside = copied.map(|name| (home.beside.join(name), None));
    for (file, bytes) in weights.chain(beside) {
        let found = look(fs::metadata(&file), &file)?.filter(fs::Metadata::is_file);
        if found.is_none_or(|found| bytes.is_some_and(|bytes| bytes != found.len())) {
            let name = file.strip_prefix(path).unwrap_or(&file).display();
            return Ok(Some(format!("{name} is missing, or not of its length")));
        }
    }
    Ok(None)
}

/// What was found at a path; `None` if nothing is there.
fn look<T>(found: io::Result<T>, path: &Path) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(store::Error::io("read", path)(error).into()),
    }
}
