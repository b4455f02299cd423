//! Gemma 2, and whatever else calls itself `Gemma2ForCausalLM`.

use crate::config::{ConfigMap, Scalar};
use crate::connector::ModelConnector;
use crate::framework::{BridgeNames, Frameworks, NemoNames, OwnField};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Gemma 2 as a Megatron-core GPT model: norms before attention and the MLP and after them, windows
    /// in every other layer, and caps on scores and logits.
    pub Gemma2Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;
        flag attention_bias = c.attention_bias;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()] if attention_bias;
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
            "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
            "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
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

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.gemma2",
            model: "Gemma2Model",
            config: "Gemma2Config",
            llama3_config: None,
            also: &[],
        },
        bridge: BridgeNames {
            provider: "megatron.bridge.models.gemma.gemma2_provider.Gemma2ModelProvider",
            classes: &["Gemma2"],
        },
        implied: &[
            ("apply_embedding_scaling", Scalar::Bool(true)),
            ("layernorm_position", Scalar::Text("both")),
        ],
        own: &[
            OwnField {
                name: "query_pre_attn_scalar",
                model: "softmax_scale",
                via: Some(gpt::PRE_ATTENTION_SCALAR),
            },
            OwnField { name: "attn_logit_softcapping", model: "attn_logit_softcapping", via: None },
            OwnField {
                name: "final_logit_softcapping",
                model: "final_logit_softcapping",
                via: None,
            },
        ],
    });
}
