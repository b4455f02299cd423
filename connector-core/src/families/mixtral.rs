//! Mixtral 8x7B, 8x22B, and whatever else calls itself `MixtralForCausalLM`.

use crate::config::{Codec, ConfigMap};
use crate::connector::ModelConnector;
use crate::framework::{Frameworks, NemoValue};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};
use serde_json::Value;

param_schema! {
    /// Mixtral as a Megatron-core GPT model (its Transformer Engine spec): attention as in Mistral,
    /// and in every layer a router and experts, each a gated MLP.
    pub MixtralModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::EXPERTS;
        }
    }
}

/// Mixtral from and to Hugging Face. NeMo's `HFMixtralImporter`.
pub struct HfMixtral;

#[model_importer(MixtralModel, "hf", architectures = ["MixtralForCausalLM"], export)]
impl ModelConnector for HfMixtral {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::MIXTRAL_EXPERTS,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "mixtral",
        ..gpt::SHARED,
        absent "num_key_value_heads" = 8,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        ..gpt::ROPE,
        absent "rope_theta" = 1e6,
        ..gpt::WINDOW,
        // Every layer is a mixture.
        "intermediate_size" <=> moe_ffn_hidden_size,
        only ffn_hidden_size = like moe_ffn_hidden_size,
        "num_local_experts" | "num_experts" <=> num_moe_experts = 8,
        "num_experts_per_tok" <=> moe_router_topk = 2,
        only moe_router_pre_softmax = false,
        only moe_router_load_balancing_type = "aux_loss",
        "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.001,
        "router_jitter_noise" <=> moe_input_jitter_eps = 0.0 via NOISE,
        only moe_grouped_gemm = false,
        // Whether the model returns the router's logits beside its own.
        carry ["output_router_logits"],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.mixtral", "MixtralModel", "MixtralConfig8x7B")
            .nemo_fields(&[
                ("max_position_embeddings", NemoValue::Of("seq_length")),
                // Weights that are loaded need not be initialised.
                ("use_cpu_initialization", NemoValue::Is(true)),
                ("perform_initialization", NemoValue::Is(false)),
            ])
            .bridge(&["Mixtral"]),
    );
}

/// In Megatron-core no noise is no number.
const NOISE: Codec = Codec {
    read: |eps| Ok(if eps.as_f64() == Some(0.0) { Value::Null } else { eps.clone() }),
    write: |eps| if eps.is_null() { 0.0.into() } else { eps.clone() },
};
