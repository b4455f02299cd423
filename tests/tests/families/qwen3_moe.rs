use crate::support::{imports, model_config, refusal};
use connector_core::checkpoint::Flavor;
use connector_core::connector::{TorchDist, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_tests::{Bench, Model, Tensor, config_of, export_options, options};
use serde_json::{Value, json};

fn changed(changes: Value) -> Model {
    Model { config: config_of("qwen3_moe", changes), ..Model::fixture("qwen3_moe") }
}

#[test]
fn what_it_computes_is_in_the_config() {
    imports(
        &Model::fixture("qwen3_moe"),
        &json!({
            "qk_layernorm": true, "num_moe_experts": 4, "moe_router_topk": 2,
            "moe_ffn_hidden_size": 20, "ffn_hidden_size": 96, "moe_layer_freq": null,
            "moe_router_pre_softmax": false, "moe_grouped_gemm": true,
            "moe_aux_loss_coeff": 0.001,
        }),
    );
}

/// A field that is absent means what the config's class in transformers means. The softmax is over
/// the chosen experts only where the file says that their shares sum to 1.
#[test]
fn absent_fields_mean_what_transformers_means() {
    let bench = Bench::new(&changed(json!({"norm_topk_prob": null})));
    bench.import(options(|_| {}));
    assert_eq!(model_config(&bench)["moe_router_pre_softmax"], true);
    bench.export(export_options(|_| {}));
    let same = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
    assert!(same.unwrap().is_equal());
    // In other shapes than the fixture's, as the class has it.
    for (field, says) in [
        ("num_key_value_heads", "\"num_key_value_heads\" is 4"),
        ("num_experts", "[128, 48]"),
        ("num_experts_per_tok", "\"num_experts_per_tok\" is 8; there are 4 experts"),
        ("moe_intermediate_size", "[1536, 48]"),
    ] {
        let text = refusal(&changed(json!({field: null})));
        assert!(text.contains(says), "without {field}: {text}");
    }
}

#[test]
fn what_it_does_not_convert_is_refused_by_name() {
    for (changes, says) in [
        (json!({"decoder_sparse_step": 0}), "decoder_sparse_step"),
        (json!({"num_hidden_layers": 8_888_888_888_888_884_096u64}), "num_hidden_layers"),
        (json!({"mlp_only_layers": [7]}), "lists layer 7, but there are 3"),
        (json!({"shared_expert_intermediate_size": 8}), "shared_expert"),
        (json!({"num_local_experts": 5}), "\"num_local_experts\" is 5"),
        (json!({"norm_topk_prob": "yes"}), "norm_topk_prob"),
    ] {
        let text = refusal(&changed(changes.clone()));
        assert!(text.contains(says), "{changes}: {text}");
    }
}

/// The fixture with its middle layer dense, as `mlp_only_layers` or `decoder_sparse_step` says.
fn with_a_dense_layer(changes: Value) -> Model {
    let mut model = changed(changes);
    let mlp = "model.layers.1.mlp";
    model.remove(&format!("{mlp}.gate.weight"));
    for expert in 0..4 {
        for part in ["gate_proj", "up_proj", "down_proj"] {
            model.remove(&format!("{mlp}.experts.{expert}.{part}.weight"));
        }
    }
    for (part, shape) in [("gate_proj", [96, 48]), ("up_proj", [96, 48]), ("down_proj", [48, 96])] {
        let mut tensor = Tensor::noise(&format!("{mlp}.{part}.weight"), &shape);
        tensor.dtype = "BF16".into();
        tensor.bytes.truncate(2 * shape.iter().product::<usize>());
        model.add(tensor);
    }
    model
}

/// Layers of two kinds are stored one by one in torch_dist, without being asked, and come back from
/// every framework's files.
#[test]
fn dense_layers_among_mixtures_go_every_way() {
    let model = with_a_dense_layer(json!({"mlp_only_layers": [1]}));
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    assert_eq!(model_config(&bench)["moe_layer_freq"], json!([1, 0, 1]));
    assert!(bench.weights().contains_key("decoder.layers.1.mlp.linear_fc1.weight"));
    for flavor in [Flavor::Nemo, Flavor::MegatronLm, Flavor::MegatronBridge] {
        let bench = Bench::new(&model);
        bench.import(options(|o| {
            o.torch_dist = Some(TorchDist::default().flavor(flavor));
        }));
        let same = verify(bench.source(), bench.out(), &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal(), "{flavor:?}");
        bench.export(export_options(|_| {}));
        let same = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
        assert!(same.unwrap().is_equal(), "{flavor:?}");
    }
    let bench = Bench::new(&with_a_dense_layer(json!({"decoder_sparse_step": 2})));
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("decoder.layers.{0,2}.mlp"), "{text}");
}
