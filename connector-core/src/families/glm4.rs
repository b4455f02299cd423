//! GLM-4 (0414), dense, and whatever else calls itself `Glm4ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// GLM-4 as a Megatron-core GPT model.
    pub Glm4Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag qkv_bias = c.add_qkv_bias;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES if qkv_bias;
            ..gpt::GATED_MLP;
            "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
            "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
        }
    }
}

/// GLM-4 from and to Hugging Face.
pub struct HfGlm4;

#[model_importer(Glm4Model, "hf", architectures = ["Glm4ForCausalLM"], export)]
impl ModelConnector for HfGlm4 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            "post_self_attn_layernorm.weight" => "self_attention.linear_proj.post_layernorm.weight",
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "mlp.gate_up_proj.weight" => "mlp.linear_fc1.weight",
            "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
            "post_mlp_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "glm4",
        ..gpt::CORE,
        absent "num_key_value_heads" = 2,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1.5625e-7,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> add_qkv_bias = false,
        only layernorm_position = "both",
        only rotary_interleaved = true,
        ..gpt::PARTIAL_ROPE,
        absent "partial_rotary_factor" = 0.5,
        ..gpt::ROPE,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
