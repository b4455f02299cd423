//! Checkpoints of low-rank adapters: `weights/` has the adapter alone, and says where its model is.

use super::{Base, GPTModel, Lora, ModelError};
use crate::base::json;
use crate::checkpoint::{Small, Tensors, WEIGHTS, look};
use crate::engine::read_tensor;
use crate::plan::{Finding, FindingKind};
use crate::store::Source;
use crate::{Cancel, Error, Result};
use candle_core::{DType, Device, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// NeMo's file in `weights/` that says what an adapter adapts.
pub(crate) const ADAPTER_METADATA: &str = "adapter_metadata.json";

/// What NeMo keeps beside the tensors of an adapter, and the adapter itself, which it keeps
/// elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AdapterMetadata {
    /// The checkpoint of the model that is adapted.
    pub model_ckpt_path: PathBuf,
    pub peft: Lora,
}

/// An adapter that was read.
#[derive(Clone, Debug)]
pub(crate) struct LoadedAdapter {
    pub metadata: AdapterMetadata,
    /// In f32, under NeMo's names.
    pub tensors: BTreeMap<String, Tensor>,
}

impl AdapterMetadata {
    /// That of the checkpoint at `path`; `None` if it is no adapter's.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be understood, or is no adapter;
    /// [`Io`](crate::store::Error::Io).
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let path = path.join(WEIGHTS).join(ADAPTER_METADATA);
        let metadata: AdapterMetadata = match Small::read(&path)? {
            Small::Read(bytes) => parse(&path, &bytes)?,
            Small::Absent => return Ok(None),
            Small::Unreasonable => return Err(refused(&path, "is no file of reasonable length")),
        };
        let mut findings = Vec::new();
        metadata.peft.check(&mut findings);
        for finding in &mut findings {
            finding.subject = format!("{}: {}", path.display(), finding.subject);
        }
        if findings.is_empty() { Ok(Some(metadata)) } else { Err(Error::refused(findings)) }
    }

    /// The checkpoint of the model that the adapter at `path` adapts: `given`, or else where the
    /// adapter says that it is. If the adapter's run recorded what it began with, it is that model.
    ///
    /// # Errors
    /// [`ModelError::NoBase`] if it is not where it was; [`Error::Refused`] if it is an adapter
    /// itself, or another model.
    pub fn base(&self, path: &Path, given: Option<&Path>, cancel: &Cancel) -> Result<PathBuf> {
        let base = given.unwrap_or(&self.model_ckpt_path);
        if !look::exists(base)? {
            let (adapter, base) = (path.into(), base.into());
            return Err(ModelError::NoBase { adapter, base }.into());
        }
        if look::exists(&base.join(WEIGHTS).join(ADAPTER_METADATA))? {
            let problem = format!(
                "adapts {}, which is an adapter itself; merge that into its model first",
                base.display()
            );
            return Err(refused(&path.join(WEIGHTS).join(ADAPTER_METADATA), problem));
        }
        match Base::recorded(path)? {
            Some(recorded) => Ok(recorded.found_at(base, path, cancel)?.path),
            None => Ok(base.into()),
        }
    }
}

impl LoadedAdapter {
    /// Reads the tensors of the adapter at `path`, and holds them against the `model` that it is
    /// for.
    ///
    /// # Errors
    /// [`Error::Refused`] with each that is missing, is of another shape or type, or of no
    /// projection; as [`read_tensors`].
    pub fn read(path: &Path, metadata: AdapterMetadata, model: &mut GPTModel) -> Result<Self> {
        let tensors = read_tensors(&path.join(WEIGHTS), model.device())?;
        let mut wanted = metadata.peft.shapes(model);
        let mut findings = Vec::new();
        for (name, tensor) in &tensors {
            let problem = match wanted.remove(name) {
                Some(shape) if tensor.dims() == shape && tensor.dtype() == DType::F32 => continue,
                Some(shape) => {
                    let (dtype, found) = (tensor.dtype(), tensor.dims());
                    format!("is {dtype:?} {found:?}; it should be F32 {shape:?}")
                }
                None => "is of no projection that this adapter is for".into(),
            };
            findings.push(Finding::new(FindingKind::Shape, name, problem));
        }
        findings.extend(wanted.into_keys().map(|name| {
            Finding::new(FindingKind::MissingSource, name, "is not in the adapter's checkpoint")
        }));
        if findings.is_empty() {
            Ok(LoadedAdapter { metadata, tensors })
        } else {
            Err(Error::refused(findings))
        }
    }

    /// Puts it on its model.
    pub fn put_on(&self, model: &mut GPTModel) {
        self.metadata.peft.put_on(model, &self.tensors);
    }
}

/// All tensors in a folder.
///
/// # Errors
/// [`Error::Refused`] with what is wrong with its files; [`Io`](crate::store::Error::Io).
pub(crate) fn read_tensors(dir: &Path, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let source = Tensors::open(dir)?;
    let findings = source.findings(&dir.display().to_string());
    if !findings.is_empty() {
        return Err(Error::refused(findings));
    }
    let tensors = source.tensors().iter();
    tensors.map(|info| Ok((info.name.clone(), read_tensor(&source, info, device)?))).collect()
}

/// What the file at `path` says, which is JSON.
pub(crate) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    json::config(bytes).map_err(|problem| refused(path, problem))
}

/// About one file.
pub(crate) fn refused(path: &Path, problem: impl Into<String>) -> Error {
    let subject = path.display().to_string();
    Error::refused(vec![Finding::new(FindingKind::Files, subject, problem)])
}
