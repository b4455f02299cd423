//! Importers with functions of their own, for a model with a schema and for one without.

mod own_model;

use connector_core::store::Dtype;
use connector_tests::{
    Bench, Fill, Model, Stored, Tensor as Made, assert_same_tensors, interleave_qkv, options,
};
use own_model::{SIZES, Sizes, attention, model};
use serde_json::json;
use std::collections::BTreeMap;

/// Rows and columns of 4-byte elements exchanged.
fn transpose(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    let element = |r: usize, c: usize| &bytes[(r * columns + c) * 4..][..4];
    let order = (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c)));
    order.flat_map(|(r, c)| element(r, c)).copied().collect()
}

fn expected(mut model: Model) -> BTreeMap<String, Stored> {
    let Sizes { hidden, experts, num_query_groups, .. } = SIZES;
    let mut want = BTreeMap::new();
    let mut put = |name: String, shape: &[usize], bytes: Vec<u8>| {
        want.insert(name, Stored { dtype: "F32".into(), shape: shape.into(), bytes });
    };
    for layer in 0..SIZES.num_layers {
        let mut bytes = |name: &str| model.tensor(&format!("model.{layer}.{name}")).bytes.clone();
        let to = |name: &str| format!("layers.{layer}.{name}");
        let [q, k, v] = ["q.weight", "k.weight", "v.weight"].map(&mut bytes);
        put(to("qkv.weight"), &[32, hidden], interleave_qkv(&q, &k, &v, num_query_groups));
        let up: Vec<u8> = (0..experts).flat_map(|e| bytes(&format!("experts.{e}.up"))).collect();
        put(to("experts.up"), &[experts, 2, hidden], up);
        let down =
            (0..experts).flat_map(|e| transpose(&bytes(&format!("experts.{e}.down")), 2, hidden));
        put(to("experts.down"), &[experts, hidden, 2], down.collect());
        for (e, part) in bytes("all").chunks(hidden * 2 * 4).enumerate() {
            put(to(&format!("one.{e}")), &[2, hidden], transpose(part, hidden, 2));
        }
        let both = bytes("gate_and_value");
        put(to("gate"), &[3], both[..12].into());
        put(to("value"), &[5], both[12..].into());
        let scaled = (0..hidden).flat_map(|i| ((i as f32 + 0.5) * 2.0 - 1.0).to_le_bytes());
        put(to("scaled"), &[hidden], scaled.collect());
    }
    want
}

#[test]
fn functions_do_what_they_say() {
    for architecture in ["Proven", "Loose"] {
        let model = model(architecture, None);
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        assert_same_tensors(&bench.weights(), &expected(model));
        let rules = bench.conversion()["plan"]["rules"].as_array().unwrap().clone();
        assert_eq!(rules.len(), 6);
        assert!(rules.iter().all(|rule| rule["function"] == true), "{rules:?}");
    }
}

#[test]
fn a_function_and_the_built_in_operation_give_the_same_bytes() {
    let mut built_in = Model { config: json!({"architectures": ["Merged"]}), ..Model::default() };
    (0..SIZES.num_layers).for_each(|layer| attention(&mut built_in, layer));
    let (built_in, by_hand) = (Bench::new(&built_in), Bench::new(&model("Proven", None)));
    built_in.import(options(|_| {}));
    by_hand.import(options(|_| {}));
    let mut got = by_hand.weights();
    got.retain(|name, _| name.ends_with("qkv.weight"));
    assert_same_tensors(&got, &built_in.weights());
}

#[test]
fn what_functions_return_is_cast() {
    let bench = Bench::new(&model("Proven", None));
    bench.import(options(|o| o.plan.dtype = Some(Dtype::Bf16)));
    let scaled = &bench.weights()["layers.0.scaled"];
    let values = (0..SIZES.hidden).map(|i| half::bf16::from_f32((i as f32 + 0.5) * 2.0 - 1.0));
    let want: Vec<u8> = values.flat_map(half::bf16::to_le_bytes).collect();
    assert_eq!((scaled.dtype.as_str(), &scaled.bytes), ("BF16", &want));
}

/// One expert is a group too: what comes out has the axis all the same.
#[test]
fn an_axis_of_one_index_is_an_axis() {
    let mut alone = model("Loose", None);
    alone.tensors.retain(|t| !t.name.contains("experts.1") && !t.name.contains("experts.2"));
    let bench = Bench::new(&alone);
    bench.import(options(|_| {}));
    let weights = bench.weights();
    assert_eq!(weights["layers.0.experts.down"].shape, [1, SIZES.hidden, 2]);
    assert_eq!(weights["layers.0.experts.up"].shape, [1, 2, SIZES.hidden]);
}

/// Without a schema only the function knows what it returns, and that is what is cast or not.
#[test]
fn what_a_function_returns_decides_on_the_cast() {
    for (trouble, asked, got, bytes) in [
        ("whole", Some(Dtype::Bf16), "I64", 8),
        ("type", Some(Dtype::F32), "F32", 4),
        ("type", Some(Dtype::F16), "F16", 2),
        ("type", None, "F64", 8),
        ("narrow", None, "BF16", 2),
        ("narrow", Some(Dtype::F32), "F32", 4),
    ] {
        let mut model = model("Loose", Some(trouble));
        for name in ["q", "k", "v"] {
            let tensor = model.tensor(&format!("model.1.{name}.weight"));
            *tensor = Made::new(&tensor.name, "F32", &tensor.shape, Fill::Value(|i| i as f32));
        }
        let bench = Bench::new(&model);
        bench.import(options(|o| o.plan.dtype = asked));
        let merged = &bench.weights()["layers.1.qkv.weight"];
        assert_eq!((merged.dtype.as_str(), merged.bytes.len()), (got, 32 * 6 * bytes), "{trouble}");
        assert!(merged.bytes[bytes..].iter().any(|byte| *byte != 0), "{trouble}: {got} of zeros");
    }
}

/// Without a schema nothing says what is right, so a function may return anything.
#[test]
fn without_a_schema_a_function_decides() {
    for (trouble, dtype, shape) in
        [("shape", "F32", vec![31, 6]), ("rank", "F32", vec![192]), ("type", "F64", vec![32, 6])]
    {
        let bench = Bench::new(&model("Loose", Some(trouble)));
        bench.import(options(|_| {}));
        let got = &bench.weights()["layers.1.qkv.weight"];
        assert_eq!((got.dtype.as_str(), &got.shape), (dtype, &shape));
    }
}
