//! Starcoder2, and whatever else calls itself `Starcoder2ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Starcoder2 as a Megatron-core GPT model: layer norms, a plain MLP, and biases.
    pub Starcoder2Model(c: GptConfig) {
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

/// Starcoder2 from and to Hugging Face. NeMo's `HFStarcoder2Importer`, which always unties the
/// embedding and the output layer.
pub struct HfStarcoder2;

#[model_importer(Starcoder2Model, "hf", architectures = ["Starcoder2ForCausalLM"], export)]
impl ModelConnector for HfStarcoder2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.norm.bias" => "decoder.final_layernorm.bias",
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::NORM_BIASES,
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "mlp.c_fc.{p:weight|bias}" => "mlp.linear_fc1.{p}",
            "mlp.c_proj.{p:weight|bias}" => "mlp.linear_fc2.{p}",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "starcoder2",
        ..gpt::SIZES,
        "intermediate_size" <=> ffn_hidden_size,
        absent "num_key_value_heads" = 2,
        absent "max_position_embeddings" = 4096,
        absent "tie_word_embeddings" = true,
        absent "initializer_range" = 0.018042,
        "norm_epsilon" <=> layernorm_epsilon = 1e-5,
        only normalization = "LayerNorm",
        only gated_linear_unit = false,
        "hidden_act" <=> activation_func = "gelu_pytorch_tanh" via gpt::ACTIVATION,
        "use_bias" <=> attention_bias = true,
        only mlp_bias = like attention_bias,
        ..gpt::ROPE,
        ..gpt::WINDOW,
        // What the class does not look at: its dropouts, and notes of the model that it was made from.
        carry [
            "embedding_dropout", "residual_dropout", "activation_function", "mlp_type", "norm_type",
            "layer_norm_epsilon", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32",
            "scale_attn_weights",
        ],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo(
                "nemo.collections.llm.gpt.model.starcoder2",
                "Starcoder2Model",
                "Starcoder2Config",
            )
            .bridge(&["Starcoder2"]),
    );
}
