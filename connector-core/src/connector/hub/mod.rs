//! Models of the Hugging Face hub: their addresses, the cache that all tools share, and downloads
//! into it.

mod address;
#[cfg(feature = "hub")]
mod blob;
#[cfg(feature = "hub")]
mod deadline;
#[cfg(feature = "hub")]
mod download;
mod error;
#[cfg(feature = "hub")]
mod exchange;
#[cfg(feature = "hub")]
mod failure;
#[cfg(feature = "hub")]
mod files;
#[cfg(feature = "hub")]
mod http;
mod local;
#[cfg(feature = "hub")]
mod remote;
#[cfg(feature = "hub")]
mod retry;
#[cfg(feature = "hub")]
mod site;
#[cfg(feature = "hub")]
mod transfer;

pub use address::{Address, Origin};
pub use error::{HubError, HubErrorKind};

use crate::{Cancel, Result};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who watches a download.
pub trait HubProgress: Sync {
    /// `bytes` are to be downloaded, in `files` files.
    fn begin(&self, files: usize, bytes: u64) {
        let _ = (files, bytes);
    }
    /// `bytes` more have arrived, or were there from an earlier try.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }
    /// Another process downloads the same model; it is waited for.
    fn waiting(&self, owner: &str) {
        let _ = owner;
    }
    /// Something is not as it should be, but not in the way.
    fn warn(&self, text: &str) {
        tracing::warn!("{text}");
    }
}

/// Watches nothing.
impl HubProgress for () {}

/// The hub, as the environment says: where its cache is, where its server, and who asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Hub {
    /// The folder of the cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or
    /// `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// The server: `HF_ENDPOINT`, or `https://huggingface.co`.
    pub endpoint: String,
    /// The token: `HF_TOKEN`, or the file that `HF_TOKEN_PATH` names, or `token` in `HF_HOME`. Only
    /// the server itself gets it, never one to which that redirects.
    pub token: Option<Token>,
    /// Whether the server must not be asked: `HF_HUB_OFFLINE`.
    pub offline: bool,
    /// How long a server may take to answer: until the last byte of a list of files, until the
    /// first of a file. `HF_HUB_ETAG_TIMEOUT`, or 10 s.
    pub patience: Duration,
    /// How long a file may stand still on its way: `HF_HUB_DOWNLOAD_TIMEOUT`, or 10 s.
    pub stall: Duration,
    /// The longest pause before something is tried again, whatever a server asks for by
    /// `Retry-After`: 30 s.
    pub longest_pause: Duration,
}

/// What Hugging Face's library waits for a server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Others wait meanwhile for the same model.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A token, which is not shown.
#[derive(Clone)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Hub {
    /// As the variables of the environment say, which are those of Hugging Face's own library.
    pub fn from_env() -> Self {
        Hub::from(|name| env::var_os(name).filter(|value| !value.is_empty()), env::home_dir())
    }

    fn from(var: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Self {
        let path = |name: &str| var(name).map(PathBuf::from);
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
        let seconds = |name: &str| {
            let seconds = text(name)?.parse().ok()?;
            Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())
        };
        let home = path("HF_HOME").unwrap_or_else(|| {
            let caches = path("XDG_CACHE_HOME");
            let caches = caches.unwrap_or_else(|| user.unwrap_or_default().join(".cache"));
            caches.join("huggingface")
        });
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let token = text("HF_TOKEN").or_else(|| std::fs::read_to_string(token_file).ok());
        let token = token.map(|token| token.trim().to_string());
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Hub {
            cache: path("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            endpoint: endpoint.trim_end_matches('/').into(),
            token: token.filter(|token| !token.is_empty()).map(Token),
            offline: text("HF_HUB_OFFLINE").is_some_and(|value| {
                ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
            }),
            patience: seconds("HF_HUB_ETAG_TIMEOUT").unwrap_or(PATIENCE),
            stall: seconds("HF_HUB_DOWNLOAD_TIMEOUT").unwrap_or(PATIENCE),
            longest_pause: LONGEST_PAUSE,
        }
    }

    /// The directory of a model: from the cache if all of it is there, else downloaded.
    ///
    /// A branch or tag may have moved: the server is asked which commit it is, and a new one is
    /// downloaded, as Hugging Face's library does. If the server cannot be asked, or refuses, it is
    /// what the cache says. A commit is never asked for again.
    ///
    /// Only files that an import reads are downloaded: weights in safetensors, configs, tokenizer
    /// files. The cache is the one that all tools share: a file appears in it whole, with the length
    /// and the hash that the hub announced, a branch when all its files are there. A mirror that
    /// announces no hashes is checked by lengths. Whatever stops a download, what arrived is kept, and
    /// the next one goes on from there; one that is cancelled ends at once.
    ///
    /// # Errors
    /// [`Error::Hub`](crate::Error::Hub), [`Error::Io`](crate::store::Error::Io),
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn snapshot(
        &self,
        address: &Address,
        progress: &dyn HubProgress,
        cancel: &Cancel,
    ) -> Result<PathBuf> {
        let local = local::Local::find(&self.cache, address);
        if let local::Local::Whole(dir) = &local
            && !self.has_moved(address, dir, progress, cancel)?
        {
            #[cfg(feature = "hub")]
            download::tidy(self, address);
            return Ok(dir.clone());
        }
        let failed = match self.download(address, &local, progress, cancel) {
            Ok(dir) => return Ok(dir),
            Err(error) => error,
        };
        match local {
            // Perhaps it never had any; the network is not needed to convert the weights.
            local::Local::NoTokenizer(dir) if is_unreachable(&failed) => {
                let dir_ = dir.display();
                progress.warn(&format!("{dir_} has no tokenizer, and the hub cannot be asked"));
                Ok(dir)
            }
            _ => Err(failed),
        }
    }

    /// Whether the branch of `address` is another commit by now than `dir` has.
    #[cfg(feature = "hub")]
    fn has_moved(
        &self,
        address: &Address,
        dir: &Path,
        progress: &dyn HubProgress,
        cancel: &Cancel,
    ) -> Result<bool> {
        if self.offline || !local::is_branch(&self.cache, address) {
            return Ok(false);
        }
        let (revision, commit) = (address.revision(), dir.file_name().unwrap_or_default());
        match download::commit(self, address, cancel) {
            Ok(now) => Ok(commit != now.as_str()),
            Err(failure::Failure::Here(error)) => Err(error),
            Err(reason) => {
                let commit = commit.to_string_lossy();
                let short = commit.get(..8).unwrap_or(&commit);
                progress.warn(&format!(
                    "the hub does not say whether {revision} of {} has moved ({reason}); {short} of \
                     the cache is taken",
                    address.repository()
                ));
                Ok(false)
            }
        }
    }

    #[cfg(not(feature = "hub"))]
    fn has_moved(&self, _: &Address, _: &Path, _: &dyn HubProgress, _: &Cancel) -> Result<bool> {
        Ok(false)
    }

    #[cfg(feature = "hub")]
    fn download(
        &self,
        address: &Address,
        local: &local::Local,
        progress: &dyn HubProgress,
        cancel: &Cancel,
    ) -> Result<PathBuf> {
        if self.offline {
            return Err(HubError::new(address, HubErrorKind::Offline(local.missing())).into());
        }
        download::download(self, address, progress, cancel)
    }

    #[cfg(not(feature = "hub"))]
    fn download(
        &self,
        address: &Address,
        local: &local::Local,
        _: &dyn HubProgress,
        _: &Cancel,
    ) -> Result<PathBuf> {
        Err(HubError::new(address, HubErrorKind::NoDownload(local.missing())).into())
    }
}

