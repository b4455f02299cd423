//! Downloads into the hub's cache, with the crate `hf-hub`.
//!
//! That crate (0.5) puts a file in the cache without looking at its length or hash, appends when a
//! server ignores where it was to go on, and moves a branch on with the first file. So it works in a
//! staging folder of ours; a file goes from there to the cache when its hash is right, and the
//! branch is written last. It also cannot be stopped within a file, nor does it give up on a server
//! that sends nothing more: a program that is to end at once exits, and the next run goes on from
//! the bytes that lie in the staging folder.

use super::files::needed;
use super::local::is_commit;
use super::{Address, Hub, HubError, HubErrorKind, HubProgress};
use crate::failpoint::failpoint;
use crate::plan::{Finding, FindingKind};
use crate::store::{Lock, Place, available_space};
use crate::{Cancel, Error, Result};
use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha1::Digest;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often a file is tried. Each time goes on where the last one stopped.
const TRIES: u32 = 5;
/// The pause before the second try, which doubles with each.
const PAUSE: Duration = Duration::from_millis(200);
/// What a server says of an empty file whose first byte is asked for.
const RANGE_NOT_SATISFIABLE: u16 = 416;

/// Downloads what is missing of a model, and returns its snapshot.
pub(super) fn download(
    hub: &Hub,
    address: &Address,
    progress: &dyn HubProgress,
    cancel: &Cancel,
) -> Result<PathBuf> {
    let cache = std::path::absolute(&hub.cache).map_err(Error::io("find", &hub.cache))?;
    let locks = cache.join(".locks").join(address.folder());
    fs::create_dir_all(&locks).map_err(Error::io("create", &locks))?;
    let place = Place::new(&locks.join("download"))?;
    let _lock = Lock::wait(&place, cancel, |owner| progress.waiting(owner))?;

    let staging = place.staging();
    let api = api(hub, staging.clone());
    let api = api.map_err(|error| failed(hub, address, "the client", error))?;
    let asked = repo(address, address.revision());
    let list = || api.repo(asked.clone()).info();
    let info = again(cancel, list)
        .and_then(|info| info.map_err(|error| failed(hub, address, "the list of files", error)))?;
    let protocol = |what| Error::from(HubError::new(address, HubErrorKind::Protocol(what)));
    if !is_commit(&info.sha) {
        return Err(protocol(format!("the commit {:?}", info.sha)));
    }
    let names: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let wanted = needed(&names).map_err(protocol)?;
    if wanted.weights.is_empty() {
        return Err(HubError::new(address, HubErrorKind::NoWeights).into());
    }

    // All files of one commit, whatever becomes of the branch meanwhile.
    let commit = info.sha;
    let repo = repo(address, &commit);
    let folder = cache.join(address.folder());
    let snapshot = folder.join("snapshots").join(&commit);
    let repo = api.repo(repo);
    let run = Run { hub, address, cancel, progress, api, repo, commit, folder, staging };
    run.all(&wanted.beside)?;
    let weights = wanted.form.listed_in(&snapshot)?.unwrap_or(wanted.weights);
    run.all(&weights)?;
    run.finish(address.revision())?;
    Ok(snapshot)
}

/// The commit that a revision is now, asked once and without patience; or why it cannot be told.
pub(super) fn commit(hub: &Hub, address: &Address) -> Result<String, String> {
    // hf-hub touches its cache for files only.
    let api = api(hub, hub.cache.clone()).map_err(|error| error.to_string())?;
    let request = api.repo(repo(address, address.revision())).info_request();
    let answer = request.config().timeout_global(Some(hub.patience)).build().call();
    let mut answer = answer.map_err(|error| error.to_string())?;
    let info: RepoInfo = answer.body_mut().read_json().map_err(|error| error.to_string())?;
    if is_commit(&info.sha) { Ok(info.sha) } else { Err(format!("it says {:?}", info.sha)) }
}

/// hf-hub's client, with its files in `cache`.
fn api(hub: &Hub, cache: PathBuf) -> Result<Api, ApiError> {
    ApiBuilder::from_cache(Cache::new(cache))
        .with_endpoint(hub.endpoint.clone())
        .with_token(hub.token.as_ref().map(|token| token.0.clone()))
        .with_user_agent("connector", env!("CARGO_PKG_VERSION"))
        .build()
}

fn repo(address: &Address, revision: &str) -> Repo {
    Repo::with_revision(address.repository().into(), RepoType::Model, revision.into())
}

