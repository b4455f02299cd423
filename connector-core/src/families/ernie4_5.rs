//! ERNIE 4.5, dense, and whatever else calls itself `Ernie4_5ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// ERNIE 4.5 as a Megatron-core GPT model: Llama, of whose heads neighbours are rotated.
    pub Ernie45Model(c: GptConfig) {
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

/// ERNIE 4.5 from and to Hugging Face. No framework's own tool converts it.
pub struct HfErnie45;

#[model_importer(Ernie45Model, "hf", architectures = ["Ernie4_5ForCausalLM"], export)]
impl ModelConnector for HfErnie45 {
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
        "model_type" = "ernie4_5",
        ..gpt::CORE,
        absent "num_key_value_heads" = 2,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 131_072,
        absent "tie_word_embeddings" = true,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "use_bias" <=> attention_bias = false,
        only mlp_bias = like attention_bias,
        only rotary_interleaved = true,
        ..gpt::ROPE,
        absent "rope_theta" = 500_000.0,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
