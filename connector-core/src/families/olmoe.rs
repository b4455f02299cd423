//! OLMoE, and whatever else calls itself `OlmoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// OLMoE as a Megatron-core GPT model: norms of all queries and of all keys, and in every layer a
    /// router and experts, each a gated MLP.
    pub OlmoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::QK_NORMS;
            ..gpt::EXPERTS;
        }
    }
}

/// OLMoE from and to Hugging Face.
pub struct HfOlmoe;

#[model_importer(OlmoeModel, "hf", architectures = ["OlmoeForCausalLM"], export)]
impl ModelConnector for HfOlmoe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::EXPERTS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "olmoe",
        ..gpt::SHARED,
        absent "max_position_embeddings" = 4096,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        only qk_layernorm_full_width = true,
        // In Megatron-core nothing clips what they project.
        neutral "clip_qkv" = null,
        ..gpt::ROUTED,
        absent "num_experts" = 64,
        absent "num_experts_per_tok" = 8,
        absent "router_aux_loss_coef" = 0.01,
        "intermediate_size" <=> moe_ffn_hidden_size,
        only ffn_hidden_size = like moe_ffn_hidden_size,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC.bridge(&["OlMoE"]));
}
