//! Which model a framework's checkpoint is, and its config, as connector writes them.
//!
//! ```text
//! context/model.yaml   NeMo: the class of the model, and its config by the path of its class
//! run_config.yaml      Megatron-Bridge: the provider of the model under `model`
//! common.pt            Megatron-LM: its command line under `args`
//! ```

use super::{Frameworks, bridge, megatron_lm, translate};
use crate::base::{Advice, Finding, FindingKind};
use crate::checkpoint::Result;
use crate::checkpoint::torch_dist::{self, Arguments};
use crate::checkpoint::{MegatronCheckpoint, Small};
use crate::config::ConfigMap;
use crate::gpt;
use crate::schema::ParamSchema;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A config as a framework wrote it.
pub(super) struct Foreign {
    pub class: Class,
    pub config: Value,
}

/// What a framework calls the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Class {
    /// By NeMo's class of the model.
    Nemo(String),
    /// By Megatron-Bridge's class, without `ModelProvider`.
    Bridge(String),
    /// By no family: it is whatever its config says.
    Any,
}

/// A model that a checkpoint may be of.
pub(crate) struct Candidate<'a> {
    /// Its type, `LlamaModel`.
    pub model: &'static str,
    /// What frameworks call it.
    pub frameworks: &'static Frameworks,
    /// How its family's config is said, if a map does.
    pub map: Option<&'static ConfigMap>,
    /// Whether its family can say all that this config of a model says.
    pub says: Box<dyn Fn(&Value) -> bool + 'a>,
}

impl Candidate<'_> {
    /// Whether a framework's class is one of this model.
    fn is_called(&self, class: &Class) -> bool {
        match class {
            // As NeMo calls it, or connector where NeMo has no class of its own for it.
            Class::Nemo(name) => [self.frameworks.nemo.model, self.model].contains(&name.as_str()),
            Class::Bridge(name) => self.frameworks.bridge.classes.contains(&name.as_str()),
            Class::Any => true,
        }
    }
}

/// Finds out which of the `candidates` a checkpoint that a framework wrote is of, and translates its
/// config. One that connector wrote says so itself.
///
/// # Errors
/// If the system refuses to read.
pub(crate) fn describe(
    mut checkpoint: MegatronCheckpoint,
    candidates: &[Candidate<'_>],
) -> Result<MegatronCheckpoint> {
    if let Some((target, config)) = checkpoint.own_description() {
        // NeMo's config names its own class.
        if config.get("_target_").is_some() {
            let name = target.rsplit('.').next().unwrap_or(target).to_string();
            let foreign = Foreign { class: Class::Nemo(name), config: config.clone() };
            let subject = checkpoint.config_file();
            let (model, mut config, findings) = settle(foreign, candidates, &subject);
            fit_vocabulary(&mut config, &checkpoint);
            checkpoint.set_description(model, config, None, findings);
        }
        return Ok(checkpoint);
    }
    if !checkpoint.findings().is_empty() {
        return Ok(checkpoint);
    }
    let mut findings = Vec::new();
    let Some(found) = find(checkpoint.weights_dir(), &mut findings)? else {
        if findings.is_empty() {
            findings.push(nothing());
        }
        checkpoint.add_findings(findings);
        return Ok(checkpoint);
    };
    let Found { foreign, subject, file, bytes } = found;
    let (model, mut config, findings) = settle(foreign, candidates, &subject);
    fit_vocabulary(&mut config, &checkpoint);
    checkpoint.set_description(model, config, Some((file, bytes)), findings);
    Ok(checkpoint)
}

/// Makes a config say how many rows the checkpoint has: training on several ranks pads to more.
fn fit_vocabulary(config: &mut Value, checkpoint: &MegatronCheckpoint) {
    let vocabulary = <gpt::ENDS as ParamSchema>::PARAMETERS.vocabulary;
    if let (Some(vocabulary), Some(rows)) = (vocabulary, checkpoint.vocab_rows()) {
        vocabulary.fit(config, rows);
    }
}

/// The model's type and config, and what is wrong with the config.
fn settle(
    Foreign { class, config }: Foreign,
    candidates: &[Candidate<'_>],
    subject: &str,
) -> (String, Value, Vec<Finding>) {
    let translated = |candidate: Option<&Candidate<'_>>| {
        // Only a family's own class does what no field says.
        let own = candidate.filter(|_| class != Class::Any);
        let classes = own.map(|candidate| candidate.frameworks);
        let mut findings = Vec::new();
        let mut fields = translate::translate(&config, classes, subject, &mut findings);
        if let Some(map) = candidate.and_then(|candidate| candidate.map) {
            map.follow(&mut fields);
        }
        (Value::Object(fields), findings)
    };
    let mut called: Vec<&Candidate<'_>> =
        candidates.iter().filter(|candidate| candidate.is_called(&class)).collect();
    // Of families that would all do, one that is called so itself comes first, then one that has no
    // class of its own there.
    let is_named = |candidate: &Candidate<'_>| class == Class::Nemo(candidate.model.into());
    called
        .sort_by_key(|candidate| (!is_named(candidate), !candidate.frameworks.bridge.is_generic()));
    let says = |candidate: &&&Candidate<'_>| {
        let (config, findings) = translated(Some(candidate));
        findings.is_empty() && (candidate.says)(&config)
    };
    let chosen = match (&class, called.as_slice()) {
        (Class::Nemo(_) | Class::Bridge(_), [one]) => Some(*one),
        (_, several) => several.iter().find(says).or(several.first()).copied(),
    };
    let own = chosen.filter(|_| class != Class::Any).map(|candidate| candidate.frameworks);
    let unknown = translate::unknown(&config, own);
    // The command line of Megatron-LM says how a run goes, not only what is trained.
    if class != Class::Any && !unknown.is_empty() {
        tracing::warn!(
            fields = unknown.join(", "),
            "{subject} has fields that connector does not know; they are not converted"
        );
    }
    let (config, findings) = translated(chosen);
    let model = match (chosen, class) {
        (Some(candidate), _) => candidate.model.into(),
        // As the connector for it may be called, or a message that there is none will say.
        (None, Class::Nemo(name)) => name,
        (None, Class::Bridge(name)) => format!("{name}Model"),
        (None, Class::Any) => "GPTModel".into(),
    };
    (model, config, findings)
}

