//! Ministral 3 without images, and whatever else calls itself `Ministral3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Ministral 3 as a Megatron-core GPT model: Mistral with YaRN, and queries that grow with their
    /// position.
    pub Ministral3Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::GATED_MLP;
        }
    }
}

/// Ministral 3 from and to Hugging Face.
pub struct HfMinistral3;

#[model_importer(Ministral3Model, "hf", architectures = ["Ministral3ForCausalLM"], export)]
impl ModelConnector for HfMinistral3 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "ministral3",
        ..gpt::CORE,
        absent "num_key_value_heads" = 8,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 262_144,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        ..gpt::TEMPERED_ROPE,
        ..gpt::WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
