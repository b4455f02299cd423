//! MiniMax-M2, M2.5, and whatever else calls itself `MiniMaxM2ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// MiniMax-M2 as a Megatron-core GPT model: norms of all queries and of all keys, heads that are
    /// rotated in part, and routers by a sigmoid, with a bias for the choice.
    pub MiniMaxM2Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QK_NORMS;
            ..gpt::EXPERTS;
            "mlp.router.expert_bias": [c.experts()] keep f32;
        }
    }
}

/// MiniMax-M2 from and to Hugging Face. Megatron-Bridge's `MiniMaxM2Bridge`.
pub struct HfMiniMaxM2;

#[model_importer(MiniMaxM2Model, "hf", architectures = ["MiniMaxM2ForCausalLM"], export)]
impl ModelConnector for HfMiniMaxM2 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QK_NORMS,
            ..gpt::MIXTRAL_EXPERTS,
            one_of {
                apart {
                    "block_sparse_moe.e_score_correction_bias" => "mlp.router.expert_bias",
                }
                fused {
                    "mlp.e_score_correction_bias" => "mlp.router.expert_bias",
                }
            }
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "minimax_m2",
        ..gpt::SHARED,
        absent "num_key_value_heads" = 8,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 196_608,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        only qk_layernorm = true,
        only qk_layernorm_full_width = true,
        ..gpt::ROTARY_DIM,
        ..gpt::ROPE,
        absent "rope_theta" = 5e6,
        ..gpt::NO_WINDOW,
        "intermediate_size" <=> moe_ffn_hidden_size,
        only ffn_hidden_size = like moe_ffn_hidden_size,
        "num_local_experts" | "num_experts" <=> num_moe_experts = 256,
        "num_experts_per_tok" <=> moe_router_topk = 8 via gpt::SEVERAL,
        only moe_router_score_function = "sigmoid",
        only moe_router_enable_expert_bias = true,
        only moe_router_pre_softmax = false,
        only moe_router_load_balancing_type = "aux_loss",
        "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.001,
        neutral "router_jitter_noise" = 0.0,
        only moe_grouped_gemm = true,
        // What released files say, with one meaning, and the class does not look at.
        neutral "scoring_func" = "sigmoid",
        neutral "use_routing_bias" = true,
        neutral "use_qk_norm" = true,
        neutral "qk_norm_type" = "per_layer",
        neutral "shared_intermediate_size" = 0,
        neutral "layernorm_full_attention_beta" = 1.0,
        neutral "layernorm_linear_attention_beta" = 1.0,
        neutral "layernorm_mlp_beta" = 1.0,
        carry [
            "attn_type_list", "auto_map", "mlp_intermediate_size", "mtp_transformer_layers",
            "num_mtp_modules", "output_router_logits", "shared_moe_mode", "use_mtp",
        ],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