impl Origin {
    /// The directory: the path, or the model's in the hub's cache, downloaded if it is not there.
    ///
    /// # Errors
    /// As [`Hub::snapshot`].
    pub fn fetch(&self, hub: &Hub, progress: &dyn HubProgress, cancel: &Cancel) -> Result<PathBuf> {
        match self {
            Origin::Local(path) => Ok(path.clone()),
            Origin::Hub(address) => hub.snapshot(address, progress, cancel),
        }
    }
}

fn is_unreachable(error: &crate::Error) -> bool {
    let crate::Error::Hub(error) = error else { return false };
    matches!(
        error.kind,
        HubErrorKind::Offline(_) | HubErrorKind::NoDownload(_) | HubErrorKind::Download { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn hub(vars: &[(&str, &str)]) -> Hub {
        let var = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
        Hub::from(var, Some("/home/u".into()))
    }

    #[test]
    fn the_environment_says_where_the_cache_is() {
        for (vars, want) in [
            (&[][..], "/home/u/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], "/c"),
        ] {
            assert_eq!(hub(vars).cache, Path::new(want), "{vars:?}");
        }
    }

    #[test]
    fn the_environment_says_who_asks_whom() {
        let asks =
            hub(&[("HF_ENDPOINT", "http://m/"), ("HF_TOKEN", " t\n"), ("HF_HUB_OFFLINE", "1")]);
        assert_eq!((asks.endpoint.as_str(), asks.offline), ("http://m", true));
        assert_eq!(asks.token.as_ref().map(|token| token.0.as_str()), Some("t"));
        assert!(!format!("{asks:?}").contains("\"t\""));
        let file = tempfile::tempdir().unwrap();
        std::fs::write(file.path().join("token"), "from a file\n").unwrap();
        let home = file.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", home)]).token.unwrap().0, "from a file");
        let seconds = Duration::from_secs_f64;
        for (text, want) in [("0.5", 0.5), ("30", 30.0), ("0", 10.0), ("-1", 10.0), ("x", 10.0)] {
            let hub = hub(&[("HF_HUB_ETAG_TIMEOUT", text), ("HF_HUB_DOWNLOAD_TIMEOUT", "7")]);
            assert_eq!((hub.patience, hub.stall), (seconds(want), seconds(7.0)), "{text}");
            assert_eq!(self::hub(&[("HF_HUB_DOWNLOAD_TIMEOUT", text)]).stall, seconds(want));
        }
        let plain = hub(&[("HF_HUB_OFFLINE", "0")]);
        assert_eq!((plain.offline, plain.token.is_none()), (false, true));
        assert_eq!(plain.endpoint, "https://huggingface.co");
    }
}
