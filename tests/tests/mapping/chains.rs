//! Operations one after the other.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::testing::prove_lossless;
use connector_core::transform::BoxError;
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
    experts: usize,
}

const SIZES: Sizes = Sizes { layers: 2, experts: 3 };

#[state_transform(inverse = flip)]
fn flip(x: Tensor) -> Result<Tensor, BoxError> {
    let rows: Vec<Tensor> =
        (0..x.dim(0)?).rev().map(|i| x.narrow(0, i, 1)).collect::<Result<_, _>>()?;
    Ok(Tensor::cat(&rows, 0)?)
}

param_schema! {
    Chained(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        "layers.{layer}" {
            "fc1": [16, 300];
            "table": [300, 200];
            "experts.{e}": [6, 4];
            "packed": [c.experts, 4, 6];
            "flipped": [4, 6];
            "mlp": [16, 300];
        }
    }
}

struct HfChained;

#[model_importer(Chained, "hf", architectures = ["Chained"], export)]
impl ModelConnector for HfChained {
    const MAPPING: Mapping = mapping! {
        "model.{layer}" => "layers.{layer}" {
            ("gate", "up") => "fc1" as interleaved via (ops::merge_fc1, ops::interleave_rows),
            "table" as transposed interleaved => "table" via (ops::transpose, ops::deinterleave_rows),
            "all" as transposed interleaved => "experts.{e}" via (ops::transpose, ops::deinterleave_rows) unstack e,
            "each.{e}" => "packed" as transposed interleaved via (ops::interleave_rows, ops::transpose) stack e,
            "flipped" as interleaved => "flipped" via (ops::deinterleave_rows, flip, ops::transpose),
            ("q" as gate, "k" as up) => "mlp" via (ops::merge_fc1, flip, ops::deinterleave_rows),
        },
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(SIZES)
    }

    fn source_config(_: &Sizes, original: Option<&Value>) -> Result<Value> {
        Ok(original.cloned().unwrap_or_else(|| json!({"architectures": ["Chained"]})))
    }
}

fn model() -> Model {
    let mut model = Model { config: json!({"architectures": ["Chained"]}), ..Model::default() };
    for layer in 0..SIZES.layers {
        let mut add = |name: &str, shape: &[usize]| {
            model.add(Made::noise(&format!("model.{layer}.{name}"), shape));
        };
        for name in ["gate", "up", "q", "k"] {
            add(name, &[8, 300]);
        }
        add("table", &[200, 300]);
        add("all", &[SIZES.experts, 4, 6]);
        for e in 0..SIZES.experts {
            add(&format!("each.{e}"), &[6, 4]);
        }
        add("flipped", &[6, 4]);
    }
    model
}

/// The rows of a tensor of four-byte elements.
fn rows(bytes: &[u8], columns: usize) -> Vec<&[u8]> {
    bytes.chunks(4 * columns).collect()
}

fn transposed(bytes: &[u8], columns: usize) -> Vec<u8> {
    let rows = rows(bytes, columns);
    (0..columns).flat_map(|c| rows.iter().flat_map(move |row| row[4 * c..][..4].to_vec())).collect()
}

#[test]
fn a_chain_is_imported_and_exported_byte_for_byte() {
    let mut model = model();
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let weights = bench.weights();

    let mut bytes = |name: &str| model.tensor(name).bytes.clone();
    let (gate, up) = (bytes("model.0.gate"), bytes("model.0.up"));
    let want = rows(&gate, 300).into_iter().zip(rows(&up, 300)).flat_map(|(g, u)| [g, u].concat());
    assert!(weights["layers.0.fc1"].bytes == want.collect::<Vec<u8>>());
    let table = transposed(&bytes("model.1.table"), 300);
    let (even, odd) =
        (rows(&table, 200).into_iter().step_by(2), rows(&table, 200).into_iter().skip(1));
    let want: Vec<u8> = even.chain(odd.step_by(2)).flatten().copied().collect();
    assert!(weights["layers.1.table"].bytes == want);
    let flipped = bytes("model.0.flipped");
    let order = [5, 3, 1, 4, 2, 0].map(|row| rows(&flipped, 4)[row]);
    assert!(weights["layers.0.flipped"].bytes == transposed(&order.concat(), 4));

    bench.export(export_options(|_| {}));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
    let (source, out) = (bench.source(), bench.out());
    let verification = verify(&source, &out, &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(verification.is_equal() && verification.equal > 0, "{verification:?}");
}

#[test]
fn a_chain_is_shown_to_lose_nothing() {
    let shown = prove_lossless::<HfChained>(&SIZES).unwrap();
    assert_eq!((shown.sources, shown.parameters), (2 * 10, 2 * 8));
    assert_eq!((shown.computed.len(), shown.exempt.len()), (0, 0));
}

param_schema! {
    Packed(c: Sizes) {
        axis e = c.experts;
        "experts.{e}": [4, 64];
    }
}

struct HfPacked;

#[model_importer(Packed, "hf", architectures = ["Packed"])]
impl ModelConnector for HfPacked {
    const MAPPING: Mapping = mapping! {
        ("blocks" as interleaved, "scales")
            => "experts.{e}" via (ops::dequantise_mxfp4, ops::deinterleave_rows) unstack e,
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(SIZES)
    }
}

param_schema! {
    ByHand(c: Sizes) {
        axis e = c.experts;
        "experts.{e}": [4, 64];
    }
}

struct HfByHand;

#[state_transform]
fn dequantise_gate_up(blocks: Tensor, scales: Tensor) -> candle_core::Result<Tensor> {
    ops::deinterleave_rows(&ops::dequantise_mxfp4(&blocks, &scales)?)
}

#[model_importer(ByHand, "hf", architectures = ["ByHand"])]
impl ModelConnector for HfByHand {
    const MAPPING: Mapping = mapping! {
        ("blocks" as interleaved, "scales") => "experts.{e}" via dequantise_gate_up unstack e,
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(SIZES)
    }
}

#[test]
fn a_chain_that_computes_gives_what_a_function_does() {
    let weights = ["Packed", "ByHand"].map(|architecture| {
        let mut model =
            Model { config: json!({"architectures": [architecture]}), ..Model::default() };
        model.add(Made::new("blocks", "U8", &[3, 4, 2, 16], connector_tests::Fill::Noise));
        let mut scales = Made::new("scales", "U8", &[3, 4, 2], connector_tests::Fill::Zero);
        (0..).zip(&mut scales.bytes).for_each(|(i, byte)| *byte = 120 + i);
        model.add(scales);
        let bench = Bench::new(&model);
        bench.import(options(|_| {}));
        bench.weights()
    });
    assert_same_tensors(&weights[0], &weights[1]);
}
