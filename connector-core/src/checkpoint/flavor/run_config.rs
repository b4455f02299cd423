//! `run_config.yaml`: the config of a run of Megatron-Bridge, of which it reads the model, the
//! tokenizer, and what the checkpoint has besides.

use super::megatron::Megatron;
use super::python::Python;
use serde_json::{Map, Value, json};

/// Megatron-Bridge's activations by their names in the model's config.
pub(super) const ACTIVATIONS: [(&str, &str); 3] = [
    ("silu", "torch.nn.functional.silu"),
    ("gelu", "torch.nn.functional.gelu"),
    ("gelu_pytorch_tanh", "megatron.core.activations.fast_gelu"),
];

pub(super) fn write(provider: &str, model: &Megatron<'_>, tokenizer: bool) -> Value {
    let mut fields = Map::from_iter([("_target_".to_string(), json!(provider))]);
    let mut put = |name: &str, value: Value| drop(fields.insert(name.into(), value));
    for (name, value) in model.fields(&ACTIVATIONS) {
        put(name, value.yaml());
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
