//! What a config may say, what it must say, and what is refused by name.

use connector_core::Error;
use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::Registry;
use connector_core::plan::FindingKind;
use connector_tests::{
    Bench, Model, Tensor, config, export_options, interleave_qkv, llama, options,
};
use serde_json::{Value, json};
use std::fs;

/// The text with which the model is refused.
fn refusal(model: &Model) -> String {
    Bench::new(model).refuse(options(|_| {})).to_string()
}

fn model_config(bench: &Bench) -> Value {
    let text = fs::read_to_string(bench.out().join("context/model.yaml")).unwrap();
    let yaml: Value = serde_saphyr::from_str(&text).unwrap();
    yaml["config"].clone()
}

#[test]
fn attention_may_have_any_number_of_groups_and_any_size_of_heads() {
    for (changes, groups, head) in [
        (json!({}), 2, 8),
        (json!({"num_key_value_heads": 6}), 6, 8),
        (json!({"num_key_value_heads": null}), 6, 8),
        (json!({"num_key_value_heads": 1}), 1, 8),
        (json!({"head_dim": 8}), 2, 8),
        (json!({"head_dim": 24}), 2, 24),
        (json!({"head_dim": 5, "num_key_value_heads": 3}), 3, 5),
        (json!({"num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 4}), 1, 4),
    ] {
        let mut model = llama(config(changes.clone()));
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        let got = model_config(&bench);
        assert_eq!(
            (&got["num_query_groups"], &got["kv_channels"]),
            (&json!(groups), &json!(head)),
            "{changes}"
        );
        let [q, k, v] = ["q", "k", "v"].map(|name| {
            model.tensor(&format!("model.layers.1.self_attn.{name}_proj.weight")).bytes.clone()
        });
        let qkv = &bench.weights()["decoder.layers.1.self_attention.linear_qkv.weight"];
        assert!(qkv.bytes == interleave_qkv(&q, &k, &v, groups), "{changes}");
    }
}

#[test]
fn a_tied_head_that_is_stored_must_be_the_embedding() {
    let mut model = llama(config(json!({"tie_word_embeddings": true})));
    let head = model.tensor("model.embed_tokens.weight").named("lm_head.weight");
    model.add(head);
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    assert!(!bench.weights().contains_key("output_layer.weight"));
    assert_eq!(bench.conversion()["plan"]["compared"], json!(["lm_head.weight"]));

    // One bit of the last element.
    *model.tensor("lm_head.weight").bytes.last_mut().unwrap() ^= 1;
    let text = refusal(&model);
    let last = 97 * 48 - 1;
    assert!(
        text.contains("lm_head.weight: it must hold the same bytes as model.embed_tokens.weight"),
        "{text}"
    );
    assert!(text.contains(&format!("from element {last} on")), "{text}");

    model.resize("lm_head.weight", 96);
    let text = refusal(&model);
    assert!(text.contains("lm_head.weight") && text.contains("[96, 48]"), "{text}");
}

/// What is dropped on purpose needs no comparison.
#[test]
fn a_tied_head_that_differs_can_be_ignored() {
    let mut model = llama(config(json!({"tie_word_embeddings": true})));
    model.add(Tensor::noise("lm_head.weight", &[97, 48]));
    let bench = Bench::new(&model);
    bench.refuse(options(|_| {}));
    bench.import(options(|o| o.plan.ignore = vec!["lm_head.weight".into()]));
    assert!(!bench.weights().contains_key("output_layer.weight"));
}

#[test]
fn rope_scaling_that_is_known_is_carried() {
    let llama3 = json!({
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let with = |more: Value| {
        let mut all = llama3.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let three = json!({
        "rope_type": "llama3", "scale_factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "old_context_len": 8192,
    });
    let linear = json!({"rope_type": "linear", "scale_factor": 2.0});
    for (changes, scaling, base) in [
        (json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), linear.clone(), 1e4),
        (json!({"rope_scaling": {"rope_type": "linear", "factor": 2}}), linear.clone(), 1e4),
        (
            json!({
                "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}, "rope_theta": null,
            }),
            linear.clone(),
            5e5,
        ),
        // Both spellings, which say the same.
        (
            json!({
                "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5},
                "rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 500000,
            }),
            linear,
            5e5,
        ),
        (
            json!({"rope_scaling": with(json!({"rope_type": "llama3"})), "rope_theta": 5e5}),
            three.clone(),
            5e5,
        ),
        (
            json!({
                "rope_parameters": with(json!({"rope_type": "llama3", "rope_theta": 5e5})), "rope_theta": null,
            }),
            three,
            5e5,
        ),
        (json!({"rope_scaling": {"rope_type": "default"}}), Value::Null, 1e4),
        (json!({"rope_theta": null}), Value::Null, 1e4),
        (json!({"rope_theta": 1000000}), Value::Null, 1e6),
    ] {
        let bench = Bench::new(&llama(config(changes.clone())));
        bench.import(options(|_| {}));
        let got = model_config(&bench);
        assert_eq!(got.get("rope_scaling").unwrap_or(&Value::Null), &scaling, "{changes}");
        assert_eq!(got["rotary_base"].as_f64(), Some(base), "{changes}");
    }
}

#[test]
fn fields_that_change_what_the_model_computes_are_refused_by_name() {
    for (changes, name, value) in [
        (
            json!({"rope_scaling": {"rope_type": "longrope", "factor": 4.0}}),
            "rope_scaling.rope_type",
            "longrope",
        ),
        (
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}),
            "rope_parameters.rope_type",
            "dynamic",
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 2.0, "mscale": 0.7}}),
            "rope_scaling.mscale",
            "0.7",
        ),
        (
            json!({
                "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rope_theta": 1e4,
            }),
            "rope_theta",
            "500000",
        ),
        (
            json!({
                "rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "linear", "factor": 2.0},
            }),
            "rope_scaling.type",
            "default",
        ),
        (json!({"hidden_act": "gelu"}), "hidden_act", "gelu"),
        (json!({"sliding_window": 4096}), "sliding_window", "4096"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor", "0.5"),
        (json!({"quantization_config": {"quant_method": "fp8"}}), "quantization_config", "fp8"),
        (json!({"attention_multiplier": 0.1}), "attention_multiplier", "0.1"),
        (json!({"final_logit_softcapping": 30.0}), "final_logit_softcapping", "30.0"),
        (json!({"layer_types": ["full_attention", "linear"]}), "layer_types", "linear"),
    ] {
        let error = Bench::new(&llama(config(changes))).refuse(options(|_| {}));
        let text = error.to_string();
        assert!(
            text.contains(&format!("config.json: \"{name}\"")) && text.contains(value),
            "{text}"
        );
        let Error::Refused(refusal) = error else { panic!("{text}") };
        let fields = refusal.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>();
        // A scaling that only the older spelling has is refused with its factor.
        let most = if name == "rope_scaling.type" { 2 } else { 1 };
        assert_eq!(fields, vec![FindingKind::Config; most], "{text}");
        assert!(refusal.subject.contains("Llama"), "{}", refusal.subject);
    }
}

#[test]
fn fields_that_change_nothing_are_carried_and_reported() {
    let changes = json!({
        "attention_dropout": 0.1, "eos_token_id": [2, 7], "_name_or_path": "/scratch/run-17",
        "sliding_window": null, "use_qk_norm": null, "partial_rotary_factor": 1.0,
    });
    let bench = Bench::new(&llama(config(changes.clone())));
    bench.import(options(|_| {}));
    let report = &bench.conversion()["config"];
    for name in ["attention_dropout", "eos_token_id", "_name_or_path", "use_qk_norm"] {
        assert_eq!(report["carried"][name], changes[name], "{name}");
    }
    assert_eq!(report["consumed"]["partial_rotary_factor"], 1.0);
}

/// What nobody knows may change the model. The user's word is taken, once: export and verify know it
/// from the record.
#[test]
fn a_field_that_nobody_knows_is_carried_on_request() {
    let changes = json!({"my_company_note": {"a": [1, 2]}, "use_qk_norm": false});
    let bench = Bench::new(&llama(config(changes.clone())));
    let text = bench.refuse(options(|_| {})).to_string();
    for name in ["my_company_note", "use_qk_norm"] {
        assert!(text.contains(&format!("\"{name}\" is")), "{text}");
        assert!(text.contains("carry it, if it has no effect"), "{text}");
    }
    let carry = ["my_company_note", "use_qk_norm"].map(String::from);
    bench.import(options(|o| o.plan.carry = carry.to_vec()));
    let record = bench.conversion();
    assert_eq!(record["options"]["carry"], json!(carry));
    assert_eq!(record["config"]["carried"]["my_company_note"], changes["my_company_note"]);
    let verified = connector_core::connector::verify(
        bench.source(),
        bench.out(),
        &connector_core::connector::VerifyOptions::default(),
        &connector_core::engine::NoProgress,
    );
    assert!(verified.unwrap().is_equal());
    let back = bench.out().with_file_name("back");
    connector_core::export_ckpt(bench.out(), &back, export_options(|_| {})).unwrap();
    let written = fs::read(back.join("config.json")).unwrap();
    assert_eq!(written, fs::read(bench.source().join("config.json")).unwrap());
}

/// Fields of other models and of other tools: each is refused, or a family has declared it.
#[test]
fn fields_of_other_models_are_refused_or_declared() {
    let foreign: Value = serde_json::from_str(
        r#"{
        "dim_model_base": 256, "is_encoder_decoder": true,
        "auto_map": {"AutoModelForCausalLM": "modeling_x.X"}, "first_k_dense_replace": 1,
        "decoder_sparse_step": 2, "learned_pos_emb": true, "use_mrope": true,
        "mrope_section": [1, 1, 2], "ffn_type": "geglu", "ln_type": "layernorm",
        "norm_type": "layernorm", "use_ssmax": true, "pos_emb": "learned", "nope": true,
        "topk_method": "noaux_tc", "n_group": 2, "topk_group": 2, "use_mla": true,
        "ssm_state_size": 16, "mamba_d_state": 16, "qkv_clip": 8.0, "clip_qkv": 8.0, "z_loss": 0.1,
        "d_ff": 99, "n_embd": 99, "n_head": 3, "num_heads": 3, "head_size": 4, "d_kv": 4,
        "rotary_dim": 4, "rotary_pct": 0.5, "partial_rotary_factor": 0.5, "rope_interleaved": true,
        "rope_interleave": true, "original_max_position_embeddings": 128, "max_seq_len": 99,
        "ntk_alpha": 2.0, "use_dynamic_ntk": true, "use_logn_attn": true, "use_logn": true,
        "yarn": {"factor": 4}, "longrope": true, "scale_emb": 12, "scale_depth": 1.4,
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "logits_scaling": 8.0,
        "attention_multiplier": 0.01, "use_qk_norm": true, "qk_layernorm": true,
        "sandwich_norm": true, "post_norm": true, "use_pre_ln": false, "prenorm": false,
        "tie_lm_head": true, "tie_embeddings": true, "untie": true, "gating": "sigmoid",
        "num_nextn_predict_layers": 1, "num_recurrent_steps": 4, "loop_count": 2,
        "depth_scale": 0.1, "cope": true, "sinks": true, "use_sinks": true, "sink_size": 4,
        "diffusion": true, "mask_ratio": 0.1, "is_decoder": false,
        "use_bidirectional_attention": true, "chunk_size": 64, "chunk_size_feed_forward": 2,
        "pruned_heads": {"0": [1]}, "quantization_config": {"quant_method": "fp8"},
        "compression_config": {"a": 1}, "add_cross_attention": true,
        "cross_attention_hidden_size": 3, "attn_version": 2, "rope_version": 2,
        "attention_version": "mla", "mlp_dtype_mode": "int8", "head_label": 1,
        "gate_initializer_mode": "x", "pretraining_tp": 2, "use_cache": false,
        "torch_dtype": "float16", "dtype": "bfloat16", "head_dim": 16, "attention_dropout": 0.3,
        "sliding_window": 16, "use_sliding_window": true, "max_window_layers": 1,
        "layer_types": ["full_attention", "full_attention"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}, "num_experts": 4,
        "hidden_activation": "gelu", "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0, "query_pre_attn_scalar": 256, "num_kv_shared_layers": 1,
        "tokenizer_class": "X", "moe_layers": [1], "router_jitter_noise": 0.1,
        "output_router_logits": true, "bidirectional": true, "vocab_size": null,
        "model_type": "llama4", "transformers.js_config": {}, "unpadded_vocab_size": 90,
        "pad_vocab_size_multiple": 64
        }"#,
    )
    .unwrap();
    // Without effect in every family, or with a value that says nothing else.
    let every = [
        "attention_dropout",
        "head_dim",
        "is_decoder",
        "tokenizer_class",
        "transformers.js_config",
        "use_cache",
    ];
    let fixtures = [
        ("llama", &["max_window_layers", "layer_types", "torch_dtype"][..]),
        ("gemma", &["max_window_layers", "layer_types", "torch_dtype", "dtype"]),
        ("mistral", &["sliding_window", "use_sliding_window", "layer_types", "torch_dtype"]),
        (
            "mixtral",
            &[
                "sliding_window",
                "use_sliding_window",
                "layer_types",
                "torch_dtype",
                "dtype",
                "num_experts",
                "router_jitter_noise",
                "output_router_logits",
            ],
        ),
        ("llama3_tied", &["max_window_layers", "rope_parameters", "dtype"]),
        ("qwen2", &["max_window_layers", "sliding_window", "dtype"]),
        ("qwen3", &["max_window_layers", "sliding_window", "dtype"]),
        (
            "qwen3_moe",
            &[
                "max_window_layers",
                "sliding_window",
                "dtype",
                "decoder_sparse_step",
                "num_experts",
                "output_router_logits",
            ],
        ),
    ];
    let registry = Registry::get().unwrap();
    for (fixture, own) in fixtures {
        let bench = Bench::new(&Model::fixture(fixture));
        let file = bench.source().join("config.json");
        let config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for (name, value) in foreign.as_object().unwrap() {
            let mut changed = config.clone();
            changed[name] = value.clone();
            fs::write(&file, changed.to_string()).unwrap();
            let declared = every.contains(&name.as_str()) || own.contains(&name.as_str());
            let checkpoint = HfCheckpoint::open(bench.source()).unwrap();
            let importer = registry.importer("hf", None, &checkpoint.architectures()).unwrap();
            let read = importer.connector.configure(&checkpoint, &[]);
            let taken = read.is_ok() && checkpoint.findings().is_empty();
            assert_eq!(taken, declared, "{fixture}: \"{name}\": {value}");
        }
    }
}

