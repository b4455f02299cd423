//! What the tests of models share.

use candle_core::{DType, Device, Tensor};
use connector_core::DeviceChoice;
use connector_core::model::{GPTModel, LoadOptions, Loaded};
use connector_tests::fixture;
use std::collections::HashMap;
use std::path::Path;

/// The tokens of a fixture, [2, 12], and the logits that transformers computed for them.
pub fn reference(name: &str) -> (Tensor, Tensor) {
    let path = fixture(&format!("{name}/logits.safetensors"));
    let mut read: HashMap<String, Tensor> =
        candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let mut take = |name: &str| read.remove(name).unwrap();
    (take("input_ids"), take("logits"))
}

pub fn options(dtype: DType) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.dtype = Some(dtype);
    options.device = DeviceChoice::Cpu;
    options
}

pub fn load(path: &Path) -> GPTModel {
    Loaded::open(path, &options(DType::F32)).unwrap().model().unwrap()
}

/// The largest distance between elements of two tensors of one shape.
pub fn distance(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.dims(), other.dims());
    let [one, other] = [one, other].map(|t| t.to_dtype(DType::F64).unwrap());
    let apart = (one - other).unwrap().abs().unwrap().flatten_all().unwrap();
    let apart: Vec<f64> = apart.to_vec1().unwrap();
    apart.into_iter().fold(0.0, |most, x| if x.is_nan() { f64::NAN } else { most.max(x) })
}
