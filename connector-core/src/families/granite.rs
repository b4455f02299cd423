//! Granite 3, dense, and whatever else calls itself `GraniteForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Granite as a Megatron-core GPT model: Llama, with factors for the embedding, attention, what is
    /// added in each layer, and the logits.
    pub GraniteModel(c: GptConfig) {
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

/// Granite from and to Hugging Face. Megatron-core has a field for the factor of attention alone.
pub struct HfGranite;

#[model_importer(GraniteModel, "hf", architectures = ["GraniteForCausalLM"], export)]
impl ModelConnector for HfGranite {
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
        "model_type" = "granite",
        ..gpt::CORE,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        "mlp_bias" <=> mlp_bias = false,
        "attention_multiplier" <=> softmax_scale = 1.0,
        "embedding_multiplier" <=> embedding_multiplier = 1.0 via gpt::FACTOR,
        "residual_multiplier" <=> residual_multiplier = 1.0 via gpt::FACTOR,
        "logits_scaling" <=> logits_scaling = 1.0 via gpt::FACTOR,
        ..gpt::ROPE,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
