//! What candle has in several forms: fused without a backward pass, or made of operations that have
//! one; or not at all on some device.

use candle_core::{D, DType, Result, Tensor};

/// The type in which norms and softmax are computed for a model of type `dtype`, as in transformers.
pub(super) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A product of matrices. Where the device does not multiply bf16, in f32 and rounded, which is what
/// devices that do compute.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() == DType::BF16 && !a.device().supports_bf16() {
        let product = a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?)?;
        return product.to_dtype(DType::BF16);
    }
    a.matmul(b)
}

/// The softmax of the last dimension.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    if !x.track_op() {
        return candle_nn::ops::softmax_last_dim(&x.contiguous()?);
    }
    // Whatever is subtracted changes nothing, so that no gradient goes that way.
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_mul(&exp.sum_keepdim(D::Minus1)?.recip()?)
}

/// `x / sqrt(mean(x²) + ε) · weight` over the last dimension, all of one type, f32 or f64.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if x.dtype() == DType::F32 && !x.track_op() && !weight.track_op() {
        return candle_nn::ops::rms_norm(&x.contiguous()?, weight, epsilon as f32);
    }
    normalized(x, epsilon)?.broadcast_mul(weight)
}

/// `x / sqrt(mean(x²) + ε)` over the last dimension.
pub(super) fn normalized(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_mul(&(mean + epsilon)?.sqrt()?.recip()?)
}

/// Turns the pairs (element i of the first half, element i of the second) of the last dimension of
/// `x`, `[batch, heads, positions, size]`, by angles whose cosines and sines are
/// `[positions, size / 2]`.
pub(super) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    if !x.track_op() {
        return candle_nn::rotary_emb::rope(&x.contiguous()?, cos, sin);
    }
    let half = x.dim(D::Minus1)? / 2;
    let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let second = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    Tensor::cat(&[first, second], D::Minus1)
}
