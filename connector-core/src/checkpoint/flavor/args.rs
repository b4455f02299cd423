//! The arguments of Megatron-LM's command line as a checkpoint keeps them, from which
//! `--use-checkpoint-args` sets those of a run (`load_args_from_checkpoint`).
//!
//! All that make up the model are there, also where Megatron-LM's own default is the same, and
//! those that Megatron-Bridge asks for when it opens such a checkpoint (`mlm_compat`). No path: the
//! tokenizer is for `--tokenizer-model`.

use super::megatron::Megatron;
use super::python::Python;

/// Those that are called the same.
const SAME: [&str; 10] = [
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "num_attention_heads",
    "kv_channels",
    "seq_length",
    "normalization",
    "position_embedding_type",
    "rotary_base",
    "init_method_std",
];

/// Those that are the same for every model here. JSON, for lists and null.
const CONSTANT: [(&str, &str); 47] = [
    // What the model does not have.
    ("add_position_embedding", "false"),
    ("add_qkv_bias", "false"),
    ("apply_query_key_layer_scaling", "false"),
    ("attention_dropout", "0.0"),
    ("hidden_dropout", "0.0"),
    ("heterogeneous_layers_config_path", "null"),
    ("init_method_xavier_uniform", "false"),
    ("is_hybrid_model", "false"),
    ("moe_layer_freq", "1"),
    ("moe_use_legacy_grouped_gemm", "false"),
    ("mtp_num_layers", "null"),
    ("multi_latent_attention", "false"),
    ("openai_gelu", "false"),
    ("qk_l2_norm", "false"),
    ("qk_layernorm", "false"),
    ("quick_geglu", "false"),
    ("rotary_interleaved", "false"),
    ("rotary_percent", "1.0"),
    ("spec", "null"),
    ("squared_relu", "false"),
    ("use_rotary_position_embeddings", "false"),
    // How it is run.
    ("attention_softmax_in_fp32", "false"),
    ("bias_gelu_fusion", "false"),
    ("bias_swiglu_fusion", "true"),
    ("config_logger_dir", "\"\""),
    ("context_parallel_size", "1"),
    ("decoder_first_pipeline_num_layers", "null"),
    ("decoder_last_pipeline_num_layers", "null"),
    ("expert_model_parallel_size", "1"),
    ("fp16_lm_cross_entropy", "false"),
    ("fp8_param_gather", "false"),
    ("init_model_with_meta_device", "false"),
    ("no_persist_layer_norm", "false"),
    ("overlap_p2p_comm", "false"),
    ("pipeline_model_parallel_size", "1"),
    ("tensor_model_parallel_size", "1"),
    ("transformer_impl", "\"transformer_engine\""),
    ("virtual_pipeline_model_parallel_size", "null"),
    // What the checkpoint has.
    ("ckpt_format", "\"torch_dist\""),
    ("consumed_train_samples", "0"),
    ("consumed_valid_samples", "0"),
    ("iteration", "0"),
    ("no_save_optim", "true"),
    ("no_save_rng", "true"),
    ("skipped_train_samples", "0"),
    ("tokenizer_model", "null"),
    ("tokenizer_type", "\"HuggingFaceTokenizer\""),
];

/// The activation of a gated linear unit that the command line has an option for, `--swiglu`.
pub(super) const ACTIVATIONS: [(&str, &str); 1] = [("silu", "torch.nn.functional.silu")];

pub(super) fn write(model: &Megatron<'_>) -> Python {
    let mut args: Vec<(&str, Python)> = Vec::new();
    args.extend(SAME.map(|name| (name, model.python(name))));
    let groups = model.count("num_query_groups");
    args.extend([
        ("max_position_embeddings", model.python("seq_length")),
        ("group_query_attention", Python::Bool(groups != model.count("num_attention_heads"))),
        ("num_query_groups", Python::Int(groups)),
        ("norm_epsilon", model.python("layernorm_epsilon")),
        ("apply_layernorm_1p", Python::Bool(model.is("layernorm_zero_centered_gamma"))),
        ("add_bias_linear", Python::Bool(model.add_bias_linear())),
        (
            "untie_embeddings_and_output_weights",
            Python::Bool(!model.is("share_embeddings_and_output_weights")),
        ),
        ("swiglu", Python::Bool(is_swiglu(model))),
        ("vocab_size", model.python("vocab_size")),
        ("padded_vocab_size", Python::Int(model.vocab_rows())),
        ("make_vocab_size_divisible_by", model.python("make_vocab_size_divisible_by")),
        ("window_size", model.window_size()),
    ]);
    let sharing = match model.cp_comm_type() {
        Python::None => Python::text("p2p"),
        other => other,
    };
    args.push(("cp_comm_type", Python::List(vec![sharing])));
    let linear = model.linear_rope().map_or(Python::None, Python::from);
    args.push(("rotary_seq_len_interpolation_factor", linear));
    let llama3 = model.llama3_rope();
    args.push(("use_rope_scaling", Python::Bool(llama3.is_some())));
    let factor = llama3.map_or(Python::Float(8.0), |rope| rope.python("scale_factor"));
    args.push(("rope_scaling_factor", factor));
    args.extend(model.dtype());
    args.push(("num_experts", model.python("num_moe_experts")));
    let grouped = model.is("moe_grouped_gemm");
    let other = |(name, _): &(_, _)| !["num_moe_experts", "moe_grouped_gemm"].contains(name);
    args.extend(model.experts().into_iter().filter(other));
    args.push(("moe_grouped_gemm", Python::Bool(grouped)));
    args.extend(CONSTANT.map(|(name, json)| {
        let value = serde_json::from_str(json).unwrap_or_default();
        (name, Python::from(&value))
    }));
    args.sort_by_key(|arg| arg.0);
    Python::Dict(args.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// Whether the MLP is gated by `silu`.
fn is_swiglu(model: &Megatron<'_>) -> bool {
    model.is("gated_linear_unit") && model.text("activation_func") == Some(ACTIVATIONS[0].0)
}
