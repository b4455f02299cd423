//! Gemma 1 and 1.1, CodeGemma, and whatever else calls itself `GemmaForCausalLM`.

use super::gpt::{self, Defaults, Family, GptConfig};
use crate::checkpoint::{Checkpoint, Fields, Frameworks, NemoNames};
use crate::connector::ModelConnector;
use crate::mapping::Mapping;
use crate::{Result, mapping, model_importer, param_schema};
use serde_json::{Map, Value, json};

param_schema! {
    /// Gemma as a Megatron-core GPT model with fused layers (its Transformer Engine spec). Its norms
    /// multiply by 1 + weight on both sides, so that the weights are the same.
    pub GemmaModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;
        flag attention_bias = c.attention_bias;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()] if attention_bias;
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// Gemma from and to Hugging Face. NeMo's `HFGemmaImporter`.
pub struct HfGemma;

#[model_importer(GemmaModel, "hf", architectures = ["GemmaForCausalLM"], export)]
impl ModelConnector for HfGemma {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::GATED_MLP,
        },
    };

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.gemma",
            model: "GemmaModel",
            config: "GemmaConfig",
            llama3_config: None,
            also: &[],
        },
        bridge: "megatron.bridge.models.gemma.gemma_provider.GemmaModelProvider",
        scale_embedding: true,
    });

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        FAMILY.config(source)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        Ok(FAMILY.source_config(config, original))
    }
}

const FAMILY: Family = Family {
    architecture: "GemmaForCausalLM",
    model_type: "gemma",
    defaults: Defaults {
        num_query_groups: Some(16),
        kv_channels: Some(256),
        seq_length: 8192,
        layernorm_epsilon: 1e-6,
        rotary_base: 10_000.0,
        tied: true,
    },
    read,
    write,
    harmless: &[],
};

fn read(fields: &Fields<'_>, config: &mut GptConfig) {
    config.activation_func = activation(fields).into();
    config.layernorm_zero_centered_gamma = true;
    config.apply_embedding_scaling = true;
    config.attention_bias = fields.or("attention_bias", false);
    gpt::full_attention(fields, config.num_layers);
}

/// The activation, which two fields name. `hidden_activation`, where it is, comes first. Without it
/// `gelu` is what Gemma 1's files say, and they mean the approximation with tanh: transformers up
/// to 4.47 knew and looked at `hidden_activation` only (its pull request 29402); later ones take
/// them at their word, and compute what the model was not trained with.
fn activation(fields: &Fields<'_>) -> &'static str {
    const TANH: &str = "gelu_pytorch_tanh";
    const EXACT: &str = "gelu";
    const NAMES: [&str; 2] = ["hidden_activation", "hidden_act"];
    let said = NAMES.map(|name| fields.optional::<String>(name));
    match [said[0].as_deref(), said[1].as_deref()] {
        [None, None] => {
            fields.defaulted(NAMES[1], &TANH);
            TANH
        }
        [None | Some(TANH), None | Some(TANH | EXACT)] => TANH,
        [Some(EXACT), Some(EXACT)] => EXACT,
        [newer, older] => {
            let or_null = |name: Option<&str>| json!(name).to_string();
            let (newer, older) = (or_null(newer), or_null(older));
            let name = if newer == "null" { NAMES[1] } else { NAMES[0] };
            let problem = format!(
                "is not clear: \"{}\" is {newer}, \"{}\" is {older}; this importer knows \
                 \"{TANH}\", and \"{EXACT}\" where both say so",
                NAMES[0], NAMES[1]
            );
            fields.refuse(name, problem);
            TANH
        }
    }
}

fn write(config: &GptConfig, fields: &mut Map<String, Value>) {
    // `hidden_act` is written for all families; transformers up to 4.47 looks here.
    fields.insert("hidden_activation".into(), json!(config.activation_func));
    fields.insert("attention_bias".into(), json!(config.attention_bias));
}
