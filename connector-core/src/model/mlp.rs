//! The MLP of a layer: one, or a mixture of experts.

use super::experts::Experts;
use super::kernels::{halves, swiglu};
use super::linear::Linear;
use super::spec::{Activation, GateSpec, UnitSpec};
use candle_core::{Result, Tensor};

/// `fc2(activation(gate) · up)`, where `linear_fc1` computes the gate over up; or, not gated,
/// `fc2(activation(fc1))`.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub linear_fc1: Linear,
    pub linear_fc2: Linear,
    pub spec: UnitSpec,
}

impl Unit {
    /// `x` and the result are `[…, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = self.linear_fc1.forward(x)?;
        let UnitSpec { activation, gate, .. } = self.spec;
        let inner = match gate {
            None => activation.of(&inner)?,
            Some(GateSpec { offset: 0.0, clamp: None }) if activation == Activation::Silu => {
                swiglu(&inner)?
            }
            Some(gate) => gated(&inner, activation, gate)?,
        };
        self.linear_fc2.forward(&inner)
    }
}

fn gated(both: &Tensor, activation: Activation, spec: GateSpec) -> Result<Tensor> {
    let [mut gate, mut up] = halves(both)?;
    if let Some(most) = spec.clamp {
        gate = gate.minimum(most)?;
        up = up.minimum(most)?.maximum(-most)?;
    }
    if spec.offset != 0.0 {
        up = (up + spec.offset)?;
    }
    activation.of(&gate)? * up
}

impl Activation {
    fn of(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Silu => x.silu(),
            Activation::GeluTanh => x.gelu(),
            Activation::Gelu => x.gelu_erf(),
            // As silu(1.702 x) / 1.702, which has a backward pass.
            Activation::QuickGelu => (x * 1.702)?.silu()? / 1.702,
            Activation::SquaredRelu => x.relu()?.sqr(),
        }
    }
}

/// What follows attention in a layer.
#[derive(Clone, Debug)]
pub(super) enum Mlp {
    Dense(Unit),
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
