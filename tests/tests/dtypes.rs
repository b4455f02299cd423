//! A model without a schema carries every type that safetensors has, bit for bit.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::ModelConnector;
use connector_core::mapping::Mapping;
use connector_core::schema::Model as CoreModel;
use connector_core::store::{Dtype, available_space};
use connector_core::{Result, import_ckpt, mapping, model_importer};
use connector_tests::{Bench, Fill, Model, Stored, Tensor, assert_same_tensors, options};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

/// All tensors, whatever they are called.
struct Anything;

#[derive(Clone, Serialize, Deserialize)]
struct AnyConfig {}

impl CoreModel for Anything {
    type Config = AnyConfig;
}

struct HfAnything;

#[model_importer(Anything, "hf", architectures = ["Anything"])]
impl ModelConnector for HfAnything {
    const MAPPING: Mapping = mapping! {
        "one.**" => "all.**",
        "merged.{i}" => "merged" stack i optional,
    };

    fn config(_: &HfCheckpoint) -> Result<AnyConfig> {
        Ok(AnyConfig {})
    }
}

/// Tensors of every type and of awkward shapes, and a stack of which each index is one.
fn everything() -> Model {
    let mut model = Model { config: json!({"architectures": ["Anything"]}), ..Model::default() };
    for dtype in Dtype::all() {
        let name = dtype.name();
        for shape in [&[8][..], &[2, 4], &[3, 0, 5], &[0], &[1, 1, 1, 8], &[64, 1024]] {
            let key = format!("one.{name}.{shape:?}.weight").replace(['[', ']', ' '], "");
            model.add(Tensor::new(&key, name, shape, Fill::Noise));
        }
        if dtype.bytes().is_some() {
            model.add(Tensor::new(&format!("one.{name}.scalar"), name, &[], Fill::Noise));
            model.add(Tensor::new(&format!("one.{name}.odd"), name, &[7, 3], Fill::Noise));
        }
    }
    for i in 0..3 {
        model.add(Tensor::new(&format!("merged.{i}"), "F8_E4M3", &[3, 5], Fill::Noise));
    }
    model
}

fn expected(model: &Model) -> BTreeMap<String, Stored> {
    let mut want = BTreeMap::new();
    let mut merged = Vec::new();
    for Tensor { name, dtype, shape, bytes } in model.tensors.clone() {
        match name.strip_prefix("one.") {
            Some(rest) => drop(want.insert(format!("all.{rest}"), Stored { dtype, shape, bytes })),
            None => merged.extend(bytes),
        }
    }
    let merged = Stored { dtype: "F8_E4M3".into(), shape: vec![3, 3, 5], bytes: merged };
    want.insert("merged".into(), merged);
    want
}

#[test]
fn every_type_is_carried_bit_for_bit() {
    let model = everything();
    assert_eq!(Dtype::all().count(), 22);
    assert_eq!(model.tensors.len(), 22 * 6 + 19 * 2 + 3);
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    assert_same_tensors(&bench.weights(), &expected(&model));
}

#[test]
fn small_shards_carry_them_too() {
    let model = everything();
    let bench = Bench::empty();
    model.write_shards(&bench.source(), 5, true);
    bench.import(options(|o| o.max_shard_size = 1000));
    assert_same_tensors(&bench.weights(), &expected(&model));
}

#[test]
fn a_cast_leaves_what_is_not_a_float_as_it_is() {
    let mut model = everything();
    // Numbers without their scales: to leave them as they are would not be what was asked for.
    let text = Bench::new(&model).refuse(options(|o| o.plan.dtype = Some(Dtype::Bf16))).to_string();
    assert!(text.contains("is F8_E4M3, which cannot be cast"), "{text}");
    assert!(!text.contains("is I64") && !text.contains("is F64"), "{text}");

    model.tensors.retain(|tensor| !tensor.dtype.parse::<Dtype>().unwrap().is_scaled());
    let bench = Bench::new(&model);
    bench.import(options(|o| o.plan.dtype = Some(Dtype::Bf16)));
    let mut got = bench.weights();
    let mut want = expected(&model);
    // The stack's members were of a scaled type.
    want.remove("merged");
    let castable = |stored: &Stored| matches!(stored.dtype.as_str(), "F64" | "F32" | "F16");
    let cast: Vec<String> =
        want.iter().filter(|(_, s)| castable(s)).map(|(k, _)| k.clone()).collect();
    assert_eq!(cast.len(), 3 * 8);
    for name in cast {
        let (got, want) = (got.remove(&name).unwrap(), want.remove(&name).unwrap());
        assert_eq!((got.dtype.as_str(), got.shape), ("BF16", want.shape), "{name}");
    }
    assert_same_tensors(&got, &want);
}

#[test]
fn a_checkpoint_of_empty_tensors_is_one() {
    let mut model = Model { config: json!({"architectures": ["Anything"]}), ..Model::default() };
    model.add(Tensor::noise("one.nothing", &[0]));
    model.add(Tensor::noise("merged.0", &[0, 3]));
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let weights = bench.weights();
    assert_eq!(weights["all.nothing"].shape, [0]);
    assert_eq!(weights["merged"].shape, [1, 0, 3]);
}

/// Nothing is written, and of the tensors nothing is read: the file is mostly a hole.
#[test]
fn a_disk_that_is_too_small_is_refused() {
    /// What every file system of today can hold as a hole.
    const LARGEST: u64 = 1 << 43;
    let bench = Bench::empty();
    let free = available_space(bench.dir()).expect("this system says how much is free");
    if free > LARGEST / 2 {
        return;
    }
    let size = free + free / 2;
    let header = json!({"one.huge": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
        .to_string();
    let model = Model { config: json!({"architectures": ["Anything"]}), ..Model::default() };
    model.write_files(&bench.source());
    let path = bench.source().join("model.safetensors");
    let mut file = fs::File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + size).unwrap();

    let refused = import_ckpt(bench.source(), bench.out(), options(|_| {}));
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("are free") && text.contains(&bench.out().display().to_string()),
        "{text}"
    );
    let names: Vec<_> =
        fs::read_dir(bench.dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["source"]);
}
