//! A model's type and config as frameworks for training leave them beside the tensors.
//!
//! ```text
//! run_config.yaml   Megatron-Bridge: the provider of the model under `model`
//! common.pt         Megatron-LM: its command line under `args`
//! ```

mod args;
mod provider;

pub(super) use provider::{is_nemo, translate};

use super::small::Small;
use super::torch_dist::{self, Arguments};
use crate::base::{Advice, Finding, FindingKind, json};
use crate::checkpoint::Result;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Megatron-Bridge's config of a run.
pub(super) const RUN_CONFIG: &str = "run_config.yaml";

/// What Megatron-Bridge's classes of models end in.
const PROVIDER: &str = "ModelProvider";
/// The classes for Megatron-core's model itself, whatever the family.
const GENERIC: [&str; 2] = ["GPT", "MCoreGPT"];
/// How the names of classes begin that are of a family: sizes and releases follow.
const CLASSES: [(&str, &str); 7] = [
    ("Llama2", "LlamaModel"),
    ("Llama3", "LlamaModel"),
    ("CodeLlama", "LlamaModel"),
    ("MistralSmall3", "MistralModel"),
    ("CodeGemma", "GemmaModel"),
    ("Mixtral", "MixtralModel"),
    ("GPTProvider", ""),
];

/// A model's type and config, from `file`.
pub(super) struct Found {
    /// `LlamaModel`.
    pub model: String,
    /// As import writes it.
    pub config: Value,
    /// Where it stands.
    pub file: PathBuf,
    /// What that file has.
    pub bytes: Vec<u8>,
}

/// The config in the directory `dir` of a checkpoint's tensors, if there is one. What is wrong with
/// it is noted in `findings`.
///
/// # Errors
/// If the system refuses to read.
pub(super) fn find(dir: &Path, findings: &mut Vec<Finding>) -> Result<Option<Found>> {
    let file = dir.join(RUN_CONFIG);
    let problem = match Small::read(&file)? {
        Small::Read(bytes) => match bridge(&bytes) {
            Ok(model) => return Ok(Some(found(model, file, RUN_CONFIG, bytes, findings))),
            Err(problem) => problem,
        },
        Small::Unreasonable => "is not a file of reasonable length".into(),
        Small::Absent => return megatron_lm(dir, findings),
    };
    findings.push(refusal(RUN_CONFIG, problem));
    Ok(None)
}

fn megatron_lm(dir: &Path, findings: &mut Vec<Finding>) -> Result<Option<Found>> {
    match torch_dist::arguments(dir)? {
        None => Ok(None),
        Some(Ok(Arguments { file, bytes, fields })) => {
            let subject = format!("{}: args", file.file_name().unwrap_or_default().display());
            let config = args::provider(fields);
            Ok(Some(found(
                Provider { class: GENERIC[0].into(), config },
                file,
                &subject,
                bytes,
                findings,
            )))
        }
        Some(Err(malformed)) => {
            let subject = malformed.path.file_name().unwrap_or_default().display().to_string();
            findings.push(refusal(&subject, malformed.problem.to_string()));
            Ok(None)
        }
    }
}

fn refusal(subject: &str, problem: String) -> Finding {
    Finding::new(FindingKind::Config, subject, problem).advise(Advice::TakeConfig)
}

/// A framework's config of a model, before it is translated.
struct Provider {
    /// The class without its module and `ModelProvider`.
    class: String,
    config: Value,
}

fn found(
    provider: Provider,
    file: PathBuf,
    subject: &str,
    bytes: Vec<u8>,
    findings: &mut Vec<Finding>,
) -> Found {
    let Provider { class, config } = provider;
    let model = family(&class).unwrap_or_else(|| by_fields(&config).into());
    // Bridge's Gemma multiplies its embedding in its forward pass, not by a field.
    let scaled = model == "GemmaModel" && family(&class).is_some();
    let config = translate(&config, scaled, subject, findings);
    Found { model, config, file, bytes }
}

/// The model in a `run_config.yaml`.
fn bridge(bytes: &[u8]) -> Result<Provider, String> {
    let config: Value = json::yaml(bytes).map_err(|problem| format!("is not YAML: {problem}"))?;
    let model = config.get("model").filter(|model| model.is_object());
    let model = model.ok_or("has no `model`")?;
    let target = model.get("_target_").and_then(Value::as_str);
    let target = target.ok_or("does not say in `model._target_` which model this is")?;
    let class = target.rsplit('.').next().unwrap_or(target);
    let class = class.split(PROVIDER).next().unwrap_or(class);
    Ok(Provider { class: class.into(), config: model.clone() })
}

/// The model's type by the class; `None` for the classes that are of no family.
fn family(class: &str) -> Option<String> {
    if GENERIC.contains(&class) {
        return None;
    }
    match CLASSES.iter().find(|(begins, _)| class.starts_with(begins)) {
        Some((_, "")) => None,
        Some((_, model)) => Some(model.to_string()),
        None => Some(format!("{class}Model")),
    }
}

/// The family whose model this is by what it has: the weights and what is computed with them are
/// the same in each where several would do.
fn by_fields(config: &Value) -> &'static str {
    let has = |name: &str| config.get(name).is_some_and(|value| !value.is_null() && value != false);
    if has("num_moe_experts") {
        "MixtralModel"
    } else if has("layernorm_zero_centered_gamma") {
        "GemmaModel"
    } else if has("window_size") {
        "MistralModel"
    } else {
        "LlamaModel"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_class_or_what_a_model_has_names_its_family() {
        for (class, fields, want) in [
            ("Llama", json!({}), "LlamaModel"),
            ("Llama31", json!({}), "LlamaModel"),
            ("Llama4", json!({}), "Llama4Model"),
            ("CodeGemma", json!({}), "GemmaModel"),
            ("Gemma2", json!({}), "Gemma2Model"),
            ("MistralSmall3", json!({}), "MistralModel"),
            ("Mine", json!({"window_size": [3, 0]}), "MineModel"),
            ("GPT", json!({"window_size": null}), "LlamaModel"),
            ("GPT", json!({"window_size": [3, 0]}), "MistralModel"),
            ("GPT", json!({"num_moe_experts": 8, "window_size": [3, 0]}), "MixtralModel"),
            ("GPTProvider7B", json!({"layernorm_zero_centered_gamma": true}), "GemmaModel"),
        ] {
            let model = family(class).unwrap_or_else(|| by_fields(&fields).into());
            assert_eq!(model, want, "{class} {fields}");
        }
    }

    #[test]
    fn a_config_of_megatron_bridge_names_its_model() {
        let class = |text: &str| bridge(text.as_bytes()).map(|provider| provider.class);
        let target = |class: &str| format!("model:\n  _target_: megatron.bridge.models.{class}\n");
        assert_eq!(class(&target("gpt_provider.GPTModelProvider")), Ok("GPT".into()));
        assert_eq!(class(&target("llama.Llama3ModelProvider8B")), Ok("Llama3".into()));
        for (text, want) in [
            ("", "has no `model`"),
            ("model: 3", "has no `model`"),
            ("model: {num_layers: 2}", "`model._target_`"),
            ("\t:", "is not YAML"),
        ] {
            let problem = class(text).unwrap_err();
            assert!(problem.contains(want), "{text:?}: {problem}");
        }
    }
}
