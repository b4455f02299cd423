//! InternLM2 and 2.5: Llama under other names, with q, k and v in one matrix by query group, which is
//! how Megatron-core has them.

use connector_core::config::ConfigMap;
use connector_core::framework::Frameworks;
use connector_core::gpt::{self, GptConfig};
use connector_core::{
    Mapping, ModelConnector, config_map, mapping, model_importer, ops, param_schema,
};

param_schema! {
    /// InternLM2 as a Megatron-core GPT model with fused layers.
    pub InternLm2Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// InternLM2 from and to Hugging Face.
pub struct HfInternLm2;

#[model_importer(InternLm2Model, "hf", architectures = ["InternLM2ForCausalLM"], export)]
impl ModelConnector for HfInternLm2 {
    const MAPPING: Mapping = mapping! {
        "model.tok_embeddings.weight" => "embedding.word_embeddings.weight" via ops::pad_vocab,
        "model.norm.weight" => "decoder.final_layernorm.weight",
        "output.weight" => "output_layer.weight" via ops::pad_vocab,
        "output.weight" == "model.tok_embeddings.weight" when tied,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "attention_norm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            "attention.wqkv.weight" => "self_attention.linear_qkv.weight",
            "attention.wo.weight" => "self_attention.linear_proj.weight",
            "ffn_norm.weight" => "mlp.linear_fc1.layer_norm_weight",
            ("feed_forward.w1.weight", "feed_forward.w3.weight")
                => "mlp.linear_fc1.weight" via ops::merge_fc1,
            "feed_forward.w2.weight" => "mlp.linear_fc2.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "internlm2",
        ..gpt::CORE,
        absent "vocab_size" = 103_168,
        absent "rms_norm_eps" = 1e-6,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        neutral "bias" = false,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
        // The class that `trust_remote_code` runs.
        carry ["auto_map"],
    }});

    // No framework has a class of its own for it.
    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
