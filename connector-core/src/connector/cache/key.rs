//! What a conversion depends on, as a name: what has the same key is the same conversion.
//!
//! # What tells one state of a local source from another
//!
//! Names, lengths and mtimes do not: copies keep them, and so do tools that make archives
//! reproducible or restore what they changed. What nobody can set is a file's **ctime**, which the
//! kernel moves with each write, truncation and change of the inode. So the key has, of every
//! file, its name, inode, length, mtime and ctime in nanoseconds, and the path of the source, which
//! say together: this is the file that was converted, and nothing was done to it since. A copy, an
//! edit whose time was put back, and a file that was renamed over another are all something else.
//! So is one whose mode was changed; it is converted again, which costs time and nothing else.
//!
//! The device counts only where its number is that of a disk. File systems without one (NFS, btrfs,
//! tmpfs) get theirs in the order in which they are mounted: machines that share a source and a
//! cache would not find each other's conversions.
//!
//! It rests on this:
//! - Files are stamped through the handle that is read, and when nothing has changed for longer
//!   than a tick of the clock (see [`Stamp`]). A later change shows in the ctime, and before
//!   anything is published the stamps are taken once more, of the handle and of what the path leads
//!   to then.
//! - The ctime is the kernel's own. Where it is not ([`keeps_ctime`]), where it has no fraction of a
//!   second (old file systems; images that were made with a fixed time), and where it lies in the
//!   future, the file's **content** is in the key instead, by its hash. That takes as long as
//!   reading it.
//!
//! What remains: a store through a shared mapping into a page that is dirty already moves no ctime
//! until the page is written back; whoever can set the clock back, or write to the disk past the
//! file system, can bring an old ctime about; and where the times are not the kernel's, what changes
//! between the hash and the conversion, and puts its times back, is not seen.

