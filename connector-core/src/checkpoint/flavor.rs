//! Where a framework puts the tensors and the config of a checkpoint.
//!
//! ```text
//! NeMo 2        CKPT/weights/            CKPT/context/model.yaml
//! Megatron-LM   CKPT/latest_checkpointed_iteration.txt   "release", or "120" for
//!               CKPT/iter_0000120/       (the config is not in files that can be read as data)
//! neither       CKPT/.metadata           one iteration's directory by itself
//! ```

use super::small::Small;
use super::{CONFIG_JSON, WEIGHTS, torch_dist};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Megatron-LM's and Megatron-Bridge's file that names the newest iteration.
const TRACKER: &str = "latest_checkpointed_iteration.txt";

/// Whether the directory `path` is laid out as a framework for training does it.
pub(super) fn is_at(path: &Path) -> bool {
    let nemo = path.join(WEIGHTS).is_dir() && !path.join(CONFIG_JSON).exists();
    nemo || torch_dist::is_at(path) || path.join(TRACKER).is_file()
}

/// The directory of the tensors of the checkpoint at `path`.
///
/// # Errors
/// [`Error::NoIteration`] if the tracker names none.
pub(super) fn weights(path: &Path) -> Result<PathBuf> {
    let (weights, tracker) = (path.join(WEIGHTS), path.join(TRACKER));
    if !weights.is_dir() && torch_dist::is_at(path) {
        return Ok(path.into());
    }
    if weights.is_dir() || !tracker.is_file() {
        // Where it is missing, that is what is wrong.
        return Ok(weights);
    }
    let text = match Small::read(&tracker)? {
        Small::Read(text) => String::from_utf8(text).unwrap_or_default(),
        Small::Absent | Small::Unreasonable => String::new(),
    };
    let folder = match (text.trim(), text.trim().parse::<u64>()) {
        ("release", _) => "release".into(),
        (_, Ok(iteration)) => format!("iter_{iteration:07}"),
        _ => return Err(Error::NoIteration { path: tracker }),
    };
    Ok(path.join(folder))
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
            let found = weights(dir.path()).ok();
            assert_eq!(found, want.map(|folder| dir.path().join(folder)), "{text:?}");
        }
    }
}
