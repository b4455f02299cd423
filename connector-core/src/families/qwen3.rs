//! Qwen3 without experts, and whatever else calls itself `Qwen3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen3 as a Megatron-core GPT model: Llama, with norms of each head's queries and keys.
    pub Qwen3Model(c: GptConfig) {
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
            "self_attention.q_layernorm.weight": [c.kv_channels];
            "self_attention.k_layernorm.weight": [c.kv_channels];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// Qwen3 from and to Hugging Face. NeMo's `HFQwen3Importer`.
pub struct HfQwen3;

#[model_importer(Qwen3Model, "hf", architectures = ["Qwen3ForCausalLM"], export)]
impl ModelConnector for HfQwen3 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen3",
        ..gpt::CORE,
        absent "num_key_value_heads" = 32,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.qwen3",
            model: "Qwen3Model",
            config: "Qwen3Config",
            llama3_config: None,
            also: &[],
        },
        bridge: BridgeNames { provider: BridgeNames::GPT, classes: &["Qwen3"] },
        implied: &[],
        own: &[],
    });
}
