//! Downloads into the hub's cache, which all tools share and which therefore only ever gets what
//! was checked.
//!
//! A file arrives in a staging folder beside the cache, under the name of its content, so that a
//! later run goes on with it, whatever stopped this one. When its length and hash are right it is
//! synced and renamed into the cache, then linked in the snapshot; the branch is written last.

use super::blob::{Announced, problem};
use super::failure::{Failure, LIST};
use super::files::needed;
use super::remote::Remote;
use super::retry::again;
use super::transfer::{Watch, receive};
use super::{Address, Hub, HubError, HubErrorKind, HubProgress};
use crate::plan::{Finding, FindingKind};
use crate::store::failpoint::failpoint;
use crate::store::{Lock, Place, available_space, sync_dir};
use crate::{Cancel, Error, Result, checkpoint, store};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The ending of a file of which not all has arrived.
const PART: &str = "part";

/// Downloads what is missing of a model, and returns its snapshot.
pub(super) fn download(
    hub: &Hub,
    address: &Address,
    progress: &dyn HubProgress,
    cancel: &Cancel,
) -> Result<PathBuf> {
    let cache = std::path::absolute(&hub.cache).map_err(store::Error::io("find", &hub.cache))?;
    let download = lock(&cache, address);
    create_dir(download.parent().unwrap_or(&cache))?;
    let place = Place::new(&download)?;
    let _lock =
        Lock::wait(&place, cancel, |owner| progress.waiting(owner))?.ok_or(crate::Cancelled)?;

    let about_list = |failure: Failure| failure.about(hub, address, LIST);
    let remote = Remote::new(hub, address, cancel).map_err(about_list)?;
    let listing = again(hub, cancel, || remote.list(address.revision())).map_err(about_list)?;
    let wanted = needed(&listing.names).map_err(|answer| {
        let (what, host) = (LIST.into(), listing.host);
        HubError::new(address, HubErrorKind::Protocol { what, host, answer })
    })?;
    if wanted.weights.is_empty() {
        return Err(HubError::new(address, HubErrorKind::NoWeights).into());
    }

    // All files of one commit, whatever becomes of the branch meanwhile.
    let commit = listing.commit;
    let folder = cache.join(address.folder());
    let snapshot = folder.join("snapshots").join(&commit);
    let staging = place.staging();
    create_dir(&staging)?;
    let run = Run { remote, address, progress, commit, folder, staging };
    run.all(&wanted.beside)?;
    let weights = wanted
        .form
        .listed_in(&snapshot)
        .map_err(checkpoint::Error::from)?
        .unwrap_or(wanted.weights);
    run.all(&weights)?;
    run.finish(address.revision())?;
    Ok(snapshot)
}

/// What the lock and the staging folder of a model's downloads are named after.
fn lock(cache: &Path, address: &Address) -> PathBuf {
    cache.join(".locks").join(address.folder()).join("download")
}

/// Removes what a download left that was killed when it was done. Parts of files stay: they may be
/// of another commit.
pub(super) fn tidy(hub: &Hub, address: &Address) {
    let download = lock(&hub.cache, address);
    let Ok(place) = Place::new(&download) else { return };
    let mut staged = fs::read_dir(place.staging()).into_iter().flatten().flatten();
    if !staged.any(|file| file.path().extension().is_some_and(|extension| extension == PART)) {
        store::tidy(&download);
    }
}

/// The commit that a revision is now, asked once.
pub(super) fn commit(hub: &Hub, address: &Address, cancel: &Cancel) -> Result<String, Failure> {
    let listing = Remote::new(hub, address, cancel)?.list(address.revision())?;
    Ok(listing.commit)
}

/// A download under way.
struct Run<'a> {
    remote: Remote<'a>,
    address: &'a Address,
    progress: &'a dyn HubProgress,
    commit: String,
    /// The model's folder in the cache.
    folder: PathBuf,
    /// Where files are until they are whole.
    staging: PathBuf,
}

