use connector_core::mapping::Mapping;
use connector_core::{Tensor, mapping, ops, state_transform};

#[state_transform(source_key = "model.special", target_key = "special")]
fn special(special: Tensor) -> Tensor {
    special
}

/// Rows that several mappings include.
const NORMS: Mapping = mapping! {
    "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
    "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
};

const MAPPING: Mapping = mapping! {
    "model.embed_tokens.weight" => "embedding.word_embeddings.weight",
    "model.scale" => "scale" optional,
    "lm_head.weight" => "output_layer.weight" when !tied,
    // If it is there, it must hold the same bytes.
    "lm_head.weight" == "model.embed_tokens.weight" when tied,
    // Each of these layers repeats the embedding, and export writes it there again.
    copy "model.layers.{num_layers + mtp}.embed_tokens.weight" == "model.embed_tokens.weight",

    "model.layers.{layer}" => "decoder.layers.{layer}" {
        ..NORMS,
        ("mlp.gate_proj.{p:weight|bias}", "mlp.up_proj.{p}") => "mlp.linear_fc1.{p}" via ops::merge_fc1,
        "mlp.experts.{e}.w2.weight" => "mlp.experts.w2.weight" stack e when moe,
        "mlp.packed.weight" => "mlp.experts.{e}.weight" unstack e when moe,
        "mlp.table" => "mlp.table" via (ops::transpose, ops::deinterleave_rows),
        ("fp8.gate", "fp8.gate_scale", "fp8.up", "fp8.up_scale") => "fp8.fc1"
            via (ops::dequantise_fp8 each, ops::merge_fc1),
        "first_norm" => "norm" when layer == 0,
        "norm" => "norm" when layer > 0,
        ignore "self_attn.rotary_emb.inv_freq",
    }

    // One block that all layers share.
    "model.shared" => "decoder.layers.{layer}.shared" repeat layer {
        ..NORMS,
    }

    // A checkpoint has all of these, or none.
    "model.adapter" => "adapter" optional {
        "up.weight" => "up.weight",
        "down.weight" => "down.weight",
    }

    one_of {
        separate { "model.q" => "q", "model.k" => "k" }
        fused { "model.qk" => ("q", "k") via ops::split2 }
    }

    special,
};

fn main() {
    assert_eq!(MAPPING.rows.len(), 10);
}
