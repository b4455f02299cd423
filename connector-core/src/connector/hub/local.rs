//! What the hub's cache has of a model: `refs/BRANCH` names a commit, `snapshots/COMMIT/` has its
//! files as links into `blobs/`.

use super::Address;
use crate::checkpoint::safetensors::FORM;
use crate::checkpoint::{CONFIG_JSON, form_at, is_tokenizer};
use std::fs;
use std::path::{Path, PathBuf};

/// A commit's name in short, as people write it, has at least so many digits.
const SHORT: usize = 7;

/// What the cache has of a model.
#[derive(Debug, PartialEq)]
pub(super) enum Local {
    /// All that an import reads.
    Whole(PathBuf),
    /// All but a tokenizer, which other tools may not have downloaded.
    NoTokenizer(PathBuf),
    /// Not all; these files are known to be missing.
    Part(Vec<String>),
}

impl Local {
    pub fn find(cache: &Path, address: &Address) -> Self {
        let Some(dir) = snapshot(&cache.join(address.folder()), address.revision()) else {
            return Local::Part(Vec::new());
        };
        let mut missing = form_at(&dir).unwrap_or(&FORM).missing_files(&dir);
        if !dir.join(CONFIG_JSON).is_file() {
            missing.push(CONFIG_JSON.into());
        }
        if !missing.is_empty() {
            return Local::Part(missing);
        }
        let names = fs::read_dir(&dir).into_iter().flatten().flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        if names.any(|name| is_tokenizer(&name)) {
            Local::Whole(dir)
        } else {
            Local::NoTokenizer(dir)
        }
    }

    pub fn missing(&self) -> Vec<String> {
        match self {
            Local::Whole(_) | Local::NoTokenizer(_) => Vec::new(),
            Local::Part(missing) => missing.clone(),
        }
    }
}

/// Whether a revision is the name of a branch or tag, which the cache says to be a commit.
#[cfg(feature = "hub")]
pub(super) fn is_branch(cache: &Path, address: &Address) -> bool {
    cache.join(address.folder()).join("refs").join(address.revision()).is_file()
}

/// The folder of a commit, or of the commit that a branch or tag is said to be.
fn snapshot(folder: &Path, revision: &str) -> Option<PathBuf> {
    let snapshots = folder.join("snapshots");
    let existing = |name: &str| Some(snapshots.join(name)).filter(|dir| dir.is_dir());
    if let Ok(commit) = fs::read_to_string(folder.join("refs").join(revision)) {
        let commit = commit.trim();
        return existing(commit).filter(|_| is_commit(commit));
    }
    if !is_commit(revision) {
        return None;
    }
    existing(revision).or_else(|| {
        let names = fs::read_dir(&snapshots).ok()?.flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut alike = names.filter(|name| revision.len() >= SHORT && name.starts_with(revision));
        // Two of them, and only the hub knows which is meant.
        alike.next().filter(|_| alike.next().is_none()).and_then(|name| existing(&name))
    })
}

/// Whether a text may be a commit's name, which is the name of a folder too.
pub(super) fn is_commit(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with the model `o/n` at `main`, which is commit `abcdef01…`.
    fn cache(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models--o--n");
        let snapshot = folder.join("snapshots/abcdef0123");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(folder.join("refs/pr")).unwrap();
        fs::write(folder.join("refs/main"), "abcdef0123\n").unwrap();
        fs::write(folder.join("refs/pr/1"), "abcdef0123").unwrap();
        fs::write(folder.join("refs/evil"), "../../../etc").unwrap();
        for file in files {
            fs::write(snapshot.join(file), "").unwrap();
        }
        dir
    }

    fn find(cache: &tempfile::TempDir, revision: &str) -> Local {
        Local::find(cache.path(), &Address::new("o/n", Some(revision)).unwrap())
    }

    #[test]
    fn a_revision_is_a_branch_or_a_commit() {
        let cache = cache(&["config.json", "model.safetensors", "tokenizer.json"]);
        let whole = Local::Whole(cache.path().join("models--o--n/snapshots/abcdef0123"));
        for revision in ["main", "pr/1", "abcdef0123", "abcdef01"] {
            assert_eq!(find(&cache, revision), whole, "{revision}");
        }
        for revision in ["abc", "other", "evil", "0123456789"] {
            assert_eq!(find(&cache, revision), Local::Part(vec![]), "{revision}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (files, want) in [
            (&["model.safetensors", "tokenizer.json"][..], &["config.json"][..]),
            (&["config.json", "tokenizer.json"], &["model.safetensors"]),
            (
                &["config.json", "model-00002-of-00002.safetensors"],
                &["model-00001-of-00002.safetensors"],
            ),
        ] {
            assert_eq!(find(&cache(files), "main").missing(), want, "{files:?}");
        }
        let cache = cache(&["config.json", "model.safetensors"]);
        assert!(matches!(find(&cache, "main"), Local::NoTokenizer(_)));
    }
}
