//! The model: embedding, layers, output.

use super::attention::{Attention, Span};
use super::cache::KvCache;
use super::error::ModelError;
use super::experts::Experts;
use super::linear::Linear;
use super::mlp::{Activation, GatedMlp, Mlp};
use super::norm::RmsNorm;
use super::parameters::Parameters;
use super::rotary::Rotary;
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
    config: GptConfig,
    /// `[vocabulary, hidden]`, with the rows that pad the vocabulary.
    embedding: Tensor,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    output: Linear,
    rotary: Rotary,
}

#[derive(Clone, Debug)]
struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    mlp_norm: RmsNorm,
    mlp: Mlp,
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
        let mut build = Build { config, parameters, activation, used: 0, findings: &mut findings };
        let model = build.model().map_err(Error::candle);
        let unused = parameters.tensors().len() != build.used;
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
        self.output.forward(hidden).map_err(Error::candle)
    }

    /// A cache without tokens.
    pub fn cache(&self) -> KvCache {
        KvCache::new(self.layers.len())
    }

    /// The linear projections of the layers, each by its name without `.weight`:
    /// `decoder.layers.0.self_attention.linear_qkv`. The router of experts is none of them.
    pub fn projections(&mut self) -> Vec<(String, &mut Linear)> {
        let mut all = Vec::new();
        for (number, layer) in self.layers.iter_mut().enumerate() {
            let prefix = format!("decoder.layers.{number}");
            let attention = &mut layer.attention;
            all.push((format!("{prefix}.self_attention.linear_qkv"), &mut attention.linear_qkv));
            all.push((format!("{prefix}.self_attention.linear_proj"), &mut attention.linear_proj));
            let mlps: Vec<(String, &mut GatedMlp)> = match &mut layer.mlp {
                Mlp::Dense(mlp) => vec![(format!("{prefix}.mlp"), mlp)],
                Mlp::Experts(experts) => {
                    let name = |number| format!("{prefix}.mlp.experts.local_experts.{number}");
                    let numbered = experts.experts.iter_mut().enumerate();
                    numbered.map(|(number, expert)| (name(number), expert)).collect()
                }
            };
            for (prefix, GatedMlp { linear_fc1, linear_fc2, .. }) in mlps {
                all.push((format!("{prefix}.linear_fc1"), linear_fc1));
                all.push((format!("{prefix}.linear_fc2"), linear_fc2));
            }
        }
        all
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
        let mut x = x.reshape((batch, len, self.config.hidden_size))?;
        let angles = self.rotary.angles(seen, len, self.dtype())?;
        let whole = cache.is_none() && self.has_gradients();
        let span = Span::new(&self.config, angles, (seen, len), packed, whole, self.device())?;
        for (number, layer) in self.layers.iter().enumerate() {
            let rows = cache.as_deref_mut().map(|cache| cache.layer(number));
            let normed = layer.attention_norm.forward(&x)?;
            x = (x + layer.attention.forward(&normed, &span, rows)?)?;
            let normed = layer.mlp_norm.forward(&x)?;
            x = (x + layer.mlp.forward(&normed)?)?;
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
        let trained = |attention: &Attention| {
            attention.linear_qkv.is_trained() || attention.linear_proj.is_trained()
        };
        self.embedding.track_op() || self.layers.iter().any(|layer| trained(&layer.attention))
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

/// Refuses what in a config makes no model, or is nothing that [`GPTModel`] computes.
pub(super) fn refuse(config: &GptConfig) -> Result<Activation> {
    let finding = |field: &str, problem: String| {
        Finding::new(FindingKind::Config, "the model's config", format!("\"{field}\" {problem}"))
    };
    let misfits = config.misfits().into_iter();
    let mut findings: Vec<Finding> = misfits.map(|m| finding(m.field, m.problem)).collect();
    let only = |found: &str, known: &str| format!("is \"{found}\"; this model computes {known}");
    if config.normalization != "RMSNorm" {
        findings.push(finding("normalization", only(&config.normalization, "\"RMSNorm\"")));
    }
    if config.position_embedding_type != "rope" {
        let problem = only(&config.position_embedding_type, "\"rope\"");
        findings.push(finding("position_embedding_type", problem));
    }
    let activation = Activation::named(&config.activation_func);
    if activation.is_none() {
        let known = "\"silu\", \"gelu_pytorch_tanh\", \"gelu\"";
        findings.push(finding("activation_func", only(&config.activation_func, known)));
    }
    if !config.gated_linear_unit {
        let problem = "is false; this model computes gated linear units";
        findings.push(finding("gated_linear_unit", problem.into()));
    }
    if !config.kv_channels.is_multiple_of(2) {
        let problem = format!("is {}; rotations take pairs", config.kv_channels);
        findings.push(finding("kv_channels", problem));
    }
    if config.window_size.is_some_and(|(_, after)| after != 0) {
        let problem = "lets tokens see those after them; this model computes causal attention";
        findings.push(finding("window_size", problem.into()));
    }
    match activation {
        Some(activation) if findings.is_empty() => Ok(activation),
        _ => Err(Error::refused(findings)),
    }
}

/// Takes parameters by name.
struct Build<'a> {
    config: &'a GptConfig,
    parameters: &'a Parameters,
    activation: Activation,
    used: usize,
    findings: &'a mut Vec<Finding>,
}

impl Build<'_> {
    fn model(&mut self) -> candle_core::Result<GPTModel> {
        let config = self.config;
        let embedding = self.take("embedding.word_embeddings.weight")?;
        let output = match config.share_embeddings_and_output_weights {
            true => embedding.clone(),
            false => self.take("output_layer.weight")?,
        };
        let layers = (0..config.num_layers).map(|number| self.layer(number));
        let layers = layers.collect::<candle_core::Result<Vec<Layer>>>()?;
        let final_norm = self.norm("decoder.final_layernorm.weight")?;
        let rotary = Rotary::new(config, embedding.device())?;
        let output = Linear::new(output.narrow(0, 0, config.vocab_size)?, None);
        Ok(GPTModel { config: config.clone(), embedding, layers, final_norm, output, rotary })
    }

    fn layer(&mut self, number: usize) -> candle_core::Result<Layer> {
        let config = self.config;
        let prefix = format!("decoder.layers.{number}");
        let attention = format!("{prefix}.self_attention");
        let groups = config.num_query_groups;
        let has_experts = config.has_experts(number);
        let mlp_norm = match has_experts {
            true => format!("{prefix}.pre_mlp_layernorm.weight"),
            false => format!("{prefix}.mlp.linear_fc1.layer_norm_weight"),
        };
        let mut head_norm = |name: &str| {
            let name = format!("{attention}.{name}.weight");
            config.qk_layernorm.then(|| self.norm(&name)).transpose()
        };
        let (q_norm, k_norm) = (head_norm("q_layernorm")?, head_norm("k_layernorm")?);
        let qkv_bias = config.attention_bias || config.add_qkv_bias;
        Ok(Layer {
            attention_norm: self.norm(&format!("{attention}.linear_qkv.layer_norm_weight"))?,
            attention: Attention {
                linear_qkv: self.linear(&attention, "linear_qkv", qkv_bias)?,
                q_norm,
                k_norm,
                linear_proj: self.linear(&attention, "linear_proj", config.attention_bias)?,
                groups,
                queries: config.num_attention_heads / groups,
                head_size: config.kv_channels,
            },
            mlp_norm: self.norm(&mlp_norm)?,
            mlp: self.mlp(&format!("{prefix}.mlp"), has_experts)?,
        })
    }

    fn mlp(&mut self, prefix: &str, has_experts: bool) -> candle_core::Result<Mlp> {
        if !has_experts {
            return Ok(Mlp::Dense(self.gated(prefix)?));
        }
        let experts = (0..self.config.experts())
            .map(|number| self.gated(&format!("{prefix}.experts.local_experts.{number}")));
        let experts = experts.collect::<candle_core::Result<Vec<GatedMlp>>>()?;
        Ok(Mlp::Experts(Experts {
            router: self.linear(prefix, "router", false)?,
            experts,
            top_k: self.config.moe_router_topk.unwrap_or(1),
            pre_softmax: self.config.moe_router_pre_softmax.unwrap_or(false),
        }))
    }

    fn gated(&mut self, prefix: &str) -> candle_core::Result<GatedMlp> {
        Ok(GatedMlp {
            linear_fc1: self.linear(prefix, "linear_fc1", self.config.mlp_bias)?,
            linear_fc2: self.linear(prefix, "linear_fc2", self.config.mlp_bias)?,
            activation: self.activation,
        })
    }

    fn linear(&mut self, prefix: &str, name: &str, bias: bool) -> candle_core::Result<Linear> {
        let weight = self.take(&format!("{prefix}.{name}.weight"))?;
        let bias = bias.then(|| self.take(&format!("{prefix}.{name}.bias"))).transpose()?;
        Ok(Linear::new(weight, bias))
    }

    fn norm(&mut self, name: &str) -> candle_core::Result<RmsNorm> {
        Ok(RmsNorm {
            weight: self.take(name)?,
            epsilon: self.config.layernorm_epsilon,
            zero_centered: self.config.layernorm_zero_centered_gamma,
        })
    }

    fn take(&mut self, name: &str) -> candle_core::Result<Tensor> {
        self.used += 1;
        self.parameters.tensors().get(name).cloned().ok_or_else(|| {
            let problem = "is a parameter of this model, and the schema does not declare it";
            self.findings.push(Finding::new(FindingKind::MissingSource, name, problem));
            candle_core::Error::Msg(problem.into())
        })
    }
}
