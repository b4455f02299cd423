//! Gemma 3 without images, and whatever else calls itself `Gemma3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Gemma 3 as a Megatron-core GPT model: Gemma 2, with norms of each head's queries and keys, and
    /// two rotary embeddings, one for layers with a window and one for those without.
    pub Gemma3Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::QK_NORMS;
            ..gpt::FOUR_NORMS;
            ..gpt::GATED_PROJECTIONS;
        }
    }
}

/// Gemma 3 from and to Hugging Face. NeMo's `HFGemma3Importer`, which goes by the number of layers.
pub struct HfGemma3;

#[model_importer(Gemma3Model, "hf", architectures = ["Gemma3ForCausalLM"], export)]
impl ModelConnector for HfGemma3 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::QK_NORMS,
            ..gpt::FOUR_NORMS,
            ..gpt::GATED_PROJECTIONS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "gemma3_text",
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "head_dim" = 256,
        absent "max_position_embeddings" = 131_072,
        absent "tie_word_embeddings" = true,
        "hidden_activation" <=> activation_func = "gelu_pytorch_tanh" via gpt::ACTIVATION,
        // The class does not look at it.
        neutral "hidden_act" = "gelu_pytorch_tanh",
        "attention_bias" <=> attention_bias = false,
        only qk_layernorm = true,
        only layernorm_zero_centered_gamma = true,
        only layernorm_position = "both",
        only apply_embedding_scaling = true,
        "query_pre_attn_scalar" <=> softmax_scale = 256 via gpt::PRE_ATTENTION_SCALAR,
        "attn_logit_softcapping" <=> attn_logit_softcapping = null,
        "final_logit_softcapping" <=> final_logit_softcapping = null,
        ..gpt::TWO_ROPES,
        absent "rope_theta" = 1e6,
        absent "rope_local_base_freq" = 1e4,
        // Without `layer_types`, the last of every six layers has no window.
        ..gpt::WINDOWS,
        absent "sliding_window" = 4096,
        absent "sliding_window_pattern" = 6,
        neutral "use_bidirectional_attention" = false,
    }});

    // Of NeMo's and Megatron-Bridge's own classes, several fields are pairs or constants.
    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