/// A download under way.
struct Run<'a> {
    hub: &'a Hub,
    address: &'a Address,
    cancel: &'a Cancel,
    progress: &'a dyn HubProgress,
    api: Api,
    repo: ApiRepo,
    commit: String,
    /// The model's folder in the cache.
    folder: PathBuf,
    /// A cache for `hf-hub`, from which only whole files are taken.
    staging: PathBuf,
}

/// A file as the hub announces it.
struct Announced<'a> {
    name: &'a str,
    /// The hash of its content, which names it in the cache. Empty of an empty file.
    etag: String,
    bytes: u64,
}

impl Run<'_> {
    /// Downloads files that are not there yet.
    fn all(&self, names: &[String]) -> Result<()> {
        let mut missing = Vec::new();
        for name in names {
            self.cancel.check()?;
            if !self.pointer(name).exists() {
                missing.push(self.announced(name)?);
            }
        }
        // What another commit has too is only linked.
        let (there, missing): (Vec<_>, Vec<_>) = missing.into_iter().partition(|file| {
            fs::metadata(self.blob(&file.etag)).is_ok_and(|blob| blob.len() == file.bytes)
        });
        there.iter().try_for_each(|file| self.link(file))?;
        if missing.is_empty() {
            return Ok(());
        }
        let bytes = missing.iter().map(|file| file.bytes).sum();
        self.check_space(bytes)?;
        self.progress.begin(missing.len(), bytes);
        missing.iter().try_for_each(|file| {
            self.cancel.check()?;
            self.fetch(file)?;
            failpoint("hub.file")?;
            self.link(file)
        })
    }

    /// Asks for a file's hash and length.
    fn announced<'a>(&self, name: &'a str) -> Result<Announced<'a>> {
        let url = self.repo.url(name);
        let metadata = match again(self.cancel, || self.api.metadata(&url))? {
            Err(error) if status(&error) == Some(RANGE_NOT_SATISFIABLE) => {
                return Ok(Announced { name, etag: String::new(), bytes: 0 });
            }
            metadata => metadata.map_err(|error| failed(self.hub, self.address, name, error))?,
        };
        let protocol = |what| Err(HubError::new(self.address, HubErrorKind::Protocol(what)).into());
        let etag = metadata.etag().to_string();
        // It becomes the name of a file.
        if etag.is_empty() || !etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return protocol(format!("the ETag {etag:?} of {name}"));
        }
        if metadata.commit_hash() != self.commit {
            return protocol(format!("commit {:?} of {name}", metadata.commit_hash()));
        }
        Ok(Announced { name, etag, bytes: metadata.size() as u64 })
    }

    /// Brings a file into the cache, whole and checked.
    fn fetch(&self, file: &Announced) -> Result<()> {
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        if file.bytes == 0 {
            return Ok(());
        }
        let staged = self.staging.join(self.address.folder()).join("blobs").join(&file.etag);
        let part = staged.with_extension("part");
        let mut watch = Watch { progress: self.progress, at: 0, told: 0 };
        for again_damaged in [false, true] {
            // As long as the file or longer, and not in the cache: nothing that could be gone on with.
            if fs::metadata(&part).is_ok_and(|part| part.len() >= file.bytes) {
                fs::remove_file(&part).map_err(Error::io("remove", &part))?;
            }
            self.receive(file, &staged, &part, &mut watch)?;
            let Some(problem) = problem(&staged, file).map_err(Error::io("read", &staged))? else {
                let synced = File::open(&staged).and_then(|file| file.sync_all());
                synced.map_err(Error::io("sync", &staged))?;
                let blob = self.blob(&file.etag);
                return fs::rename(&staged, &blob).map_err(Error::io("create", &blob));
            };
            tracing::debug!(file = file.name, problem, "thrown away");
            fs::remove_file(&staged).map_err(Error::io("remove", &staged))?;
            if again_damaged {
                let kind = HubErrorKind::Damaged { file: file.name.into(), problem };
                return Err(HubError::new(self.address, kind).into());
            }
        }
        Ok(())
    }

    /// Receives a file's bytes into `staged`, by way of `part`, until there are enough.
    fn receive(
        &self,
        file: &Announced,
        staged: &Path,
        part: &Path,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let received = again(self.cancel, || {
            let received = self.repo.download_with_progress(file.name, &mut *watch);
            // The crate links the file in its own snapshot, which would hide the next try.
            let _ = fs::remove_dir_all(self.staging.join(self.address.folder()).join("snapshots"));
            received?;
            // A connection that ended early is no error for every server.
            let len = fs::metadata(staged)?.len();
            if len < file.bytes {
                fs::rename(staged, part)?;
                let text = format!("the connection ended after {len} of {} bytes", file.bytes);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
            }
            Ok(())
        })?;
        received.map_err(|error| failed(self.hub, self.address, file.name, error))
    }

    fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    fn pointer(&self, name: &str) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit).join(name)
    }

    /// Shows a file of the cache in the snapshot.
    fn link(&self, file: &Announced) -> Result<()> {
        let pointer = self.pointer(file.name);
        let parent = pointer.parent().unwrap_or(&self.folder);
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        // A link whose end is gone.
        let _ = fs::remove_file(&pointer);
        if file.bytes == 0 {
            return File::create_new(&pointer).map(drop).map_err(Error::io("create", &pointer));
        }
        let up = "../".repeat(2 + file.name.matches('/').count());
        let target = format!("{up}blobs/{}", file.etag);
        link(&target, &self.blob(&file.etag), &pointer).map_err(Error::io("create", &pointer))
    }

    /// Says in the cache which commit the branch is, and clears up.
    fn finish(&self, revision: &str) -> Result<()> {
        if revision != self.commit && !self.commit.starts_with(revision) {
            let path = self.folder.join("refs").join(revision);
            let (parent, new) = (path.parent().unwrap_or(&path), path.with_extension("new"));
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            fs::write(&new, &self.commit).map_err(Error::io("write", &new))?;
            fs::rename(&new, &path).map_err(Error::io("create", &path))?;
        }
        match fs::remove_dir_all(&self.staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.staging)(error))
            }
            _ => Ok(()),
        }
    }

    fn check_space(&self, needed: u64) -> Result<()> {
        let Some(free) = available_space(&self.folder).filter(|&free| free < needed) else {
            return Ok(());
        };
        let problem = format!("the download takes {needed} bytes, {free} are free");
        let subject = self.hub.cache.display().to_string();
        Err(Error::refused(vec![Finding::new(FindingKind::Resource, subject, problem)]))
    }
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

