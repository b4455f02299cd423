//! Low-rank adapters: their first values, and what they are as weights.

use super::Lora;
use super::random::Random;
use crate::model::{GPTModel, IN};
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use std::collections::BTreeMap;

impl Lora {
    /// The variables of a new adapter of `model`, in f32.
    pub(super) fn variables(
        &self,
        model: &mut GPTModel,
        seed: u64,
    ) -> Result<BTreeMap<String, Var>> {
        let device = model.device().clone();
        let mut variables = BTreeMap::new();
        // Beyond the width of the model a rank adds nothing, and as a number it may be any.
        let width = model.config().hidden_size;
        if self.dim > width {
            let problem = format!("is {}, more than the width of the model, {width}", self.dim);
            return Err(Error::refused(vec![Finding::new(FindingKind::Config, "dim", problem)]));
        }
        for (name, [rows, columns]) in self.shapes(model) {
            let tensor = match name.ends_with(IN) {
                true => {
                    let values = self.initial(&name, columns, seed);
                    Tensor::from_vec(values, (rows, columns), &device)
                }
                false => Tensor::zeros((rows, columns), DType::F32, &device),
            };
            let variable = tensor.and_then(|tensor| Var::from_tensor(&tensor));
            variables.insert(name, variable.map_err(Error::candle)?);
        }
        Ok(variables)
    }

    /// The first values of `A`: uniform, with the variance of Glorot and Bengio, 2 / (in + out).
    fn initial(&self, name: &str, columns: usize, seed: u64) -> Vec<f32> {
        let bound = (6.0 / (self.dim + columns) as f32).sqrt();
        let mut random = Random::new(seed, name);
        (0..self.dim * columns).map(|_| random.symmetric() * bound).collect()
    }
}

/// `W + scale · B·A`, computed in f32 and rounded once to the type of `W`.
pub(super) fn merged(weight: &Tensor, a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor> {
    let product = |x: &Tensor| x.to_dtype(DType::F32);
    let sum = || {
        (product(weight)? + (product(b)?.matmul(&product(a)?)? * scale)?)?.to_dtype(weight.dtype())
    };
    sum().map_err(Error::candle)
}
