//! Blocks that a checkpoint has whole, or not at all.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::testing::prove_lossless;
use connector_core::{
    Mapping, ModelConnector, Result, Tensor, mapping, model_importer, ops, param_schema,
    state_transform,
};
use connector_tests::{
    Bench, Model, Tensor as Made, assert_same_tensors, export_options, options, read_tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
}

param_schema! {
    Adapted(c: Sizes) {
        axis layer = c.layers;
        "layers.{layer}.up": [4, 4];
        "layers.{layer}.adapter.up": [4, 2];
        "layers.{layer}.adapter.down": [2, 4];
    }
}

struct HfAdapted;

#[model_importer(Adapted, "hf", architectures = ["Adapted"], export)]
impl ModelConnector for HfAdapted {
    const MAPPING: Mapping = mapping! {
        "layers.{layer}" => "layers.{layer}" {
            "up" => "up",
            "lora" => "adapter" optional {
                ("a", "b") => "up" as gate_up via ops::merge_fc1,
                "c" => "down",
            },
        },
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(Sizes { layers: 3 })
    }

    fn source_config(_: &Sizes, _: Option<&Value>) -> Result<Value> {
        Ok(json!({"architectures": ["Adapted"]}))
    }
}

/// Three layers, of which these have an adapter.
fn model(adapted: &[usize]) -> Model {
    let mut model = Model { config: json!({"architectures": ["Adapted"]}), ..Model::default() };
    for layer in 0..3 {
        model.add(Made::noise(&format!("layers.{layer}.up"), &[4, 4]));
    }
    for layer in adapted {
        for name in ["a", "b", "c"] {
            model.add(Made::noise(
                &format!("layers.{layer}.lora.{name}"),
                &[2, [2, 4][usize::from(name == "c")]],
            ));
        }
    }
    model
}

#[test]
fn a_block_comes_and_goes_whole_or_not_at_all() {
    for adapted in [&[][..], &[1], &[0, 1, 2]] {
        let bench = Bench::new(&model(adapted));
        bench.import(options(|_| {}));
        assert_eq!(bench.weights().len(), 3 + 2 * adapted.len());
        bench.export(export_options(|_| {}));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
        let (source, out) = (bench.source(), bench.out());
        let verification = verify(&source, &out, &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(verification.is_equal(), "{verification:?}");
    }
}

#[test]
fn a_part_of_a_block_is_refused() {
    let mut model = model(&[0, 1]);
    model.remove("layers.1.lora.c");
    let text = Bench::new(&model).refuse(options(|_| {})).to_string();
    assert!(text.contains("rename needs layers.1.lora.c"), "{text}");
    assert!(text.contains("is there in part: all of it, or none"), "{text}");
}

#[state_transform]
fn one_way(x: Tensor) -> Tensor {
    x
}

param_schema! {
    Half(c: Sizes) {
        axis layer = c.layers;
        "layers.{layer}.kept": [4];
        "layers.{layer}.lost": [4];
    }
}

struct HfHalf;

#[model_importer(Half, "hf", architectures = ["Half"])]
impl ModelConnector for HfHalf {
    const MAPPING: Mapping = mapping! {
        "layers.{layer}" => "layers.{layer}" optional {
            "kept" => "kept",
            "lost" => "lost" via one_way,
        },
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(Sizes { layers: 3 })
    }

    fn source_config(_: &Sizes, _: Option<&Value>) -> Result<Value> {
        Ok(json!({}))
    }
}

#[test]
fn what_has_no_way_back_leaves_the_rest_of_its_block_to_be_shown() {
    let shown = prove_lossless::<HfHalf>(&Sizes { layers: 3 }).unwrap();
    let exempt: Vec<&str> = shown.exempt.iter().map(|exempt| exempt.keys.as_str()).collect();
    assert_eq!((shown.parameters, exempt), (3, vec!["layers.{0..2}.lost"]));
}
