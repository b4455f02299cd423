//! AdamW on candle variables, with a state that can be saved.
//!
//! Not candle-nn's: its moments cannot be read or set, so that no run could go on with them, and it
//! decays norms and biases too.

use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use candle_core::{DType, Tensor, Var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// AdamW, with weight decay apart from the gradient (Loshchilov and Hutter, "Decoupled Weight Decay
/// Regularization", algorithm 2), and with gradients clipped by their norm.
///
/// For step t from 1, gradient g, learning rate η:
///
/// ```text
/// g ← g · min(1, clip_grad / (‖all gradients‖ + 10⁻⁶))
/// m ← β₁·m + (1 - β₁)·g          v ← β₂·v + (1 - β₂)·g²
/// θ ← θ - η·weight_decay·θ - η · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + eps)
/// ```
///
/// Parameters of one dimension, norms and biases, do not decay, as in Megatron-core. All is
/// computed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW {
    /// β₁, how slowly the mean of the gradients changes.
    pub beta1: f64,
    /// β₂, how slowly the mean of their squares changes.
    pub beta2: f64,
    /// What keeps the divisor from zero.
    pub eps: f64,
    /// What part of a parameter goes, times the learning rate, each step.
    pub weight_decay: f64,
    /// The largest norm of all gradients together; longer ones are scaled down to it. `None` lets
    /// them be.
    pub clip_grad: Option<f64>,
}

impl Default for AdamW {
    /// What NeMo's recipes fine-tune with.
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.1, clip_grad: Some(1.0) }
    }
}

impl AdamW {
    /// What is no setting.
    pub(super) fn check(&self, findings: &mut Vec<Finding>) {
        let mut refuse = |field: &str, value: f64, wanted: &str| {
            let problem = format!("is {value}; it should be {wanted}");
            findings.push(Finding::new(FindingKind::Config, field, problem));
        };
        for (field, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                refuse(field, beta, "from 0 to below 1");
            }
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            refuse("eps", self.eps, "above 0");
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            refuse("weight_decay", self.weight_decay, "0 or more");
        }
        if let Some(clip) = self.clip_grad.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
            refuse("clip_grad", clip, "above 0");
        }
    }
}

/// Variables, each with the moments of its gradient.
pub(super) struct Optimizer {
    settings: AdamW,
    /// The steps that were made.
    step: u64,
    variables: BTreeMap<String, Moments>,
}

struct Moments {
    variable: Var,
    /// m.
    mean: Tensor,
    /// v.
    square: Tensor,
}

/// The gradients of variables by their names.
pub(super) type Gradients = BTreeMap<String, Tensor>;

/// Megatron-core's names of the moments in a checkpoint.
pub(super) const MEAN: &str = "optimizer.state.exp_avg.";
pub(super) const SQUARE: &str = "optimizer.state.exp_avg_sq.";

impl Optimizer {
    /// For variables in f32 that had no step yet.
    pub fn new(settings: AdamW, variables: BTreeMap<String, Var>) -> Result<Self> {
        let with_moments = |(name, variable): (String, Var)| {
            let zeros = variable.zeros_like()?;
            Ok((name, Moments { variable, mean: zeros.clone(), square: zeros }))
        };
        let variables = variables.into_iter().map(with_moments).collect::<candle_core::Result<_>>();
        Ok(Optimizer { settings, step: 0, variables: variables.map_err(Error::candle)? })
    }

