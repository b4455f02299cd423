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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// What a unit makes of one number: `fc1` gives gate and up, or itself, `fc2` changes nothing.
    fn made(activation: Activation, gate: Option<GateSpec>, [g, u]: [f64; 2]) -> f64 {
        let weight = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let fc1 = if gate.is_some() { weight(&[g, u]) } else { weight(&[g]) };
        let unit = Unit {
            linear_fc1: Linear::new(fc1.unsqueeze(1).unwrap(), None),
            linear_fc2: Linear::new(weight(&[1.0]).unsqueeze(1).unwrap(), None),
            spec: UnitSpec { activation, gate, bias: false },
        };
        let one = Tensor::new(&[[1f64]], &Device::Cpu).unwrap();
        unit.forward(&one).unwrap().to_vec2::<f64>().unwrap()[0][0]
    }

    #[test]
    fn units_are_gated_clamped_and_plain() {
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let quick = |x: f64| x / (1.0 + (-1.702 * x).exp());
        let plain = GateSpec { offset: 0.0, clamp: None };
        let oss = GateSpec { offset: 1.0, clamp: Some(7.0) };
        for (activation, gate, inputs, want) in [
            (Activation::Silu, Some(plain), [0.5, 3.0], silu(0.5) * 3.0),
            (Activation::Silu, None, [0.5, 0.0], silu(0.5)),
            (Activation::SquaredRelu, None, [3.0, 0.0], 9.0),
            (Activation::SquaredRelu, None, [-3.0, 0.0], 0.0),
            (Activation::QuickGelu, Some(plain), [0.5, 3.0], quick(0.5) * 3.0),
            (Activation::QuickGelu, Some(oss), [0.5, 3.0], quick(0.5) * 4.0),
            // The gate has no least value.
            (Activation::QuickGelu, Some(oss), [9.0, -9.0], quick(7.0) * -6.0),
            (Activation::QuickGelu, Some(oss), [-9.0, 9.0], quick(-9.0) * 8.0),
        ] {
            let got = made(activation, gate, inputs);
            assert!((got - want).abs() < 1e-9, "{activation:?} {gate:?} {inputs:?}: {got} {want}");
        }
    }
}
