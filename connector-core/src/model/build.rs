//! A model from its parameters, layer by layer as its [`LayerSpec`] says.

use super::attention::{Attention, HeadNorm};
use super::experts::{Experts, SharedExpert};
use super::layer::{Layer, Norms};
use super::linear::Linear;
use super::mlp::{Mlp, Unit};
use super::norm::Norm;
use super::rotary::Rotary;
use super::router::Router;
use super::spec::{
    Activation, AttentionSpec, ExpertsSpec, LayerSpec, MlpSpec, NormKind, NormSpec, QkNorm,
    RotarySpec, UnitSpec,
};
use super::{GPTModel, Parameters};
use crate::gpt::GptConfig;
use crate::plan::{Finding, FindingKind};
use candle_core::{Device, Result, Tensor};

/// Takes parameters by name.
pub(super) struct Build<'a> {
    config: &'a GptConfig,
    parameters: &'a Parameters,
    activation: Activation,
    rotary: Vec<Rotary>,
    used: usize,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Build<'a> {
    pub fn new(
        config: &'a GptConfig,
        parameters: &'a Parameters,
        activation: Activation,
        findings: &'a mut Vec<Finding>,
    ) -> Self {
        Build { config, parameters, activation, rotary: Vec::new(), used: 0, findings }
    }

    /// How many parameters were taken.
    pub fn used(&self) -> usize {
        self.used
    }

    pub fn model(&mut self) -> Result<GPTModel> {
        let config = self.config;
        let embedding = self.take("embedding.word_embeddings.weight")?;
        let output = match config.share_embeddings_and_output_weights {
            true => embedding.clone(),
            false => self.take("output_layer.weight")?,
        };
        let device = embedding.device();
        let layers = (0..config.num_layers).map(|number| self.layer(number, device));
        let layers = layers.collect::<Result<Vec<Layer>>>()?;
        let final_norm = self.norm(NormSpec::of(config), "decoder.final_layernorm.")?;
        let output = Linear::new(output.narrow(0, 0, config.vocab_size)?, None);
        let rotary = std::mem::take(&mut self.rotary);
        Ok(GPTModel { config: config.clone(), embedding, layers, final_norm, output, rotary })
    }

    fn layer(&mut self, number: usize, device: &Device) -> Result<Layer> {
        let LayerSpec { norm, places, attention, mlp, residual } =
            LayerSpec::of(self.config, self.activation, number);
        let prefix = format!("decoder.layers.{number}");
        let (in_attention, in_mlp) = (format!("{prefix}.self_attention"), format!("{prefix}.mlp"));
        let before_mlp = match mlp {
            MlpSpec::Dense(_) => format!("{in_mlp}.linear_fc1.layer_norm_"),
            MlpSpec::Experts(_) => format!("{prefix}.pre_mlp_layernorm."),
        };
        let mut norms = |before: &str, after: &str| -> Result<Norms> {
            Ok(Norms {
                before: places.before.then(|| self.norm(norm, before)).transpose()?,
                after: places.after.then(|| self.norm(norm, after)).transpose()?,
            })
        };
        let attention_norms = norms(
            &format!("{in_attention}.linear_qkv.layer_norm_"),
            &format!("{in_attention}.linear_proj.post_layernorm."),
        )?;
        let mlp_norms = norms(&before_mlp, &format!("{in_mlp}.linear_fc2.post_layernorm."))?;
        let rotary = attention.rotary.as_ref().map(|spec| self.rotary(spec, device)).transpose()?;
        Ok(Layer {
            attention: self.attention(&in_attention, attention, norm)?,
            attention_norms,
            mlp: self.mlp(&in_mlp, mlp)?,
            mlp_norms,
            residual,
            rotary,
        })
    }

    /// The number of these rotary embeddings among all.
    fn rotary(&mut self, spec: &RotarySpec, device: &Device) -> Result<usize> {
        if let Some(known) = self.rotary.iter().position(|rotary| rotary.spec == *spec) {
            return Ok(known);
        }
        self.rotary.push(Rotary::new(spec, device)?);
        Ok(self.rotary.len() - 1)
    }

    fn attention(
        &mut self,
        prefix: &str,
        spec: AttentionSpec,
        norm: NormSpec,
    ) -> Result<Attention> {
        let mut pair = || -> Result<[Norm; 2]> {
            let mut of = |name| self.norm(norm, &format!("{prefix}.{name}_layernorm."));
            Ok([of("q")?, of("k")?])
        };
        let qk_norm = match spec.qk_norm {
            QkNorm::None => HeadNorm::None,
            QkNorm::Head => HeadNorm::Head(pair()?),
            QkNorm::Width => HeadNorm::Width(pair()?),
            QkNorm::AfterRotation => HeadNorm::AfterRotation(norm.epsilon),
        };
        let sinks = format!("{prefix}.core_attention.softmax_offset");
        Ok(Attention {
            linear_qkv: self.linear(prefix, "linear_qkv", spec.qkv_bias)?,
            linear_proj: self.linear(prefix, "linear_proj", spec.proj_bias)?,
            qk_norm,
            sinks: spec.sinks.then(|| self.take(&sinks)).transpose()?,
            spec,
        })
    }

    fn mlp(&mut self, prefix: &str, spec: MlpSpec) -> Result<Mlp> {
        let spec = match spec {
            MlpSpec::Dense(unit) => return Ok(Mlp::Dense(self.unit(prefix, unit)?)),
            MlpSpec::Experts(experts) => experts,
        };
        let ExpertsSpec { expert, count, router, share_input, shared } = spec;
        let experts = (0..count)
            .map(|number| self.unit(&format!("{prefix}.experts.local_experts.{number}"), expert));
        let experts = experts.collect::<Result<Vec<Unit>>>()?;
        let bias = format!("{prefix}.router.expert_bias");
        let router = Router {
            linear: self.linear(prefix, "router", router.linear_bias)?,
            choice_bias: router.choice_bias.then(|| self.take(&bias)).transpose()?,
            spec: router,
        };
        let shared =
            shared.map(|gated| self.shared(&format!("{prefix}.shared_experts"), expert, gated));
        Ok(Mlp::Experts(Experts { router, experts, share_input, shared: shared.transpose()? }))
    }

    fn shared(&mut self, prefix: &str, spec: UnitSpec, gated: bool) -> Result<SharedExpert> {
        let gate = gated.then(|| self.take(&format!("{prefix}.gate_weight"))).transpose()?;
        Ok(SharedExpert {
            unit: self.unit(prefix, spec)?,
            gate: gate.map(|weight| Linear::new(weight, None)),
        })
    }

    fn unit(&mut self, prefix: &str, spec: UnitSpec) -> Result<Unit> {
        Ok(Unit {
            linear_fc1: self.linear(prefix, "linear_fc1", spec.bias)?,
            linear_fc2: self.linear(prefix, "linear_fc2", spec.bias)?,
            spec,
        })
    }

    fn linear(&mut self, prefix: &str, name: &str, bias: bool) -> Result<Linear> {
        let weight = self.take(&format!("{prefix}.{name}.weight"))?;
        let bias = bias.then(|| self.take(&format!("{prefix}.{name}.bias"))).transpose()?;
        Ok(Linear::new(weight, bias))
    }

    /// The norm whose weight is called `name` and `weight`.
    fn norm(&mut self, spec: NormSpec, name: &str) -> Result<Norm> {
        let weight = self.take(&format!("{name}weight"))?;
        let has_bias = spec.kind == NormKind::Layer;
        let bias = has_bias.then(|| self.take(&format!("{name}bias"))).transpose()?;
        Ok(Norm { spec, weight, bias })
    }

    fn take(&mut self, name: &str) -> Result<Tensor> {
        self.used += 1;
        self.parameters.tensors().get(name).cloned().ok_or_else(|| {
            let problem = "is a parameter of this model, and the schema does not declare it";
            self.findings.push(Finding::new(FindingKind::MissingSource, name, problem));
            candle_core::Error::Msg(problem.into())
        })
    }
}
