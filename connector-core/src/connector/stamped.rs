//! The files beside the tensors, as they are when a conversion is planned.

use super::planned::Files;
use crate::checkpoint::Sidecars;
use crate::store::{Stamp, settled};
use crate::{Error, Result};
use std::fs;
use std::path::PathBuf;

/// What will be copied, and the state of each file: what is copied in the end must be that, or the
/// copy is of files that were never there together.
pub(super) struct Stamped {
    pub files: Vec<StampedFile>,
}

/// A file that will be copied.
#[derive(Clone, PartialEq)]
pub(super) struct StampedFile {
    /// Its name, with `/` between folder and name.
    pub name: String,
    pub path: PathBuf,
    pub stamp: Stamp,
    /// The stamp of the link that leads there, if it is one: it may be sent elsewhere and back.
    link: Stamp,
}

impl Stamped {
    /// Looks at the files that `files` copies.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::SourceChanged`].
    pub fn look(files: &Files) -> Result<Self> {
        let stamps = |taken: &Vec<StampedFile>| {
            Ok(taken.iter().map(|file| (file.path.clone(), file.stamp.clone())).collect())
        };
        settled(|| list(files), stamps).map(|files| Stamped { files })
    }

    /// Passes if the same files are there, unchanged.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] with the first that is not; [`Error::Io`].
    pub fn check_unchanged(&self, files: &Files) -> Result<()> {
        let now = list(files)?;
        if now == self.files {
            return Ok(());
        }
        let changed = self.files.iter().find(|file| !now.contains(file));
        let changed = changed.or_else(|| now.iter().find(|file| !self.files.contains(file)));
        let path = changed.map(|file| file.path.clone());
        Err(Error::SourceChanged { path: path.or_else(|| files.from.clone()).unwrap_or_default() })
    }
}

fn list(files: &Files) -> Result<Vec<StampedFile>> {
    let mut all = Vec::new();
    let Some(from) = &files.from else { return Ok(all) };
    let folders = files.folders.iter().map(|folder| from.join(folder));
    for dir in std::iter::once(from.clone()).chain(folders) {
        for name in Sidecars::list(&dir, &files.but)?.names {
            let path = dir.join(&name);
            let stamp = |found: std::io::Result<fs::Metadata>| match found {
                Ok(found) => Ok(Stamp::of(&found)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(Error::SourceChanged { path: path.clone() })
                }
                Err(error) => Err(Error::io("read", &path)(error)),
            };
            let (link, stamp) = (stamp(fs::symlink_metadata(&path))?, stamp(fs::metadata(&path))?);
            all.push(StampedFile { name, path, stamp, link });
        }
    }
    Ok(all)
}
