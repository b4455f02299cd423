//! The MLP of a layer: gated, one or a mixture of experts.

use super::experts::Experts;
use super::kernels::{halves, swiglu};
use super::linear::Linear;
use candle_core::{Result, Tensor};

/// The activation, the first factor of a gated linear unit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Activation {
    Silu,
    /// The approximation with tanh.
    GeluTanh,
    /// With the error function.
    Gelu,
}

impl Activation {
    /// By the name that PyTorch and transformers give it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "silu" | "swish" => Activation::Silu,
            "gelu_pytorch_tanh" => Activation::GeluTanh,
            "gelu" => Activation::Gelu,
            _ => return None,
        })
    }
}

/// `fc2(activation(gate) · up)`, where `linear_fc1` computes the gate over up.
#[derive(Clone, Debug)]
pub(super) struct GatedMlp {
    pub linear_fc1: Linear,
    pub linear_fc2: Linear,
    pub activation: Activation,
}

impl GatedMlp {
    /// `x` and the result are `[…, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let both = self.linear_fc1.forward(x)?;
        let inner = match self.activation {
            Activation::Silu => swiglu(&both)?,
            Activation::GeluTanh => gated(&both, Tensor::gelu)?,
            Activation::Gelu => gated(&both, Tensor::gelu_erf)?,
        };
        self.linear_fc2.forward(&inner)
    }
}

fn gated(both: &Tensor, activation: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let [gate, up] = halves(both)?;
    activation(&gate)? * up
}

/// What follows attention in a layer.
#[derive(Clone, Debug)]
pub(super) enum Mlp {
    Dense(GatedMlp),
    Experts(Experts),
}

impl Mlp {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Mlp::Dense(mlp) => mlp.forward(x),
            Mlp::Experts(experts) => experts.forward(x),
        }
    }
}
