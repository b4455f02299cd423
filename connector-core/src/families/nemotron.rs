//! Nemotron 3 and 4, Minitron, and whatever else calls itself `NemotronForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Nemotron as a Megatron-core GPT model: layer norms that multiply by 1 + weight, on both sides,
    /// a plain MLP with the square of a ReLU, and heads that are rotated in part.
    pub NemotronModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.final_layernorm.bias": [c.hidden_size];
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::NORM_BIASES;
            ..gpt::PLAIN_MLP;
        }
    }
}

/// Nemotron from and to Hugging Face. NeMo's `HFNemotronImporter`.
pub struct HfNemotron;

#[model_importer(NemotronModel, "hf", architectures = ["NemotronForCausalLM"], export)]
impl ModelConnector for HfNemotron {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.norm.bias" => "decoder.final_layernorm.bias",
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::NORM_BIASES,
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "mlp.up_proj.{p:weight|bias}" => "mlp.linear_fc1.{p}",
            "mlp.down_proj.{p:weight|bias}" => "mlp.linear_fc2.{p}",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "nemotron",
        ..gpt::SIZES,
        "intermediate_size" <=> ffn_hidden_size,
        absent "max_position_embeddings" = 4096,
        absent "initializer_range" = 0.0134,
        "norm_eps" <=> layernorm_epsilon = 1e-5,
        only normalization = "LayerNorm",
        only layernorm_zero_centered_gamma = true,
        only gated_linear_unit = false,
        "hidden_act" <=> activation_func = "relu2" via gpt::ACTIVATION,
        "attention_bias" <=> attention_bias = false,
        "mlp_bias" <=> mlp_bias = false,
        ..gpt::PARTIAL_ROPE,
        absent "partial_rotary_factor" = 0.5,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.nemotron", "NemotronModel", "NemotronConfig")
            .bridge(&["Nemotron"]),
    );
}
