//! NeMo's `AutoResume`: where training begins.

use super::{AutoModel, ImportOptions};
use crate::checkpoint::{MegatronCheckpoint, look};
use crate::plan::{Finding, FindingKind};
use crate::store;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What training begins with: the last checkpoint of an earlier run if there is one, else a model
/// that is imported. The fields are NeMo's.
///
/// ```
/// use connector_core::AutoResume;
/// use connector_core::connector::Resume;
/// # let scratch = tempfile::tempdir()?;
/// # let log_dir = scratch.path();
///
/// let resume = AutoResume {
///     resume_from_directory: Some(log_dir.join("checkpoints")),
///     resume_if_exists: true,
///     resume_ignore_no_checkpoint: true,
///     // import_path: Some("hf://mistralai/Mistral-7B-v0.1".into()),
///     ..AutoResume::default()
/// };
///
/// assert_eq!(resume.setup()?, Resume::Fresh);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AutoResume {
    /// A checkpoint of a training run; goes before all others.
    pub resume_from_path: Option<PathBuf>,
    /// The folder in which a training run keeps its checkpoints.
    pub resume_from_directory: Option<PathBuf>,
    /// Whether the last checkpoint in that folder is looked for.
    pub resume_if_exists: bool,
    /// Whether training may go on after a checkpoint that ended a run (`…-end`).
    pub resume_past_end: bool,
    /// Whether it is no error that there is no checkpoint, though one was looked for.
    pub resume_ignore_no_checkpoint: bool,
    /// The model to begin with: a path, or `hf://org/name[@revision]`. What an import or training
    /// wrote is taken as it is. A run that goes on must have begun with it.
    pub import_path: Option<String>,
    /// How it is imported.
    pub options: ImportOptions,
}

/// What training begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resume {
    /// A checkpoint of a training run, with its optimizer state and step.
    Trained(PathBuf),
    /// A model that was imported, now or before: weights only.
    Imported(PathBuf),
    /// Nothing: parameters are initialised.
    Fresh,
}

impl AutoResume {
    /// Finds it, and imports if that is what is left.
    ///
    /// # Errors
    /// [`Error::Refused`] if a checkpoint is asked for and there is none, several are the last one,
    /// or the run has ended; as [`AutoModel::import_ckpt`].
    pub fn setup(&self) -> Result<Resume> {
        if let Some(path) = &self.resume_from_path {
            fs::metadata(path).map_err(store::Error::io("find", path))?;
            return Ok(Resume::Trained(path.clone()));
        }
        if self.resume_if_exists
            && let Some(path) = self.last()?
        {
            return Ok(Resume::Trained(path));
        }
        Ok(self.base()?.map_or(Resume::Fresh, Resume::Imported))
    }

    /// The checkpoint of the model that [`import_path`](Self::import_path) means.
    ///
    /// # Errors
    /// As [`AutoModel::import_ckpt`].
    pub(crate) fn base(&self) -> Result<Option<PathBuf>> {
        let source = self.import_path.as_deref().map(Path::new);
        source.map(|source| imported(source, self.options.clone())).transpose()
    }

    /// The last checkpoint of the run.
    fn last(&self) -> Result<Option<PathBuf>> {
        let Some(dir) = &self.resume_from_directory else { return Ok(None) };
        let refuse = |problem: &str, note: &str| {
            let subject = dir.display().to_string();
            Err(Error::refused(vec![Finding::new(FindingKind::Files, subject, problem).note(note)]))
        };
        let ended = ending(dir, "-end")?;
        let mut last = ending(dir, "-last")?;
        match (ended.as_slice(), last.len()) {
            ([_, _, ..], _) => {
                refuse("has several checkpoints that end a run", "remove all but one")
            }
            ([end], _) if self.resume_past_end => Ok(Some(end.clone())),
            ([end], _) => {
                let note = format!("set resume_past_end to go on after {}", end.display());
                refuse("holds a run that has ended", &note)
            }
            ([], 1) => Ok(last.pop()),
            ([], 0) if self.resume_ignore_no_checkpoint => Ok(None),
            ([], 0) => {
                let note = "set resume_ignore_no_checkpoint to begin without one";
                refuse("has no checkpoint to resume from", note)
            }
            ([], _) => {
                refuse("has several last checkpoints", "name one of them, or remove all but one")
            }
        }
    }
}

