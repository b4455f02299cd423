//! Mistral 7B, NeMo 12B, Ministral 8B, and whatever else calls itself `MistralForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Mistral as a Megatron-core GPT model with fused layers (its Transformer Engine spec). The
    /// heads may be wider or narrower than the model over their number.
    pub MistralModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::GATED_MLP;
        }
    }
}

/// Mistral from and to Hugging Face. NeMo's `HFMistralImporter`, which however takes the window for
/// the length of the sequences.
pub struct HfMistral;

#[model_importer(MistralModel, "hf", architectures = ["MistralForCausalLM"], export)]
impl ModelConnector for HfMistral {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "mistral",
        ..gpt::CORE,
        absent "num_key_value_heads" = 8,
        absent "max_position_embeddings" = 131_072,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        ..gpt::ROPE,
        // Null, as v0.2 and later have, is none.
        ..gpt::WINDOW,
        absent "sliding_window" = 4096,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.mistral", "MistralModel", "MistralConfig7B")
            .bridge_provider("megatron.bridge.models.mistral.mistral_provider.MistralModelProvider")
            .bridge(&["Mistral", "MistralSmall3"]),
    );
}