    /// The variables by name.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.variables.iter().map(|(name, moments)| (name.as_str(), &moments.variable))
    }

    /// One step along `gradients` with the learning rate `lr`. Returns the norm of all gradients
    /// before they were clipped.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the norm is not finite; nothing has changed then. [`Error::Candle`].
    pub fn step(&mut self, gradients: &Gradients, lr: f64) -> Result<f64> {
        let norm = norm(gradients).map_err(Error::candle)?;
        if !norm.is_finite() {
            return Err(Error::Diverged { what: "the gradient", step: self.step });
        }
        let scale = self.settings.clip_grad.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0));
        self.step += 1;
        for (name, moments) in &mut self.variables {
            // A variable that the loss does not depend on, an expert that saw no token, has none.
            if let Some(gradient) = gradients.get(name) {
                moments
                    .step(gradient, &self.settings, (lr, scale), self.step)
                    .map_err(Error::candle)?;
            }
        }
        Ok(norm)
    }

    /// The moments under their names in a checkpoint.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named = self.variables.iter().flat_map(|(name, moments)| {
            let mean = (format!("{MEAN}{name}"), moments.mean.clone());
            [mean, (format!("{SQUARE}{name}"), moments.square.clone())]
        });
        named.collect()
    }

    /// Goes on from moments under the names of [`state`](Self::state), after `step` steps.
    pub fn restore(
        &mut self,
        step: u64,
        mut state: BTreeMap<String, Tensor>,
    ) -> Result<(), Vec<Finding>> {
        let mut findings = Vec::new();
        for (name, moments) in &mut self.variables {
            for (prefix, moment) in [(MEAN, &mut moments.mean), (SQUARE, &mut moments.square)] {
                let name = format!("{prefix}{name}");
                match state.remove(&name) {
                    Some(tensor)
                        if tensor.dims() == moment.dims() && tensor.dtype() == DType::F32 =>
                    {
                        *moment = tensor;
                    }
                    Some(tensor) => {
                        let (found, shape) = (tensor.dims(), moment.dims());
                        let problem = format!("is {found:?}; it should be {shape:?} in f32");
                        findings.push(Finding::new(FindingKind::Shape, name, problem));
                    }
                    None => {
                        let problem = "is not in the checkpoint's optimizer state";
                        findings.push(Finding::new(FindingKind::MissingSource, name, problem));
                    }
                }
            }
        }
        findings.extend(state.into_keys().map(|name| {
            Finding::new(FindingKind::UnusedTensor, name, "is of no parameter that is trained")
        }));
        self.step = step;
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }
}

impl Moments {
    fn step(
        &mut self,
        gradient: &Tensor,
        settings: &AdamW,
        (lr, scale): (f64, f64),
        step: u64,
    ) -> candle_core::Result<()> {
        let AdamW { beta1, beta2, eps, weight_decay, .. } = *settings;
        let parameter = self.variable.as_detached_tensor();
        self.mean = ((&self.mean * beta1)? + (gradient * (scale * (1.0 - beta1)))?)?;
        self.square =
            ((&self.square * beta2)? + (gradient.sqr()? * (scale * scale * (1.0 - beta2)))?)?;
        // √(v / c₂) + eps, and then m / c₁ over it, with the numbers put together.
        let (c1, c2) = (1.0 - beta1.powf(step as f64), 1.0 - beta2.powf(step as f64));
        let divisor = self.square.sqrt()?.affine(c2.sqrt().recip(), eps)?;
        let change = (self.mean.div(&divisor)? * (lr / c1))?;
        let decay = if parameter.rank() > 1 { lr * weight_decay } else { 0.0 };
        self.variable.set(&((parameter * (1.0 - decay))? - change)?)
    }
}

