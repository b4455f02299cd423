use super::fields::{FieldLog, FieldReport, Fields};
use super::files::Form;
use super::small::Small;
use super::{Tensors, form_at, look, torch_save};
use crate::base::{Finding, FindingKind, json};
use crate::checkpoint::Result;
use crate::store::{self, FileId, Source, TensorInfo};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A Hugging Face checkpoint on disk: a directory with `config.json`, tokenizer files and weights.
pub struct HfCheckpoint {
    path: PathBuf,
    config: Option<Value>,
    /// `config.json` as it was read.
    config_text: Vec<u8>,
    source: Box<dyn Source>,
    /// The repository and revision, if it is a snapshot in a hub cache.
    revision: Option<(String, String)>,
    log: Mutex<FieldLog>,
}

impl HfCheckpoint {
    /// Opens the checkpoint at `path`, a directory or a single file of tensors: safetensors, or where
    /// there are none a `pytorch_model.bin`, as transformers does. Headers and `config.json` are
    /// read, tensors are not.
    ///
    /// What is wrong with the files does not stop it and is among [`HfCheckpoint::findings`].
    ///
    /// # Errors
    /// If there is no checkpoint of either kind, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        HfCheckpoint::open_in(form_at(path)?, path)
    }

    /// Opens the checkpoint whose weights `torch.save` wrote, whatever else is there.
    ///
    /// # Errors
    /// As [`open`](HfCheckpoint::open).
    pub fn open_torch_save(path: impl AsRef<Path>) -> Result<Self> {
        HfCheckpoint::open_in(&torch_save::FORM, path.as_ref())
    }

    fn open_in(form: &Form, path: &Path) -> Result<Self> {
        let mut log = FieldLog::default();
        let tensors = Tensors::open_in(form, path)?;
        log.findings.extend(tensors.findings("weights"));
        let mut config_text = Vec::new();
        let config = if look::is_dir(path)? {
            read_config(path, &mut config_text, &mut log)?
        } else {
            let problem = "one file of tensors is not a checkpoint; give the directory it is in";
            log.findings.push(Finding::new(FindingKind::Config, "config.json", problem));
            None
        };
        let revision = hub_revision(path)?;
        let (path, source, log) = (path.to_path_buf(), Box::new(tensors), Mutex::new(log));
        Ok(HfCheckpoint { path, config, config_text, source, revision, log })
    }

    /// A checkpoint of which there is only a config, to read its fields.
    pub(crate) fn of_config(config: Value) -> Self {
        HfCheckpoint {
            path: PathBuf::new(),
            config: Some(config),
            config_text: Vec::new(),
            source: Box::new(NoTensors),
            revision: None,
            log: Mutex::default(),
        }
    }

    /// The config of the directory `dir` by itself, whatever tensors are there.
    ///
    /// # Errors
    /// If the system refuses to read.
    pub(crate) fn config_of(dir: &Path) -> Result<Self> {
        let (mut log, mut config_text) = (FieldLog::default(), Vec::new());
        let config = read_config(dir, &mut config_text, &mut log)?;
        let empty = HfCheckpoint::of_config(Value::Null);
        Ok(HfCheckpoint { path: dir.into(), config, config_text, log: Mutex::new(log), ..empty })
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

    /// Takes the user's word that these fields of `config.json` have no effect on what the model
    /// computes: an importer that does not know one carries it.
    pub fn carry(&self, names: &[String]) {
        self.log().carry.extend_from_slice(names);
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
        self.revision.clone()
    }

    fn log(&self) -> std::sync::MutexGuard<'_, FieldLog> {
        self.log.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The repository and revision, if `path` is a snapshot in a hub cache.
///
/// # Errors
/// If the system refuses to look.
pub(crate) fn hub_revision(path: &Path) -> Result<Option<(String, String)>> {
    if !look::exists(path)? {
        return Ok(None);
    }
    let real = path.canonicalize().map_err(store::Error::io("find", path))?;
    Ok(Snapshot::at(&real).map(|Snapshot { repository, revision, .. }| (repository, revision)))
}

/// A snapshot in a hub cache.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// `org/name`.
    pub repository: String,
    pub revision: String,
    /// `models--org--name`, which has the files of all snapshots in `blobs/`.
    pub folder: PathBuf,
}

impl Snapshot {
    /// The snapshot that the directory `path`, free of links, is.
    fn at(path: &Path) -> Option<Self> {
        let revision = path.file_name()?.to_str()?.to_string();
        let snapshots = path.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let folder = snapshots.parent()?.to_path_buf();
        let repository = folder.file_name()?.to_str()?.strip_prefix("models--")?;
        Some(Snapshot { repository: repository.replace("--", "/"), revision, folder })
    }

    /// The snapshot that the directory `path`, free of links, is or lies in.
    pub fn around(path: &Path) -> Option<Self> {
        path.ancestors().find_map(Snapshot::at)
    }
}

/// `config.json`, or a finding that says why there is none.
fn read_config(dir: &Path, text: &mut Vec<u8>, log: &mut FieldLog) -> Result<Option<Value>> {
    let finding = |problem| Finding::new(FindingKind::Config, "config.json", problem);
    let mut refuse = |finding| {
        log.findings.push(finding);
        Ok(None)
    };
    match Small::read(&dir.join("config.json"))? {
        Small::Read(bytes) => *text = bytes,
        Small::Unreasonable => {
            return refuse(finding("is not a file of reasonable length".into()));
        }
        Small::Absent => {
            let note =
                "without it nothing tells which model this is; copy it from the model's page";
            return refuse(finding("is not there".into()).note(note));
        }
    }
    match json_object(text) {
        Ok(config) => Ok(Some(config)),
        Err(problem) => refuse(finding(problem)),
    }
}

/// A JSON object, or what is wrong with the text.
pub(super) fn json_object(text: &[u8]) -> Result<Value, String> {
    match json::config::<Value>(text)? {
        value if value.is_object() => Ok(value),
        _ => Err("is not a JSON object".into()),
    }
}

/// The tensors of a config by itself.
struct NoTensors;

impl Source for NoTensors {
    fn tensors(&self) -> &[TensorInfo] {
        &[]
    }

    fn file_count(&self) -> usize {
        0
    }

    fn path(&self, _: FileId) -> &Path {
        Path::new("")
    }

    fn file_len(&self, _: FileId) -> u64 {
        0
    }

    fn description(&self, _: FileId) -> store::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn read_at(&self, file: FileId, _: u64, _: &mut [u8]) -> store::Result<()> {
        Err(store::Error::io("read", self.path(file))(std::io::ErrorKind::NotFound.into()))
    }

    fn check_unchanged(&self) -> store::Result<()> {
        Ok(())
    }

    fn local_file(&self, _: FileId) -> Option<&File> {
        None
    }
}
