//! Where a directory that is there has its tensors and the files beside them.

use super::{TOKENIZER, TRACKER};
use crate::checkpoint::small::Small;
use crate::checkpoint::{CONFIG_JSON, CONTEXT, Error, Result, WEIGHTS, look, torch_dist};
use crate::store;
use std::path::{Path, PathBuf};

/// What the tracker says, and the folder is called, of weights that no training made.
const RELEASE: &str = "release";
/// What the folders of iterations begin with.
const ITERATION: &str = "iter_";

/// Whether the directory `path` is laid out as a framework for training does it.
///
/// # Errors
/// If the system refuses to look.
pub(crate) fn is_at(path: &Path) -> Result<bool> {
    let nemo = look::is_dir(&path.join(WEIGHTS))? && !look::exists(&path.join(CONFIG_JSON))?;
    Ok(nemo
        || torch_dist::is_at(path)?
        || look::is_file(&path.join(TRACKER))?
        || untracked(path)?.is_some())
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
    /// The folders of the checkpoint at `path`; of several iterations those of `iteration`, or else
    /// of the newest.
    ///
    /// # Errors
    /// [`Error::NoIteration`] if the tracker names none, [`Error::TrackedIteration`] if it names one
    /// that is not there, [`Error::NoSuchIteration`] if the one that is asked for is not.
    pub fn of(path: &Path, iteration: Option<u64>) -> Result<Self> {
        Ok(match weights(path, iteration)? {
            Some(weights) => Home { beside: weights.join(TOKENIZER), weights, name: TOKENIZER },
            // Where nothing is, `weights` is what is missing.
            None => Home { weights: path.join(WEIGHTS), beside: path.join(CONTEXT), name: CONTEXT },
        })
    }
}

/// The directory of the tensors in one of Megatron-LM or Megatron-Bridge, or of the container by
/// itself; `None` for all others.
fn weights(path: &Path, iteration: Option<u64>) -> Result<Option<PathBuf>> {
    if let Some(iteration) = iteration {
        let folder = path.join(folder(iteration));
        if look::is_dir(&folder)? {
            return Ok(Some(folder));
        }
        let there = iterations(path)?;
        return Err(Error::NoSuchIteration { path: path.into(), iteration, there });
    }
    if look::is_dir(&path.join(WEIGHTS))? {
        return Ok(None);
    }
    if torch_dist::is_at(path)? {
        return Ok(Some(path.into()));
    }
    let tracker = path.join(TRACKER);
    if !look::is_file(&tracker)? {
        return Ok(untracked(path)?.map(|folder| path.join(folder)));
    }
    let text = match Small::read(&tracker)? {
        Small::Read(text) => String::from_utf8(text).unwrap_or_default(),
        Small::Absent | Small::Unreasonable => String::new(),
    };
    let folder = match (text.trim(), text.trim().parse::<u64>()) {
        (RELEASE, _) => RELEASE.into(),
        (_, Ok(iteration)) => folder(iteration),
        _ => return Err(Error::NoIteration { path: tracker }),
    };
    let named = path.join(&folder);
    if !look::is_dir(&named)? {
        let there = iterations(path)?;
        return Err(Error::TrackedIteration { path: path.into(), folder, there });
    }
    Ok(Some(named))
}

/// The folder of an iteration.
fn folder(iteration: u64) -> String {
    format!("{ITERATION}{iteration:07}")
}

/// The iterations whose folders are in `path`, from first to last.
fn iterations(path: &Path) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    if !look::is_dir(path)? {
        return Ok(all);
    }
    for entry in std::fs::read_dir(path).map_err(store::Error::io("read", path))? {
        let name = entry.map_err(store::Error::io("read", path))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(ITERATION)?.parse().ok());
        if let Some(iteration) = number
            && torch_dist::is_at(&path.join(folder(iteration)))?
        {
            all.push(iteration);
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// The folder that a directory without a tracker is at: the last iteration, or what none was made of.
fn untracked(path: &Path) -> Result<Option<String>> {
    match iterations(path)?.pop() {
        Some(last) => Ok(Some(folder(last))),
        None => Ok(torch_dist::is_at(&path.join(RELEASE))?.then(|| RELEASE.into())),
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
            if let Some(folder) = want {
                std::fs::create_dir(dir.path().join(folder)).unwrap();
            }
            assert!(is_at(dir.path()).unwrap());
            let found = Home::of(dir.path(), None).ok().map(|home| home.weights);
            assert_eq!(found, want.map(|folder| dir.path().join(folder)), "{text:?}");
        }
    }

    #[test]
    fn a_tracker_that_is_lost_or_names_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["release", "iter_0000010"] {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(".metadata"), "").unwrap();
            assert!(is_at(dir.path()).unwrap());
            assert_eq!(Home::of(dir.path(), None).unwrap().weights, folder);
        }
        for (text, want) in
            [("20", "no iter_0000020, which its latest"), ("release", "no release,")]
        {
            let _ = std::fs::remove_dir_all(dir.path().join("release"));
            std::fs::write(dir.path().join(TRACKER), text).unwrap();
            let error = Home::of(dir.path(), None).unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("it has 10"), "{error}");
        }
    }

    #[test]
    fn iterations_are_found_by_number_or_the_newest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_at(dir.path()).unwrap());
        for name in ["iter_0000010", "iter_0000120", "iter_0000200", "iter_0000300", "iter_x"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["iter_0000010", "iter_0000120", "iter_x"] {
            std::fs::write(dir.path().join(name).join(".metadata"), "").unwrap();
        }
        assert!(is_at(dir.path()).unwrap());
        let folder = |found: Result<Home>| {
            found.map(|home| home.weights.file_name().unwrap().to_str().unwrap().to_string())
        };
        // The third was never finished, so that it has no metadata.
        assert_eq!(folder(Home::of(dir.path(), None)).unwrap(), "iter_0000120");
        assert_eq!(folder(Home::of(dir.path(), Some(10))).unwrap(), "iter_0000010");
        let error = Home::of(dir.path(), Some(11)).unwrap_err().to_string();
        assert!(error.contains("no iteration 11") && error.contains("10, 120"), "{error}");
    }
}
