//! EXAONE 4, and whatever else calls itself `Exaone4ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// EXAONE 4 as a Megatron-core GPT model: norms after attention and the MLP alone, norms of each
    /// head's queries and keys, and layers with a window, which alone rotate.
    pub Exaone4Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION_PROJECTIONS;
            ..gpt::QK_NORMS;
            ..gpt::GATED_PROJECTIONS;
            "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
            "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
        }
    }
}

/// EXAONE 4 from and to Hugging Face. Megatron-Bridge's `Exaone4Bridge`.
pub struct HfExaone4;

#[model_importer(Exaone4Model, "hf", architectures = ["Exaone4ForCausalLM"], export)]
impl ModelConnector for HfExaone4 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION_PROJECTIONS,
            ..gpt::QK_NORMS,
            "post_attention_layernorm.weight" as post_attention_norm
                => "self_attention.linear_proj.post_layernorm.weight",
            ..gpt::GATED_PROJECTIONS,
            "post_feedforward_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "exaone4",
        ..gpt::CORE,
        absent "num_key_value_heads" = 32,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        only qk_layernorm = true,
        only layernorm_position = "after",
        ..gpt::ROPE,
        // Without `layer_types`, the last of every four layers has no window.
        ..gpt::ROTATED_WINDOWS,
        absent "sliding_window" = 4096,
        absent "sliding_window_pattern" = 4,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
