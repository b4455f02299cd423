//! Llama 2, 3, 3.1, 3.2, CodeLlama, and whatever else calls itself `LlamaForCausalLM`.

use super::gpt::{self, Defaults, Family, GptConfig};
use crate::checkpoint::{Checkpoint, Fields, Frameworks, NemoNames};
use crate::connector::ModelConnector;
use crate::mapping::Mapping;
use crate::{Result, mapping, model_importer, param_schema};
use serde_json::{Map, Value, json};

param_schema! {
    /// Llama as a Megatron-core GPT model with fused layers (its Transformer Engine spec).
    pub LlamaModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;
        flag attention_bias = c.attention_bias;
        flag mlp_bias = c.mlp_bias;

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
            "mlp.linear_fc1.bias": [2 * c.ffn_hidden_size] if mlp_bias;
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
            "mlp.linear_fc2.bias": [c.hidden_size] if mlp_bias;
        }
    }
}

/// Llama from and to Hugging Face. NeMo's `HFLlamaImporter`.
pub struct HfLlama;

#[model_importer(LlamaModel, "hf", architectures = ["LlamaForCausalLM", "LLaMAForCausalLM"], export)]
impl ModelConnector for HfLlama {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::GATED_MLP,
            ..gpt::MLP_BIASES,
        },
    };

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.llama",
            model: "LlamaModel",
            config: "LlamaConfig",
            llama3_config: Some("Llama31Config"),
            also: &[],
        },
        bridge: "megatron.bridge.models.gpt_provider.GPTModelProvider",
        scale_embedding: false,
    });

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        FAMILY.config(source)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        Ok(FAMILY.source_config(config, original))
    }
}

/// Llama whose weights are in `pytorch_model.bin`, by this format's own name. An import from `hf`
/// reads them too where there are no safetensors; this one does where there are.
pub struct PytorchLlama;

#[model_importer(LlamaModel, "pytorch", architectures = ["LlamaForCausalLM", "LLaMAForCausalLM"])]
impl ModelConnector for PytorchLlama {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

const FAMILY: Family = Family {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    defaults: Defaults {
        num_query_groups: None,
        kv_channels: None,
        seq_length: 2048,
        layernorm_epsilon: 1e-6,
        rotary_base: 10_000.0,
        tied: false,
    },
    read,
    write,
    // Switched off, which `full_attention` has looked at.
    harmless: &["sliding_window", "use_sliding_window", "max_window_layers"],
};

fn read(fields: &Fields<'_>, config: &mut GptConfig) {
    config.activation_func = gpt::silu(fields);
    config.attention_bias = fields.or("attention_bias", false);
    config.mlp_bias = fields.or("mlp_bias", false);
    gpt::full_attention(fields, config.num_layers);
}

fn write(config: &GptConfig, fields: &mut Map<String, Value>) {
    fields.insert("attention_bias".into(), json!(config.attention_bias));
    fields.insert("mlp_bias".into(), json!(config.mlp_bias));
}
