//! Models of the benchmark's own: Llama by way of a function on tensors, and experts as numerous as
//! those of DeepSeek-V3.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::{self, GptConfig};
use connector_core::{
    Mapping, ModelConnector, Result, Tensor, mapping, model_importer, ops, param_schema,
    state_transform,
};
use serde::{Deserialize, Serialize};

#[state_transform(
    source_key = (
        "model.layers.{layer}.self_attn.q_proj.weight",
        "model.layers.{layer}.self_attn.k_proj.weight",
        "model.layers.{layer}.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.{layer}.self_attention.linear_qkv.weight",
    when = !attention_bias,
)]
fn cat_qkv(q: Tensor, k: Tensor, v: Tensor) -> candle_core::Result<Tensor> {
    Tensor::cat(&[q, k, v], 0)
}

/// Llama with one function on candle's tensors per layer.
struct HfWithFunction;

#[model_importer(LlamaModel, "hf-function", architectures = ["LlamaForCausalLM"])]
impl ModelConnector for HfWithFunction {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        cat_qkv,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            "self_attn.o_proj.{p:weight|bias}" => "self_attention.linear_proj.{p}",
            (
                "self_attn.q_proj.{p:weight|bias}",
                "self_attn.k_proj.{p:weight|bias}",
                "self_attn.v_proj.{p:weight|bias}",
            ) => "self_attention.linear_qkv.{p}" as concatenated via ops::concat3 when attention_bias,
            ..gpt::GATED_MLP,
            ..gpt::MLP_BIASES,
        },
    };

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Sizes {
    num_layers: usize,
    experts: usize,
    hidden: usize,
    inner: usize,
}

param_schema! {
    Experts(c: Sizes) {
        axis layer = c.num_layers;
        axis e = c.experts;
        "decoder.layers.{layer}.mlp.experts" {
            "linear_fc1.weight{e}": [2 * c.inner, c.hidden];
            "linear_fc1.scale{e}": [2 * c.inner / 128, c.hidden / 128];
            "linear_fc2.weight{e}": [c.hidden, c.inner];
            "linear_fc2.scale{e}": [c.hidden / 128, c.inner / 128];
        }
    }
}

/// Experts with their scales.
struct HfExperts;

#[model_importer(Experts, "hf", architectures = ["BenchDeepSeek"])]
impl ModelConnector for HfExperts {
    const MAPPING: Mapping = mapping! {
        "model.layers.{layer}.mlp.experts.{e}" => "decoder.layers.{layer}.mlp.experts" {
            ("gate_proj.weight", "up_proj.weight") => "linear_fc1.weight{e}" via ops::merge_fc1,
            ("gate_proj.weight_scale_inv", "up_proj.weight_scale_inv")
                => "linear_fc1.scale{e}" via ops::merge_fc1,
            "down_proj.weight" => "linear_fc2.weight{e}",
            "down_proj.weight_scale_inv" => "linear_fc2.scale{e}",
        },
    };

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        let fields = source.fields();
        let sizes = Sizes {
            num_layers: fields.required("num_hidden_layers"),
            experts: fields.required("n_routed_experts"),
            hidden: fields.required("hidden_size"),
            inner: fields.required("moe_intermediate_size"),
        };
        fields.settle_rest(&[]);
        fields.finish()?;
        Ok(sizes)
    }
}
