//! The original, computed by others: candle-transformers, which reads the Hugging Face checkpoint with
//! its own code.

use super::ModelError;
use crate::checkpoint::HfCheckpoint;
use crate::{Error, Result};
use candle_core::{DType, Device, Result as CandleResult, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma, llama, mistral, mixtral, qwen2, qwen3, qwen3_moe};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// The logits that candle-transformers computes, in f32, with the Hugging Face checkpoint in `source`,
/// for `tokens`: of `[sequences, tokens]`, `[sequences, tokens, vocabulary]`.
///
/// # Errors
/// [`ModelError::NotCovered`] if it does not compute models of this config;
/// [`Open`](crate::checkpoint::Error::Open), [`Error::Candle`].
pub fn oracle_logits(source: impl AsRef<Path>, tokens: &Tensor, device: &Device) -> Result<Tensor> {
    let source = source.as_ref();
    let checkpoint = HfCheckpoint::open(source)?;
    let Some(config) = checkpoint.config().and_then(Value::as_object) else {
        return Err(Error::refused(checkpoint.findings()));
    };
    let not_covered = |reason: String| ModelError::NotCovered { reason };
    let architecture = checkpoint.architectures().first().map(ToString::to_string);
    let architecture = architecture.unwrap_or_default();
    let length = tokens.dims().last().copied().unwrap_or_default();
    covered(&architecture, config, length).map_err(not_covered)?;
    let fields = Value::Object(respelt(config));
    let weights = weights(&checkpoint, device)?;
    let mut all = Vec::new();
    for sequence in 0..tokens.dim(0).map_err(Error::candle)? {
        let tokens = tokens.get(sequence).and_then(|t| t.to_dtype(DType::U32)?.to_vec1::<u32>());
        let tokens = tokens.map_err(Error::candle)?;
        let model = original(&architecture, &fields, weights.clone()).map_err(not_covered)?;
        all.push(logits(model, &tokens, device).map_err(Error::candle)?);
    }
    Tensor::stack(&all, 0).map_err(Error::candle)
}

/// All tensors in f32, read by candle.
fn weights(checkpoint: &HfCheckpoint, device: &Device) -> Result<VarBuilder<'static>> {
    let source = checkpoint.source();
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for file in 0..source.file_count() {
        for (name, tensor) in
            candle_core::safetensors::load(source.path(file), device).map_err(Error::candle)?
        {
            tensors.insert(name, tensor.to_dtype(DType::F32).map_err(Error::candle)?);
        }
    }
    Ok(VarBuilder::from_tensors(tensors, DType::F32, device))
}

/// A model of candle-transformers: the logits of the last of some tokens, which follow on those that
/// it has seen.
type Original = Box<dyn FnMut(&Tensor, usize) -> CandleResult<Tensor>>;

fn original(
    architecture: &str,
    fields: &Value,
    weights: VarBuilder<'_>,
) -> Result<Original, String> {
    fn config<C: DeserializeOwned>(fields: &Value) -> Result<C, String> {
        C::deserialize(fields).map_err(|error| format!("config.json: {error}"))
    }
    macro_rules! model {
        ($model:expr) => {
            $model.map(|mut model| {
                Box::new(move |token: &Tensor, at: usize| model.forward(token, at)) as Original
            })
        };
    }
    let built = match architecture {
        "LlamaForCausalLM" => {
            let config = config::<llama::LlamaConfig>(fields)?.into_config(false);
            let cache = llama::Cache::new(true, DType::F32, &config, weights.device());
            cache.and_then(|mut cache| {
                let model = llama::Llama::load(weights, &config)?;
                let forward = move |token: &Tensor, at| model.forward(token, at, &mut cache);
                Ok(Box::new(forward) as Original)
            })
        }
        "MistralForCausalLM" => model!(mistral::Model::new(&config(fields)?, weights)),
        "MixtralForCausalLM" => model!(mixtral::Model::new(&config(fields)?, weights)),
        "GemmaForCausalLM" => model!(gemma::Model::new(false, &config(fields)?, weights)),
        "Qwen2ForCausalLM" => model!(qwen2::ModelForCausalLM::new(&config(fields)?, weights)),
        "Qwen3ForCausalLM" => model!(qwen3::ModelForCausalLM::new(&config(fields)?, weights)),
        "Qwen3MoeForCausalLM" => {
            model!(qwen3_moe::ModelForCausalLM::new(&config(fields)?, weights))
        }
        other => return Err(format!("there is no {other}")),
    };
    built.map_err(|error| Error::candle(error).to_string())
}