/// What lies beside tensors.
struct Found {
    foreign: Foreign,
    /// The file, as messages name it.
    subject: String,
    file: PathBuf,
    bytes: Vec<u8>,
}

/// The config in the directory `dir` of a checkpoint's tensors, if there is one. What is wrong with
/// it is noted in `findings`.
fn find(dir: &Path, findings: &mut Vec<Finding>) -> Result<Option<Found>> {
    let file = dir.join(bridge::RUN_CONFIG);
    let subject = bridge::RUN_CONFIG.to_string();
    let problem = match Small::read(&file)? {
        Small::Read(bytes) => match bridge::read(&bytes) {
            Ok(foreign) => return Ok(Some(Found { foreign, subject, file, bytes })),
            Err(problem) => problem,
        },
        Small::Unreasonable => "is not a file of reasonable length".into(),
        Small::Absent => return command_line(dir, findings),
    };
    findings.push(refusal(&subject, problem));
    Ok(None)
}

fn command_line(dir: &Path, findings: &mut Vec<Finding>) -> Result<Option<Found>> {
    match torch_dist::arguments(dir)? {
        None => Ok(None),
        Some(Ok(Arguments { file, bytes, fields })) => {
            let subject = format!("{}: args", file.file_name().unwrap_or_default().display());
            Ok(Some(Found { foreign: megatron_lm::read(fields), subject, file, bytes }))
        }
        Some(Err(malformed)) => {
            let subject = malformed.path.file_name().unwrap_or_default().display().to_string();
            findings.push(refusal(&subject, malformed.problem.to_string()));
            Ok(None)
        }
    }
}

/// A finding about a framework's config.
pub(super) fn refusal(subject: &str, problem: String) -> Finding {
    Finding::new(FindingKind::Config, subject, problem).advise(Advice::TakeConfig)
}