#[test]
fn all_missing_fields_are_named_at_once() {
    let needed = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "vocab_size",
    ];
    let mut model = Model::fixture("llama");
    for name in needed {
        model.config.as_object_mut().unwrap().shift_remove(name);
    }
    let text = refusal(&model);
    for name in needed {
        assert!(text.contains(&format!("\"{name}\" is missing")), "{text}");
    }
    for name in needed {
        let text =
            refusal(&Model { config: config(json!({name: null})), ..Model::fixture("llama") });
        assert!(text.contains(&format!("\"{name}\" is missing")), "{text}");
        assert!(text.contains("(1 finding)"), "{text}");
    }
}

#[test]
fn fields_of_llama3s_rope_scaling_may_not_be_missing() {
    let text =
        refusal(&llama(config(json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}))));
    for name in ["low_freq_factor", "high_freq_factor", "original_max_position_embeddings"] {
        assert!(text.contains(&format!("\"rope_scaling.{name}\" is missing")), "{text}");
    }
}

#[test]
fn a_config_that_is_none_is_refused() {
    let bench = Bench::new(&Model::fixture("llama"));
    let file = bench.source().join("config.json");
    for (content, want) in [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("{\"hidden_size\": 48,}", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("[{\"architectures\": [\"LlamaForCausalLM\"]}]", "is not a JSON object"),
        ("null", "is not a JSON object"),
        ("\"LlamaForCausalLM\"", "is not a JSON object"),
    ] {
        fs::write(&file, content).unwrap();
        let text = bench.refuse(options(|_| {})).to_string();
        assert!(text.contains("config.json") && text.contains(want), "{content}: {text}");
    }
    fs::write(&file, b"{\"a\": \"\xff\"}").unwrap();
    assert!(bench.refuse(options(|_| {})).to_string().contains("is not JSON"));
    // As deep as a parser's stack might not be.
    fs::write(&file, "[".repeat(100_000)).unwrap();
    assert!(bench.refuse(options(|_| {})).to_string().contains("is not JSON"));
    fs::remove_file(&file).unwrap();
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("config.json: is not there"), "{text}");
}

