//! OLMo 2, and whatever else calls itself `Olmo2ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// OLMo 2 as a Megatron-core GPT model: norms after attention and the MLP alone, and norms of all
    /// queries and of all keys.
    pub Olmo2Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION_PROJECTIONS;
            ..gpt::ATTENTION_BIASES;
            ..gpt::QK_NORMS;
            ..gpt::GATED_PROJECTIONS;
            "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
            "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
        }
    }
}

/// OLMo 2 from and to Hugging Face. No framework's own tool converts it.
pub struct HfOlmo2;

#[model_importer(Olmo2Model, "hf", architectures = ["Olmo2ForCausalLM"], export)]
impl ModelConnector for HfOlmo2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION_PROJECTIONS,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            "post_attention_layernorm.weight" as post_attention_norm
                => "self_attention.linear_proj.post_layernorm.weight",
            ..gpt::GATED_PROJECTIONS,
            "post_feedforward_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "olmo2",
        ..gpt::CORE,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        only qk_layernorm_full_width = true,
        only layernorm_position = "after",
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
