//! Where a framework puts the tensors and the config of a checkpoint.
//!
//! ```text
//! NeMo 2        CKPT/weights/            CKPT/context/model.yaml
//! Megatron-LM   CKPT/latest_checkpointed_iteration.txt   "release", or "120" for
//!               CKPT/iter_0000120/       the config is in common.pt, if anywhere
//! Bridge        CKPT/iter_0000120/       CKPT/iter_0000120/run_config.yaml
//! neither       CKPT/.metadata           one iteration's directory by itself
//! ```

use super::small::Small;
use super::{CONFIG_JSON, WEIGHTS, torch_dist};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Megatron-LM's and Megatron-Bridge's file that names the newest iteration.
const TRACKER: &str = "latest_checkpointed_iteration.txt";
/// What the tracker says, and the folder is called, of weights that no training made.
const RELEASE: &str = "release";
/// What the folders of iterations begin with.
const ITERATION: &str = "iter_";

/// Whether the directory `path` is laid out as a framework for training does it.
pub(super) fn is_at(path: &Path) -> bool {
    let nemo = path.join(WEIGHTS).is_dir() && !path.join(CONFIG_JSON).exists();
    nemo || torch_dist::is_at(path) || path.join(TRACKER).is_file() || newest(path).is_some()
}

/// The directory of the tensors of the checkpoint at `path`; of several iterations of `iteration`,
/// or else of the newest.
///
/// # Errors
/// [`Error::NoIteration`] if the tracker names none, or the one that is asked for is not there.
pub(super) fn weights(path: &Path, iteration: Option<u64>) -> Result<PathBuf> {
    if let Some(iteration) = iteration {
        let folder = path.join(folder(iteration));
        if folder.is_dir() {
            return Ok(folder);
        }
        let there = iterations(path);
        return Err(Error::NoSuchIteration { path: path.into(), iteration, there });
    }
    let (weights, tracker) = (path.join(WEIGHTS), path.join(TRACKER));
    if !weights.is_dir() && torch_dist::is_at(path) {
        return Ok(path.into());
    }
    if weights.is_dir() {
        return Ok(weights);
    }
    if !tracker.is_file() {
        // Where nothing is, `weights` is what is missing.
        return Ok(newest(path).map_or(weights, |iteration| path.join(folder(iteration))));
    }
    let text = match Small::read(&tracker)? {
        Small::Read(text) => String::from_utf8(text).unwrap_or_default(),
        Small::Absent | Small::Unreasonable => String::new(),
    };
    match (text.trim(), text.trim().parse::<u64>()) {
        (RELEASE, _) => Ok(path.join(RELEASE)),
        (_, Ok(iteration)) => Ok(path.join(folder(iteration))),
        _ => Err(Error::NoIteration { path: tracker }),
    }
}

/// The folder of an iteration.
fn folder(iteration: u64) -> String {
    format!("{ITERATION}{iteration:07}")
}

/// The iterations whose folders are in `path`, from first to last.
fn iterations(path: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let number = |name: &str| name.strip_prefix(ITERATION)?.parse::<u64>().ok();
    let mut all: Vec<u64> = entries
        .filter(|entry| torch_dist::is_at(&entry.path()))
        .filter_map(|entry| number(entry.file_name().to_str()?))
        .filter(|&iteration| path.join(folder(iteration)).is_dir())
        .collect();
    all.sort_unstable();
    all
}

/// The last of them: what a run that left no tracker is at.
fn newest(path: &Path) -> Option<u64> {
    iterations(path).pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracker_names_the_iteration() {
        let dir = tempfile::tempdir().unwrap();
        for (text, want) in [
            ("release\n", Some("release")),
            ("120", Some("iter_0000120")),
            ("../x", None),
            ("", None),
        ] {
            std::fs::write(dir.path().join(TRACKER), text).unwrap();
            assert!(is_at(dir.path()));
            let found = weights(dir.path(), None).ok();
            assert_eq!(found, want.map(|folder| dir.path().join(folder)), "{text:?}");
        }
    }

    #[test]
    fn iterations_are_found_by_number_or_the_newest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_at(dir.path()));
        for name in ["iter_0000010", "iter_0000120", "iter_0000200", "iter_0000300", "iter_x"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["iter_0000010", "iter_0000120", "iter_x"] {
            std::fs::write(dir.path().join(name).join(".metadata"), "").unwrap();
        }
        assert!(is_at(dir.path()));
        let folder = |found: Result<PathBuf>| {
            found.map(|path| path.file_name().unwrap().to_str().unwrap().to_string())
        };
        // The third was never finished, so that it has no metadata.
        assert_eq!(folder(weights(dir.path(), None)).unwrap(), "iter_0000120");
        assert_eq!(folder(weights(dir.path(), Some(10))).unwrap(), "iter_0000010");
        let error = weights(dir.path(), Some(11)).unwrap_err().to_string();
        assert!(error.contains("no iteration 11") && error.contains("10, 120"), "{error}");
    }
}
