//! RMS norms.

use super::kernels::{normalized, rms_norm, wide};
use candle_core::{Result, Tensor};

/// `x / sqrt(mean(x²) + ε)`, times the weight or, zero-centred, times 1 + the weight.
///
/// Computed in f32, whatever the type of `x`. As in transformers, a plain norm is rounded to that type
/// before it is multiplied, a zero-centred one (Gemma's) after.
#[derive(Clone, Debug)]
pub(super) struct RmsNorm {
    /// `[width]`.
    pub weight: Tensor,
    pub epsilon: f64,
    pub zero_centered: bool,
}

impl RmsNorm {
    /// Norms the last dimension of `x`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dtype = x.dtype();
        let wide = wide(dtype);
        if self.zero_centered {
            let weight = (self.weight.to_dtype(wide)? + 1.0)?;
            return rms_norm(&x.to_dtype(wide)?, &weight, self.epsilon)?.to_dtype(dtype);
        }
        if dtype == wide {
            return rms_norm(x, &self.weight, self.epsilon);
        }
        let normalized = normalized(&x.to_dtype(wide)?, self.epsilon)?;
        normalized.to_dtype(dtype)?.broadcast_mul(&self.weight)
    }
}
