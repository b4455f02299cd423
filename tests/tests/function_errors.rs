//! Functions that fail, or return what does not fit, and groups with a member missing.

mod own_model;

use connector_core::plan::FindingKind;
use connector_core::{Error, engine};
use connector_tests::{Bench, Fill, Tensor as Made, options};
use own_model::{SIZES, model};
use serde_json::Value;

/// For each trouble, what the message says. The schema, or the look at zeros, finds shapes.
#[test]
fn a_function_that_fails_is_named_with_its_place_and_leaves_nothing() {
    for (trouble, said) in [
        ("error", "the moon is in the wrong house"),
        ("panic", "division by cucumber"),
        ("candle", "matmul"),
        ("read", "`model.0.q.weight` is not among the tensors that this rule `reads`"),
    ] {
        for architecture in ["Proven", "Loose"] {
            let error = Bench::new(&model(architecture, Some(trouble))).refuse(options(|_| {}));
            let text = error.to_string();
            assert!(text.contains(said), "{text}");
            let Error::Engine(engine::Error::Function { name, at, output, .. }) = error else {
                panic!("{text}")
            };
            assert!(at.file.ends_with("own_model/mod.rs") && at.line > 0, "{at}");
            let want = match trouble {
                "read" => ("scaled", "layers.0.scaled"),
                _ => ("merge_by_hand", "layers.1.qkv.weight"),
            };
            assert_eq!((name, output.as_str()), want);
        }
    }
}

#[test]
fn a_result_that_does_not_fit_the_schema_is_refused() {
    for (trouble, found, kind) in [
        ("shape", "[31, 6]", FindingKind::Shape),
        ("rank", "[192]", FindingKind::Shape),
        ("type", "F64", FindingKind::Shape),
    ] {
        let error = Bench::new(&model("Proven", Some(trouble))).refuse(options(|_| {}));
        let text = error.to_string();
        let Error::Refused(refusal) = error else { panic!("{text}") };
        assert_eq!(refusal.findings.len(), 1, "{text}");
        assert_eq!(refusal.findings[0].kind, kind);
        for part in ["layers.1.qkv.weight", "merge_by_hand", "own_model/mod.rs:", found, "[32, 6]"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn a_group_with_a_member_missing_is_refused_by_name() {
    for name in
        ["model.1.experts.1.up", "model.0.experts.2.down", "model.1.scale", "model.0.v.weight"]
    {
        let mut model = model("Proven", None);
        model.remove(name);
        let text = Bench::new(&model).refuse(options(|_| {})).to_string();
        assert!(text.contains(name) && text.contains("not in the checkpoint"), "{text}");
    }
}

#[test]
fn ragged_experts_are_refused() {
    let mut more = model("Proven", None);
    more.add(Made::noise("model.1.experts.3.up", &[2, SIZES.hidden]));
    let text = Bench::new(&more).refuse(options(|_| {})).to_string();
    assert!(text.contains("model.1.experts.3.up") && text.contains("matches no rule"), "{text}");

    let mut uneven = model("Loose", None);
    uneven.resize("model.1.experts.2.down", 1);
    Bench::new(&uneven).refuse(options(|_| {}));

    // Without a schema the other layers tell which experts there should be.
    for name in ["model.1.experts.1.up", "model.1.experts.2.up", "model.0.experts.0.down"] {
        let mut fewer = model("Loose", None);
        fewer.remove(name);
        let text = Bench::new(&fewer).refuse(options(|_| {})).to_string();
        assert!(text.contains(name), "{text}");
    }
    let mut far = model("Loose", None);
    far.add(Made::noise("model.0.experts.18446744073709551615.up", &[2, SIZES.hidden]));
    Bench::new(&far).refuse(options(|_| {}));
}

/// Empty tensors may have dimensions of any size: nothing must be counted through.
#[test]
fn a_huge_dimension_of_an_empty_tensor_is_refused() {
    for architecture in ["Proven", "Loose"] {
        let mut model = model(architecture, None);
        for name in ["model.0.all", "model.1.all"] {
            *model.tensor(name) = Made::noise(name, &[1 << 50, 0, 2]);
        }
        Bench::new(&model).refuse(options(|_| {}));
    }
}

#[test]
fn a_step_that_takes_too_much_memory_is_refused_and_its_function_named() {
    let bench = Bench::new(&model("Proven", None));
    let with = |bytes| options(|o| (o.engine.max_memory, o.engine.threads) = (bytes, 1));
    let text = bench.refuse(with(1000)).to_string();
    // q, k and v and what becomes of them: twice 32 rows of 6 values.
    let size = 2 * 32 * 6 * 4;
    assert!(text.contains(&format!("merge_by_hand takes {size} bytes in memory")), "{text}");
    assert!(text.contains("own_model/mod.rs:"), "{text}");
    let least: u64 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    bench.refuse(with(least - 1));
    bench.import(with(least));
}

#[test]
fn types_that_candle_cannot_compute_with_are_refused() {
    for architecture in ["Proven", "Loose"] {
        for dtype in ["F8_E5M2", "I8", "U16"] {
            let mut model = model(architecture, None);
            for layer in 0..SIZES.num_layers {
                let name = format!("model.{layer}.gate_and_value");
                *model.tensor(&name) = Made::new(&name, dtype, &[8], Fill::Noise);
            }
            let text = Bench::new(&model).refuse(options(|_| {})).to_string();
            assert!(text.contains("model.0.gate_and_value") && text.contains(dtype), "{text}");
        }
    }
}

/// Each function sees the configs of both sides by role.
#[test]
fn functions_see_both_configs() {
    let bench = Bench::new(&model("Proven", Some("nothing that I know of")));
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(text.contains("nothing that I know of"), "{text}");
    assert_eq!(serde_json::to_value(SIZES).unwrap()["num_layers"], Value::from(2));
}