use super::filesystem::keeps_ctime;
use crate::base::parallel::in_parallel;
use crate::base::stage::stage;
use crate::connector::Planned;
use crate::connector::record::FileRecord;
use crate::store::positioned::read_exact_at;
use crate::store::{self, Source, Stamp};
use crate::{Cancel, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The layout of the key and of what it names.
const LAYOUT: u32 = 2;
/// The folder of what comes from a local path; no organisation on the hub is called so.
const LOCAL: &str = "_local";
/// The folder of models on the hub that belong to no organisation.
const HUB: &str = "_hub";
/// How many digits of the hash a name has: enough that no two of a model's are alike.
const DIGITS: usize = 16;
/// How many digits a commit has, and how many of them stand before the hash.
const COMMIT: usize = 40;
const REVISION: usize = 8;

/// Where the conversion lies below the cache's folder: `org/name/REVISION-KEY`, or
/// `_local/DIRECTORY/KEY`.
pub(super) fn place(planned: &Planned) -> Result<PathBuf> {
    let revision = planned.hub_revision().filter(is_commit);
    let key = json!({
        "layout": LAYOUT,
        "source": source(planned, revision.as_ref())?,
        "conversion": planned.ingredients(),
    });
    let hash = blake3::hash(key.to_string().as_bytes()).to_hex();
    let hash = &hash[..DIGITS];
    Ok(match revision {
        Some((repository, revision)) => {
            let short = &revision[..REVISION];
            let folder = if repository.contains('/') { "" } else { HUB };
            Path::new(folder).join(repository).join(format!("{short}-{hash}"))
        }
        None => Path::new(LOCAL).join(directory(planned.path())?).join(hash),
    })
}

/// Whether a directory may be called so by [`place`].
pub(super) fn is_name(name: &str) -> bool {
    let (revision, hash) = match name.split_once('-') {
        Some((revision, hash)) => (Some(revision), hash),
        None => (None, name),
    };
    is_hex(hash, DIGITS) && revision.is_none_or(|revision| is_hex(revision, REVISION))
}

/// Whether this is a model and a commit of it, and not a directory that is merely called so.
fn is_commit((repository, revision): &(String, String)) -> bool {
    let parts: Vec<&str> = repository.split('/').collect();
    let is_plain = |part: &&str| !part.is_empty() && !part.starts_with(['.', '_']);
    is_hex(revision, COMMIT) && parts.len() <= 2 && parts.iter().all(is_plain)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What tells one source from another. A commit of the hub does not change, though more of its
/// files may be there than before.
fn source(planned: &Planned, revision: Option<&(String, String)>) -> Result<Value> {
    if let Some((repository, revision)) = revision {
        let names: Vec<_> = planned.sidecars().iter().map(|file| &file.name).collect();
        return Ok(json!({ "repository": repository, "revision": revision, "files": names }));
    }
    // Of what was planned, once: hashes may take their time.
    if let Some(known) = planned.source_key.get() {
        return Ok(known.clone());
    }
    stage!("key");
    let tensors: &dyn Source = planned.source();
    let how = (planned.threads(), planned.cancel());
    let mut files = Vec::new();
    for number in 0..tensors.file_count() {
        let path = tensors.path(number);
        files.push(match tensors.local_file(number) {
            Some(file) => state(file, path, &name(path), how)?,
            None => content(&name(path), tensors.file_len(number), how, |at, buffer| {
                Ok(tensors.read_at(number, at, buffer)?)
            })?,
        });
    }
    for side in planned.sidecars() {
        let file = File::open(&side.path).map_err(store::Error::io("open", &side.path))?;
        let found = file.metadata().map_err(store::Error::io("read", &side.path))?;
        if Stamp::of(&found) != side.stamp {
            return Err(store::Error::SourceChanged { path: side.path.clone() }.into());
        }
        files.push(state(&file, &side.path, &side.name, how)?);
    }
    let path = planned.path();
    let path = path.canonicalize().map_err(store::Error::io("find", path))?;
    let path = path.as_os_str().as_encoded_bytes();
    let key = json!({
        "path": blake3::hash(path).to_hex().as_str(),
        "files": files,
        "headers": FileRecord::of(tensors)?,
    });
    Ok(planned.source_key.get_or_init(|| key).clone())
}

/// What tells the state of an open file from any other.
fn state(file: &File, path: &Path, name: &str, how: (usize, &Cancel)) -> Result<Value> {
    let look =
        || file.metadata().map(|found| Stamp::of(&found)).map_err(store::Error::io("read", path));
    let stamp = look()?;
    let keeps = keeps_ctime(file).map_err(store::Error::io("find the file system of", path))?;
    if keeps && is_kernels() && stamp.is_conclusive(SystemTime::now()) {
        let Stamp { id, len, modified, changed } = stamp;
        let nanos = |time: Option<i128>| time.map(|time| time.to_string());
        let id = id.map(|(device, inode)| (disk(device), inode));
        return Ok(json!([name, id, len, nanos(modified), nanos(changed)]));
    }
    tracing::info!(path = %path.display(), "its times do not tell whether it changed; it is read");
    let read = |at, buffer: &mut [u8]| {
        Ok(read_exact_at(file, buffer, at).map_err(store::Error::io("read", path))?)
    };
    let hashed = content(name, stamp.len, how, read)?;
    if look()? != stamp {
        return Err(store::Error::SourceChanged { path: path.into() }.into());
    }
    Ok(hashed)
}

/// The failpoint plays a file system whose times are not the kernel's.
fn is_kernels() -> bool {
    store::failpoint::failpoint("cache.ctime").is_ok()
}

/// A file's name, length and the hash of its content, which `read` reads.
fn content(
    name: &str,
    len: u64,
    (threads, cancel): (usize, &Cancel),
    read: impl Fn(u64, &mut [u8]) -> Result<()> + Sync,
) -> Result<Value> {
    /// What one thread hashes at a time, and how much of it is in the nearest caches.
    const SHARE: u64 = 16 << 20;
    const PART: u64 = 128 << 10;
    let shares = in_parallel(threads, len.div_ceil(SHARE) as usize, |number| -> Result<_> {
        let begin = number as u64 * SHARE;
        let end = len.min(begin + SHARE);
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), Vec::new());
        for at in (begin..end).step_by(PART as usize) {
            cancel.check()?;
            buffer.resize(PART.min(end - at) as usize, 0);
            read(at, &mut buffer)?;
            hasher.update(&buffer);
        }
        Ok(hasher.finalize())
    })?;
    let mut all = blake3::Hasher::new();
    shares.iter().for_each(|share| {
        all.update(share.as_bytes());
    });
    Ok(json!([name, len, all.finalize().to_hex().as_str()]))
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The number of a disk; `None` of a device that has no number of its own.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn disk(device: u64) -> Option<u64> {
    (rustix::fs::major(device) != 0).then_some(device)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn disk(device: u64) -> Option<u64> {
    Some(device)
}

/// The name of a directory, without what would not do in a path of ours.
fn directory(path: &Path) -> Result<String> {
    let path = path.canonicalize().map_err(store::Error::io("find", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    Ok(if name.starts_with('.') || name.is_empty() { format!("_{name}") } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_or_a_commit_and_a_key() {
        for name in ["0123456789abcdef", "01234567-0123456789abcdef"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["mine", "0123456789ABCDEF", "-0123456789abcdef", "main-0123456789abcdef", ""] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn what_is_only_called_as_a_snapshot_is_a_local_source() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let is =
            |repository: &str, revision: &str| is_commit(&(repository.into(), revision.into()));
        assert!(is("org/name", commit) && is("gpt2", commit));
        for repository in ["../..", "org/..", "", "org/", "a/b/c", "_local/x"] {
            assert!(!is(repository, commit), "{repository}");
        }
        assert!(!is("org/name", "main") && !is("org/name", "0123456"));
    }

    #[test]
    fn content_is_hashed_alike_on_any_number_of_threads() {
        let bytes: Vec<u8> = (0..40 << 20).map(|at: u32| (at >> 12) as u8).collect();
        let hash = |bytes: &[u8], threads| {
            let read = |at: u64, buffer: &mut [u8]| {
                buffer.copy_from_slice(&bytes[at as usize..][..buffer.len()]);
                Ok(())
            };
            content("x", bytes.len() as u64, (threads, &Cancel::default()), read).unwrap()
        };
        let whole = hash(&bytes, 1);
        assert_eq!(whole, hash(&bytes, 3));
        let mut changed = bytes.clone();
        changed[33 << 20] ^= 1;
        assert_ne!(whole, hash(&changed, 3));
        assert_ne!(whole, hash(&bytes[1..], 3));
        hash(&[], 2);
    }
}
