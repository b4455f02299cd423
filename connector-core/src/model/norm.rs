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
