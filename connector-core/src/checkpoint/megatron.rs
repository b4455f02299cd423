//! The directory that import writes: NeMo 2's `weights/` and `context/`; and what training
//! frameworks write.

use super::hf::json_object;
use super::small::Small;
use super::{Home, Tensors, flavor, look, torch_dist};
use crate::base::{Finding, FindingKind, json};
use crate::checkpoint::Result;
use crate::store::{Source, TensorInfo};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the tensors.
pub(crate) const WEIGHTS: &str = "weights";
/// The folder of everything else.
pub(crate) const CONTEXT: &str = "context";
/// The model's type and config, in [`CONTEXT`].
pub(crate) const MODEL_YAML: &str = "model.yaml";
/// The graph of objects of the run that wrote the checkpoint, in [`CONTEXT`]: of use to NeMo alone.
pub(crate) const IO_JSON: &str = "io.json";
/// The folder of [`CONTEXT`] in which NeMo keeps the original's `generation_config.json`.
const ARTIFACTS: &str = "artifacts";
/// The format's config, in [`CONTEXT`] as it was imported.
pub(crate) const CONFIG_JSON: &str = "config.json";

/// A checkpoint as import writes it and training goes on with it: `weights/` in safetensors or
/// torch_dist, `context/model.yaml` with the model's config, and beside it the files of the
/// original. In a directory of Megatron-LM or Megatron-Bridge they are in the folder `tokenizer` of
/// an iteration.
pub struct MegatronCheckpoint {
    path: PathBuf,
    /// The directory of the tensors.
    weights: PathBuf,
    tensors: Tensors,
    /// Where the files beside the tensors are, if there are any.
    context: Option<PathBuf>,
    model: Option<Text<ModelYaml>>,
    original: Option<Text<Value>>,
    findings: Vec<Finding>,
}

/// A file, its bytes and what they say.
struct Text<T> {
    path: PathBuf,
    bytes: Vec<u8>,
    value: T,
}

/// `model.yaml`, of which NeMo writes more.
#[derive(Deserialize)]
struct ModelYaml {
    #[serde(rename = "_target_")]
    target: String,
    config: Value,
    #[serde(default)]
    tokenizer: Value,
}

/// The rows of the embedding.
fn vocab_rows(tensors: &[TensorInfo]) -> Option<usize> {
    let embedding = tensors.iter().find(|t| t.name == "embedding.word_embeddings.weight")?;
    embedding.shape.first().copied()
}

impl ModelYaml {
    /// The name of the model's type, without its module.
    fn name(&self) -> &str {
        self.target.rsplit('.').next().unwrap_or(&self.target)
    }
}

impl MegatronCheckpoint {
    /// Whether the directory `path` is laid out so.
    ///
    /// # Errors
    /// [`Error::Io`](crate::store::Error::Io) if the system refuses to look: whether it is, is not
    /// known.
    pub fn is_at(path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        flavor::is_at(path)
    }

