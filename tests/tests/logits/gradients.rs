//! The form with gradients computes the same, and its gradients are right.

use crate::support::{distance, load, options, reference};
use candle_core::{DType, Tensor, Var};
use connector_core::model::{GPTModel, Loaded};
use connector_tests::{fixture, fixtures};

#[test]
fn variables_change_no_logit() {
    for name in &fixtures() {
        let path = fixture(&format!("{name}/hf"));
        let (tokens, _) = reference(name);
        let mut loaded = Loaded::open(&path, &options(DType::F32)).unwrap();
        loaded.parameters.train(|_| true).unwrap();
        let trained = loaded.model().unwrap().forward(&tokens).unwrap();
        assert!(trained.track_op());
        let apart = distance(&trained, &load(&path).forward(&tokens).unwrap());
        assert!(apart < 2e-5, "{name}: {apart:e}");
    }
}

/// A number that depends on every logit, each in another way.
fn loss(model: &GPTModel, tokens: &Tensor) -> Tensor {
    let logits = model.forward(tokens).unwrap();
    let count = logits.elem_count();
    let weights = Tensor::arange(0u32, count as u32, logits.device()).unwrap();
    let weights = weights.to_dtype(logits.dtype()).unwrap().sin().unwrap();
    logits.flatten_all().unwrap().mul(&weights).unwrap().sum_all().unwrap()
}

/// The slope of the loss along one element, measured.
fn slope(model: &GPTModel, tokens: &Tensor, parameter: &Var, element: usize) -> f64 {
    let before = parameter.as_tensor().copy().unwrap();
    let values: Vec<f64> = before.flatten_all().unwrap().to_vec1().unwrap();
    let at = |value: f64| -> f64 {
        let mut values = values.clone();
        values[element] = value;
        let moved = Tensor::from_vec(values, before.dims(), before.device()).unwrap();
        parameter.set(&moved).unwrap();
        loss(model, tokens).to_scalar().unwrap()
    };
    let step = 1e-5;
    let rise = at(values[element] + step) - at(values[element] - step);
    parameter.set(&before).unwrap();
    rise / (2.0 * step)
}

/// Central differences in f64, at one element of each parameter, for every family.
#[test]
fn gradients_are_slopes() {
    for name in &fixtures() {
        let (tokens, _) = reference(name);
        let tokens = tokens.narrow(1, 0, 5).unwrap();
        let path = fixture(&format!("{name}/hf"));
        let mut loaded = Loaded::open(&path, &options(DType::F64)).unwrap();
        let variables = loaded.parameters.train(|_| true).unwrap();
        let model = loaded.model().unwrap();
        let gradients = loss(&model, &tokens).backward().unwrap();
        for (number, (parameter, variable)) in variables.iter().enumerate() {
            let Some(gradient) = gradients.get(variable) else {
                assert!(parameter.contains("expert"), "{name}: {parameter} has no gradient");
                continue;
            };
            let element = number * 37 % variable.elem_count();
            let got = gradient.flatten_all().unwrap().to_vec1::<f64>().unwrap()[element];
            let want = slope(&model, &tokens, variable, element);
            // Slopes between two norms, which curve, are measured to fewer digits.
            let curved = loaded.config.layernorm_position.is_some();
            let most = if curved { 1e-5 } else { 1e-6 };
            let near = (got - want).abs() <= most * (1.0 + want.abs());
            assert!(near, "{name}: {parameter}[{element}]: {got} is not {want}");
        }
    }
}

/// Norms are fused in f32 alone, with a backward pass of their own.
#[test]
fn gradients_in_f32_are_those_in_f64() {
    for name in &fixtures() {
        let (tokens, _) = reference(name);
        let path = fixture(&format!("{name}/hf"));
        let [single, double] = [DType::F32, DType::F64].map(|dtype| {
            let mut loaded = Loaded::open(&path, &options(dtype)).unwrap();
            let variables = loaded.parameters.train(|_| true).unwrap();
            let gradients = loss(&loaded.model().unwrap(), &tokens).backward().unwrap();
            let named = variables.into_iter().filter_map(|(parameter, variable)| {
                Some((parameter, gradients.get(&variable)?.to_dtype(DType::F64).unwrap()))
            });
            named.collect::<Vec<(String, Tensor)>>()
        });
        assert_eq!(single.len(), double.len());
        for ((parameter, single), (_, double)) in single.iter().zip(&double) {
            let largest = double.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            let apart = distance(single, double) / largest;
            assert!(apart < 1e-4, "{name}: {parameter}: {apart:e} of {largest:e}");
        }
    }
}
