//! Mixtral 8x7B, 8x22B, and whatever else calls itself `MixtralForCausalLM`.

use super::gpt::{self, Defaults, Family, GptConfig};
use crate::checkpoint::{Checkpoint, Fields, Frameworks, NemoNames, NemoValue};
use crate::connector::ModelConnector;
use crate::mapping::Mapping;
use crate::{Result, mapping, model_importer, ops, param_schema};
use serde_json::{Map, Value, json};

param_schema! {
    /// Mixtral as a Megatron-core GPT model (its Transformer Engine spec): attention as in Mistral,
    /// and in every layer a router and experts, each a gated MLP.
    pub MixtralModel(c: GptConfig) {
        axis layer = c.num_layers;
        axis e = c.experts();
        flag tied = c.share_embeddings_and_output_weights;
        flag grouped = c.moe_grouped_gemm == Some(true);

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "pre_mlp_layernorm.weight": [c.hidden_size];
            "mlp.router.weight": [c.experts(), c.hidden_size];
            "mlp.experts.local_experts.{e}.linear_fc1.weight": [2 * c.expert_width(), c.hidden_size]
                aka "mlp.experts.linear_fc1.weight{e}" when grouped;
            "mlp.experts.local_experts.{e}.linear_fc2.weight": [c.hidden_size, c.expert_width()]
                aka "mlp.experts.linear_fc2.weight{e}" when grouped;
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
            "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
            one_of {
                // As on the hub: w1 is the gate, w3 up, w2 down.
                apart {
                    "block_sparse_moe.gate.weight" => "mlp.router.weight",
                    (
                        "block_sparse_moe.experts.{e}.w1.weight",
                        "block_sparse_moe.experts.{e}.w3.weight",
                    ) => "mlp.experts.local_experts.{e}.linear_fc1.weight" via ops::merge_fc1,
                    "block_sparse_moe.experts.{e}.w2.weight"
                        => "mlp.experts.local_experts.{e}.linear_fc2.weight",
                }
                // As transformers 5 holds them in memory, and saves them if asked not to convert
                // back: [experts, gate over up, hidden] and [experts, hidden, inner width].
                fused {
                    "mlp.gate.weight" => "mlp.router.weight",
                    "mlp.experts.gate_up_proj"
                        => "mlp.experts.local_experts.{e}.linear_fc1.weight" unstack e,
                    "mlp.experts.down_proj"
                        => "mlp.experts.local_experts.{e}.linear_fc2.weight" unstack e,
                }
            }
        },
    };

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.mixtral",
            model: "MixtralModel",
            config: "MixtralConfig8x7B",
            llama3_config: None,
            also: &[
                ("max_position_embeddings", NemoValue::Of("seq_length")),
                // Weights that are loaded need not be initialised.
                ("use_cpu_initialization", NemoValue::Is(true)),
                ("perform_initialization", NemoValue::Is(false)),
            ],
        },
        bridge: "megatron.bridge.models.gpt_provider.GPTModelProvider",
        scale_embedding: false,
    });

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        FAMILY.config(source)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        Ok(FAMILY.source_config(config, original))
    }
}

const FAMILY: Family = Family {
    architecture: "MixtralForCausalLM",
    model_type: "mixtral",
    defaults: Defaults {
        num_query_groups: Some(8),
        kv_channels: None,
        seq_length: 4096 * 32,
        layernorm_epsilon: 1e-5,
        rotary_base: 1e6,
        tied: false,
    },
    read,
    write,
    // Whether the model returns the router's logits beside its own.
    harmless: &["output_router_logits"],
};

fn read(fields: &Fields<'_>, config: &mut GptConfig) {
    config.activation_func = gpt::silu(fields);
    config.window_size = gpt::window(fields, config.num_layers, None);
    config.num_moe_experts = Some(experts(fields));
    config.moe_ffn_hidden_size = Some(config.ffn_hidden_size);
    config.moe_router_topk = Some(fields.or("num_experts_per_tok", 2));
    config.moe_router_pre_softmax = Some(false);
    config.moe_router_load_balancing_type = Some("aux_loss".into());
    config.moe_aux_loss_coeff = Some(fields.or("router_aux_loss_coef", 0.001));
    config.moe_input_jitter_eps = Some(fields.or("router_jitter_noise", 0.0));
    config.moe_grouped_gemm = Some(false);
}

/// The number of experts, for which transformers 5 takes another name too.
fn experts(fields: &Fields<'_>) -> usize {
    const NAMES: [&str; 2] = ["num_local_experts", "num_experts"];
    match NAMES.map(|name| fields.optional::<usize>(name)) {
        [Some(one), Some(other)] if one != other => {
            fields.refuse(NAMES[1], format!("is {other}, but \"{}\" is {one}", NAMES[0]));
            one
        }
        [Some(experts), _] | [None, Some(experts)] => experts,
        [None, None] => fields.or(NAMES[0], 8),
    }
}

fn write(config: &GptConfig, fields: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| fields.insert(name.into(), value);
    put("sliding_window", gpt::sliding_window(config));
    put("num_local_experts", json!(config.num_moe_experts));
    put("num_experts_per_tok", json!(config.moe_router_topk));
    put("router_aux_loss_coef", json!(config.moe_aux_loss_coeff));
    put("router_jitter_noise", json!(config.moe_input_jitter_eps));
}
