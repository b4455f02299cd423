//! Biases, which NeMo's importer silently loses.

use connector_tests::{Bench, Model, Tensor, config, interleave_qkv, llama, options};
use serde_json::json;

const LAYERS: usize = 2;
const GROUPS: usize = 2;

fn biased(attention: bool, mlp: bool) -> Model {
    llama(config(json!({"attention_bias": attention, "mlp_bias": mlp})))
}

/// The biases of the output that a model makes: name and bytes.
fn expected(mut model: Model, attention: bool, mlp: bool) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for layer in 0..LAYERS {
        let mut bias =
            |name: &str| model.tensor(&format!("model.layers.{layer}.{name}.bias")).bytes.clone();
        let mut put =
            |name: &str, bytes| all.push((format!("decoder.layers.{layer}.{name}.bias"), bytes));
        if attention {
            let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|n| bias(&format!("self_attn.{n}")));
            put("self_attention.linear_qkv", interleave_qkv(&q, &k, &v, GROUPS));
            put("self_attention.linear_proj", bias("self_attn.o_proj"));
        }
        if mlp {
            put("mlp.linear_fc1", [bias("mlp.gate_proj"), bias("mlp.up_proj")].concat());
            put("mlp.linear_fc2", bias("mlp.down_proj"));
        }
    }
    all
}

#[test]
fn every_bias_is_imported() {
    for (attention, mlp) in [(true, true), (true, false), (false, true), (false, false)] {
        let model = biased(attention, mlp);
        let want = expected(model.clone(), attention, mlp);
        assert_eq!(want.len(), LAYERS * 2 * (usize::from(attention) + usize::from(mlp)));
        let bench = Bench::new(&model);
        let imported = bench.import(options(|_| {}));
        assert_eq!(imported.plan.tensors, model.tensors.len());
        let weights = bench.weights();
        for (name, bytes) in &want {
            let got = weights.get(name).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(got.bytes == *bytes, "{name} differs");
        }
        let biases = weights.keys().filter(|name| name.ends_with("bias")).count();
        assert_eq!(biases, want.len());
    }
}

/// The weights beside the biases are merged in the same order.
#[test]
fn weights_and_biases_are_interleaved_alike() {
    let mut model = biased(true, true);
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let weights = bench.weights();
    let [q, k, v] = ["q", "k", "v"].map(|name| {
        model.tensor(&format!("model.layers.1.self_attn.{name}_proj.weight")).bytes.clone()
    });
    let qkv = &weights["decoder.layers.1.self_attention.linear_qkv.weight"];
    assert!(qkv.bytes == interleave_qkv(&q, &k, &v, GROUPS));
    assert_eq!(qkv.shape, [80, 48]);
    assert_eq!(weights["decoder.layers.1.self_attention.linear_qkv.bias"].shape, [80]);
}

#[test]
fn a_bias_that_the_config_does_not_announce_is_refused() {
    for (flag, name, rows) in [
        ("attention_bias", "model.layers.0.self_attn.q_proj.bias", 48),
        ("attention_bias", "model.layers.1.self_attn.o_proj.bias", 48),
        ("mlp_bias", "model.layers.0.mlp.gate_proj.bias", 80),
        ("mlp_bias", "model.layers.1.mlp.down_proj.bias", 48),
    ] {
        for absent in [json!(false), json!(null)] {
            let mut model = llama(config(json!({flag: absent})));
            model.add(Tensor::noise(name, &[rows]));
            let text = Bench::new(&model).refuse(options(|_| {})).to_string();
            assert!(text.contains(name) && text.contains("matches no rule"), "{text}");
        }
    }
}

#[test]
fn a_bias_that_the_config_announces_and_is_not_there_is_refused() {
    for name in ["self_attn.k_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"] {
        let mut model = biased(true, true);
        let name = format!("model.layers.1.{name}.bias");
        model.remove(&name);
        let text = Bench::new(&model).refuse(options(|_| {})).to_string();
        assert!(text.contains(&name) && text.contains("never produced"), "{text}");
    }
}
