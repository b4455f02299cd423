//! Exports of a model with functions of its own: read backwards, written by hand, or impossible.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{
    ModelState, VerifyOptions, apply_transforms, revert_transforms, verify,
};
use connector_core::engine::NoProgress;
use connector_core::transform::BoxError;
use connector_core::{
    Error, Mapping, ModelConnector, Result, Tensor, TransformCtx, mapping, model_exporter,
    model_importer, param_schema, state_transform,
};
use connector_tests::{
    Bench, Model, Tensor as Made, assert_same_tensors, export_options, options, read_tensors,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
    experts: usize,
}

fn sizes(source: &HfCheckpoint) -> Result<Sizes> {
    let fields = source.fields();
    let sizes = Sizes { layers: fields.required("layers"), experts: fields.required("experts") };
    fields.finish()?;
    Ok(sizes)
}

fn fields(sizes: &Sizes, original: Option<&Value>) -> Value {
    let mut fields = original.and_then(Value::as_object).cloned().unwrap_or_default();
    fields.insert("layers".into(), json!(sizes.layers));
    fields.insert("experts".into(), json!(sizes.experts));
    Value::Object(fields)
}

/// Columns in the opposite order, which is its own inverse. Asks which way it goes.
#[state_transform(inverse = turn)]
fn turn(ctx: &TransformCtx, x: Tensor) -> Result<Tensor, BoxError> {
    // `layers` is the model's name for it on both sides, `architectures` only in config.json.
    let format = [ctx.source(), ctx.target()].map(|c| c.json().get("architectures").is_some());
    if format.iter().filter(|is| **is).count() != 1 {
        return Err("one side is the format".into());
    }
    let columns: Vec<Tensor> =
        (0..x.dim(1)?).rev().map(|i| x.narrow(1, i, 1)).collect::<Result<_, _>>()?;
    Ok(Tensor::cat(&columns, 1)?)
}

#[state_transform(inverse = apart)]
fn together(experts: &[Tensor]) -> Result<Tensor, BoxError> {
    Ok(Tensor::stack(experts, 0)?)
}

#[state_transform(inverse = together)]
fn apart(all: Tensor) -> Result<Vec<Tensor>, BoxError> {
    Ok((0..all.dim(0)?).map(|i| all.get(i)).collect::<Result<_, _>>()?)
}

#[state_transform]
fn one_way(x: Tensor) -> Result<Tensor, BoxError> {
    Ok(x.neg()?)
}

const ROWS: Mapping = mapping! {
    "model.{layer}" => "layers.{layer}" {
        "w" => "w" via turn,
        "experts.{e}" => "experts" via together,
        "all" => "one.{e}" via apart,
    }
};

macro_rules! schema {
    ($name:ident) => {
        param_schema! {
            $name(c: Sizes) {
                axis layer = c.layers;
                axis e = c.experts;
                "layers.{layer}" {
                    "w": [4, 3];
                    "experts": [c.experts, 2];
                    "one.{e}": [2];
                }
            }
        }
    };
}

schema!(Bird);
schema!(Stone);
schema!(Fish);

struct HfBird;

#[model_importer(Bird, "hf", architectures = ["Bird"], export)]
impl ModelConnector for HfBird {
    const MAPPING: Mapping = ROWS;

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }

    fn source_config(config: &Sizes, original: Option<&Value>) -> Result<Value> {
        Ok(fields(config, original))
    }
}

/// As `HfBird`, but a function has no inverse.
struct HfStone;

#[model_importer(Stone, "hf", architectures = ["Stone"])]
impl ModelConnector for HfStone {
    const MAPPING: Mapping = mapping! {
        "model.{layer}" => "layers.{layer}" {
            "w" => "w" via one_way,
            "experts.{e}" => "experts" via together,
            "all" => "one.{e}" via apart,
        }
    };

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }

    fn source_config(config: &Sizes, original: Option<&Value>) -> Result<Value> {
        Ok(fields(config, original))
    }
}

/// As `HfStone`, and the way back is written by hand.
struct HfFish;

#[model_importer(Fish, "hf", architectures = ["Fish"])]
impl ModelConnector for HfFish {
    const MAPPING: Mapping = HfStone::MAPPING;

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }
}

struct FishToHf;

