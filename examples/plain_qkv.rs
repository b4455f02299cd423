//! The state transform of `qkv.rs` as an importer of its own, for a known model and a format of
//! another name, with a command line of its own.
//!
//! `cargo run -p connector-examples --example plain_qkv -- import DIR --from hf-plain --output OUT`

use connector_core::checkpoint::HfCheckpoint;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::{self, GptConfig};
use connector_core::{
    Mapping, ModelConnector, Result, Tensor, mapping, model_importer, ops, state_transform,
};

/// Query over key over value, without the interleaving by group that Megatron wants: what many
/// hand-written converters get wrong. The shapes are the same, so only a name can tell it apart.
#[state_transform(
    source_key = (
        "model.layers.{layer}.self_attn.q_proj.weight",
        "model.layers.{layer}.self_attn.k_proj.weight",
        "model.layers.{layer}.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.{layer}.self_attention.linear_qkv.weight",
    when = !attention_bias,
)]
fn combine_qkv(q: Tensor, k: Tensor, v: Tensor) -> candle_core::Result<Tensor> {
    Tensor::cat(&[q, k, v], 0)
}

/// Llama with plainly concatenated projections.
pub struct HfPlainLlama;

// The compiler holds the rows against `LlamaModel`: drop one, and it names the parameter that
// nothing makes any more.
#[model_importer(LlamaModel, "hf-plain", architectures = ["LlamaForCausalLM"])]
impl ModelConnector for HfPlainLlama {
    const MAPPING: Mapping = mapping! {
        "model.embed_tokens.weight" => "embedding.word_embeddings.weight" via ops::pad_vocab,
        "model.norm.weight" => "decoder.final_layernorm.weight",
        "lm_head.weight" => "output_layer.weight" via ops::pad_vocab,
        combine_qkv,
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

    // The config is that of any Llama.
    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

/// The whole command line, with `hf-plain` among the formats.
pub fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
