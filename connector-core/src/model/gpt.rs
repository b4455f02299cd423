//! The model: embedding, layers, output.

use super::attention::{Shared, soft_cap};
use super::build::Build;
use super::cache::KvCache;
use super::error::ModelError;
use super::layer::Layer;
use super::linear::Linear;
use super::norm::Norm;
use super::parameters::Parameters;
use super::refuse::refuse;
use super::rotary::Rotary;
use super::span::{Span, Tokens};
use crate::base::parallel;
use crate::gpt::GptConfig;
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

/// A decoder-only language model, laid out as Megatron-core's `GPTModel` with its Transformer Engine
/// spec: `linear_qkv` by query group, `linear_fc1` as gate over up, norms fused into the projections
/// that follow them.
///
/// What it computes is that of transformers' model of the same family. If parameters are variables,
/// all of it has gradients.
#[derive(Clone, Debug)]
pub struct GPTModel {
    pub(super) config: GptConfig,
    /// `[vocabulary, hidden]`, with the rows that pad the vocabulary.
    pub(super) embedding: Tensor,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: Norm,
    pub(super) output: Linear,
    /// Those that differ, of all layers.
    pub(super) rotary: Vec<Rotary>,
}

impl GPTModel {
    /// The model of a config with these parameters, which it shares: what a variable among them is
    /// set to is what it computes with.
    ///
    /// # Errors
    /// [`Error::Refused`] with everything in the config that it does not compute, or that makes no
    /// model, and with parameters that it does not use or has not got.
    pub fn new(config: &GptConfig, parameters: &Parameters) -> Result<Self> {
        let activation = refuse(config)?;
        parallel::start_rayon();
        let mut findings = Vec::new();
        let mut build = Build::new(config, parameters, activation, &mut findings);
        let model = build.model().map_err(Error::candle);
        let unused = parameters.tensors().len() != build.used();
        if unused && findings.is_empty() {
            let problem = "has parameters that this model does not compute with";
            findings.push(Finding::new(FindingKind::UnusedTensor, "the schema", problem));
        }
        if findings.is_empty() { model } else { Err(Error::refused(findings)) }
    }

    /// The config.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// The type that it computes in.
    pub fn dtype(&self) -> DType {
        self.embedding.dtype()
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// The logits of the token that follows each of `tokens`: of `[sequences, tokens]`,
    /// `[sequences, tokens, vocabulary]`, in the model's type.
    ///
    /// # Errors
    /// [`Error::Model`] for tokens that are none of the vocabulary or too many; [`Error::Candle`].
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        self.logits(&self.hidden(tokens, None)?)
    }

    /// The last layer's output for `tokens`, normed: of `[sequences, tokens]`,
    /// `[sequences, tokens, hidden]`. With a cache they follow on the tokens that it holds, and are
    /// added to it.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Model`] if the cache is of another batch.
    pub fn hidden(&self, tokens: &Tensor, mut cache: Option<&mut KvCache>) -> Result<Tensor> {
        let seen = cache.as_ref().map_or(0, |cache| cache.len());
        self.check(tokens, seen, cache.as_ref().and_then(|cache| cache.batch()))?;
        let hidden = self.run(tokens, seen, cache.as_deref_mut(), None).map_err(Error::candle)?;
        if let Some(cache) = cache {
            cache.advance(hidden.dims()[1]);
        }
        Ok(hidden)
    }

    /// As [`hidden`](Self::hidden), for rows that hold several documents one after the other: each
    /// token sees those of its own document only. `lengths` has, for each row, the lengths of its
    /// documents, whose sum is the row's.
    ///
    /// Documents begin at any position: rotary embeddings tell distances, which are the same there.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); [`Error::Model`] if the lengths are not those of the rows.
    pub fn hidden_packed(&self, tokens: &Tensor, lengths: &[Vec<usize>]) -> Result<Tensor> {
        self.check(tokens, 0, None)?;
        let (shape, sums) = (tokens.dims(), lengths.iter().map(|row| row.iter().sum::<usize>()));
        if lengths.len() != shape[0] || sums.clone().any(|sum| sum != shape[1]) {
            return Err(
                ModelError::NotTheRows { shape: shape.to_vec(), sums: sums.collect() }.into()
            );
        }
        // As it was packed: a row of one document needs no mask of its own.
        let packed = lengths.iter().any(|row| row.len() > 1).then_some(lengths);
        self.run(tokens, 0, None, packed).map_err(Error::candle)
    }

