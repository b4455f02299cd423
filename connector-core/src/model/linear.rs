//! Linear projections, and what may be added to one.

use super::kernels::project;
use candle_core::{DType, Result, Tensor};
use std::fmt;
use std::sync::Arc;

/// Something that is added to what a linear projection computes: a low-rank adapter.
pub trait Adapter: Send + Sync {
    /// What is added to the projection of `input`, `[…, in]`: `[…, out]`.
    ///
    /// # Errors
    /// If candle cannot compute it.
    fn forward(&self, input: &Tensor) -> Result<Tensor>;

    /// The projection of `input`, `[…, in]`, by `weight`, `[out, in]`, with what is added:
    /// `[…, out]`. For adapters that can do both at once.
    ///
    /// # Errors
    /// If candle cannot compute it.
    fn project(&self, input: &Tensor, weight: &Tensor) -> Result<Tensor> {
        project(input, weight)? + self.forward(input)?
    }
}

/// A linear projection, `y = x·Wᵀ + b`, with `W` as `[out, in]`.
#[derive(Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    adapter: Option<Arc<dyn Adapter>>,
}

impl fmt::Debug for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shape, adapted) = (self.weight.dims(), self.adapter.is_some());
        f.debug_struct("Linear").field("weight", &shape).field("adapted", &adapted).finish()
    }
}

impl Linear {
    /// A projection with a weight of `[out, in]` and a bias of `[out]`.
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Linear { weight, bias, adapter: None }
    }

    /// The same in another type, without an adapter.
    pub(super) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let bias = self.bias.as_ref().map(|bias| bias.to_dtype(dtype)).transpose()?;
        Ok(Linear::new(self.weight.to_dtype(dtype)?, bias))
    }

    /// The weight, `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The shape of the weight, `[out, in]`.
    pub(super) fn shape(&self) -> [usize; 2] {
        let dims = self.weight.dims();
        [dims[0], dims[1]]
    }

    /// The bias, `[out]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// Adds `adapter` to what the projection computes, in place of one that it has.
    pub fn adapt(&mut self, adapter: Option<Arc<dyn Adapter>>) {
        self.adapter = adapter;
    }

    /// Whether it has anything that gradients are computed for.
    pub(super) fn is_trained(&self) -> bool {
        self.adapter.is_some() || self.weight.track_op()
    }

    /// Projects the last dimension of `x`, `[…, in]`: `[…, out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.adapter {
            Some(adapter) => adapter.project(x, &self.weight)?,
            None => project(x, &self.weight)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}