#[test]
fn an_architecture_that_nobody_imports_is_refused() {
    for (architectures, want) in [
        (json!(["MambaForCausalLM"]), "MambaForCausalLM"),
        (json!([]), "names no architecture"),
        (json!(null), "names no architecture"),
        (json!("LlamaForCausalLM"), "names no architecture"),
        (json!([1, {}, null]), "names no architecture"),
    ] {
        let model = Model {
            config: config(json!({"architectures": architectures})),
            ..Model::fixture("llama")
        };
        let text = refusal(&model);
        assert!(text.contains(want) && text.contains("LlamaForCausalLM"), "{text}");
        // Whoever knows better can say so.
        Bench::new(&model).import(options(|o| o.model = Some("llama".into())));
    }
}

/// Whatever stands in a field that holds a size: an answer, never a panic.
#[test]
fn hostile_sizes_are_refused() {
    let sizes = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
    ];
    let hostile = [
        json!(0),
        json!(-1),
        json!(1_000_000_000_000_000_000u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e18),
        json!(48.5),
        json!("48"),
        json!([48]),
        json!({}),
        json!(true),
        json!(1u64 << 20),
    ];
    for name in sizes {
        for value in &hostile {
            let model = Model { config: config(json!({name: value})), ..Model::fixture("llama") };
            let text = refusal(&model);
            // 2^20 is allowed, and then the tensors do not fit.
            let named = text.contains(&format!("\"{name}\"")) || *value == json!(1u64 << 20);
            assert!(named, "{name} = {value}: {text}");
        }
    }
    // All of them at once.
    for value in &hostile {
        let mut model = Model::fixture("llama");
        for name in sizes {
            model.config[name] = value.clone();
        }
        refusal(&model);
    }
}

