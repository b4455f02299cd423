//! The keys and values of tokens that were seen.

use candle_core::{Result, Tensor};

/// The keys and values of the tokens that a model has seen, so that the next ones need not compute
/// them again. For one batch of sequences of equal length.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    len: usize,
}

/// Those of one layer, each `[batch, groups, capacity, head size]`.
#[derive(Debug, Default)]
struct LayerCache {
    pair: Option<[Tensor; 2]>,
}

/// The least room that is made, in tokens.
const LEAST: usize = 64;

/// The rows of one layer, as attention uses them.
pub(super) struct LayerRows<'a> {
    cache: &'a mut LayerCache,
    len: usize,
}

impl KvCache {
    pub(super) fn new(layers: usize) -> Self {
        KvCache { layers: (0..layers).map(|_| LayerCache::default()).collect(), len: 0 }
    }

    /// How many tokens of each sequence it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all tokens from number `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn layer(&mut self, layer: usize) -> LayerRows<'_> {
        LayerRows { cache: &mut self.layers[layer], len: self.len }
    }

    /// How many sequences there are, if there are any.
    pub(super) fn batch(&self) -> Option<usize> {
        let pair = self.layers.first()?.pair.as_ref().filter(|_| self.len > 0)?;
        pair[0].dim(0).ok()
    }

    /// All layers have taken `tokens` more.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

impl LayerRows<'_> {
    /// Adds keys and values, `[batch, groups, tokens, head size]` each, and returns all there are.
    pub fn append(self, keys: &Tensor, values: &Tensor) -> Result<[Tensor; 2]> {
        let needed = self.len + keys.dim(2)?;
        let old = self.cache.pair.take();
        let pair = match old {
            Some(pair) if self.len > 0 && pair[0].dim(2)? >= needed => pair,
            old => grown(old.filter(|_| self.len > 0), self.len, needed, keys)?,
        };
        for (all, new) in pair.iter().zip([keys, values]) {
            all.slice_set(&new.contiguous()?, 2, self.len)?;
        }
        let all = [pair[0].narrow(2, 0, needed)?, pair[1].narrow(2, 0, needed)?];
        self.cache.pair = Some(pair);
        Ok(all)
    }
}

/// Room for `needed` tokens like those of `keys`, with the first `len` of `old`. It is doubled, so
/// that the copies are few however long it gets.
fn grown(
    old: Option<[Tensor; 2]>,
    len: usize,
    needed: usize,
    keys: &Tensor,
) -> Result<[Tensor; 2]> {
    let mut shape = keys.dims().to_vec();
    shape[2] = needed.next_power_of_two().max(LEAST);
    let room = || Tensor::zeros(shape.as_slice(), keys.dtype(), keys.device());
    let pair = [room()?, room()?];
    for (new, old) in pair.iter().zip(old.iter().flatten()) {
        new.slice_set(&old.narrow(2, 0, len)?.contiguous()?, 2, 0)?;
    }
    Ok(pair)
}
