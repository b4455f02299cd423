//! Gemma 2, and whatever else calls itself `Gemma2ForCausalLM`.

use crate::config::{ConfigMap, Scalar};
use crate::connector::ModelConnector;
use crate::framework::{Frameworks, Otherwise, OwnField};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Gemma 2 as a Megatron-core GPT model: norms before attention and the MLP and after them, windows
    /// in every other layer, and caps on scores and logits.
    pub Gemma2Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::FOUR_NORMS;
            ..gpt::GATED_PROJECTIONS;
        }
    }
}

/// Gemma 2 from and to Hugging Face. NeMo's `HFGemma2Importer`.
pub struct HfGemma2;

#[model_importer(Gemma2Model, "hf", architectures = ["Gemma2ForCausalLM"], export)]
impl ModelConnector for HfGemma2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::FOUR_NORMS,
            ..gpt::GATED_PROJECTIONS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "gemma2",
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "head_dim" = 256,
        absent "max_position_embeddings" = 8192,
        absent "tie_word_embeddings" = true,
        "hidden_activation" <=> activation_func = "gelu_pytorch_tanh" via gpt::ACTIVATION,
        // The class does not look at it.
        neutral "hidden_act" = "gelu_pytorch_tanh",
        "attention_bias" <=> attention_bias = false,
        only layernorm_zero_centered_gamma = true,
        only layernorm_position = "both",
        only apply_embedding_scaling = true,
        "query_pre_attn_scalar" <=> softmax_scale = 256 via gpt::PRE_ATTENTION_SCALAR,
        "attn_logit_softcapping" <=> attn_logit_softcapping = null,
        absent "attn_logit_softcapping" = 50.0,
        "final_logit_softcapping" <=> final_logit_softcapping = null,
        absent "final_logit_softcapping" = 30.0,
        ..gpt::ROPE,
        // Without `layer_types`, the first of every two layers has a window.
        ..gpt::WINDOWS,
        absent "sliding_window" = 4096,
        absent "sliding_window_pattern" = 2,
        neutral "use_bidirectional_attention" = false,
        // The class does not look at it.
        carry ["sliding_window_size"],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.gemma2", "Gemma2Model", "Gemma2Config")
            .bridge_provider("megatron.bridge.models.gemma.gemma2_provider.Gemma2ModelProvider")
            .bridge(&["Gemma2"])
            .implied(&[
                ("apply_embedding_scaling", Scalar::Bool(true)),
                ("layernorm_position", Scalar::Text("both")),
                // The last of every two layers has no window.
                ("window_attn_skip_freq", Scalar::Int(2)),
            ])
            // HF's layers 0, 2, … are the layers 1, 3, … there, and these classes window the even ones.
            .otherwise(&[Otherwise::new(
                "window_attn_skip_freq",
                "a window in every other layer from the second on",
                "which layers see all tokens",
            )])
            .own_fields(&[
                OwnField::new("query_pre_attn_scalar", "softmax_scale")
                    .via(gpt::PRE_ATTENTION_SCALAR),
                OwnField::new("attn_logit_softcapping", "attn_logit_softcapping"),
                OwnField::new("final_logit_softcapping", "final_logit_softcapping"),
            ]),
    );
}
