//! Llama 4 without images, and whatever else calls itself `Llama4ForCausalLM`.

use crate::config::{Codec, ConfigMap};
use crate::connector::ModelConnector;
use crate::framework::{Frameworks, OwnField};
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};
use serde_json::{Value, json};

param_schema! {
    /// Llama 4 as a Megatron-core GPT model: attention within chunks in layers that rotate, and in some
    /// layers a router of one expert, beside one that sees every token.
    pub Llama4Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag experts(layer) = c.has_experts(layer);
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::GATED_MLP if !experts;
            ..gpt::EXPERTS if experts;
            ..gpt::SHARED_EXPERT if experts;
        }
    }
}

/// Llama 4 from and to Hugging Face. NeMo's `HFLlamaImporter`.
pub struct HfLlama4;

#[model_importer(Llama4Model, "hf", architectures = ["Llama4ForCausalLM"], export)]
impl ModelConnector for HfLlama4 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
            ("feed_forward.gate_proj.weight", "feed_forward.up_proj.weight")
                => "mlp.linear_fc1.weight" via ops::merge_fc1,
            "feed_forward.down_proj.weight" => "mlp.linear_fc2.weight",
            "feed_forward.router.weight" => "mlp.router.weight",
            "feed_forward.experts.gate_up_proj" as transposed
                => "mlp.experts.local_experts.{e}.linear_fc1.weight"
                via ops::transpose unstack e,
            "feed_forward.experts.down_proj" as transposed
                => "mlp.experts.local_experts.{e}.linear_fc2.weight"
                via ops::transpose unstack e,
            (
                "feed_forward.shared_expert.gate_proj.weight",
                "feed_forward.shared_expert.up_proj.weight",
            ) => "mlp.shared_experts.linear_fc1.weight" via ops::merge_fc1,
            "feed_forward.shared_expert.down_proj.weight" => "mlp.shared_experts.linear_fc2.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "llama4_text",
        ..gpt::SHARED,
        absent "num_key_value_heads" = 8,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1e-5,
        "intermediate_size_mlp" <=> ffn_hidden_size = 16_384,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> attention_bias = false,
        "use_qk_norm" <=> qk_l2_norm = true,
        only rotary_interleaved = true,
        ..gpt::ROPE,
        absent "rope_theta" = 500_000.0,
        ..gpt::CHUNKED_LAYERS,
        "attention_chunk_size" <=> attention_chunk_size = null,
        absent "attention_chunk_size" = 8192,
        ..gpt::TEMPERATURE,
        "num_local_experts" | "num_experts" <=> num_moe_experts = 16,
        // Of several, Megatron-core would scale the shares to a sum of 1.
        "num_experts_per_tok" <=> moe_router_topk = 1 via gpt::ONE,
        ..gpt::MOE_LAYERS,
        "intermediate_size" <=> moe_ffn_hidden_size,
        only moe_shared_expert_intermediate_size = like moe_ffn_hidden_size,
        only moe_router_score_function = "sigmoid",
        only moe_apply_probs_on_input = true,
        only moe_router_pre_softmax = false,
        only moe_router_load_balancing_type = "aux_loss",
        "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.001,
        neutral "router_jitter_noise" = 0.0,
        only moe_grouped_gemm = true,
        neutral "for_llm_compressor" = false,
        carry ["output_router_logits"],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.llama", "LlamaModel", "Llama4Config")
            .own_layers()
            .own_fields(&[
                OwnField::new("attention_chunk_size", "attention_chunk_size"),
                OwnField::new("nope_layer_interval", "no_rope_freq").via(INTERVAL),
                OwnField::new("qk_l2_norm", "qk_l2_norm"),
            ]),
    );
}

/// NeMo says every how many layers one does not rotate. Megatron-core reads a number so too. Of layers
/// that are not so regular there is none.
const INTERVAL: Codec = Codec {
    read: |interval| Ok(interval.clone()),
    write: |layers| {
        let layers = layers.as_array().map_or(&[][..], Vec::as_slice);
        let first = layers.iter().position(|kind| *kind == json!(1));
        let every = first.map(|first| first + 1).filter(|every| {
            let is_last =
                |(layer, kind): (usize, &Value)| (*kind == json!(1)) == ((layer + 1) % every == 0);
            layers.iter().enumerate().all(is_last)
        });
        every.map_or(Value::Null, Value::from)
    },
};