/// The square root of the sum of all squares.
fn norm(gradients: &Gradients) -> candle_core::Result<f64> {
    let mut sum = 0.0;
    for gradient in gradients.values() {
        sum += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(sum.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn variables(values: &[(&str, &[f32], &[usize])]) -> BTreeMap<String, Var> {
        let make = |&(name, values, shape): &(&str, &[f32], &[usize])| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            (name.to_string(), Var::from_tensor(&tensor).unwrap())
        };
        values.iter().map(make).collect()
    }

    fn values(optimizer: &Optimizer, name: &str) -> Vec<f32> {
        optimizer.variables[name].variable.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn gradient(name: &str, values: &[f32], shape: &[usize]) -> Gradients {
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
        [(name.to_string(), tensor)].into()
    }

    /// The formula, in f64.
    fn by_hand(settings: &AdamW, mut x: f64, gradients: &[f64], lr: f64, decays: bool) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for (t, &g) in gradients.iter().enumerate() {
            let g = g * settings.clip_grad.map_or(1.0, |clip| (clip / (g.abs() + 1e-6)).min(1.0));
            m = settings.beta1 * m + (1.0 - settings.beta1) * g;
            v = settings.beta2 * v + (1.0 - settings.beta2) * g * g;
            let t = t as i32 + 1;
            let (m, v) = (m / (1.0 - settings.beta1.powi(t)), v / (1.0 - settings.beta2.powi(t)));
            let decay = if decays { lr * settings.weight_decay * x } else { 0.0 };
            x -= decay + lr * m / (v.sqrt() + settings.eps);
        }
        x
    }

    #[test]
    fn steps_follow_the_formula() {
        let plain = AdamW { clip_grad: None, ..AdamW::default() };
        for (settings, shape, decays) in [
            (plain, &[1usize, 1][..], true),
            (plain, &[1], false),
            (AdamW::default(), &[1, 1], true),
            (AdamW { eps: 0.1, beta1: 0.0, weight_decay: 0.5, ..plain }, &[1, 1], true),
        ] {
            let mut optimizer =
                Optimizer::new(settings, variables(&[("w", &[0.7], shape)])).unwrap();
            let gradients = [0.5f32, -3.0, 0.01, 2.0];
            for g in gradients {
                optimizer.step(&gradient("w", &[g], shape), 0.01).unwrap();
            }
            let want = by_hand(&settings, 0.7, &gradients.map(f64::from), 0.01, decays);
            let found = f64::from(values(&optimizer, "w")[0]);
            assert!((found - want).abs() < 1e-6, "{settings:?}: {found} {want}");
        }
    }

    #[test]
    fn gradients_are_clipped_by_their_common_norm() {
        let settings = AdamW { beta1: 0.0, ..AdamW::default() };
        let mut optimizer =
            Optimizer::new(settings, variables(&[("a", &[0.0], &[1]), ("b", &[0.0], &[1])]))
                .unwrap();
        let mut gradients = gradient("a", &[3.0], &[1]);
        gradients.extend(gradient("b", &[4.0], &[1]));
        assert_eq!(optimizer.step(&gradients, 0.1).unwrap(), 5.0);
        let mean = |name: &str| optimizer.variables[name].mean.to_vec1::<f32>().unwrap()[0];
        assert!((mean("a") - 0.6).abs() < 1e-6 && (mean("b") - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        for bad in [f32::NAN, f32::INFINITY, 1e30] {
            let mut optimizer =
                Optimizer::new(AdamW::default(), variables(&[("w", &[1.0], &[1])])).unwrap();
            let error = optimizer.step(&gradient("w", &[bad], &[1]), 0.1).unwrap_err();
            assert!(matches!(error, Error::Diverged { step: 0, .. }), "{error}");
            assert_eq!(values(&optimizer, "w"), [1.0]);
        }
    }

    #[test]
    fn a_restored_optimizer_makes_the_same_steps() {
        let start: &[(&str, &[f32], &[usize])] =
            &[("w", &[0.3, -0.8], &[1, 2]), ("n", &[1.0], &[1])];
        let mut unbroken = Optimizer::new(AdamW::default(), variables(start)).unwrap();
        let step = |optimizer: &mut Optimizer, t: usize| {
            let mut gradients = gradient("w", &[0.1 * t as f32, -0.2], &[1, 2]);
            gradients.extend(gradient("n", &[0.3], &[1]));
            optimizer.step(&gradients, 0.01).unwrap();
        };
        (0..3).for_each(|t| step(&mut unbroken, t));
        let now = unbroken.variables().map(|(name, variable)| {
            (
                name.to_string(),
                Var::from_tensor(&variable.as_detached_tensor().copy().unwrap()).unwrap(),
            )
        });
        let mut resumed = Optimizer::new(AdamW::default(), now.collect()).unwrap();
        resumed.restore(3, unbroken.state().into_iter().collect()).unwrap();
        for t in 3..6 {
            step(&mut unbroken, t);
            step(&mut resumed, t);
        }
        for name in ["w", "n"] {
            assert_eq!(values(&resumed, name), values(&unbroken, name));
        }
    }

    #[test]
    fn a_state_that_does_not_fit_is_refused_whole() {
        let mut optimizer =
            Optimizer::new(AdamW::default(), variables(&[("w", &[0.0], &[1])])).unwrap();
        let tensor = Tensor::zeros((2,), DType::F32, &Device::Cpu).unwrap();
        let state = [(format!("{MEAN}w"), tensor.clone()), (format!("{MEAN}x"), tensor)].into();
        let text: Vec<String> =
            optimizer.restore(1, state).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "optimizer.state.exp_avg.w: is [2]; it should be [1] in f32",
                "optimizer.state.exp_avg_sq.w: is not in the checkpoint's optimizer state",
                "optimizer.state.exp_avg.x: is of no parameter that is trained",
            ]
        );
    }
}
