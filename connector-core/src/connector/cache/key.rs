//! What a conversion depends on, as a name: what has the same key is the same conversion.

use crate::Result;
use crate::connector::Planned;
use crate::connector::record::FileRecord;
use crate::{Error, store::Source};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The layout of the key and of what it names.
const LAYOUT: u32 = 1;
/// The folder of what comes from a local path; no organisation on the hub is called so.
const LOCAL: &str = "_local";
/// How many digits of the hash a name has: enough that no two of a model's are alike.
const DIGITS: usize = 16;

/// Where the conversion lies below the cache's folder: `org/name/REVISION-KEY`, or
/// `_local/DIRECTORY/KEY`.
pub(super) fn place(planned: &Planned) -> Result<PathBuf> {
    let revision = planned.hub_revision();
    let key = json!({
        "layout": LAYOUT,
        "source": source(planned, revision.as_ref())?,
        "conversion": planned.ingredients(),
    });
    let hash = blake3::hash(key.to_string().as_bytes()).to_hex();
    let hash = &hash[..DIGITS];
    Ok(match revision {
        Some((repository, revision)) => {
            let short = revision.get(..8).unwrap_or(&revision);
            Path::new(&repository).join(format!("{short}-{hash}"))
        }
        None => Path::new(LOCAL).join(directory(planned.path())?).join(hash),
    })
}

/// What tells one source from another. A commit of the hub does not change, though more of its
/// files may be there than before. Of a local path every file's name, length and time count, and
/// the headers of the tensors' files.
fn source(planned: &Planned, revision: Option<&(String, String)>) -> Result<Value> {
    let names = planned.sidecars()?;
    if let Some((repository, revision)) = revision {
        return Ok(json!({ "repository": repository, "revision": revision, "files": names }));
    }
    let tensors: &dyn Source = planned.source();
    let mut files = Vec::new();
    for file in 0..tensors.file_count() {
        files.push(stamp(tensors.path(file))?);
    }
    for name in names {
        files.push(stamp(&planned.path().join(name))?);
    }
    Ok(json!({ "files": files, "headers": FileRecord::of(tensors)? }))
}

/// A file's name, length and the time of its last change in nanoseconds.
fn stamp(path: &Path) -> Result<Value> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    // A system without times, or one before 1970: the length and the header have to do.
    let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!([name, metadata.len(), time.map(|time| time.as_nanos().to_string())]))
}

/// The name of a directory, without what would not do in a path of ours.
fn directory(path: &Path) -> Result<String> {
    let path = path.canonicalize().map_err(Error::io("find", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    Ok(if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name })
}