#[test]
fn hostile_values_of_other_fields_are_refused_or_taken_as_they_are() {
    for name in [
        "tie_word_embeddings",
        "attention_bias",
        "mlp_bias",
        "rms_norm_eps",
        "rope_theta",
        "max_position_embeddings",
        "initializer_range",
        "torch_dtype",
    ] {
        for value in [json!("yes"), json!([]), json!({"a": 1})] {
            if (name, &value) == ("torch_dtype", &json!("yes")) {
                continue;
            }
            let text =
                refusal(&Model { config: config(json!({name: value})), ..Model::fixture("llama") });
            assert!(text.contains(&format!("\"{name}\"")), "{name} = {value}: {text}");
        }
    }
    for value in [json!("linear"), json!([]), json!(3), json!({"factor": "many", "type": "linear"})]
    {
        let text = refusal(&llama(config(json!({"rope_scaling": value}))));
        assert!(text.contains("rope_scaling"), "{value}: {text}");
    }
}

#[test]
fn heads_that_groups_cannot_share_are_refused() {
    let text = refusal(&Model {
        config: config(json!({"num_key_value_heads": 4})),
        ..Model::fixture("llama")
    });
    assert!(
        text.contains("\"num_key_value_heads\" is 4, which does not divide num_attention_heads, 6"),
        "{text}"
    );
}

