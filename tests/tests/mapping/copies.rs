//! Tensors that a checkpoint holds several times: the embedding and the head of layers that predict
//! further tokens.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::testing::prove_lossless;
use connector_core::{Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};
use connector_tests::{
    Bench, Model, Tensor as Made, assert_same_tensors, export_options, options, read_tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sizes {
    num_layers: usize,
    mtp: usize,
    tied: bool,
}

param_schema! {
    Further(c: Sizes) {
        axis layer = c.num_layers;
        axis mtp = c.mtp;
        flag tied = c.tied;
        "embedding": [10, 4];
        "output": [10, 4] if !tied;
        "layers.{layer}.up": [6, 4];
        "mtp.{mtp}.up": [6, 4];
    }
}

struct HfFurther;

#[model_importer(Further, "hf", architectures = ["Further"], export)]
impl ModelConnector for HfFurther {
    const MAPPING: Mapping = mapping! {
        "embed" => "embedding",
        "head" => "output",
        "head" == "embed" when tied,
        ("layers.{layer}.a", "layers.{layer}.b") => "layers.{layer}.up" as gate_up via ops::merge_fc1,
        ("layers.{num_layers + mtp}.a", "layers.{num_layers + mtp}.b")
            => "mtp.{mtp}.up" as gate_up via ops::merge_fc1,
        copy "layers.{num_layers + mtp}.embed" == "embed",
        copy "layers.{num_layers + mtp}.head" == "head" when !tied,
    };

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        let fields = source.fields();
        let sizes = Sizes {
            num_layers: fields.required("num_layers"),
            mtp: fields.required("mtp"),
            tied: fields.required("tied"),
        };
        fields.finish()?;
        Ok(sizes)
    }

    fn source_config(sizes: &Sizes, _: Option<&Value>) -> Result<Value> {
        let Sizes { num_layers, mtp, tied } = sizes;
        let architectures = ["Further"];
        Ok(
            json!({"architectures": architectures, "num_layers": num_layers, "mtp": mtp, "tied": tied}),
        )
    }
}

const SIZES: Sizes = Sizes { num_layers: 2, mtp: 2, tied: false };

fn model(sizes: &Sizes) -> Model {
    let config = HfFurther::source_config(sizes, None).unwrap();
    let mut model = Model { config, ..Model::default() };
    let embed = Made::noise("embed", &[10, 4]);
    let head = Made::noise("head", &[10, 4]);
    for layer in 0..sizes.num_layers + sizes.mtp {
        for name in ["a", "b"] {
            model.add(Made::noise(&format!("layers.{layer}.{name}"), &[3, 4]));
        }
        if layer >= sizes.num_layers {
            model.add(embed.named(&format!("layers.{layer}.embed")));
            if !sizes.tied {
                model.add(head.named(&format!("layers.{layer}.head")));
            }
        }
    }
    model.add(embed);
    if !sizes.tied {
        model.add(head);
    }
    model
}

#[test]
fn copies_are_compared_on_the_way_in_and_written_on_the_way_out() {
    for sizes in [SIZES, Sizes { tied: true, ..SIZES }, Sizes { mtp: 0, ..SIZES }] {
        let bench = Bench::new(&model(&sizes));
        bench.import(options(|_| {}));
        assert!(!bench.weights().keys().any(|key| key.contains("embed.") || key.contains("head")));
        bench.export(export_options(|_| {}));
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
        for (source, checkpoint) in [(bench.source(), bench.out()), (bench.back(), bench.out())] {
            let verification =
                verify(&source, &checkpoint, &VerifyOptions::default(), &NoProgress).unwrap();
            assert!(verification.is_equal(), "{verification:?}");
        }
    }
}

#[test]
fn a_source_need_not_have_them() {
    let mut model = model(&SIZES);
    let all = model.clone();
    model.tensors.retain(|tensor| tensor.name != "layers.2.embed");
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    bench.export(export_options(|_| {}));
    let whole = Bench::new(&all);
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&whole.source()));
}

#[test]
fn a_copy_that_differs_is_refused() {
    let mut model = model(&SIZES);
    model.tensor("layers.3.embed").bytes[17] ^= 1;
    let text = Bench::new(&model).refuse(options(|_| {})).to_string();
    assert!(text.contains("layers.3.embed"), "{text}");
    assert!(text.contains("it must hold the same bytes as embed"), "{text}");
    assert!(text.contains("they differ from element 4 on"), "{text}");
}

#[test]
fn copies_are_shown_to_be_carried() {
    let shown = prove_lossless::<HfFurther>(&SIZES).unwrap();
    assert_eq!((shown.sources, shown.parameters), (2 + 4 * 2 + 4, 2 + 4));
    let exempt: Vec<&str> = shown.exempt.iter().map(|exempt| exempt.keys.as_str()).collect();
    assert_eq!(exempt, ["head"]);
}