fn nothing() -> Finding {
    let problem = "is not in the checkpoint, nor is another file that says which model this is";
    let note = "an import and NeMo write it; Megatron-Bridge writes run_config.yaml, Megatron-LM \
                `args` in common.pt";
    let finding = Finding::new(FindingKind::Config, "context/model.yaml", problem).note(note);
    finding.advise(Advice::TakeConfig)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConnector;
    use crate::families::{HfGemma, HfLlama, HfMistral, HfMixtral, HfQwen2, HfQwen3};
    use serde_json::json;

    #[test]
    fn a_class_or_what_a_model_has_names_its_family() {
        // A family says a config that has all these fields, and perhaps a window, and no others.
        let candidate = |model, frameworks: Option<Frameworks>, own: &'static [&'static str]| {
            let frameworks: &'static Frameworks = Box::leak(Box::new(frameworks.unwrap()));
            let says = move |config: &Value| {
                let named = ["num_moe_experts", "qk_layernorm", "add_qkv_bias"];
                let windows = ["MistralModel", "MixtralModel"].contains(&model);
                named.iter().all(|name| config.get(*name).is_some() == own.contains(name))
                    && (windows || config.get("window_size").is_none())
            };
            Candidate { model, frameworks, map: None, says: Box::new(says) }
        };
        let candidates = [
            candidate("GemmaModel", HfGemma::FRAMEWORKS, &[]),
            candidate("LlamaModel", HfLlama::FRAMEWORKS, &[]),
            candidate("MistralModel", HfMistral::FRAMEWORKS, &[]),
            candidate("MixtralModel", HfMixtral::FRAMEWORKS, &["num_moe_experts"]),
            candidate("Qwen2Model", HfQwen2::FRAMEWORKS, &["add_qkv_bias"]),
            candidate("Qwen3Model", HfQwen3::FRAMEWORKS, &["qk_layernorm"]),
            // Another model of the same class there.
            candidate("OwnMoeModel", HfQwen3::FRAMEWORKS, &["qk_layernorm", "num_moe_experts"]),
        ];
        let bridge = |name: &str| Class::Bridge(name.into());
        let nemo = |name: &str| Class::Nemo(name.into());
        for (class, fields, want) in [
            (bridge("Llama"), json!({}), "LlamaModel"),
            (bridge("Llama31"), json!({}), "LlamaModel"),
            (bridge("Llama4"), json!({}), "Llama4Model"),
            (bridge("CodeGemma"), json!({}), "GemmaModel"),
            (bridge("Gemma2"), json!({}), "Gemma2Model"),
            (bridge("MistralSmall3"), json!({}), "MistralModel"),
            (bridge("Qwen25"), json!({}), "Qwen2Model"),
            (bridge("Mine"), json!({"window_size": [3, 0]}), "MineModel"),
            (nemo("GemmaModel"), json!({}), "GemmaModel"),
            (nemo("MineModel"), json!({}), "MineModel"),
            (nemo("Qwen3Model"), json!({"qk_layernorm": true}), "Qwen3Model"),
            (
                nemo("Qwen3Model"),
                json!({"qk_layernorm": true, "num_moe_experts": 8}),
                "OwnMoeModel",
            ),
            (Class::Any, json!({"window_size": null}), "LlamaModel"),
            (Class::Any, json!({"window_size": [3, 0]}), "MistralModel"),
            (Class::Any, json!({"num_moe_experts": 8, "window_size": [3, 0]}), "MixtralModel"),
            (Class::Any, json!({"add_qkv_bias": true}), "Qwen2Model"),
        ] {
            let mut config = json!({
                "num_layers": 2, "hidden_size": 48, "ffn_hidden_size": 80, "num_attention_heads": 6,
                "seq_length": 256, "vocab_size": 97, "make_vocab_size_divisible_by": 1,
                "share_embeddings_and_output_weights": false, "layernorm_epsilon": 1e-5,
                "normalization": "RMSNorm", "gated_linear_unit": true, "rotary_base": 10000.0,
                "position_embedding_type": "rope",
                "activation_func": {"_target_": "torch.nn.functional.silu"},
            });
            config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let foreign = Foreign { class: class.clone(), config };
            let (model, config, findings) = settle(foreign, &candidates, "model.yaml");
            assert!(findings.is_empty(), "{findings:?}");
            assert_eq!(model, want, "{class:?} {fields}");
            let scaled = config.get("apply_embedding_scaling").is_some();
            assert_eq!(scaled, want == "GemmaModel", "{class:?}");
        }
    }
}