    /// The logits of what [`hidden`](Self::hidden) computed, or of some of it: of `[…, hidden]`,
    /// `[…, vocabulary]`. Rows that pad the vocabulary have none.
    ///
    /// # Errors
    /// [`Error::Candle`].
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = self.output.forward(hidden);
        let logits = match self.config.logits_scaling {
            Some(divisor) => logits.and_then(|logits| logits / divisor),
            None => logits,
        };
        let logits = match self.config.final_logit_softcapping {
            Some(most) => logits.and_then(|logits| soft_cap(&logits, most)),
            None => logits,
        };
        logits.map_err(Error::candle)
    }

    /// A cache without tokens.
    pub fn cache(&self) -> KvCache {
        KvCache::new(self.layers.len())
    }

    /// The linear projections of the layers, each by its name without `.weight`:
    /// `decoder.layers.0.self_attention.linear_qkv`. The router of experts is none of them.
    pub fn projections(&mut self) -> Vec<(String, &mut Linear)> {
        let numbered = self.layers.iter_mut().enumerate();
        numbered.flat_map(|(i, layer)| layer.projections(&format!("decoder.layers.{i}"))).collect()
    }

    fn run(
        &self,
        tokens: &Tensor,
        seen: usize,
        mut cache: Option<&mut KvCache>,
        packed: Option<&[Vec<usize>]>,
    ) -> candle_core::Result<Tensor> {
        let (batch, len) = tokens.dims2()?;
        // Of the integers there are, not all are indices; as they are checked, all fit.
        let tokens = tokens.to_dtype(DType::U32)?.to_device(self.device())?.flatten_all()?;
        let mut x = self.embedding.index_select(&tokens, 0)?;
        if self.config.apply_embedding_scaling {
            x = (x * self.embedding_scale())?;
        }
        if let Some(factor) = self.config.embedding_multiplier {
            x = (x * factor)?;
        }
        let mut x = x.reshape((batch, len, self.config.hidden_size))?;
        let whole = cache.is_none() && self.has_gradients();
        let tokens = Tokens::new((seen, len), packed, whole, self.device());
        let longest = packed.and_then(|rows| rows.iter().flatten().max().copied());
        let longest = longest.unwrap_or(seen + len);
        let angles =
            self.rotary.iter().map(|rotary| rotary.angles(seen, len, longest, self.dtype()));
        let angles = angles.collect::<candle_core::Result<Vec<_>>>()?;
        let mut spans: Vec<Span> = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let spec = &layer.attention.spec;
            let known = spans.iter().position(|span| span.reach == spec.reach);
            let span = known.unwrap_or(spans.len());
            if known.is_none() {
                spans.push(tokens.span(spec.reach)?);
            }
            let grown =
                spec.temperature.map(|t| tokens.temperatures(t, self.dtype())).transpose()?;
            let shared = Shared {
                span: &spans[span],
                angles: layer.rotary.map(|number| &angles[number]),
                temperatures: grown.as_ref(),
            };
            let rows = cache.as_deref_mut().map(|cache| cache.layer(number));
            x = layer.forward(&x, &shared, rows)?;
        }
        self.final_norm.forward(&x)
    }

    /// The square root of the width, rounded to the model's type as transformers does.
    fn embedding_scale(&self) -> f64 {
        let scale = (self.config.hidden_size as f64).sqrt();
        match self.dtype() {
            DType::BF16 => bf16::from_f64(scale).to_f64(),
            DType::F16 => f16::from_f64(scale).to_f64(),
            _ => scale,
        }
    }

    /// Whether attention may have to be computed for its gradients.
    fn has_gradients(&self) -> bool {
        let trained = |layer: &Layer| {
            layer.attention.linear_qkv.is_trained() || layer.attention.linear_proj.is_trained()
        };
        self.embedding.track_op() || self.layers.iter().any(trained)
    }

    /// Refuses tokens that it cannot compute with.
    pub(super) fn check(&self, tokens: &Tensor, seen: usize, held: Option<usize>) -> Result<()> {
        let shape = tokens.dims();
        let &[batch, len] = shape else {
            return Err(ModelError::NotABatch { shape: shape.to_vec() }.into());
        };
        if batch == 0 || len == 0 {
            return Err(ModelError::NotABatch { shape: shape.to_vec() }.into());
        }
        if let Some(held) = held.filter(|&held| held != batch) {
            return Err(ModelError::OtherBatch { held, batch }.into());
        }
        if !tokens.dtype().is_int() {
            return Err(ModelError::NotTokens { dtype: tokens.dtype().as_str().into() }.into());
        }
        let (tokens_seen, seq_length) = (seen + len, self.config.seq_length);
        if tokens_seen > seq_length {
            return Err(ModelError::TooLong { tokens: tokens_seen, seq_length }.into());
        }
        // Not every device checks indices.
        let ids = tokens.to_dtype(DType::I64).and_then(|ids| ids.flatten_all()?.to_vec1::<i64>());
        let vocab_size = self.config.vocab_size;
        for (at, id) in ids.map_err(Error::candle)?.into_iter().enumerate() {
            if usize::try_from(id).map_or(true, |id| id >= vocab_size) {
                let (sequence, position) = (at / len, at % len);
                return Err(ModelError::NoSuchToken { id, sequence, position, vocab_size }.into());
            }
        }
        Ok(())
    }
}
