//! Qwen3 without experts, and whatever else calls itself `Qwen3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen3 as a Megatron-core GPT model: Llama, with norms of each head's queries and keys.
    pub Qwen3Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::QK_NORMS;
            ..gpt::GATED_MLP;
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

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.qwen3", "Qwen3Model", "Qwen3Config")
            .bridge(&["Qwen3"]),
    );
}
