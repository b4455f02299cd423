//! The model that a run began with, or an adapter is on: where it is, and how it is known again.

use super::refused;
use crate::base::parallel::{cores, in_parallel};
use crate::checkpoint::{MegatronCheckpoint, Small, Tensors};
use crate::connector::{ImportOptions, hash, imported};
use crate::store::{self, Source, TRAINING_JSON};
use crate::{Cancel, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What `training.json` says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// Its checkpoint, where it was found last.
    pub path: PathBuf,
    /// A hash of the contents of all its tensors, which does not depend on the container or on how
    /// they are spread over files. A hash of the headers is not enough: a model and its fine-tuned
    /// version have the same headers.
    pub tensors: String,
}

impl Base {
    /// The model in the checkpoint at `path`, every byte of which is read.
    ///
    /// # Errors
    /// As [`Tensors::open`]; [`Error::Refused`] if its files are damaged; [`Error::Cancelled`].
    pub fn of(path: &Path, cancel: &Cancel) -> Result<Self> {
        let dir = MegatronCheckpoint::weights(path, None)?;
        let source = Tensors::open(&dir)?;
        let findings = source.findings(&dir.display().to_string());
        if !findings.is_empty() {
            return Err(Error::refused(findings));
        }
        let tensors = source.tensors();
        let mut lines = in_parallel(cores(), tensors.len(), |number| -> Result<_> {
            cancel.check()?;
            let tensor = &tensors[number];
            let hash = hash(&source, tensor)?;
            Ok(format!("{:?} {} {:?} {hash}\n", tensor.name, tensor.dtype, tensor.shape))
        })?;
        lines.sort_unstable();
        let tensors = blake3::hash(lines.concat().as_bytes()).to_hex().to_string();
        Ok(Base { path: fs::canonicalize(path).map_err(store::Error::io("find", path))?, tensors })
    }

    /// What the run whose checkpoint is at `path` recorded; `None` if that is no run's, or of a
    /// version that did not record it.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is damaged; [`Io`](crate::store::Error::Io).
    pub fn recorded(path: &Path) -> Result<Option<Self>> {
        #[derive(Default, Deserialize)]
        struct Record {
            #[serde(default)]
            base: Option<Base>,
        }
        let path = path.join(TRAINING_JSON);
        let record: Record = match Small::read(&path)? {
            Small::Read(bytes) => super::parse(&path, &bytes)?,
            Small::Absent => Record::default(),
            Small::Unreasonable => return Err(refused(&path, "is no file of reasonable length")),
        };
        Ok(record.base)
    }

    /// The model that `source` means, whichever command made it: of a run's checkpoint the one that
    /// the run began with.
    ///
    /// # Errors
    /// As [`of`](Self::of) and [`recorded`](Self::recorded).
    #[cfg(feature = "train")]
    pub fn behind(source: &Path, cancel: &Cancel) -> Result<Self> {
        Base::recorded(source)?.map_or_else(|| Base::of(source, cancel), Ok)
    }

    /// The same model, found at `path`.
    ///
    /// # Errors
    /// As [`imported`] and [`of`](Self::of); [`Error::Refused`] if it is another one, with
    /// `subject`, what goes with it.
    pub fn found_at(&self, path: &Path, subject: &Path, cancel: &Cancel) -> Result<Self> {
        let options = ImportOptions { cancel: cancel.clone(), ..ImportOptions::default() };
        let found = Base::of(&imported(path, options)?, cancel)?;
        if found.tensors != self.tensors {
            return Err(self.is_not(&found, subject));
        }
        Ok(found)
    }

    /// The refusal of another model than this one.
    pub fn is_not(&self, other: &Base, subject: &Path) -> Error {
        let began = self.path.display();
        let problem = match self.path == other.path {
            true => format!("began with another model than the one that is in {began} now"),
            false => {
                let other = other.path.display();
                format!("began with the model in {began}; that in {other} is another one")
            }
        };
        let help = "give that which it began with, or begin a new run";
        refused(subject, format!("{problem}: their tensors differ; {help}"))
    }
}
