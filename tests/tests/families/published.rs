//! Configs as they are published with released models.

use connector_core::connector::Registry;
use connector_core::testing::prove_config;
use serde_json::{Value, json};

/// `more` in front of what most files say.
fn config(more: Value) -> Value {
    let mut config = json!({
        "attention_dropout": 0.0, "hidden_act": "silu", "initializer_range": 0.02,
        "torch_dtype": "bfloat16", "transformers_version": "4.55.0", "use_cache": true,
    });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

/// Each is read, and every change of it is refused or comes back.
#[test]
fn published_configs_are_read() {
    let full = |layers: usize| vec!["full_attention"; layers];
    let no_rope = |layer: usize| u8::from(!(layer + 1).is_multiple_of(4));
    let hybrid = |layer: usize| match (layer + 1) % 4 {
        0 => "full_attention",
        _ => "sliding_attention",
    };
    for (name, config) in [
        (
            "SmolLM3-3B",
            config(json!({
                "architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3",
                "attention_bias": false, "mlp_bias": false, "hidden_size": 2048,
                "intermediate_size": 11_008, "layer_types": full(36), "max_window_layers": 28,
                "max_position_embeddings": 65_536, "no_rope_layer_interval": 4,
                "no_rope_layers": (0..36).map(no_rope).collect::<Vec<_>>(),
                "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4,
                "pretraining_tp": 2, "rms_norm_eps": 1e-6, "rope_scaling": null,
                "rope_theta": 5e6, "sliding_window": null, "use_sliding_window": false,
                "vocab_size": 128_256, "eos_token_id": 128_012, "pad_token_id": 128_004,
            })),
        ),
        (
            "Seed-OSS-36B-Instruct",
            config(json!({
                "architectures": ["SeedOssForCausalLM"], "model_type": "seed_oss",
                "attention_bias": true, "attention_out_bias": false, "attention_dropout": 0.1,
                "head_dim": 128, "hidden_size": 5120, "intermediate_size": 27_648,
                "max_position_embeddings": 524_288, "mlp_bias": false,
                "num_attention_heads": 80, "num_hidden_layers": 64, "num_key_value_heads": 8,
                "residual_dropout": 0.1, "rms_norm_eps": 1e-6, "rope_theta": 1e7,
                "rope_scaling": {"rope_type": "default"}, "tie_word_embeddings": false,
                "vocab_size": 155_136, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
            })),
        ),
        (
            "GLM-4-32B-0414",
            config(json!({
                "architectures": ["Glm4ForCausalLM"], "model_type": "glm4",
                "attention_bias": false, "eos_token_id": [151_329, 151_336, 151_338],
                "head_dim": 128, "hidden_size": 6144, "intermediate_size": 23_040,
                "max_position_embeddings": 32_768, "num_attention_heads": 48,
                "num_hidden_layers": 61, "num_key_value_heads": 2, "pad_token_id": 151_329,
                "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
                "tie_word_embeddings": false, "vocab_size": 151_552,
            })),
        ),
        (
            "GLM-4-9B-0414",
            config(json!({
                "architectures": ["Glm4ForCausalLM"], "model_type": "glm4",
                "attention_bias": true, "eos_token_id": [151_329, 151_336, 151_338],
                "head_dim": 128, "hidden_size": 4096, "intermediate_size": 13_696,
                "max_position_embeddings": 32_768, "num_attention_heads": 32,
                "num_hidden_layers": 40, "num_key_value_heads": 2, "pad_token_id": 151_329,
                "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0,
                "tie_word_embeddings": false, "vocab_size": 151_552,
            })),
        ),
        (
            "MiniMax-M2",
            config(json!({
                "architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2",
                "attn_type_list": vec![1; 62], "head_dim": 128, "hidden_size": 3072,
                "intermediate_size": 1536, "layernorm_full_attention_beta": 1.0,
                "layernorm_linear_attention_beta": 1.0, "layernorm_mlp_beta": 1.0,
                "max_position_embeddings": 196_608, "mlp_intermediate_size": 8192,
                "mtp_transformer_layers": 1, "num_attention_heads": 48,
                "num_experts_per_tok": 8, "num_hidden_layers": 62, "num_key_value_heads": 8,
                "num_local_experts": 256, "num_mtp_modules": 3, "output_router_logits": false,
                "qk_norm_type": "per_layer", "rms_norm_eps": 1e-6, "rope_theta": 5_000_000,
                "rotary_dim": 64, "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0,
                "scoring_func": "sigmoid", "shared_intermediate_size": 0,
                "shared_moe_mode": "sigmoid", "sliding_window": null,
                "tie_word_embeddings": false, "use_mtp": true, "use_qk_norm": true,
                "use_routing_bias": true, "vocab_size": 200_064,
            })),
        ),
        (
            "granite-3.3-8b-instruct",
            config(json!({
                "architectures": ["GraniteForCausalLM"], "model_type": "granite",
                "attention_bias": false, "attention_multiplier": 0.007_812_5,
                "bos_token_id": 0, "embedding_multiplier": 12.0, "eos_token_id": 0,
                "hidden_size": 4096, "intermediate_size": 12_800, "logits_scaling": 16.0,
                "max_position_embeddings": 131_072, "mlp_bias": false,
                "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
                "pad_token_id": 0, "residual_multiplier": 0.22, "rms_norm_eps": 1e-5,
                "rope_scaling": null, "rope_theta": 10_000_000.0, "tie_word_embeddings": true,
                "vocab_size": 49_159,
            })),
        ),
        (
            "ERNIE-4.5-0.3B-PT",
            config(json!({
                "architectures": ["Ernie4_5ForCausalLM"], "model_type": "ernie4_5",
                "bos_token_id": 1, "eos_token_id": 2, "head_dim": 128, "hidden_size": 1024,
                "intermediate_size": 3072, "max_position_embeddings": 131_072,
                "num_attention_heads": 16, "num_hidden_layers": 18, "num_key_value_heads": 2,
                "pad_token_id": 0, "rms_norm_eps": 1e-5, "rope_scaling": null,
                "rope_theta": 500_000.0, "tie_word_embeddings": true, "use_bias": false,
                "vocab_size": 103_424,
            })),
        ),
        (
            "ERNIE-4.5-21B-A3B-PT",
            config(json!({
                "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe",
                "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 2560,
                "intermediate_size": 12_288, "max_position_embeddings": 131_072,
                "moe_capacity": [64, 64, 64], "moe_gate": "topk", "moe_intermediate_size": 1536,
                "moe_k": 6, "moe_layer_end_index": 27, "moe_layer_interval": 1,
                "moe_layer_start_index": 1, "moe_num_experts": 64, "moe_num_shared_experts": 2,
                "moe_use_aux_free": true, "num_attention_heads": 20, "num_hidden_layers": 28,
                "num_key_value_heads": 4, "num_nextn_predict_layers": 1, "pad_token_id": 0,
                "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 500_000.0,
                "tie_word_embeddings": true, "use_bias": false, "vocab_size": 103_424,
            })),
        ),
        (
            "EXAONE-4.0-32B",
            config(json!({
                "architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4",
                "bos_token_id": 1, "eos_token_id": 361, "head_dim": 128, "hidden_size": 5120,
                "intermediate_size": 27_392,
                "layer_types": (0..64).map(hybrid).collect::<Vec<_>>(),
                "max_position_embeddings": 131_072, "num_attention_heads": 40,
                "num_hidden_layers": 64, "num_key_value_heads": 8, "pad_token_id": 0,
                "rms_norm_eps": 1e-5, "rope_theta": 1_000_000,
                "rope_scaling": {
                    "rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                },
                "sliding_window": 4096, "sliding_window_pattern": "LLLG",
                "tie_word_embeddings": false, "vocab_size": 102_400,
            })),
        ),
        (
            "EXAONE-4.0-1.2B",
            config(json!({
                "architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4",
                "bos_token_id": 1, "eos_token_id": 361, "head_dim": 64, "hidden_size": 2048,
                "intermediate_size": 4096, "layer_types": full(30),
                "max_position_embeddings": 65_536, "num_attention_heads": 32,
                "num_hidden_layers": 30, "num_key_value_heads": 8, "pad_token_id": 0,
                "rms_norm_eps": 1e-5, "rope_theta": 1_000_000,
                "rope_scaling": {
                    "rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                },
                "sliding_window": null, "sliding_window_pattern": null,
                "tie_word_embeddings": true, "vocab_size": 102_400,
            })),
        ),
        (
            "Ministral-3-8B, its text",
            config(json!({
                "architectures": ["Ministral3ForCausalLM"], "model_type": "ministral3",
                "head_dim": 128, "hidden_size": 4096, "intermediate_size": 14_336,
                "max_position_embeddings": 262_144, "num_attention_heads": 32,
                "num_hidden_layers": 34, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
                "rope_parameters": {
                    "beta_fast": 32.0, "beta_slow": 1.0, "factor": 16.0,
                    "llama_4_scaling_beta": 0.1, "mscale": 1.0, "mscale_all_dim": 1.0,
                    "original_max_position_embeddings": 16_384, "rope_theta": 1_000_000.0,
                    "rope_type": "yarn", "type": "yarn",
                },
                "sliding_window": null, "tie_word_embeddings": false, "vocab_size": 131_072,
            })),
        ),
        (
            "Phi-4-mini-instruct",
            config(json!({
                "architectures": ["Phi3ForCausalLM"], "model_type": "phi3",
                "attention_bias": false, "bos_token_id": 199_999, "embd_pdrop": 0.0,
                "eos_token_id": 199_999, "full_attn_mod": 1, "hidden_size": 3072,
                "intermediate_size": 8192, "interpolate_factor": 1, "lm_head_bias": false,
                "max_position_embeddings": 131_072, "mlp_bias": false,
                "num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads": 8,
                "original_max_position_embeddings": 4096, "pad_token_id": 199_999,
                "partial_rotary_factor": 0.75, "resid_pdrop": 0.0, "rms_norm_eps": 1e-5,
                "rope_scaling": {
                    "long_factor": vec![1.5; 48], "short_factor": vec![1.0; 48],
                    "type": "longrope",
                },
                "rope_theta": 10_000.0, "sliding_window": 262_144, "tie_word_embeddings": true,
                "vocab_size": 200_064,
            })),
        ),
        (
            "Mistral-Small-24B-Instruct-2501",
            config(json!({
                "architectures": ["MistralForCausalLM"], "model_type": "mistral",
                "bos_token_id": 1, "eos_token_id": 2, "head_dim": 128, "hidden_size": 5120,
                "intermediate_size": 32_768, "max_position_embeddings": 32_768,
                "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
                "rms_norm_eps": 1e-5, "rope_theta": 100_000_000.0, "sliding_window": null,
                "tie_word_embeddings": false, "vocab_size": 131_072,
            })),
        ),
    ] {
        let architecture = config["architectures"][0].as_str().unwrap();
        let importer = Registry::get().unwrap().importer("hf", None, &[architecture]).unwrap();
        let shown = prove_config(importer, &config);
        let shown = shown.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(shown.refused > 40 && shown.returned > 20, "{name}: {shown:?}");
    }
}
