//! What a connector's own `convert_state` works on.

use super::Planned;
use crate::engine::{self, Done, Loss};
use crate::plan::{Finding, FindingKind, group_keys};
use crate::store::{self, TensorInfo};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The state of a model on its way: tensors of the source are read from it, those of the output are
/// written to it. What [`ModelConnector::convert_state`](super::ModelConnector::convert_state) gets.
///
/// [`planned`](State::planned) has the plan, both configs and the source.
///
/// ```
/// use connector_core::checkpoint::HfCheckpoint;
/// use connector_core::connector::State;
/// use connector_core::gpt::GptConfig;
/// use connector_core::families::{HfLlama, LlamaModel};
/// use connector_core::{Mapping, ModelConnector, Result, model_importer};
///
/// /// Llama with its last norm set back to zeros.
/// struct WithoutNorm;
///
/// #[model_importer(LlamaModel, "hf-without-norm", dynamic)]
/// impl ModelConnector for WithoutNorm {
///     const MAPPING: Mapping = HfLlama::MAPPING;
///
///     fn config(source: &HfCheckpoint) -> Result<GptConfig> {
///         HfLlama::config(source)
///     }
///
///     fn convert_state(state: &mut State<'_>) -> Result<()> {
///         state.convert()?;
///         let norm = state.bytes("model.norm.weight")?;
///         state.put_bytes("decoder.final_layernorm.weight", &vec![0; norm.len()])
///     }
/// }
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
/// # let scratch = tempfile::tempdir()?;
/// # let options = connector_core::ImportOptions::default();
/// # let options = options.format("hf-without-norm").model("LlamaModel");
/// # let output = scratch.path().join("out");
/// # connector_core::import_ckpt(fixture, &output, options)?;
/// # let bytes = std::fs::read(output.join("weights/model.safetensors"))?;
/// # let weights = safetensors::SafeTensors::deserialize(&bytes)?;
/// # let norm = weights.tensor("decoder.final_layernorm.weight")?;
/// # assert!(norm.data().iter().all(|&byte| byte == 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct State<'a> {
    planned: &'a Planned,
    job: &'a engine::Job<'a>,
    /// Which outputs have been written.
    written: Vec<bool>,
    losses: BTreeMap<usize, Loss>,
}

impl<'a> State<'a> {
    pub(super) fn new(planned: &'a Planned, job: &'a engine::Job<'a>) -> Self {
        let written = vec![false; job.plan.outputs.len()];
        State { planned, job, written, losses: BTreeMap::new() }
    }

    /// What is converted: plan, configs, source.
    pub fn planned(&self) -> &Planned {
        self.planned
    }

    /// Moves everything as planned, in bounded memory; what is [`put`](State::put) later takes the
    /// place of what was moved, and what was put before is lost.
    ///
    /// # Errors
    /// As [`import_ckpt`](super::import_ckpt()).
    pub fn convert(&mut self) -> Result<()> {
        let done = engine::run(self.job)?;
        self.losses = done.losses.into_iter().collect();
        self.written.fill(true);
        Ok(())
    }

    /// The bytes of a tensor of the source, in row-major order and of the source's type.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such tensor; [`Io`](crate::store::Error::Io).
    pub fn bytes(&self, key: &str) -> Result<Vec<u8>> {
        Ok(store::read_tensor(self.job.source, self.info(key)?)?)
    }

    /// Writes an output: its bytes in row-major order and of the type that the plan makes it in,
    /// before a cast that the user asked for.
    ///
    /// # Errors
    /// [`Error::Refused`] if the plan has no such output, or one of another length;
    /// [`Io`](crate::store::Error::Io).
    pub fn put_bytes(&mut self, output: &str, bytes: &[u8]) -> Result<()> {
        let number = self.output(output)?;
        let planned = &self.job.plan.outputs[number];
        let shape = planned.shape.as_deref().unwrap_or_default();
        let elements = shape.iter().map(|&n| n as u64).product();
        let wanted = planned.made_as.size(elements);
        if wanted != Some(bytes.len() as u64) {
            let note = format!("{} {shape:?} is wanted", planned.made_as);
            return Err(self.refusal(output, format!("was put as {} bytes", bytes.len()), note));
        }
        let Done { losses } = engine::put(self.job, number, bytes)?;
        self.losses.remove(&number);
        self.losses.extend(losses);
        self.written[number] = true;
        Ok(())
    }

    /// A tensor of the source, on the conversion's device.
    ///
    /// # Errors
    /// As [`bytes`](State::bytes); [`Error::Candle`].
    #[cfg(feature = "candle")]
    pub fn tensor(&self, key: &str) -> Result<candle_core::Tensor> {
        Ok(engine::read_tensor(self.job.source, self.info(key)?, self.job.context.device)?)
    }

    /// Writes an output, whose shape and type are those of the plan before a cast that the user
    /// asked for.
    ///
    /// # Errors
    /// As [`put_bytes`](State::put_bytes); [`Error::Candle`].
    #[cfg(feature = "candle")]
    pub fn put(&mut self, output: &str, tensor: &candle_core::Tensor) -> Result<()> {
        let planned = &self.job.plan.outputs[self.output(output)?];
        let shape = planned.shape.as_deref().unwrap_or_default();
        if tensor.dims() != shape
            || engine::from_candle_dtype(tensor.dtype()) != Some(planned.made_as)
        {
            let found = format!("was put as {:?} {:?}", tensor.dtype(), tensor.dims());
            let note = format!("{} {shape:?} is wanted", planned.made_as);
            return Err(self.refusal(output, found, note));
        }
        engine::tensor_bytes(tensor, |bytes| self.put_bytes(output, bytes))
    }

    /// What was lost by casts, if every output has been written.
    pub(super) fn finish(self) -> Result<Done> {
        let outputs = self.job.plan.outputs.iter().zip(&self.written);
        let missing = outputs.filter(|(_, written)| !**written);
        let groups = group_keys(missing.map(|(output, _)| output.name.clone()));
        let findings: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let note = "call `convert`, which writes all as planned, or `put` each".into();
                self.finding(&group.text, "was not written".into(), note)
            })
            .collect();
        if !findings.is_empty() {
            return Err(Error::refused(findings));
        }
        Ok(Done { losses: self.losses.into_iter().collect() })
    }

    fn info(&self, key: &str) -> Result<&TensorInfo> {
        let found = self.job.source.tensors().iter().find(|tensor| tensor.name == key);
        found.ok_or_else(|| {
            let note = "ask `planned().source().tensors()` which there are".into();
            self.refusal(key, "is no tensor of the source".into(), note)
        })
    }

    fn output(&self, name: &str) -> Result<usize> {
        let found = self.job.plan.outputs.iter().position(|output| output.name == name);
        found.ok_or_else(|| {
            let note = "ask `planned().plan().outputs` which there are".into();
            self.refusal(name, "is no output of this plan".into(), note)
        })
    }

    fn finding(&self, subject: &str, problem: String, note: String) -> Finding {
        let registration = self.planned.registration();
        let by = format!("{} converts its state in its own way", registration.name);
        Finding::new(FindingKind::Rule, subject, problem).note(note).note(by).rule(registration.at)
    }

    fn refusal(&self, subject: &str, problem: String, note: String) -> Error {
        Error::refused(vec![self.finding(subject, problem, note)])
    }
}
