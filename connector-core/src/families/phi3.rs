//! Phi-3, Phi-3.5, Phi-4, Phi-4-mini, and whatever else calls itself `Phi3ForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};

param_schema! {
    /// Phi-3 as a Megatron-core GPT model: Llama, whose checkpoints have q, k and v in one tensor, and
    /// gate and up in one.
    pub Phi3Model(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::GATED_MLP;
        }
    }
}

/// Phi-3 from and to Hugging Face. NeMo's `HFPhi3Importer`.
pub struct HfPhi3;

#[model_importer(Phi3Model, "hf", architectures = ["Phi3ForCausalLM"], export)]
impl ModelConnector for HfPhi3 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            "self_attn.qkv_proj.weight"
                => "self_attention.linear_qkv.weight" via ops::merge_qkv_concat,
            "self_attn.o_proj.weight" => "self_attention.linear_proj.weight",
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "mlp.gate_up_proj.weight" => "mlp.linear_fc1.weight",
            "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "phi3",
        ..gpt::CORE,
        absent "max_position_embeddings" = 4096,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        neutral "attention_bias" = false,
        neutral "mlp_bias" = false,
        neutral "lm_head_bias" = false,
        ..gpt::PARTIAL_ROPE,
        ..gpt::LONG_ROPE,
        ..gpt::WINDOW,
        // Code that transformers has by now, and what that did not look at.
        carry ["auto_map", "full_attn_mod", "interpolate_factor"],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.phi3mini", "Phi3Model", "Phi3Config")
            .bridge(&["Phi3"]),
    );
}
