//! The directory that import writes: NeMo 2's `weights/` and `context/`.

use super::directory::json_object;
use super::safetensors::Reader;
use super::small::Small;
use crate::Result;
use crate::plan::{Finding, FindingKind};
use crate::store::Source;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the tensors.
pub(crate) const WEIGHTS: &str = "weights";
/// The folder of everything else.
pub(crate) const CONTEXT: &str = "context";
/// The model's type and config, in [`CONTEXT`].
pub(crate) const MODEL_YAML: &str = "model.yaml";
/// The format's config, in [`CONTEXT`] as it was imported.
pub(crate) const CONFIG_JSON: &str = "config.json";

/// A checkpoint as import writes it and training goes on with it: `weights/` in safetensors,
/// `context/model.yaml` with the model's config, and beside it the files of the original.
pub struct NemoCheckpoint {
    path: PathBuf,
    reader: Reader,
    model: Option<Text<ModelYaml>>,
    original: Option<Text<Value>>,
    findings: Vec<Finding>,
}

/// A file's bytes and what they say.
struct Text<T> {
    bytes: Vec<u8>,
    value: T,
}

/// `model.yaml`, of which NeMo writes more.
#[derive(Deserialize)]
struct ModelYaml {
    #[serde(rename = "_target_")]
    target: String,
    config: Value,
}

impl NemoCheckpoint {
    /// Whether the directory `path` is laid out so.
    pub fn is_at(path: &Path) -> bool {
        path.join(WEIGHTS).is_dir() && !path.join(CONFIG_JSON).exists()
    }

    /// Opens the checkpoint at `path`. Headers and configs are read, tensors are not.
    ///
    /// What is wrong with the files does not stop it and is among
    /// [`findings`](NemoCheckpoint::findings).
    ///
    /// # Errors
    /// If `weights/` holds no safetensors files, or the system refuses to read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let reader = Reader::open(path.join(WEIGHTS))?;
        let mut findings: Vec<Finding> = reader
            .problems()
            .iter()
            .map(|problem| Finding::new(FindingKind::Files, WEIGHTS, problem.to_string()))
            .collect();
        let context = path.join(CONTEXT);
        let model = read(&context, MODEL_YAML, &mut findings, model_yaml)?;
        if model.is_none() && findings.is_empty() {
            let note = "it says which model this is and how large; `connector import` writes it";
            let finding = config_finding(MODEL_YAML, "is not in the checkpoint").note(note);
            findings.push(finding);
        }
        let original = read(&context, CONFIG_JSON, &mut findings, json_object)?;
        Ok(NemoCheckpoint { path: path.into(), reader, model, original, findings })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors.
    pub fn source(&self) -> &dyn Source {
        &self.reader
    }

    /// The name of the model's type, `LlamaModel`; NeMo writes its module before it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|model| {
            let target = model.value.target.as_str();
            target.rsplit('.').next().unwrap_or(target)
        })
    }

    /// The model's config.
    pub fn config(&self) -> Option<&Value> {
        self.model.as_ref().map(|model| &model.value.config)
    }

    /// The format's config as it was imported, if it is still there.
    pub fn original(&self) -> Option<&Value> {
        self.original.as_ref().map(|original| &original.value)
    }

    /// The bytes of [`original`](NemoCheckpoint::original).
    pub(crate) fn original_bytes(&self) -> &[u8] {
        self.original.as_ref().map_or(&[], |original| &original.bytes)
    }

    /// What is wrong with the files.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The files in `context/` that were read, and their bytes.
    pub(crate) fn files_read(&self) -> Vec<(&'static str, Vec<u8>)> {
        let model = self.model.as_ref().map(|model| (MODEL_YAML, model.bytes.clone()));
        let original = self.original.as_ref().map(|original| (CONFIG_JSON, original.bytes.clone()));
        model.into_iter().chain(original).collect()
    }
}

/// A finding about a file in `context/`.
fn config_finding(name: &str, problem: impl Into<String>) -> Finding {
    Finding::new(FindingKind::Config, format!("{CONTEXT}/{name}"), problem)
}

/// Reads a file in `context/`; what is wrong with it is a finding.
fn read<T>(
    context: &Path,
    name: &str,
    findings: &mut Vec<Finding>,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Option<Text<T>>> {
    let problem = match Small::read(&context.join(name))? {
        Small::Absent => return Ok(None),
        Small::Unreasonable => "is not a file of reasonable length".into(),
        Small::Read(bytes) => match parse(&bytes) {
            Ok(value) => return Ok(Some(Text { bytes, value })),
            Err(problem) => problem,
        },
    };
    findings.push(config_finding(name, problem));
    Ok(None)
}

fn model_yaml(bytes: &[u8]) -> Result<ModelYaml, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        format!("is not a model's config: {}", error.lines().next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_type_and_a_config() {
        let read = |text: &str| model_yaml(text.as_bytes());
        let yaml = read("_target_: nemo.collections.llm.LlamaModel\nconfig:\n  x: 1\nmore: 2\n");
        assert_eq!(yaml.map(|yaml| yaml.config["x"].clone()), Ok(1.into()));
        for (text, want) in [
            ("", "is not a model's config: unexpected end"),
            ("config: {}", "_target_"),
            ("_target_: M", "config"),
            ("_target_: [1]\nconfig: {}", "is not a model's config"),
            ("a: &a [*a]", "is not a model's config"),
            ("\t:", "is not a model's config"),
        ] {
            let problem = read(text).err().unwrap_or_default();
            assert!(problem.contains(want), "{text:?}: {problem}");
        }
        assert_eq!(model_yaml(b"\xff").err().unwrap_or_default(), "is not UTF-8");
    }
}