impl Run<'_> {
    /// Downloads files that are not there yet.
    fn all(&self, names: &[String]) -> Result<()> {
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            self.remote.cancel.check()?;
            if self.pointer(name).exists() {
                continue;
            }
            let announced = || self.remote.announced(&self.commit, name);
            let file = again(self.remote.hub, self.remote.cancel, announced);
            let file = file.map_err(|failure| self.about(name, failure))?;
            if self.has(&file)? { there.push(file) } else { missing.push(file) }
        }
        // What another commit has too is only linked.
        there.iter().try_for_each(|file| self.link(file))?;
        if !missing.is_empty() {
            let bytes = missing.iter().map(|file| file.bytes).sum();
            self.check_space(bytes)?;
            self.progress.begin(missing.len(), bytes);
        }
        for file in &missing {
            self.remote.cancel.check()?;
            self.fetch(file)?;
            failpoint("hub.file")?;
            self.link(file)?;
        }
        // A power cut before may leave a link to nothing, which is no file that is there.
        let linked = there.iter().chain(&missing).map(|file| self.pointer(file.name));
        let dirs = linked.filter_map(|path| path.parent().map(Path::to_path_buf));
        let dirs: BTreeSet<_> = dirs.chain((!missing.is_empty()).then(|| self.blobs())).collect();
        Ok(dirs.iter().try_for_each(|dir| sync_dir(dir))?)
    }

    /// Whether the cache has a file's content. Other tools write there too and do not look at hashes,
    /// so we do: reading it costs less than downloading it, and is done once for each snapshot.
    fn has(&self, file: &Announced) -> Result<bool> {
        let blob = self.blob(file);
        if !blob.exists() {
            return Ok(false);
        }
        let Some(problem) = problem(&blob, file, self.remote.cancel)? else { return Ok(true) };
        let (name, blob) = (file.name, blob.display());
        self.progress.warn(&format!("{blob} is not {name}: {problem}; it is downloaded anew"));
        Ok(false)
    }

    /// Brings a file into the cache, whole and checked.
    fn fetch(&self, file: &Announced) -> Result<()> {
        let part = self.staging.join(format!("{}.{PART}", file.etag));
        // After a power cut it may have what was never written, which only a hash can tell.
        let is_stale = |part: &Path| {
            let len = fs::metadata(part).map(|part| part.len());
            len.is_ok_and(|len| len > file.bytes || !file.etag.is_hash())
        };
        if is_stale(&part) {
            fs::remove_file(&part).map_err(store::Error::io("remove", &part))?;
        }
        let mut watch = Watch::new(self.progress);
        for is_last in [false, true] {
            receive(&self.remote, &self.commit, file, &part, &mut watch)
                .map_err(|failure| self.about(file.name, failure))?;
            let Some(problem) = problem(&part, file, self.remote.cancel)? else { break };
            tracing::debug!(file = file.name, problem, "thrown away");
            fs::remove_file(&part).map_err(store::Error::io("remove", &part))?;
            if is_last {
                let (file, host) = (file.name.into(), file.host.clone());
                let kind = HubErrorKind::Damaged { file, host, problem };
                return Err(HubError::new(self.address, kind).into());
            }
        }
        Ok(move_to(&part, &self.blob(file))?)
    }

    fn about(&self, name: &str, failure: Failure) -> Error {
        failure.about(self.remote.hub, self.address, name)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    fn blob(&self, file: &Announced) -> PathBuf {
        self.blobs().join(file.etag.to_string())
    }

    fn pointer(&self, name: &str) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit).join(name)
    }

    /// Shows a file of the cache in the snapshot.
    fn link(&self, file: &Announced) -> Result<()> {
        let pointer = self.pointer(file.name);
        let parent = pointer.parent().unwrap_or(&self.folder);
        create_dir(parent)?;
        // A link whose end is gone.
        let _ = fs::remove_file(&pointer);
        let up = "../".repeat(2 + file.name.matches('/').count());
        let target = format!("{up}blobs/{}", file.etag);
        let linked = link(&target, &self.blob(file), &pointer);
        Ok(linked.map_err(store::Error::io("create", &pointer))?)
    }

    /// Says in the cache which commit the branch is, and clears up.
    fn finish(&self, revision: &str) -> Result<()> {
        if revision != self.commit && !self.commit.starts_with(revision) {
            let new = self.staging.join("ref");
            let mut file = File::create(&new).map_err(store::Error::io("create", &new))?;
            let written = file.write_all(self.commit.as_bytes()).and_then(|()| file.sync_all());
            written.map_err(store::Error::io("write", &new))?;
            let path = self.folder.join("refs").join(revision);
            move_to(&new, &path)?;
            sync_dir(path.parent().unwrap_or(&path))?;
        }
        match fs::remove_dir_all(&self.staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(store::Error::io("remove", &self.staging)(error).into())
            }
            _ => Ok(()),
        }
    }

    fn check_space(&self, needed: u64) -> Result<()> {
        let Some(free) = available_space(&self.folder).filter(|&free| free < needed) else {
            return Ok(());
        };
        let problem = format!("the download takes {needed} bytes, {free} are free");
        let subject = self.remote.hub.cache.display().to_string();
        Err(Error::refused(vec![Finding::new(FindingKind::Resource, subject, problem)]))
    }
}

fn create_dir(path: &Path) -> store::Result<()> {
    fs::create_dir_all(path).map_err(store::Error::io("create", path))
}

/// Gives a file that is whole and synced its name in the cache.
fn move_to(from: &Path, to: &Path) -> store::Result<()> {
    create_dir(to.parent().unwrap_or(to))?;
    fs::rename(from, to).map_err(store::Error::io("create", to))
}

#[cfg(unix)]
fn link(target: &str, _blob: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// Where links need a privilege the snapshot has the file itself, as Hugging Face's library does.
#[cfg(not(unix))]
fn link(_target: &str, blob: &Path, pointer: &Path) -> io::Result<()> {
    fs::rename(blob, pointer)
}