/// The checkpoint that `source` means: itself if an import or training wrote it, else what an import
/// of it is in the cache.
///
/// # Errors
/// As [`AutoModel::import_ckpt`].
pub(crate) fn imported(source: &Path, options: ImportOptions) -> Result<PathBuf> {
    match MegatronCheckpoint::is_at(source)? {
        true => Ok(source.into()),
        false => AutoModel::import_ckpt(source, None, options),
    }
}

/// The folder of a run's checkpoints.
#[cfg(any(feature = "cli", feature = "train"))]
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// The last checkpoint of the run in the folder `path`; `path` itself if it is no run's.
///
/// # Errors
/// [`Error::Refused`] if it is not clear which is the last one.
#[cfg(feature = "cli")]
pub(crate) fn last_of_run(path: PathBuf) -> Result<PathBuf> {
    let checkpoints = path.join(CHECKPOINTS);
    let is_run = look::is_dir(&checkpoints)?
        && !look::exists(&path.join(crate::checkpoint::CONFIG_JSON))?
        && !MegatronCheckpoint::is_at(&path)?;
    let resume = AutoResume {
        resume_from_directory: is_run.then_some(checkpoints),
        resume_past_end: true,
        resume_ignore_no_checkpoint: true,
        ..AutoResume::default()
    };
    Ok(resume.last()?.unwrap_or(path))
}

/// The checkpoints in `dir` whose names end so, but for those that are unfinished: NeMo puts a file
/// `NAME-unfinished` beside a checkpoint for as long as it writes it.
fn ending(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !look::exists(dir)? {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).map_err(store::Error::io("read", dir))? {
        let entry = entry.map_err(store::Error::io("read", dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending)
            && look::is_dir(&entry.path())?
            && !look::exists(&dir.join(format!("{name}-unfinished")))?
        {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resume(names: &[&str], change: impl FnOnce(&mut AutoResume)) -> Result<Option<String>> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            match name.ends_with("-unfinished") {
                true => fs::write(dir.path().join(name), "").unwrap(),
                false => fs::create_dir(dir.path().join(name)).unwrap(),
            }
        }
        let mut resume = AutoResume {
            resume_from_directory: Some(dir.path().into()),
            resume_if_exists: true,
            ..AutoResume::default()
        };
        change(&mut resume);
        Ok(match resume.setup()? {
            Resume::Trained(path) => Some(path.file_name().unwrap().to_str().unwrap().into()),
            _ => None,
        })
    }

    #[test]
    fn the_last_checkpoint_goes_first() {
        let plain = |_: &mut AutoResume| {};
        assert_eq!(resume(&["a--0.1-last", "a--0.2"], plain).unwrap().unwrap(), "a--0.1-last");
        let past = |resume: &mut AutoResume| resume.resume_past_end = true;
        assert_eq!(resume(&["a-last", "a-end"], past).unwrap().unwrap(), "a-end");
        let unfinished = &["a-last", "b-last", "b-last-unfinished"];
        assert_eq!(resume(unfinished, plain).unwrap().unwrap(), "a-last");
        let ignore = |resume: &mut AutoResume| resume.resume_ignore_no_checkpoint = true;
        assert_eq!(resume(&["a--0.2"], ignore).unwrap(), None);
        let off = |resume: &mut AutoResume| resume.resume_if_exists = false;
        assert_eq!(resume(&["a-last"], off).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_decided_is_refused() {
        for (names, want) in [
            (&["a--0.2"][..], "resume_ignore_no_checkpoint"),
            (&["a-last", "b-last"], "several last checkpoints"),
            (&["a-last", "a-end"], "resume_past_end"),
            (&["a-end", "b-end"], "several checkpoints that end"),
            (&["a-last", "a-last-unfinished"], "no checkpoint to resume from"),
        ] {
            let error = resume(names, |_| {}).unwrap_err().to_string();
            assert!(error.contains(want), "{names:?}: {error}");
        }
    }
}
