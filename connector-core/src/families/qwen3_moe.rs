//! Qwen3 with experts, Qwen3-Coder, and whatever else calls itself `Qwen3MoeForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen3-MoE as a Megatron-core GPT model: attention as in Qwen3, and in most layers, or all, a
    /// router and experts, each a gated MLP.
    pub Qwen3MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag experts(layer) = c.has_experts(layer);
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::QK_NORMS;
            ..gpt::GATED_MLP if !experts;
            ..gpt::EXPERTS if experts;
        }
    }
}

/// Qwen3-MoE from and to Hugging Face. NeMo's `HFQwen3Importer`.
pub struct HfQwen3Moe;

#[model_importer(Qwen3MoeModel, "hf", architectures = ["Qwen3MoeForCausalLM"], export)]
impl ModelConnector for HfQwen3Moe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::GATED_MLP,
            ..gpt::EXPERTS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen3_moe",
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        ..gpt::MIXTURE,
        absent "num_experts" = 128,
        absent "num_experts_per_tok" = 8,
        absent "moe_intermediate_size" = 768,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.qwen3", "Qwen3Model", "Qwen3MoEConfig")
            .bridge(&["Qwen3MoE"]),
    );
}
