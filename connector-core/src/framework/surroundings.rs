//! Everything that is written around the tensors of a distributed checkpoint.

use super::bridge::{self, RUN_CONFIG};
use super::megatron_core::Megatron;
use super::{Frameworks, Unsaid, common, megatron_lm, nemo};
use crate::base::json::pretty;
use crate::checkpoint::torch_dist::LayerLayout;
use crate::checkpoint::{Directory, Error, Flavor, IO_JSON, MODEL_YAML, Result, TRACKER};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A model and what lies beside its tensors in the source.
pub(crate) struct Described<'a> {
    /// The name of its type, `LlamaModel`.
    pub model: &'a str,
    /// Its config.
    pub config: &'a Value,
    /// What frameworks call it, if they know it.
    pub frameworks: Option<&'a Frameworks>,
    /// The files of the source that are copied.
    pub files: &'a [String],
    /// Those among them that are the tokenizer.
    pub tokenizer: &'a [String],
}

/// What is written beside the tensors.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Where it all lies.
    pub directory: Directory,
    /// `common.pt`.
    pub common: Vec<u8>,
    /// Whether `linear_fc1` is a gate above its input, which are stored apart.
    pub gated: bool,
    /// Files that are made, by their places in the output.
    pub made: Vec<(String, Vec<u8>)>,
    /// Files of the source that are copied to another place than their own, in the folder of the
    /// files beside the tensors.
    pub moved: BTreeMap<String, String>,
    /// What the framework computes otherwise.
    pub unsaid: Vec<Unsaid>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// `model.yaml`: a model's type and config, with the keys that NeMo 2 writes.
///
/// # Errors
/// [`Error::ModelConfig`] if the config cannot be written as YAML.
pub(crate) fn model_yaml(model: &str, config: &Value) -> Result<Vec<u8>> {
    yaml(&json!({"_target_": model, "config": config}))
}

impl Described<'_> {
    fn model_yaml(&self) -> Result<Vec<u8>> {
        model_yaml(self.model, self.config)
    }

    /// What is around tensors that no framework for training reads: NeMo's folders, with the files
    /// of the source as they were.
    ///
    /// # Errors
    /// As [`model_yaml`].
    pub fn plain(&self) -> Result<Surroundings> {
        let mut around = Surroundings::new(Flavor::Nemo);
        around.put(around.directory.beside, MODEL_YAML, self.model_yaml()?);
        Ok(around)
    }

    /// What a framework expects around the tensors.
    ///
    /// # Errors
    /// As [`model_yaml`].
    pub fn surroundings(&self, flavor: Flavor, layers: LayerLayout) -> Result<Surroundings> {
        let mut around = Surroundings::new(flavor);
        let directory = around.directory;
        let model = Megatron::new(self.config);
        let mut args = None;
        match (flavor, model) {
            (Flavor::Nemo, model) => self.nemo(model.ok(), &mut around)?,
            (Flavor::MegatronLm, model) => {
                around.put(directory.beside, MODEL_YAML, self.model_yaml()?);
                around.made.push((TRACKER.into(), b"release".to_vec()));
                match model {
                    Ok(model) => {
                        args = Some(megatron_lm::write(&model));
                        around.unsaid = model.unsaid(flavor, self.frameworks);
                    }
                    Err(field) => around.warnings.push(format!(
                        "common.pt has no args for --use-checkpoint-args: the config of {} has no \
                         {field}",
                        self.model
                    )),
                }
            }
            (Flavor::MegatronBridge, model) => {
                around.put(directory.beside, MODEL_YAML, self.model_yaml()?);
                self.bridge(model.ok(), &mut around)?;
            }
        }
        around.gated = self.config["gated_linear_unit"] == true;
        around.common = common::common(flavor, layers, args.as_ref());
        Ok(around)
    }

    fn nemo(&self, model: Option<Megatron<'_>>, around: &mut Surroundings) -> Result<()> {
        const GENERATION: &str = "generation_config.json";
        let beside = around.directory.beside;
        let (Some(frameworks), Some(model)) = (self.frameworks, model) else {
            around.put(beside, MODEL_YAML, self.model_yaml()?);
            let file = format!("{beside}/{IO_JSON}");
            around.unknown(&file, self.model, "NeMo loads the weights into a model built in code");
            return Ok(());
        };
        let context = nemo::Context {
            tokenizer: !self.tokenizer.is_empty(),
            generation_config: self.files.iter().any(|name| name == GENERATION),
        };
        for name in self.tokenizer {
            around.moved.insert(name.clone(), format!("{}/{name}", nemo::TOKENIZER));
        }
        if context.generation_config {
            let place = format!("{}/{GENERATION}", nemo::ARTIFACTS);
            around.moved.insert(GENERATION.into(), place);
        }
        let names = &frameworks.nemo;
        // With its module, as NeMo has it. A connector's own model that NeMo runs as another is still
        // this connector's.
        let target = match names.model == self.model {
            true => format!("{}.{}", names.module, names.model),
            false => self.model.into(),
        };
        let mut described = json!({"_target_": target, "config": self.config});
        if context.tokenizer {
            described["tokenizer"] = json!({
                "_target_": nemo::AUTO_TOKENIZER,
                "pretrained_model_name": nemo::TOKENIZER,
            });
        }
        around.put(beside, MODEL_YAML, yaml(&described)?);
        let io_json = pretty(&nemo::write(frameworks, &model, &context)).map_err(reason)?;
        around.put(beside, IO_JSON, io_json);
        around.unsaid = model.unsaid(Flavor::Nemo, self.frameworks);
        Ok(())
    }

    fn bridge(&self, model: Option<Megatron<'_>>, around: &mut Surroundings) -> Result<()> {
        let iteration = around.directory.weights;
        let state = common::train_state();
        around.made.push((TRACKER.into(), b"0".to_vec()));
        around.made.push(("latest_train_state.pt".into(), state.clone()));
        around.put(iteration, "train_state.pt", state);
        let (Some(frameworks), Some(model)) = (self.frameworks, model) else {
            let file = format!("{iteration}/{RUN_CONFIG}");
            around.unknown(&file, self.model, "load_megatron_model asks for it");
            return Ok(());
        };
        let config = bridge::write(frameworks, &model, !self.tokenizer.is_empty());
        around.put(iteration, RUN_CONFIG, yaml(&config)?);
        around.unsaid = model.unsaid(Flavor::MegatronBridge, self.frameworks);
        Ok(())
    }
}

