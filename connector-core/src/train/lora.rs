//! Low-rank adapters.

use super::random::Random;
use crate::model::{Adapter, GPTModel, matmul};
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A low-rank adapter: `W` stays, and `alpha / dim · B·A` is added to it, with `A` of `[dim, in]`
/// and `B` of `[out, dim]` (Hu et al., "LoRA"). NeMo's `llm.peft.LoRA`, with its names and its
/// default targets.
///
/// The projections are Megatron's fused ones. An adapter of `linear_qkv` has one `A` for q, k and
/// v, one of `linear_fc1` one for gate and up. `A` begins with random numbers, `B` with zeros, so
/// that the adapter begins as nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lora {
    /// The rank, PEFT's `r`.
    pub dim: usize,
    /// The scale, times `dim`; PEFT's `lora_alpha`.
    pub alpha: f64,
    /// The projections that are adapted: `linear_qkv`, `linear_proj`, `linear_fc1`, `linear_fc2`.
    pub target_modules: Vec<String>,
}

/// The projections of a layer.
const PROJECTIONS: [&str; 4] = ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"];

impl Default for Lora {
    /// NeMo's: rank and alpha 32, on all four projections.
    fn default() -> Self {
        Lora { dim: 32, alpha: 32.0, target_modules: PROJECTIONS.map(Into::into).into() }
    }
}

/// NeMo's name of `A`, behind that of the projection.
pub(super) const IN: &str = ".adapter.linear_in.weight";
/// And of `B`.
pub(super) const OUT: &str = ".adapter.linear_out.weight";

impl Lora {
    /// What is added is multiplied by this.
    pub(super) fn scale(&self) -> f64 {
        self.alpha / self.dim as f64
    }

    /// What is no setting.
    pub(super) fn check(&self, findings: &mut Vec<Finding>) {
        let mut refuse = |field: &str, problem: String| {
            findings.push(Finding::new(FindingKind::Config, field, problem));
        };
        if self.dim == 0 {
            refuse("dim", "is 0; it should be 1 or more".into());
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            refuse("alpha", format!("is {}; it should be above 0", self.alpha));
        }
        if self.target_modules.is_empty() {
            refuse("target_modules", "is empty, so there is nothing to train".into());
        }
        for name in &self.target_modules {
            if !PROJECTIONS.contains(&name.as_str()) {
                let problem = format!("names `{name}`; there are {}", PROJECTIONS.join(", "));
                refuse("target_modules", problem);
            }
        }
    }

    fn adapts(&self, projection: &str) -> bool {
        let last = projection.rsplit('.').next().unwrap_or_default();
        self.target_modules.iter().any(|target| target == last)
    }

    /// The variables of a new adapter of `model`, in f32.
    pub(super) fn variables(
        &self,
        model: &mut GPTModel,
        seed: u64,
    ) -> Result<BTreeMap<String, Var>> {
        let device = model.device().clone();
        let mut variables = BTreeMap::new();
        for (projection, linear) in model.projections() {
            if !self.adapts(&projection) {
                continue;
            }
            let (rows, columns) = linear.weight().dims2().map_err(Error::candle)?;
            let name = format!("{projection}{IN}");
            let values = self.initial(&name, columns, seed);
            let a = Tensor::from_vec(values, (self.dim, columns), &device);
            let b = Tensor::zeros((rows, self.dim), DType::F32, &device);
            for (name, tensor) in [(name, a), (format!("{projection}{OUT}"), b)] {
                let variable = tensor.and_then(|tensor| Var::from_tensor(&tensor));
                variables.insert(name, variable.map_err(Error::candle)?);
            }
        }
        Ok(variables)
    }

    /// The first values of `A`: uniform, with the variance of Glorot and Bengio, 2 / (in + out).
    fn initial(&self, name: &str, columns: usize, seed: u64) -> Vec<f32> {
        let bound = (6.0 / (self.dim + columns) as f32).sqrt();
        let mut random = Random::new(seed, name);
        (0..self.dim * columns).map(|_| random.symmetric() * bound).collect()
    }

    /// Puts the adapter with these tensors on the projections of `model`.
    pub(super) fn put_on(&self, model: &mut GPTModel, tensors: &BTreeMap<String, Tensor>) {
        for (projection, linear) in model.projections() {
            let part = |suffix| tensors.get(&format!("{projection}{suffix}")).cloned();
            if let (Some(a), Some(b)) = (part(IN), part(OUT)) {
                linear.adapt(Some(Arc::new(LowRank { a, b, scale: self.scale() })));
            }
        }
    }
}

/// The adapter of one projection.
struct LowRank {
    /// `[dim, in]`.
    a: Tensor,
    /// `[out, dim]`.
    b: Tensor,
    scale: f64,
}

impl Adapter for LowRank {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let dtype = input.dtype();
        let (a, b) = (self.a.to_dtype(dtype)?, self.b.to_dtype(dtype)?);
        // Scaled where it is small.
        matmul(&(matmul(input, &a.t()?)? * self.scale)?, &b.t()?)
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