/// What is wrong with a file that arrived. Its ETag is its hash: SHA-256 of large files, git's of
/// small ones; a mirror may have others, of which nothing can be said.
fn problem(path: &Path, file: &Announced) -> io::Result<Option<String>> {
    let len = fs::metadata(path)?.len();
    if len != file.bytes {
        return Ok(Some(format!("it has {len} bytes, the hub announced {}", file.bytes)));
    }
    let hash = match file.etag.len() {
        64 => hash(path, sha2::Sha256::new())?,
        40 => hash(path, sha1::Sha1::new_with_prefix(format!("blob {len}\0")))?,
        _ => return Ok(None),
    };
    let is_hash = file.etag.bytes().all(|b| b.is_ascii_hexdigit());
    let differs = is_hash && hash != file.etag.to_ascii_lowercase();
    Ok(differs.then(|| "its hash is not the one that the hub announced".into()))
}

fn hash(path: &Path, mut hasher: impl Digest) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            len => hasher.update(&buffer[..len]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Tries until it succeeds, or fails in a way that does not pass.
fn again<T>(
    cancel: &Cancel,
    mut attempt: impl FnMut() -> Result<T, ApiError>,
) -> Result<Result<T, ApiError>> {
    for number in 1..TRIES {
        match attempt() {
            Err(error) if passes(&error) => {
                tracing::debug!(%error, number, "trying again");
                thread::sleep(PAUSE * 2_u32.pow(number - 1));
            }
            done => return Ok(done),
        }
        cancel.check()?;
    }
    Ok(attempt())
}

/// Whether an error may be gone the next time.
fn passes(error: &ApiError) -> bool {
    match status(error) {
        Some(status) => matches!(status, 408 | 429 | 500..),
        None => matches!(error, ApiError::RequestError(_) | ApiError::IoError(_)),
    }
}

fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    }
}

fn failed(hub: &Hub, address: &Address, what: &str, error: ApiError) -> Error {
    let kind = match status(&error) {
        Some(401 | 403) => HubErrorKind::Unauthorized { token: hub.token.is_some() },
        Some(404) => HubErrorKind::NotFound,
        _ => HubErrorKind::Download { what: what.into(), source: error.into() },
    };
    HubError::new(address, kind).into()
}

/// Counts the bytes of one file, of which each try tells from the first one.
struct Watch<'a> {
    progress: &'a dyn HubProgress,
    at: u64,
    told: u64,
}

impl hf_hub::api::Progress for &mut Watch<'_> {
    fn init(&mut self, _: usize, _: &str) {
        self.at = 0;
    }

    fn update(&mut self, bytes: usize) {
        self.at += bytes as u64;
        if self.at > self.told {
            self.progress.advance(self.at - self.told);
            self.told = self.at;
        }
    }

    fn finish(&mut self) {}
}
