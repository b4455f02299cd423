//! Quantised tensors with their scales, through the whole import and in memory.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::store::Dtype;
use connector_core::{Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema};
use connector_tests::{Bench, Fill, Model, Tensor as Made, options};
use half::bf16;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The model's only size.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sizes {
    experts: usize,
}

param_schema! {
    /// A model whose checkpoint is quantised.
    Quantised(c: Sizes) {
        axis e = c.experts;
        "weight": [200, 130];
        "experts": [c.experts, 3, 64];
    }
}

struct HfQuantised;

#[model_importer(Quantised, "hf", architectures = ["Quantised"])]
impl ModelConnector for HfQuantised {
    const MAPPING: Mapping = mapping! {
        ("w", "w_scale_inv") => "weight" via ops::dequantise_fp8,
        ("e.{e}.blocks", "e.{e}.scales") => "experts" via ops::dequantise_mxfp4 stack e,
    };

    fn config(_: &HfCheckpoint) -> Result<Sizes> {
        Ok(Sizes { experts: 2 })
    }
}

fn model() -> Model {
    let scales = Made::new("w_scale_inv", "F32", &[2, 2], Fill::Value(|i| 0.5 + i as f32));
    // One byte for all weights, 1.5 in E4M3, so that a block's scale is all that differs.
    let mut weights = Made::new("w", "F8_E4M3", &[200, 130], Fill::Zero);
    weights.bytes.fill(0x3c);
    let mut tensors = vec![weights, scales];
    for e in 0..2u8 {
        let mut blocks = Made::new(&format!("e.{e}.blocks"), "U8", &[3, 2, 16], Fill::Zero);
        // Low half 2 (1.0), high half 7 (6.0).
        blocks.bytes.fill(0x72);
        let mut scales = Made::new(&format!("e.{e}.scales"), "U8", &[3, 2], Fill::Zero);
        scales.bytes.fill(127 + e);
        tensors.extend([blocks, scales]);
    }
    Model { config: json!({"architectures": ["Quantised"]}), tensors, ..Model::fixture("llama") }
}

#[test]
fn scales_are_applied_by_block_and_stacked() {
    let bench = Bench::new(&model());
    bench.import(options(|_| {}));
    let weights = bench.weights();

    let weight = &weights["weight"];
    assert_eq!((weight.dtype.as_str(), &weight.shape[..]), ("BF16", &[200, 130][..]));
    let scale = |row: usize, column: usize| 0.5 + (row / 128 * 2 + column / 128) as f32;
    let want =
        (0..200 * 130).flat_map(|i| bf16::from_f32(1.5 * scale(i / 130, i % 130)).to_le_bytes());
    assert!(weight.bytes == want.collect::<Vec<u8>>());

    let experts = &weights["experts"];
    assert_eq!((experts.dtype.as_str(), &experts.shape[..]), ("BF16", &[2, 3, 64][..]));
    let value = |i: usize| [1.0, 6.0][i % 2] * [1.0, 2.0][i / 192];
    let want = (0..384).flat_map(|i| bf16::from_f32(value(i)).to_le_bytes());
    assert!(experts.bytes == want.collect::<Vec<u8>>());
}

#[test]
fn the_result_can_be_cast() {
    let bench = Bench::new(&model());
    bench.import(options(|o| o.plan.dtype = Some(Dtype::F32)));
    let weight = &bench.weights()["weight"];
    assert_eq!(weight.dtype, "F32");
    assert_eq!(weight.bytes[..4], 0.75f32.to_le_bytes());
}

#[test]
fn scales_that_are_missing_or_do_not_fit_are_refused() {
    let mut without = model();
    without.tensors.retain(|tensor| tensor.name != "w_scale_inv");
    let text = Bench::new(&without).refuse(options(|_| {})).to_string();
    assert!(text.contains("dequantise_fp8 needs w_scale_inv"), "{text}");

    let mut short = model();
    *short.tensor("w_scale_inv") = Made::new("w_scale_inv", "F32", &[1, 2], Fill::Zero);
    let text = Bench::new(&short).refuse(options(|_| {})).to_string();
    assert!(text.contains("have [2, 2] scales, not [1, 2]"), "{text}");
}