/// The logits of every token, `[tokens, vocabulary]`. These models give those of the last token only,
/// so that they see one at a time.
fn logits(mut model: Original, tokens: &[u32], device: &Device) -> CandleResult<Tensor> {
    let rows = tokens.iter().enumerate().map(|(position, &token)| {
        model(&Tensor::new(&[[token]], device)?, position)?.flatten_all()
    });
    Tensor::stack(&rows.collect::<CandleResult<Vec<_>>>()?, 0)
}

/// The config in the spelling that candle-transformers reads, which is that of transformers 4.
fn respelt(config: &Map<String, Value>) -> Map<String, Value> {
    let mut fields = config.clone();
    if let Some(Value::Object(rope)) = fields.remove("rope_parameters") {
        if let Some(base) = rope.get("rope_theta") {
            fields.entry("rope_theta").or_insert(base.clone());
        }
        let is_plain = rope.get("rope_type").is_none_or(|kind| kind == "default");
        if !is_plain {
            fields.entry("rope_scaling").or_insert(Value::Object(rope));
        }
    }
    // The one of the two that transformers looks at.
    if fields.get("hidden_activation").is_some_and(|name| !name.is_null()) {
        fields.remove("hidden_act");
    }
    // Mixtral's has no default for these; a window as long as the model's sequences is none.
    fields.entry("use_flash_attn").or_insert(json!(false));
    // Nor have Qwen's for what transformers' classes mean by absence.
    for (name, absent) in [
        ("attention_bias", json!(false)),
        ("use_sliding_window", json!(false)),
        ("max_window_layers", fields.get("num_hidden_layers").cloned().unwrap_or_default()),
        ("decoder_sparse_step", json!(1)),
        ("norm_topk_prob", json!(false)),
    ] {
        fields.entry(name).or_insert(absent);
    }
    if fields.get("sliding_window").is_none_or(Value::is_null)
        && let Some(longest) = fields.get("max_position_embeddings").cloned()
    {
        fields.insert("sliding_window".into(), longest);
    }
    fields
}

