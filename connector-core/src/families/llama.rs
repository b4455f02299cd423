//! Llama 2, 3, 3.1, 3.2, CodeLlama, and whatever else calls itself `LlamaForCausalLM`.

use super::gpt::{self, GptConfig};
use crate::checkpoint::Checkpoint;
use crate::connector::ModelConnector;
use crate::mapping::Mapping;
use crate::{Result, mapping, model_importer, ops, param_schema};
use serde_json::{Map, Value, json};

param_schema! {
    /// Llama as a Megatron-core GPT model with fused layers (its Transformer Engine spec).
    pub LlamaModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;
        flag attention_bias = c.attention_bias;
        flag mlp_bias = c.mlp_bias;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_qkv.bias": [c.qkv_rows()] if attention_bias;
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "self_attention.linear_proj.bias": [c.hidden_size] if attention_bias;
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc1.bias": [2 * c.ffn_hidden_size] if mlp_bias;
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
            "mlp.linear_fc2.bias": [c.hidden_size] if mlp_bias;
        }
    }
}

/// Llama from and to Hugging Face. NeMo's `HFLlamaImporter`.
pub struct HfLlama;

#[model_importer(LlamaModel, "hf", architectures = ["LlamaForCausalLM", "LLaMAForCausalLM"], export)]
impl ModelConnector for HfLlama {
    const MAPPING: Mapping = mapping! {
        "model.embed_tokens.weight" => "embedding.word_embeddings.weight" via ops::pad_vocab,
        "model.norm.weight" => "decoder.final_layernorm.weight",
        "lm_head.weight" => "output_layer.weight" via ops::pad_vocab,
        "lm_head.weight" == "model.embed_tokens.weight" when tied,
        ignore "model.rotary_emb.inv_freq",
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
        },
    };

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        let fields = source.fields();
        let (hidden_size, heads) =
            (fields.required("hidden_size"), fields.required::<usize>("num_attention_heads"));
        let (rotary_base, rope_scaling) = gpt::rope(&fields, 10_000.0);
        let vocab_size = fields.required("vocab_size");
        let head_dim: usize = fields.or("head_dim", hidden_size / heads.max(1));
        let config = GptConfig {
            num_layers: fields.required("num_hidden_layers"),
            hidden_size,
            ffn_hidden_size: fields.required("intermediate_size"),
            num_attention_heads: heads,
            num_query_groups: fields.or("num_key_value_heads", heads),
            kv_channels: head_dim,
            seq_length: fields.or("max_position_embeddings", 2048),
            vocab_size,
            make_vocab_size_divisible_by: gpt::vocab_divisor(vocab_size),
            share_embeddings_and_output_weights: fields.or("tie_word_embeddings", false),
            attention_bias: fields.or("attention_bias", false),
            mlp_bias: fields.or("mlp_bias", false),
            layernorm_epsilon: fields.or("rms_norm_eps", 1e-6),
            normalization: "RMSNorm".into(),
            activation_func: "silu".into(),
            gated_linear_unit: true,
            position_embedding_type: "rope".into(),
            rotary_base,
            rope_scaling,
            init_method_std: fields.or("initializer_range", 0.02),
            params_dtype: fields
                .first::<String>(&["dtype", "torch_dtype"])
                .filter(|name| ["float64", "float32", "float16", "bfloat16"].contains(&&**name)),
        };
        fields.neutral("hidden_act", &[json!("silu"), json!("swish")]);
        // What other families add to this one; a fork that keeps the name may use it.
        fields.neutral("model_type", &[json!("llama")]);
        if fields.raw("use_sliding_window") != Some(&json!(false)) {
            fields.neutral("sliding_window", &[]);
        }
        fields
            .neutral("layer_types", &[json!(vec!["full_attention"; config.num_layers.min(4096)])]);
        fields.neutral("partial_rotary_factor", &[json!(1.0), json!(1)]);
        fields.neutral("quantization_config", &[]);
        fields.settle_rest(&["sliding_window", "use_sliding_window", "max_window_layers"]);
        config.check(&fields);
        fields.finish()?;
        Ok(config)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        let mut fields = original.and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        fields.extend(gpt::common_json(config));
        fields.insert("architectures".into(), json!(["LlamaForCausalLM"]));
        fields.insert("model_type".into(), json!("llama"));
        fields.insert("attention_bias".into(), json!(config.attention_bias));
        fields.insert("mlp_bias".into(), json!(config.mlp_bias));
        Ok(Value::Object(fields))
    }
}
