use super::fields::{FieldLog, FieldReport, Fields};
use super::safetensors::Reader;
use crate::plan::{Finding, FindingKind};
use crate::store::Source;
use crate::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A Hugging Face checkpoint on disk: a directory with `config.json`, tokenizer files and weights.
pub struct Checkpoint {
    path: PathBuf,
    config: Option<Value>,
    /// `config.json` as it was read.
    config_text: Vec<u8>,
    source: Box<dyn Source>,
    log: Mutex<FieldLog>,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`, a directory or a single `.safetensors` file. Headers and
    /// `config.json` are read, tensors are not.
    ///
    /// What is wrong with the files does not stop it and is among [`Checkpoint::findings`].
    ///
    /// # Errors
    /// If there is no checkpoint of safetensors files, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let reader = Reader::open(path)?;
        let mut log = FieldLog::default();
        let problems = reader.problems().iter();
        log.findings.extend(
            problems
                .map(|problem| Finding::new(FindingKind::Files, "weights", problem.to_string())),
        );
        let mut config_text = Vec::new();
        let config = if path.is_dir() {
            read_config(path, &mut config_text, &mut log)?
        } else {
            let problem = "one file of tensors is not a checkpoint; give the directory it is in";
            log.findings.push(Finding::new(FindingKind::Config, "config.json", problem));
            None
        };
        let (path, source) = (path.to_path_buf(), Box::new(reader));
        Ok(Checkpoint { path, config, config_text, source, log: Mutex::new(log) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole `config.json`; `None` if there is none or it is malformed.
    pub fn config(&self) -> Option<&Value> {
        self.config.as_ref()
    }

    /// The bytes of `config.json` from which the config was read.
    pub(crate) fn config_text(&self) -> &[u8] {
        &self.config_text
    }

    /// Reads fields of `config.json`, and keeps account of which were used.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(self.config.as_ref().unwrap_or(&Value::Null), &self.log)
    }

    /// The names in the config's `architectures`.
    pub fn architectures(&self) -> Vec<&str> {
        let list = self.config.as_ref().and_then(|config| config.get("architectures")?.as_array());
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The tensors.
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// What is wrong so far: with the files, and with the fields that were read.
    pub fn findings(&self) -> Vec<Finding> {
        self.log().findings.clone()
    }

    /// What became of each field of the config that was read.
    pub fn field_report(&self) -> FieldReport {
        self.log().report.clone()
    }

    /// The repository and revision, if the directory is a snapshot in a hub cache
    /// (`models--org--name/snapshots/REVISION`).
    pub fn hub_revision(&self) -> Option<(String, String)> {
        let path = self.path.canonicalize().ok()?;
        let revision = path.file_name()?.to_str()?;
        let snapshots = path.parent()?;
        let repository = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
        let is_snapshot = snapshots.file_name()? == "snapshots";
        is_snapshot.then(|| (repository.replace("--", "/"), revision.to_string()))
    }

    fn log(&self) -> std::sync::MutexGuard<'_, FieldLog> {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The longest `config.json`. Real ones have a few kilobytes; what is longer is something else.
const LONGEST_CONFIG: u64 = 16 << 20;

/// `config.json`, or a finding that says why there is none.
fn read_config(dir: &Path, text: &mut Vec<u8>, log: &mut FieldLog) -> Result<Option<Value>> {
    let path = dir.join("config.json");
    let finding = |problem| Finding::new(FindingKind::Config, "config.json", problem);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let note =
                "without it nothing tells which model this is; copy it from the model's page";
            log.findings.push(finding("is not in the checkpoint".into()).note(note));
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    // Looked at before it is opened: opening a pipe would wait for its other end.
    if !metadata.is_file() || metadata.len() > LONGEST_CONFIG {
        log.findings.push(finding("is not a file of reasonable length".into()));
        return Ok(None);
    }
    *text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    match serde_json::from_slice::<Value>(text) {
        Ok(config) if config.is_object() => Ok(Some(config)),
        Ok(_) => {
            log.findings.push(finding("is not a JSON object".into()));
            Ok(None)
        }
        Err(error) => {
            log.findings.push(finding(format!("is not JSON: {error}")));
            Ok(None)
        }
    }
}
