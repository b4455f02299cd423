//! SmolLM3, and whatever else calls itself `SmolLM3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// SmolLM3 as a Megatron-core GPT model: Llama, of whose layers some do not rotate.
    pub SmolLm3Model(c: GptConfig) {
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

/// SmolLM3 from and to Hugging Face. No framework's own tool converts it.
pub struct HfSmolLm3;

#[model_importer(SmolLm3Model, "hf", architectures = ["SmolLM3ForCausalLM"], export)]
impl ModelConnector for HfSmolLm3 {
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
        "model_type" = "smollm3",
        // Released files say 2, for training; the class does not look at it.
        carry ["pretraining_tp"],
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "max_position_embeddings" = 32_768,
        absent "tie_word_embeddings" = true,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        "mlp_bias" <=> mlp_bias = false,
        ..gpt::ROPE,
        absent "rope_theta" = 2e6,
        // Without a list, the last of every four layers does not rotate.
        ..gpt::ROPELESS_LAYERS,
        ..gpt::NO_WINDOW,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
