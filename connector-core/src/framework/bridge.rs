//! `run_config.yaml`: the config of a run of Megatron-Bridge, of which it reads the model, the
//! tokenizer, and what the checkpoint has besides.

use super::Frameworks;
use super::found::{Class, Foreign};
use super::megatron_core::{LAYERS, Megatron};
use super::python::Python;
use crate::base::json;
use crate::checkpoint::Flavor;
use serde_json::{Map, Value, json};

/// Megatron-Bridge's config of a run.
pub(super) const RUN_CONFIG: &str = "run_config.yaml";

/// What Megatron-Bridge's classes of models end in.
const PROVIDER: &str = "ModelProvider";
/// The classes for Megatron-core's model itself, whatever the family.
const GENERIC: [&str; 2] = ["GPT", "MCoreGPT"];
/// The same with a size: `GPTProvider175B`.
const GENERIC_SIZES: &str = "GPTProvider";

pub(super) fn write(frameworks: &Frameworks, model: &Megatron<'_>, tokenizer: bool) -> Value {
    let provider = frameworks.bridge.provider;
    let mut fields = Map::from_iter([("_target_".to_string(), json!(provider))]);
    let mut put = |name: &str, value: Value| drop(fields.insert(name.into(), value));
    let own = frameworks.own_of(Flavor::MegatronBridge).map_or(&[][..], |classes| classes.own);
    for (name, value) in model.fields(Flavor::MegatronBridge, own) {
        put(name, value.yaml());
    }
    if let Some(args) = model.layer_spec(frameworks.own_of(Flavor::MegatronBridge)) {
        let mut spec = json!({"_target_": LAYERS, "_partial_": true});
        args.into_iter().for_each(|(name, on)| spec[name] = on.into());
        put("transformer_layer_spec", spec);
    }
    put("should_pad_vocab", json!(true));
    // Megatron-core's default is 0.1.
    put("hidden_dropout", json!(0.0));
    put("attention_dropout", json!(0.0));
    if let Some(rope) = model.llama3_rope() {
        put("rope_scaling", json!(true));
        put("rope_scaling_factor", rope.python("scale_factor").yaml());
    }
    // Training reads how the checkpoint was written, to see whether states of ranks fit.
    put("tensor_model_parallel_size", json!(1));
    put("pipeline_model_parallel_size", json!(1));
    let mut tokenizer_config =
        json!({"_target_": "megatron.bridge.training.tokenizers.config.TokenizerConfig"});
    if tokenizer {
        tokenizer_config["tokenizer_type"] = json!("HuggingFaceTokenizer");
        // An empty path: Megatron-Bridge takes it for the folder beside this file.
        tokenizer_config["tokenizer_model"] =
            json!({"_target_": "pathlib.PosixPath", "_call_": true});
    } else {
        tokenizer_config["tokenizer_type"] = json!("NullTokenizer");
        tokenizer_config["vocab_size"] = Python::Int(model.count("vocab_size")).yaml();
    }
    json!({
        "model": fields,
        "tokenizer": tokenizer_config,
        "checkpoint": {"save_optim": false, "save_rng": false, "fully_parallel_save": false},
    })
}

/// A config that a framework wrote, before it is translated.
pub(super) fn read(bytes: &[u8]) -> Result<Foreign, String> {
    let config: Value = json::yaml(bytes).map_err(|problem| format!("is not YAML: {problem}"))?;
    let model = config.get("model").filter(|model| model.is_object());
    let model = model.ok_or("has no `model`")?;
    let target = model.get("_target_").and_then(Value::as_str);
    let target = target.ok_or("does not say in `model._target_` which model this is")?;
    let name = target.rsplit('.').next().unwrap_or(target);
    let name = name.split(PROVIDER).next().unwrap_or(name);
    let is_generic = GENERIC.contains(&name) || name.starts_with(GENERIC_SIZES);
    let class = if is_generic { Class::Any } else { Class::Bridge(name.into()) };
    Ok(Foreign { class, config: model.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_of_megatron_bridge_names_its_model() {
        let class = |text: &str| read(text.as_bytes()).map(|found| found.class);
        let target = |class: &str| format!("model:\n  _target_: megatron.bridge.models.{class}\n");
        assert_eq!(class(&target("gpt_provider.GPTModelProvider")), Ok(Class::Any));
        assert_eq!(class(&target("gpt_provider.GPTProvider175B")), Ok(Class::Any));
        assert_eq!(
            class(&target("llama.Llama3ModelProvider8B")),
            Ok(Class::Bridge("Llama3".into()))
        );
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
