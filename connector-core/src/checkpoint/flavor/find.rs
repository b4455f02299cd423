//! Where a directory that is there has its tensors and the files beside them.

use super::{TOKENIZER, TRACKER};
use crate::checkpoint::small::Small;
use crate::checkpoint::{CONFIG_JSON, CONTEXT, WEIGHTS, torch_dist};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Whether the directory `path` is laid out as a framework for training does it.
pub(crate) fn is_at(path: &Path) -> bool {
    let nemo = path.join(WEIGHTS).is_dir() && !path.join(CONFIG_JSON).exists();
    nemo || torch_dist::is_at(path) || path.join(TRACKER).is_file()
}

/// The folders of a checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Home {
    /// That of the tensors.
    pub weights: PathBuf,
    /// That of the config and the other files beside them.
    pub beside: PathBuf,
    /// What the second is called in messages.
    pub name: &'static str,
}

impl Home {
    /// The folders of the checkpoint at `path`, or of its newest iteration.
    ///
    /// # Errors
    /// [`Error::NoIteration`] if the tracker names none.
    pub fn of(path: &Path) -> Result<Self> {
        let (weights, tracker) = (path.join(WEIGHTS), path.join(TRACKER));
        if weights.is_dir() || !(torch_dist::is_at(path) || tracker.is_file()) {
            // Where it is missing, that is what is wrong.
            return Ok(Home { weights, beside: path.join(CONTEXT), name: CONTEXT });
        }
        let weights =
            if torch_dist::is_at(path) { path.into() } else { path.join(iteration(tracker)?) };
        let beside = weights.join(TOKENIZER);
        Ok(Home { weights, beside, name: TOKENIZER })
    }
}

/// The folder of the iteration that a tracker names.
fn iteration(tracker: PathBuf) -> Result<String> {
    let text = match Small::read(&tracker)? {
        Small::Read(text) => String::from_utf8(text).unwrap_or_default(),
        Small::Absent | Small::Unreasonable => String::new(),
    };
    match (text.trim(), text.trim().parse::<u64>()) {
        ("release", _) => Ok("release".into()),
        (_, Ok(iteration)) => Ok(format!("iter_{iteration:07}")),
        _ => Err(Error::NoIteration { path: tracker }),
    }
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
            let found = Home::of(dir.path()).ok().map(|home| (home.weights, home.beside));
            let want = want.map(|folder| dir.path().join(folder));
            assert_eq!(found, want.map(|dir| (dir.clone(), dir.join("tokenizer"))), "{text:?}");
        }
    }
}
