//! Attention: every query sees the keys before it, or those in its window.

use super::cache::LayerRows;
use super::kernels::{matmul, softmax, wide};
use super::linear::Linear;
use super::norm::RmsNorm;
use super::rotary::Angles;
use crate::gpt::GptConfig;
use candle_core::{Device, Result, Tensor};

/// Self-attention with query groups: in each, some query heads share a key and a value head.
#[derive(Clone, Debug)]
pub(super) struct Attention {
    pub linear_qkv: Linear,
    pub linear_proj: Linear,
    /// The norm of each head's queries, where there is one.
    pub q_norm: Option<RmsNorm>,
    /// The norm of each head's keys.
    pub k_norm: Option<RmsNorm>,
    /// The number of groups.
    pub groups: usize,
    /// Query heads in each.
    pub queries: usize,
    pub head_size: usize,
}

/// What all layers share in one forward pass: where the tokens are, and which keys each sees.
pub(super) struct Span {
    angles: Angles,
    blocks: Vec<Block>,
}

/// Some queries, and the keys that they see.
struct Block {
    first: usize,
    len: usize,
    first_key: usize,
    keys: usize,
    /// `[queries, keys]`, or `[batch, 1, queries, keys]` where rows hold several documents: 0 for a key
    /// that a query sees, else -∞. `None` if they see all.
    mask: Option<Tensor>,
}

/// How many queries are taken together when no gradient is wanted. So the scores of a long prompt need
/// not be in memory at once, and of the keys after a block none is multiplied.
const BLOCK: usize = 256;

impl Span {
    /// `len` tokens that follow on `seen`. `whole` says that all queries are to be taken together.
    /// `packed` has, if rows hold several documents, the lengths of those of each row; a token sees
    /// only those of its own.
    pub fn new(
        config: &GptConfig,
        angles: Angles,
        (seen, len): (usize, usize),
        packed: Option<&[Vec<usize>]>,
        whole: bool,
        device: &Device,
    ) -> Result<Self> {
        // For each row and token, where its document begins.
        let starts: Option<Vec<Vec<usize>>> = packed.map(|rows| {
            let starts = rows.iter().map(|lengths| {
                let begins = lengths.iter().scan(0, |end, length| {
                    *end += length;
                    Some((*end - length, *length))
                });
                begins.flat_map(|(start, length)| std::iter::repeat_n(start, length)).collect()
            });
            starts.collect()
        });
        // How many tokens before its own each sees.
        let back = config.window_size.map_or(usize::MAX, |(before, _)| before);
        let step = if whole { len.max(1) } else { BLOCK };
        let blocks = (0..len).step_by(step).map(|first| {
            let len = step.min(len - first);
            let query = seen + first;
            let (first_key, end) = (query.saturating_sub(back), query + len);
            let keys = end - first_key;
            let sees = |start: Option<&Vec<usize>>, i: usize, j: usize| {
                let (query, key) = (query + i, first_key + j);
                let start = start.map_or(0, |start| start[query - seen]);
                key <= query && query - key <= back && key >= start
            };
            let cells = |start| {
                (0..len * keys).map(move |cell| match sees(start, cell / keys, cell % keys) {
                    true => 0f32,
                    false => f32::NEG_INFINITY,
                })
            };
            let mask = (len > 1).then(|| match &starts {
                None => Tensor::from_vec(cells(None).collect(), (len, keys), device),
                Some(starts) => {
                    let all = starts.iter().flat_map(|start| cells(Some(start))).collect();
                    Tensor::from_vec(all, (starts.len(), 1, len, keys), device)
                }
            });
            Ok(Block { first, len, first_key, keys, mask: mask.transpose()? })
        });
        Ok(Span { angles, blocks: blocks.collect::<Result<Vec<Block>>>()? })
    }
}

impl Attention {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(&self, x: &Tensor, span: &Span, cache: Option<LayerRows<'_>>) -> Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let [q, k, v] = self.split(&self.linear_qkv.forward(x)?)?;
        let normed = |norm: &Option<RmsNorm>, heads: Tensor| match norm {
            Some(norm) => norm.forward(&heads),
            None => Ok(heads),
        };
        let (q, k) = (normed(&self.q_norm, q)?, normed(&self.k_norm, k)?);
        let (q, k) = (span.angles.rotate(&q)?, span.angles.rotate(&k)?);
        let [k, v] = match cache {
            Some(rows) => rows.append(&k, &v)?,
            None => [k, v.contiguous()?],
        };
        let q = q.reshape((batch, self.groups, self.queries, tokens, self.head_size))?;
        let mut heads = Vec::with_capacity(span.blocks.len());
        for block in &span.blocks {
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
        let Attention { groups, queries, head_size, .. } = *self;
        let mixed = mixed.reshape((batch, tokens, groups, queries + 2, head_size))?;
        let q = mixed.narrow(3, 0, queries)?.permute((0, 2, 3, 1, 4))?;
        let q = q.reshape((batch, groups * queries, tokens, head_size))?;
        let one = |at| mixed.narrow(3, at, 1)?.squeeze(3)?.transpose(1, 2)?.contiguous();
        Ok([q, one(queries)?, one(queries + 1)?])
    }

    /// `softmax(q·kᵀ / √size + mask)·v`. `q` is `[batch, groups, queries, tokens, head size]`, as is
    /// the result; `k` and `v` are `[batch, groups, keys, head size]`.
    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, groups, queries, tokens, size) = q.dims5()?;
        let keys = k.dim(2)?;
        // All queries of a group as rows of one matrix: its keys need not be repeated.
        let rows = q.reshape((batch, groups, queries * tokens, size))?;
        let scores = matmul(&rows, &k.t()?)?;
        let wide = wide(scores.dtype());
        let mut scores = (scores.to_dtype(wide)? * (1.0 / (self.head_size as f64).sqrt()))?;
        if let Some(mask) = mask {
            let cells = scores.reshape((batch, groups * queries, tokens, keys))?;
            scores = cells.broadcast_add(&mask.to_dtype(wide)?)?;
            scores = scores.reshape((batch, groups, queries * tokens, keys))?;
        }
        let shares = softmax(&scores)?.to_dtype(v.dtype())?;
        matmul(&shares, v)?.reshape((batch, groups, queries, tokens, size))
    }
}