/// Whether candle-transformers computes models of this config as they are meant, for as many tokens;
/// of what it does not know it says nothing.
fn covered(architecture: &str, config: &Map<String, Value>, tokens: usize) -> Result<(), String> {
    let number = |name: &str| config.get(name).and_then(Value::as_u64);
    let on = |name: &str| config.get(name).and_then(Value::as_bool).unwrap_or(false);
    let rope = ["rope_parameters", "rope_scaling"].into_iter().find_map(|name| {
        let scaling = config.get(name)?.as_object()?;
        scaling.get("rope_type").or_else(|| scaling.get("type"))?.as_str()
    });
    let rope = rope.unwrap_or("default");
    let refuse = |what: String| Err(format!("its {architecture} {what}"));
    let (hidden, heads) = (number("hidden_size"), number("num_attention_heads"));
    let plain_heads = match (number("head_dim"), hidden, heads) {
        (Some(size), Some(hidden), Some(heads)) => size * heads == hidden,
        _ => true,
    };
    let is = |name: &str| architecture == name;
    let takes_plain_heads = ["LlamaForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM"];
    if takes_plain_heads.contains(&architecture) && !plain_heads {
        return refuse("takes a head to be hidden_size over num_attention_heads".into());
    }
    if !(rope == "default" || rope == "llama3" && is("LlamaForCausalLM")) {
        return refuse(format!("does not know the rope_type \"{rope}\""));
    }
    let knows_bias = ["GemmaForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM"];
    for name in ["attention_bias", "mlp_bias"] {
        if on(name) && !(knows_bias.contains(&architecture) && name == "attention_bias") {
            return refuse(format!("does not know \"{name}\""));
        }
    }
    if on("tie_word_embeddings") && (is("MistralForCausalLM") || is("MixtralForCausalLM")) {
        return refuse("does not know \"tie_word_embeddings\"".into());
    }
    // It gives such a layer experts.
    if config.get("mlp_only_layers").and_then(Value::as_array).is_some_and(|all| !all.is_empty()) {
        return refuse("does not know \"mlp_only_layers\"".into());
    }
    // One token at a time, it masks nothing.
    let has_window = match architecture {
        "LlamaForCausalLM" => false,
        name if name.starts_with("Qwen") => on("use_sliding_window"),
        _ => true,
    };
    match number("sliding_window").filter(|&window| has_window && tokens as u64 > window) {
        Some(window) => refuse(format!("would not be held to its window of {window} tokens")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_computed_as_it_is_meant_is_not_covered() {
        for (architecture, config, want) in [
            ("LlamaForCausalLM", json!({}), None),
            ("LlamaForCausalLM", json!({"rope_scaling": {"rope_type": "llama3"}}), None),
            ("LlamaForCausalLM", json!({"rope_scaling": {"type": "linear"}}), Some("\"linear\"")),
            ("LlamaForCausalLM", json!({"rope_parameters": {"rope_type": "default"}}), None),
            ("LlamaForCausalLM", json!({"attention_bias": true}), Some("attention_bias")),
            ("LlamaForCausalLM", json!({"mlp_bias": true}), Some("mlp_bias")),
            ("LlamaForCausalLM", json!({"tie_word_embeddings": true}), None),
            ("LlamaForCausalLM", json!({"head_dim": 16}), None),
            ("LlamaForCausalLM", json!({"head_dim": 24}), Some("over num_attention_heads")),
            ("MistralForCausalLM", json!({"head_dim": 24}), None),
            ("MistralForCausalLM", json!({"sliding_window": 12}), None),
            ("MistralForCausalLM", json!({"sliding_window": 11}), Some("window of 11")),
            ("MistralForCausalLM", json!({"sliding_window": null}), None),
            ("MistralForCausalLM", json!({"tie_word_embeddings": true}), Some("tie_word")),
            ("MixtralForCausalLM", json!({"head_dim": 24}), Some("over num_attention_heads")),
            ("MixtralForCausalLM", json!({"sliding_window": 4}), Some("window of 4")),
            ("GemmaForCausalLM", json!({"head_dim": 24, "attention_bias": true}), None),
            ("GemmaForCausalLM", json!({"rope_scaling": {"rope_type": "linear"}}), Some("linear")),
        ] {
            let mut fields = json!({"hidden_size": 64, "num_attention_heads": 4});
            let all = fields.as_object_mut().unwrap();
            all.extend(config.as_object().unwrap().clone());
            let refused = covered(architecture, all, 12).err();
            let same = match want {
                Some(want) => refused.as_ref().is_some_and(|text| text.contains(want)),
                None => refused.is_none(),
            };
            assert!(same, "{architecture} {config}: {refused:?}");
        }
    }

    #[test]
    fn either_spelling_is_read() {
        let config = json!({
            "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0},
            "hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh",
            "max_position_embeddings": 256, "sliding_window": null,
        });
        let fields = respelt(config.as_object().unwrap());
        assert_eq!(fields["rope_theta"], 5e5);
        assert_eq!(fields["rope_scaling"]["factor"], 8.0);
        assert_eq!(fields["sliding_window"], 256);
        assert!(!fields.contains_key("hidden_act") && !fields.contains_key("rope_parameters"));
        let plain = json!({"rope_parameters": {"rope_theta": 1e4}, "hidden_act": "silu"});
        let fields = respelt(plain.as_object().unwrap());
        assert!(!fields.contains_key("rope_scaling") && fields["hidden_act"] == "silu");
    }
}