#[model_exporter(Fish, "hf")]
impl ModelConnector for FishToHf {
    const MAPPING: Mapping = mapping! {
        "layers.{layer}" => "model.{layer}" {
            "w" => "w" via one_way,
            "w" => "w_as_trained",
            ignore "experts",
            "one.{e}" => "all" via together,
        }
    };

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }

    fn source_config(config: &Sizes, original: Option<&Value>) -> Result<Value> {
        Ok(fields(config, original))
    }
}

fn imported(architecture: &str) -> Bench {
    let config = json!({"architectures": [architecture], "layers": 2, "experts": 3});
    let mut model = Model { config, ..Model::default() };
    for layer in 0..2 {
        model.add(Made::noise(&format!("model.{layer}.w"), &[4, 3]));
        model.add(Made::noise(&format!("model.{layer}.all"), &[3, 2]));
        for e in 0..3 {
            model.add(Made::noise(&format!("model.{layer}.experts.{e}"), &[2]));
        }
    }
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    bench
}

#[test]
fn functions_with_inverses_go_both_ways() {
    let bench = imported("Bird");
    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
    // The functions are run once more, and their results compared.
    for (source, checkpoint) in
        [(bench.source(), bench.out()), (bench.out(), bench.back()), (bench.source(), bench.back())]
    {
        let verification = verify(&source, &checkpoint, &VerifyOptions::default(), &NoProgress);
        let verification = verification.unwrap();
        assert!(verification.is_equal() && verification.equal > 0, "{verification:?}");
    }
}

#[test]
fn a_function_without_inverse_is_named() {
    let bench = imported("Stone");
    let Error::Refused(refusal) = bench.refuse_export(export_options(|_| {})) else {
        panic!("a refusal")
    };
    let [finding] = &refusal.findings[..] else { panic!("{refusal}") };
    assert_eq!(finding.subject, "model.{0,1}.w");
    assert!(finding.notes[0].starts_with("one_way has no inverse"), "{finding}");
    assert!(finding.rule.as_deref().is_some_and(|at| at.contains("export_functions.rs:")));
}

#[test]
fn an_exporter_written_by_hand_is_taken() {
    let bench = imported("Fish");
    let exported = bench.export(export_options(|_| {}));
    assert!(exported.connector.ends_with("FishToHf"), "{}", exported.connector);
    let (source, back) = (read_tensors(&bench.source()), read_tensors(&bench.back()));
    for layer in 0..2 {
        let w = format!("model.{layer}.w");
        assert!(back[&w].bytes == source[&w].bytes, "negated twice");
        assert!(back[&format!("{w}_as_trained")].bytes != source[&w].bytes);
        let all = format!("model.{layer}.all");
        assert!(back[&all].bytes == source[&all].bytes);
    }
    assert_eq!(back.len(), 6);
    assert_eq!(exported.plan.ignored[0].0, "layers.{0,1}.experts");
}

#[test]
fn states_in_memory_go_both_ways() {
    let device = candle_core::Device::Cpu;
    let tensor = |shape: &[usize], from: i64| {
        let n: usize = shape.iter().product();
        Tensor::arange(from, from + n as i64, &device).unwrap().reshape(shape).unwrap()
    };
    let mut tensors = vec![
        ("model.0.w".to_string(), tensor(&[4, 3], 0)),
        ("model.0.all".to_string(), tensor(&[2, 2], 20)),
    ];
    for e in 0..2 {
        tensors.push((format!("model.0.experts.{e}"), tensor(&[2], 30 + 2 * e)));
    }
    let config = json!({"architectures": ["Bird"]});
    let source = ModelState::new(config.clone(), tensors);
    let target = ModelState::of::<Bird>(&Sizes { layers: 1, experts: 2 }).unwrap();
    let model = apply_transforms(&source, &target, &ROWS, &[]).unwrap();
    assert_eq!(model.tensors()["layers.0.experts"].dims(), [2, 2]);

    // The names and shapes that are wanted back are those of the source.
    let wanted = ModelState::new(config.clone(), source.tensors().clone());
    let back = revert_transforms(&model, &wanted, &ROWS, &[]).unwrap();
    assert_eq!(back.tensors().len(), source.tensors().len());
    for (name, tensor) in source.tensors() {
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<i64>().unwrap();
        assert_eq!(flat(&back.tensors()[name]), flat(tensor), "{name}");
    }

    let fewer = ModelState::new(config, [("model.0.w".to_string(), tensor(&[4, 3], 0))]);
    let refused = revert_transforms(&model, &fewer, &ROWS, &[]).err().expect("a refusal");
    assert!(refused.to_string().contains("model.0.all"), "{refused}");
}
