//! Low-rank adapters.

use super::kernels::{project, project_low_rank};
use super::{Adapter, GPTModel};
use crate::plan::{Finding, FindingKind};
use candle_core::{DType, Result, Tensor};
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
pub(crate) const IN: &str = ".adapter.linear_in.weight";
/// And of `B`.
pub(crate) const OUT: &str = ".adapter.linear_out.weight";

impl Lora {
    /// What is added is multiplied by this.
    pub(crate) fn scale(&self) -> f64 {
        self.alpha / self.dim as f64
    }

    /// What is no setting.
    pub(crate) fn check(&self, findings: &mut Vec<Finding>) {
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

    /// The tensors of an adapter of `model`, with their shapes.
    pub(crate) fn shapes(&self, model: &mut GPTModel) -> BTreeMap<String, [usize; 2]> {
        let adapted = model.projections().into_iter().filter(|(name, _)| self.adapts(name));
        let shapes = adapted.flat_map(|(name, linear)| {
            let [rows, columns] = linear.shape();
            [
                (format!("{name}{IN}"), [self.dim, columns]),
                (format!("{name}{OUT}"), [rows, self.dim]),
            ]
        });
        shapes.collect()
    }

    fn adapts(&self, projection: &str) -> bool {
        let last = projection.rsplit('.').next().unwrap_or_default();
        self.target_modules.iter().any(|target| target == last)
    }

    /// Puts the adapter with these tensors on the projections of `model`.
    pub(crate) fn put_on(&self, model: &mut GPTModel, tensors: &BTreeMap<String, Tensor>) {
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

impl LowRank {
    /// `A` and `B` in the type that is computed in.
    fn parts(&self, dtype: DType) -> Result<[Tensor; 2]> {
        Ok([self.a.to_dtype(dtype)?, self.b.to_dtype(dtype)?])
    }
}

impl Adapter for LowRank {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [a, b] = self.parts(input.dtype())?;
        // Scaled where it is small.
        project(&(project(input, &a)? * self.scale)?, &b)
    }

    fn project(&self, input: &Tensor, weight: &Tensor) -> Result<Tensor> {
        if weight.track_op() {
            return project(input, weight)? + self.forward(input)?;
        }
        let [a, b] = self.parts(input.dtype())?;
        project_low_rank(input, weight, [&a, &b], self.scale)
    }
}
