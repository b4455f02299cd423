//! Conversions that are kept: what was converted once, from the same source in the same way, is not
//! converted again.
//!
//! They lie below `connector` in `NEMO_HOME`. NeMo's own key is the source's address alone, so that
//! a new revision, another type or an edited transform gets the old result; here all of it is in the
//! key. An entry appears whole, under its final name, or not at all.

mod entry;
mod filesystem;
mod key;
mod nemo;

pub use entry::{Entry, Swept};
pub use nemo::nemo_place;

use super::{Planned, Record};
use crate::engine::Progress;
use crate::store::{
    self, Overwrite, POLL, Staging, clear_up, is_left, remove_output, tidy, unfinished,
};
use crate::{Error, Result};
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

/// The folder of conversions.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// A conversion that is in the cache now.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cached {
    /// It was there, or another process made it meanwhile.
    Found(Entry),
    /// It was made.
    Made(PathBuf, Box<Record>),
}

impl Cached {
    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            Cached::Found(entry) => &entry.path,
            Cached::Made(path, _) => path,
        }
    }
}

impl Cache {
    /// The cache of this user: `connector` in `NEMO_HOME`, or in `~/.cache/nemo`.
    pub fn from_env() -> Self {
        let var = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        Cache { root: nemo::home(var).join("connector") }
    }

    /// The cache in the folder `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Cache { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the result of `planned` is or will be.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io) if the source cannot be read.
    pub fn place(&self, planned: &Planned) -> Result<PathBuf> {
        Ok(self.root.join(key::place(planned)?))
    }

    /// The result of `planned`, if it is there and whole. What a run that was killed left beside it
    /// is removed.
    ///
    /// # Errors
    /// As [`place`](Self::place); [`SourceChanged`](crate::store::Error::SourceChanged).
    pub fn find(&self, planned: &Planned) -> Result<Option<Entry>> {
        found(planned, &self.place(planned)?)
    }