    /// Opens the checkpoint at `path`. Headers and configs are read, tensors are not. The config is as
    /// the file has it: of a framework's checkpoint, as [`TrainedOptions::open`] knows it.
    ///
    /// [`TrainedOptions::open`]: crate::connector::TrainedOptions
    ///
    /// What is wrong with the files does not stop it and is among
    /// [`findings`](MegatronCheckpoint::findings).
    ///
    /// # Errors
    /// If there are no tensors where the layout of the directory has them, or the system refuses to
    /// read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        MegatronCheckpoint::open_iteration(path, None)
    }

    /// As [`open`](MegatronCheckpoint::open): of a directory of several iterations this one, and not the
    /// newest.
    ///
    /// # Errors
    /// As [`open`](MegatronCheckpoint::open); [`NoSuchIteration`](super::Error::NoSuchIteration).
    pub fn open_iteration(path: impl AsRef<Path>, iteration: Option<u64>) -> Result<Self> {
        let path = path.as_ref();
        let Home { weights, beside, name } = Home::of(path, iteration)?;
        let tensors = Tensors::open(&weights)?;
        let mut findings = tensors.findings(WEIGHTS);
        let at = (beside.as_path(), name);
        let model = read(at, MODEL_YAML, &mut findings, model_yaml)?;
        let original = read(at, CONFIG_JSON, &mut findings, json_object)?;
        let context = look::is_dir(&beside)?.then_some(beside);
        Ok(MegatronCheckpoint {
            path: path.into(),
            weights,
            tensors,
            context,
            model,
            original,
            findings,
        })
    }

    /// The directory of the tensors of the checkpoint at `path`, of several iterations of this one or
    /// else the newest.
    ///
    /// # Errors
    /// [`NoIteration`](super::Error::NoIteration) if a directory of Megatron-LM does not say
    /// which iteration is meant, [`TrackedIteration`](super::Error::TrackedIteration),
    /// [`NoSuchIteration`](super::Error::NoSuchIteration).
    pub fn weights(path: impl AsRef<Path>, iteration: Option<u64>) -> Result<PathBuf> {
        let path = path.as_ref();
        Home::of(path, iteration).map(|home| home.weights)
    }

    /// The same tensors, as those of another model: its config and all files beside it are those
    /// of the format's directory `dir`, whose `config.json` is `original`.
    pub(crate) fn described(
        self,
        dir: &Path,
        model: &str,
        config: Value,
        original: (Vec<u8>, Value),
    ) -> Self {
        let model = ModelYaml { target: model.into(), config, tokenizer: Value::Null };
        let path = dir.join(CONFIG_JSON);
        let is_about_files = |finding: &Finding| finding.kind == FindingKind::Files;
        MegatronCheckpoint {
            context: Some(dir.into()),
            model: Some(Text { path: path.clone(), bytes: Vec::new(), value: model }),
            original: Some(Text { path, bytes: original.0, value: original.1 }),
            findings: self.findings.into_iter().filter(is_about_files).collect(),
            ..self
        }
    }

    /// The model's type and config as `model.yaml` has them.
    pub(crate) fn own_description(&self) -> Option<(&str, &Value)> {
        self.model.as_ref().map(|model| (model.value.target.as_str(), &model.value.config))
    }

    /// Says what a framework's config means: the model's type, its config, the file that says so if
    /// it is another than `model.yaml`, and what is wrong with it.
    pub(crate) fn set_description(
        &mut self,
        model: String,
        config: Value,
        file: Option<(PathBuf, Vec<u8>)>,
        findings: Vec<Finding>,
    ) {
        let before = self.model.take();
        let tokenizer =
            before.as_ref().map(|model| model.value.tokenizer.clone()).unwrap_or_default();
        let file = file.or(before.map(|model| (model.path, model.bytes)));
        let (path, bytes) = file.unwrap_or_default();
        let value = ModelYaml { target: model, config, tokenizer };
        self.model = Some(Text { path, bytes, value });
        self.findings.extend(findings);
    }

    /// Adds what else is wrong with the files.
    pub(crate) fn add_findings(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
    }

    /// The directory of the tensors.
    pub(crate) fn weights_dir(&self) -> &Path {
        &self.weights
    }

    /// Names the experts of a mixture as Megatron-core's grouped ones. A distributed checkpoint has
    /// them in one tensor, and names none.
    pub(crate) fn group_experts(&mut self) {
        self.tensors.rename(|name| torch_dist::grouped(&torch_dist::canonical(name)));
    }

    /// The rows of its embedding, if it has one.
    pub(crate) fn vocab_rows(&self) -> Option<usize> {
        vocab_rows(self.tensors.tensors())
    }

    /// The folders of [`context`](Self::context) whose files lie beside the weights in the format's
    /// own directories: NeMo's folder of the tokenizer, and of what was beside the original.
    ///
    /// # Errors
    /// If the system refuses to look.
    pub(crate) fn folders(&self) -> Result<Vec<String>> {
        let tokenizer = self.model.as_ref().map(|model| &model.value.tokenizer);
        let tokenizer = tokenizer.and_then(|config| config["pretrained_model_name"].as_str());
        // Elsewhere it is the name of a model on the hub, or a path of another machine.
        let inside = |name: &&str| !name.contains(['/', '\\']) && !name.starts_with('.');
        let mut folders = Vec::new();
        let Some(context) = &self.context else { return Ok(folders) };
        for name in tokenizer.filter(inside).into_iter().chain([ARTIFACTS]) {
            if look::is_dir(&context.join(name))? {
                folders.push(name.into());
            }
        }
        Ok(folders)
    }

    /// Where the files beside the tensors are, if there are any.
    pub(crate) fn context(&self) -> Option<&Path> {
        self.context.as_deref()
    }

    /// The file that says which model this is, as messages name it: `context/model.yaml`,
    /// `run_config.yaml`, `common.pt`, or the `config.json` that was given for it, with its place.
    pub(crate) fn config_file(&self) -> String {
        let path = self.model.as_ref().map(|model| model.path.as_path());
        match path.zip(path.and_then(Path::file_name)) {
            Some((path, name)) if name == CONFIG_JSON => path.display().to_string(),
            Some((_, name)) if name != MODEL_YAML => name.display().to_string(),
            _ => self.beside(MODEL_YAML),
        }
    }

    /// The format's config as messages name it: `context/config.json`, or that which was given.
    pub(crate) fn original_file(&self) -> String {
        let given = self.config_file();
        if given.ends_with(CONFIG_JSON) { given } else { self.beside(CONFIG_JSON) }
    }

    /// A file beside the tensors, as messages name it.
    fn beside(&self, name: &str) -> String {
        let folder = self.context.as_deref().unwrap_or(Path::new(CONTEXT));
        let file = folder.strip_prefix(&self.path).unwrap_or(folder).join(name);
        file.display().to_string()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors.
    pub fn source(&self) -> &dyn Source {
        &self.tensors
    }

    /// The name of the container that the tensors are in.
    pub fn container(&self) -> &'static str {
        self.tensors.container()
    }

    /// The name of the model's type, `LlamaModel`; NeMo writes its module before it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.value.name())
    }

    /// The model's config.
    pub fn config(&self) -> Option<&Value> {
        self.model.as_ref().map(|model| &model.value.config)
    }

    /// The format's config as it was imported, if it is still there.
    pub fn original(&self) -> Option<&Value> {
        self.original.as_ref().map(|original| &original.value)
    }

    /// The bytes of [`original`](MegatronCheckpoint::original).
    pub(crate) fn original_bytes(&self) -> &[u8] {
        self.original.as_ref().map_or(&[], |original| &original.bytes)
    }

    /// What is wrong with the files.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The files beside the tensors that were read, and their bytes.
    pub(crate) fn files_read(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let model = self.model.as_ref().map(|model| (model.path.clone(), model.bytes.clone()));
        let original = self.original.as_ref();
        let original = original.map(|original| (original.path.clone(), original.bytes.clone()));
        let there = |read: &(_, Vec<u8>)| !read.1.is_empty();
        model.into_iter().chain(original).filter(there).collect()
    }
}

/// A finding about a file in `context/`, or whatever `folder` is called.
fn config_finding(folder: &str, name: &str, problem: impl Into<String>) -> Finding {
    Finding::new(FindingKind::Config, format!("{folder}/{name}"), problem)
}

/// Reads a file in `context/`, a folder and its name; what is wrong with it is a finding.
fn read<T>(
    (context, folder): (&Path, &str),
    name: &str,
    findings: &mut Vec<Finding>,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> Result<Option<Text<T>>> {
    let path = context.join(name);
    let problem = match Small::read(&path)? {
        Small::Absent => return Ok(None),
        Small::Unreasonable => "is not a file of reasonable length".into(),
        Small::Read(bytes) => match parse(&bytes) {
            Ok(value) => return Ok(Some(Text { path, bytes, value })),
            Err(problem) => problem,
        },
    };
    findings.push(config_finding(folder, name, problem));
    Ok(None)
}

fn model_yaml(bytes: &[u8]) -> Result<ModelYaml, String> {
    json::yaml(bytes).map_err(|problem| format!("is not a model's config: {problem}"))
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
        assert!(model_yaml(b"\xff").err().unwrap_or_default().contains("is not UTF-8"));
    }
}
