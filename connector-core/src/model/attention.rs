//! Attention: every query sees the keys before it, or those in its reach.

use super::cache::LayerRows;
use super::kernels::{matmul, normalized, softmax, wide};
use super::linear::Linear;
use super::norm::Norm;
use super::rotary::Angles;
use super::span::Span;
use super::spec::{AttentionSpec, Heads};
use candle_core::{Result, Tensor};

/// Self-attention with query groups: in each, some query heads share a key and a value head.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub spec: AttentionSpec,
    pub linear_qkv: Linear,
    pub linear_proj: Linear,
    pub qk_norm: HeadNorm,
    /// A score for each query head beside those of its keys, `[heads]`, of which nothing is seen.
    pub sinks: Option<Tensor>,
}

/// The norms of queries and keys.
#[derive(Clone, Debug)]
pub(super) enum HeadNorm {
    None,
    /// Of each head.
    Head([Norm; 2]),
    /// Of all heads together.
    Width([Norm; 2]),
    /// Of each head, after it is rotated, without a weight, with this ε.
    AfterRotation(f64),
}

/// What layers share in one forward pass, as far as one needs it.
pub(super) struct Shared<'a> {
    pub span: &'a Span,
    /// None where positions are not told.
    pub angles: Option<&'a Angles>,
    /// What queries are multiplied by.
    pub temperatures: Option<&'a Tensor>,
}

impl Attention {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(
        &self,
        x: &Tensor,
        shared: &Shared<'_>,
        cache: Option<LayerRows<'_>>,
    ) -> Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let Heads { groups, queries, size } = self.spec.shape;
        let [q, k, v] = self.split(&self.linear_qkv.forward(x)?)?;
        let [q, k] = match &self.qk_norm {
            HeadNorm::None | HeadNorm::AfterRotation(_) => [q, k],
            HeadNorm::Head([of_q, of_k]) => [of_q.forward(&q)?, of_k.forward(&k)?],
            HeadNorm::Width([of_q, of_k]) => [over_heads(of_q, &q)?, over_heads(of_k, &k)?],
        };
        let [mut q, mut k] = match shared.angles {
            Some(angles) => [angles.rotate(&q)?, angles.rotate(&k)?],
            None => [q, k],
        };
        if let HeadNorm::AfterRotation(epsilon) = self.qk_norm {
            let dtype = q.dtype();
            let normed =
                |x: &Tensor| normalized(&x.to_dtype(wide(dtype))?, epsilon)?.to_dtype(dtype);
            (q, k) = (normed(&q)?, normed(&k)?);
        }
        if let Some(temperatures) = shared.temperatures {
            q = q.broadcast_mul(temperatures)?;
        }
        let [k, v] = match cache {
            Some(rows) => rows.append(&k, &v)?,
            None => [k, v.contiguous()?],
        };
        let q = q.reshape((batch, groups, queries, tokens, size))?;
        let blocks = &shared.span.blocks;
        let mut heads = Vec::with_capacity(blocks.len());
        for block in blocks {
            let q = q.narrow(3, block.first, block.len)?;
            let k = k.narrow(2, block.first_key, block.keys)?;
            let v = v.narrow(2, block.first_key, block.keys)?;
            heads.push(self.attend(&q, &k, &v, block.mask.as_ref())?);
        }
        // [batch, groups, queries, tokens, head size] → [batch, tokens, all heads]
        let heads = match heads.as_slice() {
            [one] => one.clone(),
            blocks => Tensor::cat(blocks, 3)?,
        };
        let heads = heads.permute((0, 3, 1, 2, 4))?;
        self.linear_proj.forward(&heads.reshape((batch, tokens, ()))?)
    }

    /// Cuts what `linear_qkv` computes, `[batch, tokens, rows]`. Its rows are, for each group, its
    /// query heads, its key head, its value head.
    ///
    /// The results are `[batch, heads, tokens, head size]`.
    fn split(&self, mixed: &Tensor) -> Result<[Tensor; 3]> {
        let (batch, tokens, _) = mixed.dims3()?;
        let Heads { groups, queries, size } = self.spec.shape;
        let mixed = mixed.reshape((batch, tokens, groups, queries + 2, size))?;
        let q = mixed.narrow(3, 0, queries)?.permute((0, 2, 3, 1, 4))?;
        let q = q.reshape((batch, groups * queries, tokens, size))?;
        let one = |at| mixed.narrow(3, at, 1)?.squeeze(3)?.transpose(1, 2)?.contiguous();
        Ok([q, one(queries)?, one(queries + 1)?])
    }

    /// `softmax(scale·q·kᵀ + mask)·v`. `q` is `[batch, groups, queries, tokens, head size]`, as is
    /// the result; `k` and `v` are `[batch, groups, keys, head size]`.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, groups, queries, tokens, size) = q.dims5()?;
        let keys = k.dim(2)?;
        // All queries of a group as rows of one matrix: its keys need not be repeated.
        let rows = q.reshape((batch, groups, queries * tokens, size))?;
        let scores = matmul(&rows, &k.t()?)?;
        let wide = wide(scores.dtype());
        let mut scores = (scores.to_dtype(wide)? * self.spec.scale)?;
        if let Some(most) = self.spec.soft_cap {
            scores = soft_cap(&scores, most)?;
        }
        if let Some(mask) = mask {
            let cells = scores.reshape((batch, groups * queries, tokens, keys))?;
            scores = cells.broadcast_add(&mask.to_dtype(wide)?)?;
            scores = scores.reshape((batch, groups, queries * tokens, keys))?;
        }
        let shares = match &self.sinks {
            None => softmax(&scores)?,
            Some(sinks) => {
                let sinks = sinks.to_dtype(wide)?.reshape((1, groups, queries, 1, 1))?;
                let sinks = sinks.broadcast_as((batch, groups, queries, tokens, 1))?;
                let sinks = sinks.reshape((batch, groups, queries * tokens, 1))?;
                softmax(&Tensor::cat(&[scores, sinks], 3)?)?.narrow(3, 0, keys)?
            }
        };
        let shares = shares.to_dtype(v.dtype())?.contiguous()?;
        matmul(&shares, v)?.reshape((batch, groups, queries, tokens, size))
    }
}

/// `most · tanh(x / most)`.
pub(super) fn soft_cap(x: &Tensor, most: f64) -> Result<Tensor> {
    (x / most)?.tanh()? * most
}

/// Norms the heads of each token together, of `[batch, heads, tokens, head size]`.
fn over_heads(norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let (batch, heads, tokens, size) = x.dims4()?;
    let rows = norm.forward(&x.transpose(1, 2)?.reshape((batch, tokens, heads * size))?)?;
    rows.reshape((batch, tokens, heads, size))?.transpose(1, 2)?.contiguous()
}
