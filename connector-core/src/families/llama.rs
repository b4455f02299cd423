//! Llama 2, 3, 3.1, 3.2, CodeLlama, and whatever else calls itself `LlamaForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Llama as a Megatron-core GPT model with fused layers (its Transformer Engine spec).
    pub LlamaModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::GATED_MLP;
            ..gpt::MLP_BIASES;
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

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.llama", "LlamaModel", "LlamaConfig")
            .nemo_llama3_config("Llama31Config")
            .bridge(&["Llama", "Llama2", "Llama3", "Llama31", "Llama32", "Llama33", "CodeLlama"]),
    );
}