    /// The result of `planned`: what is there, or else converted. If another process is converting
    /// the same, it is waited for; `waiting` is told once who that is.
    ///
    /// With [`Overwrite::Yes`] it is converted in any case. An entry that is damaged is replaced.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt).
    pub fn convert(
        &self,
        planned: &Planned,
        overwrite: Overwrite,
        progress: &dyn Progress,
        waiting: impl FnOnce(&str),
    ) -> Result<Cached> {
        let place = self.place(planned)?;
        let (mut again, mut waiting) = (overwrite == Overwrite::Yes, Some(waiting));
        loop {
            if !again && let Some(entry) = found(planned, &place)? {
                return Ok(Cached::Found(entry));
            }
            let replaced = Overwrite::from(again || Entry::at(&place)?.is_some());
            // Always on the disk before it appears: half an entry would be found again.
            match planned.run_over(&place, replaced, true, progress) {
                Ok(record) => return Ok(Cached::Made(place, record.into())),
                Err(Error::Store(store::Error::Locked { owner, .. })) => {
                    // What the other one makes is new enough.
                    again = false;
                    if let Some(tell) = waiting.take() {
                        tell(owner.as_deref().unwrap_or("another process"));
                    }
                    planned.cancel().check()?;
                    thread::sleep(POLL);
                }
                // Made by another process between our two looks; if it is no entry, told as such.
                Err(Error::Store(store::Error::OutputExists { .. })) => {
                    Staging::check(&place, Overwrite::Yes)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Refuses what [`convert`](Self::convert) would refuse of the place of `planned`.
    ///
    /// # Errors
    /// As [`Planned::check`].
    pub fn check(&self, planned: &Planned) -> Result<()> {
        let place = self.place(planned)?;
        Staging::check(&place, Overwrite::Yes)?;
        planned.check_over(&place)
    }

    /// Everything that is in it, damaged or not, sorted by place.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for model in self.models()? {
            for path in folders(&model)? {
                entries.extend(Entry::at(&path)?);
            }
        }
        Ok(entries)
    }

    /// The entries of a model, `org/name`, or the one at a path or place below the folder; none if
    /// that is the folder itself, or around it.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn entries_of(&self, name: &str) -> Result<Vec<Entry>> {
        let mut entries = self.entries()?;
        let place = self.root.join(name.trim_start_matches("hf://"));
        let is_inside = place != self.root && place.starts_with(&self.root);
        entries.retain(|entry| is_inside && entry.path.starts_with(&place));
        Ok(entries)
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// [`Error::NotOurs`] if it is not [ours](Entry::is_ours);
    /// [`Locked`](crate::store::Error::Locked) if it is being written;
    /// [`Io`](crate::store::Error::Io).
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        // Looked at again: it may be old, or made by hand.
        if !Entry::at(&entry.path)?.is_some_and(|now| now.is_ours) {
            return Err(Error::NotOurs { path: entry.path.clone() });
        }
        remove_output(&entry.path)?;
        // The folders of the model and its organisation, if nothing else is in them.
        entry.path.parent().map_or(Ok(()), |dir| self.remove_empty(dir))
    }

    /// Removes what runs that were killed left, entries that are damaged, and, if asked for, those
    /// that were made longer ago than `older`. With `dry_run` it only says what it would.
    ///
    /// What a process is writing stays.
    ///
    /// # Errors
    /// [`Io`](crate::store::Error::Io).
    pub fn sweep(&self, older: Option<Duration>, dry_run: bool) -> Result<Vec<Swept>> {
        let mut swept = Vec::new();
        for model in self.models()? {
            for output in unfinished(&model)? {
                let name = output.file_name().unwrap_or_default().to_str();
                if !name.is_some_and(key::is_name) {
                    continue;
                }
                if if dry_run { is_left(&output)? } else { clear_up(&output)? } {
                    swept.push(Swept { path: output, why: "left by a run that was killed" });
                }
            }
        }
        for entry in self.entries()? {
            let age = SystemTime::now().duration_since(entry.converted).unwrap_or_default();
            let why = match older {
                _ if !entry.is_ours => continue,
                _ if entry.damage.is_some() => "damaged",
                Some(older) if age > older => "old",
                _ => continue,
            };
            match if dry_run { Ok(()) } else { self.remove(&entry) } {
                Ok(()) => swept.push(Swept { path: entry.path, why }),
                Err(Error::Store(store::Error::Locked { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        if !dry_run {
            // What a removal that was killed left; a folder with anything in it stays.
            for model in self.models()? {
                self.remove_empty(&model)?;
            }
        }
        Ok(swept)
    }

    /// Removes a folder that is empty, and those above it that then are.
    fn remove_empty(&self, dir: &Path) -> Result<()> {
        for dir in dir.ancestors().take_while(|dir| *dir != self.root) {
            match fs::remove_dir(dir) {
                Ok(()) => {}
                Err(error) => match error.kind() {
                    // Something is in it, or another process was faster.
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => break,
                    ErrorKind::NotFound => {}
                    _ => return Err(store::Error::io("remove", dir)(error).into()),
                },
            }
        }
        Ok(())
    }

    /// The folders of models.
    fn models(&self) -> Result<Vec<PathBuf>> {
        let mut models = Vec::new();
        for organisation in folders(&self.root)? {
            models.extend(folders(&organisation)?);
        }
        Ok(models)
    }
}

/// The result of `planned` in its `place`, if it is there and whole.
fn found(planned: &Planned, place: &Path) -> Result<Option<Entry>> {
    let entry = Entry::at(place)?.filter(|entry| entry.damage.is_none());
    if entry.is_some() {
        planned.check_unchanged()?;
        tidy(place);
    }
    Ok(entry)
}

/// The folders in `dir` that are not hidden, sorted; none if there is no `dir`. Links are not
/// followed: what they lead to is not in the cache.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(store::Error::io("read", dir))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(store::Error::io("read", dir))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let kind = entry.file_type().map_err(store::Error::io("read", dir))?;
        if !hidden && kind.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}
