//! Norms.

use super::kernels::{normalized, rms_norm, wide};
use super::spec::{NormKind, NormSpec};
use candle_core::{D, Result, Tensor};

/// `x / sqrt(mean(x²) + ε)`, or of a layer norm `(x - mean(x)) / sqrt(variance(x) + ε)`; times the
/// weight or, zero-centred, times 1 + the weight; and of a layer norm, plus a bias.
///
/// Computed in f32, whatever the type of `x`. As in transformers, a plain RMS norm is rounded to that
/// type before it is multiplied, any other after.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub spec: NormSpec,
    /// `[width]`.
    pub weight: Tensor,
    /// `[width]`, of a layer norm.
    pub bias: Option<Tensor>,
}

impl Norm {
    /// Norms the last dimension of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = x.dtype();
        let wide = wide(dtype);
        let NormSpec { kind, epsilon, zero_centered } = self.spec;
        let weight = || match zero_centered {
            true => self.weight.to_dtype(wide)? + 1.0,
            false => self.weight.to_dtype(wide),
        };
        match kind {
            NormKind::Layer => {
                let x = x.to_dtype(wide)?;
                let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
                let y = normalized(&centered, epsilon)?.broadcast_mul(&weight()?)?;
                let y = match &self.bias {
                    Some(bias) => y.broadcast_add(&bias.to_dtype(wide)?)?,
                    None => y,
                };
                y.to_dtype(dtype)
            }
            NormKind::Rms if zero_centered => {
                rms_norm(&x.to_dtype(wide)?, &weight()?, epsilon)?.to_dtype(dtype)
            }
            NormKind::Rms if dtype == wide => rms_norm(x, &self.weight, epsilon),
            NormKind::Rms => {
                let normalized = normalized(&x.to_dtype(wide)?, epsilon)?;
                normalized.to_dtype(dtype)?.broadcast_mul(&self.weight)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn norms_are_what_they_are_called() {
        // The mean is 2.5, the variance 1.25, the mean square 7.5.
        let (x, weight, bias) = ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]);
        let layer =
            |i: usize, offset: f64| (x[i] - 2.5) / 1.25f64.sqrt() * (weight[i] + offset) + bias[i];
        let rms = |i: usize, offset: f64| x[i] / 7.5f64.sqrt() * (weight[i] + offset);
        for dtype in [DType::F32, DType::F64] {
            let tensor = |values: [f64; 4]| {
                Tensor::new(&values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            for (kind, zero_centered, want) in [
                (NormKind::Layer, false, [0, 1, 2, 3].map(|i| layer(i, 0.0))),
                (NormKind::Layer, true, [0, 1, 2, 3].map(|i| layer(i, 1.0))),
                (NormKind::Rms, false, [0, 1, 2, 3].map(|i| rms(i, 0.0))),
                (NormKind::Rms, true, [0, 1, 2, 3].map(|i| rms(i, 1.0))),
            ] {
                let norm = Norm {
                    spec: NormSpec { kind, epsilon: 0.0, zero_centered },
                    weight: tensor(weight),
                    bias: (kind == NormKind::Layer).then(|| tensor(bias)),
                };
                let got = norm.forward(&tensor(x)).unwrap().to_dtype(DType::F64).unwrap();
                let got: Vec<f64> = got.to_vec1().unwrap();
                let near = got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
                assert!(near, "{kind:?} {zero_centered} {dtype:?}: {got:?} is not {want:?}");
            }
        }
    }
}
