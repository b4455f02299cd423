//! A function over tensors of several types.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::store::Dtype;
use connector_core::transform::BoxError;
use connector_core::{
    Mapping, ModelConnector, Result, Tensor, mapping, model_importer, ops, param_schema,
    state_transform,
};
use connector_tests::{Bench, Fill, Model, Tensor as Made, options};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Nothing {}

/// Whole numbers with a scale for each row, as 16-bit floats; each tensor comes in its own type.
#[state_transform]
fn scaled(numbers: Tensor, scales: Tensor) -> Result<Tensor, BoxError> {
    let types = [numbers.dtype(), scales.dtype()];
    if types != [candle_core::DType::U8, candle_core::DType::F32] {
        return Err(format!("they came as {types:?}").into());
    }
    let numbers = numbers.to_dtype(candle_core::DType::F32)?;
    Ok(numbers.broadcast_mul(&scales)?.to_dtype(candle_core::DType::BF16)?)
}

param_schema! {
    Mixed(c: Nothing) {
        field rows = 2;
        "plain": [2, 4];
        "turned": [4, 2];
    }
}

struct HfMixed;

#[model_importer(Mixed, "hf", architectures = ["Mixed"])]
impl ModelConnector for HfMixed {
    const MAPPING: Mapping = mapping! {
        ("w", "s") => "plain" via scaled,
        ("v", "t") => "turned" via (scaled, ops::transpose),
    };

    fn config(_: &HfCheckpoint) -> Result<Nothing> {
        Ok(Nothing {})
    }
}

fn model() -> Model {
    let mut model = Model { config: json!({"architectures": ["Mixed"]}), ..Model::default() };
    for (weight, scale) in [("w", "s"), ("v", "t")] {
        let mut numbers = Made::new(weight, "U8", &[2, 4], Fill::Zero);
        (1..).zip(&mut numbers.bytes).for_each(|(i, byte)| *byte = i);
        model.add(numbers);
        model.add(Made::new(scale, "F32", &[2, 1], Fill::Value(|row| [0.5, 4.0][row])));
    }
    model
}

const PLAIN: [f32; 8] = [0.5, 1.0, 1.5, 2.0, 20.0, 24.0, 28.0, 32.0];
const TURNED: [f32; 8] = [0.5, 20.0, 1.0, 24.0, 1.5, 28.0, 2.0, 32.0];

#[test]
fn each_tensor_comes_in_its_type_and_the_result_has_its_own() {
    let bench = Bench::new(&model());
    bench.import(options(|_| {}));
    let weights = bench.weights();
    for (name, shape, values) in [("plain", [2, 4], PLAIN), ("turned", [4, 2], TURNED)] {
        let bf16 = values.map(|value| half::bf16::from_f32(value).to_le_bytes());
        let tensor = &weights[name];
        assert_eq!((tensor.dtype.as_str(), &tensor.shape[..]), ("BF16", &shape[..]));
        assert_eq!(tensor.bytes, bf16.concat());
    }
}

#[test]
fn the_result_can_be_cast() {
    let bench = Bench::new(&model());
    bench.import(options(|o| o.plan.dtype = Some(Dtype::F32)));
    let plain = &bench.weights()["plain"];
    assert_eq!(plain.dtype, "F32");
    assert_eq!(plain.bytes, PLAIN.map(f32::to_le_bytes).concat());
}
