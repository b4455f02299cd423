//! Qwen2, Qwen2.5, and whatever else calls itself `Qwen2ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Qwen2 as a Megatron-core GPT model: Llama, with biases on queries, keys and values.
    pub Qwen2Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES;
            ..gpt::GATED_MLP;
        }
    }
}

/// Qwen2 from and to Hugging Face. NeMo's `HFQwen2Importer`.
pub struct HfQwen2;

#[model_importer(Qwen2Model, "hf", architectures = ["Qwen2ForCausalLM"], export)]
impl ModelConnector for HfQwen2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "qwen2",
        ..gpt::CORE,
        absent "num_key_value_heads" = 32,
        absent "max_position_embeddings" = 32_768,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        only add_qkv_bias = true,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.qwen2", "Qwen2Model", "Qwen2Config")
            .bridge(&["Qwen2", "Qwen25"]),
    );
}