#[test]
fn fields_of_other_llamas_are_told_apart() {
    for (changes, accepted) in [
        (json!({"pruned_heads": {}}), true),
        (json!({"sliding_window": 4096, "use_sliding_window": false}), true),
        (json!({"sliding_window": 4096}), false),
        (json!({"layer_types": ["full_attention", "full_attention"]}), true),
        (json!({"layer_types": ["full_attention", "sliding_attention"]}), false),
        (json!({"num_experts": 0}), false),
        (json!({"residual_multiplier": 0.5}), false),
        (json!({"attn_implementation": "eager", "num_logits_to_keep": 1}), true),
        (json!({"final_softcap": 30.0}), false),
        (json!({"is_causal": false}), false),
        (json!({"model_type": "gemma"}), false),
        (json!({"a_note_of_ours": "checked by hand"}), false),
    ] {
        let bench = Bench::new(&llama(config(changes.clone())));
        if accepted {
            bench.import(options(|_| {}));
        } else {
            let text = bench.refuse(options(|_| {})).to_string();
            let name = changes.as_object().unwrap().keys().next_back().unwrap();
            assert!(text.contains(&format!("\"{name}\"")), "{changes}: {text}");
        }
    }
}

#[test]
fn rope_must_be_said_once_or_alike() {
    for (changes, says) in [
        (json!({"rope_scaling": {"rope_type": "default", "rope_theta": 10000.0}}), None),
        (
            json!({"rope_scaling": {"rope_type": "default", "rope_theta": 500000.0}}),
            Some("\"rope_theta\" is 10000, but \"rope_scaling.rope_theta\" is 500000"),
        ),
        (
            json!({"rope_scaling": {"rope_type": "default", "type": "linear", "factor": 1.0}}),
            Some("\"rope_scaling.type\" is \"linear\""),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 0.0}}),
            Some("\"rope_scaling.factor\" is 0; it should be above 0"),
        ),
        (
            json!({"rope_scaling": {"type": "linear", "factor": 4.0, "original_max_position_embeddings": 64}}),
            None,
        ),
        (json!({"rope_scaling": {}}), None),
        (json!({"rope_theta": -1.0}), Some("\"rope_theta\" is -1")),
        (json!({"rms_norm_eps": -1e-5}), Some("\"rms_norm_eps\"")),
        (json!({"max_position_embeddings": 0}), Some("\"max_position_embeddings\" is 0")),
    ] {
        let bench = Bench::new(&llama(config(changes.clone())));
        match says {
            None => drop(bench.import(options(|_| {}))),
            Some(says) => {
                let text = bench.refuse(options(|_| {})).to_string();
                assert!(text.contains(says), "{changes}: {text}");
            }
        }
    }
}
