//! Llama 2, 3, 3.1, 3.2, CodeLlama, and whatever else calls itself `LlamaForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

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

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "llama",
        ..gpt::CORE,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        "mlp_bias" <=> mlp_bias = false,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.llama",
            model: "LlamaModel",
            config: "LlamaConfig",
            llama3_config: Some("Llama31Config"),
            also: &[],
        },
        bridge: BridgeNames {
            provider: BridgeNames::GPT,
            classes: &["Llama", "Llama2", "Llama3", "Llama31", "Llama32", "Llama33", "CodeLlama"],
        },
        implied: &[],
        own: &[],
    });
}