impl Surroundings {
    fn new(flavor: Flavor) -> Self {
        Surroundings {
            directory: flavor.directory(),
            common: Vec::new(),
            gated: false,
            made: Vec::new(),
            moved: BTreeMap::new(),
            unsaid: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn put(&mut self, folder: &str, name: &str, bytes: Vec<u8>) {
        self.made.push((format!("{folder}/{name}"), bytes));
    }

    fn unknown(&mut self, file: &str, model: &str, what: &str) {
        self.warnings.push(format!(
            "{file} is not written: {model} does not say what the framework calls it \
             (ModelConnector::FRAMEWORKS), or its config is not that of a GPT; {what}"
        ));
    }
}

fn reason(error: impl ToString) -> Error {
    Error::ModelConfig { reason: error.to_string() }
}

fn yaml(value: &impl Serialize) -> Result<Vec<u8>> {
    let text = serde_saphyr::to_string(value);
    text.map(String::into_bytes).map_err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that are made for a model that no framework knows, and what is said.
    fn around(flavor: Flavor, config: &Value) -> (Vec<String>, Vec<String>) {
        let described =
            Described { model: "Own", config, frameworks: None, files: &[], tokenizer: &[] };
        let around = described.surroundings(flavor, LayerLayout::Stacked).unwrap();
        (around.made.into_iter().map(|(place, _)| place).collect(), around.warnings)
    }

    #[test]
    fn a_model_that_no_framework_knows_has_its_own_config_and_a_warning() {
        let config = json!({"width": 3});
        for (flavor, files, want) in [
            (Flavor::Nemo, &["context/model.yaml"][..], "context/io.json is not written: Own"),
            (
                Flavor::MegatronLm,
                &["release/tokenizer/model.yaml", "latest_checkpointed_iteration.txt"],
                "the config of Own has no num_layers",
            ),
            (
                Flavor::MegatronBridge,
                &[
                    "iter_0000000/tokenizer/model.yaml",
                    "latest_checkpointed_iteration.txt",
                    "latest_train_state.pt",
                    "iter_0000000/train_state.pt",
                ],
                "ModelConnector::FRAMEWORKS",
            ),
        ] {
            let (made, warnings) = around(flavor, &config);
            assert_eq!(made, files);
            assert!(warnings.len() == 1 && warnings[0].contains(want), "{warnings:?}");
        }
    }
}
