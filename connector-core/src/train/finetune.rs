//! The run itself.

use super::adamw::{Gradients, Optimizer};
use super::checkpoint::{Context, Named, RunState, Snapshot, read_optimizer, types};
use super::data::{Batch, Sampler};
use super::lock::RunLock;
use super::log::Log;
use super::loss::cross_entropy;
use super::{Dataset, FineTuningData, StepRecord, Trainer, curve};
use crate::checkpoint::{WEIGHTS, look};
use crate::connector::{AutoModel, AutoResume, Registration, Resume, TrainedOptions};
use crate::gpt::GptConfig;
use crate::model::{
    AdapterMetadata, Base, GPTModel, GptFamily, LoadOptions, Loaded, Parameters, Tokenizer,
    read_tensors, refused,
};
use crate::plan::{Finding, FindingKind};
use crate::store::failpoint::failpoint;
use crate::store::{self, Overwrite, Staging, replace_file};
use crate::{Cancel, Error, Refusal, Result};
use candle_core::{DType, Device, Tensor, Var};
use std::any::TypeId;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is fine-tuned: the type of a family, or [`AutoModel`] for whatever the checkpoint holds.
pub trait Trainee {
    /// Whether it is the model of this connector.
    fn is_of(registration: &Registration) -> bool;
}

impl<M: GptFamily> Trainee for M {
    fn is_of(registration: &Registration) -> bool {
        registration.connector.model() == TypeId::of::<M>()
    }
}

impl Trainee for AutoModel {
    fn is_of(_: &Registration) -> bool {
        true
    }
}

/// Watches a run.
pub trait Watch {
    /// It begins, or goes on after `step` steps. `validation` is what is held out.
    fn begins(&self, data: &Dataset, validation: Option<&Dataset>, step: u64) {
        let _ = (data, validation, step);
    }

    /// A step was made. `left` is how long the others will take, at the mean pace of this run.
    fn stepped(&self, record: &StepRecord, left: Duration) {
        let _ = (record, left);
    }

    /// A checkpoint was written.
    fn saved(&self, checkpoint: &Path) {
        let _ = checkpoint;
    }
}

/// Nobody watches.
impl Watch for () {}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FineTuned {
    /// The checkpoint after its last step.
    pub checkpoint: PathBuf,
    /// The checkpoint of the model that the run began with, or whose adapter it trains; `None` if
    /// an earlier version began it, and nobody says which one that was.
    pub base: Option<PathBuf>,
    /// The steps that the checkpoint has, those of earlier runs counted in.
    pub step: u64,
    /// After how many steps this run went on; 0 for a new one.
    pub resumed_at: u64,
    /// Whether it made all its steps. If not, it was asked to stop.
    pub is_complete: bool,
    /// What was logged, by earlier runs too.
    pub records: Vec<StepRecord>,
}

/// Fine-tunes a model: NeMo's `llm.finetune(model, data, trainer, resume)`.
///
/// `resume` says what it begins with: the last checkpoint of an earlier run, or a model that is
/// imported. From the same model, data, settings and seed, on the same machine, come the same
/// losses to the last bit, however often the run was killed and went on.
///
/// ```no_run
/// use connector_core::families::LlamaModel;
/// use connector_core::train::{FineTuningData, Trainer, finetune};
/// use connector_core::{AutoResume, ConnectorMixin};
///
/// let trainer = Trainer::new("runs/squad");
/// let resume = AutoResume {
///     import_path: Some("hf://meta-llama/Llama-3.2-1B".into()),
///     resume_from_directory: Some("runs/squad/checkpoints".into()),
///     resume_if_exists: true,
///     resume_ignore_no_checkpoint: true,
///     ..AutoResume::default()
/// };
/// let tuned = finetune::<LlamaModel>(&FineTuningData::new("squad"), &trainer, &resume)?;
/// LlamaModel::export_ckpt(&tuned.checkpoint, "hf", Some("squad-hf".as_ref()))?;
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] before anything is trained, with all that is wrong with the settings, with
/// the data, or with the checkpoint to go on from; [`Locked`](crate::store::Error::Locked) if
/// the run is under way already; [`Error::Diverged`]; as [`AutoResume::setup`] and
/// [`Loaded::open`]. The last checkpoint stays as it is.
pub fn finetune<M: Trainee>(
    data: &FineTuningData,
    trainer: &Trainer,
    resume: &AutoResume,
) -> Result<FineTuned> {
    finetune_watched::<M>(data, trainer, resume, &())
}

/// [`finetune`], watched.
///
/// # Errors
/// As [`finetune`].
pub fn finetune_watched<M: Trainee>(
    data: &FineTuningData,
    trainer: &Trainer,
    resume: &AutoResume,
    watch: &dyn Watch,
) -> Result<FineTuned> {
    begin_and_train::<M>(data, trainer, resume, watch).map_err(|error| match error {
        Error::Refused(refusal) if refusal.subject.is_empty() => {
            Error::Refused(Refusal { subject: "this run cannot begin".into(), ..refusal })
        }
        error => error,
    })
}

fn begin_and_train<M: Trainee>(
    data: &FineTuningData,
    trainer: &Trainer,
    resume: &AutoResume,
    watch: &dyn Watch,
) -> Result<FineTuned> {
    trainer.check()?;
    let _lock = RunLock::acquire(trainer)?;
    // Refuses a place that can have no checkpoint, and brings back one that a killed run was about to
    // replace, where the system cannot exchange two directories.
    drop(Staging::begin(&trainer.checkpoint(), Overwrite::Yes)?);
    let path = match resume.setup()? {
        Resume::Trained(path) | Resume::Imported(path) => path,
        Resume::Fresh => {
            let problem = "has neither a checkpoint nor an import_path; there is nothing to tune";
            return Err(Error::refused(vec![Finding::new(FindingKind::Config, "resume", problem)]));
        }
    };
    let goes_on = is_same_file(&trainer.checkpoint(), &path)?;
    if !goes_on && is_inside(&trainer.log_dir, &path)? {
        // What a run begins with stays as it is.
        return Err(
            store::Error::NotSeparate { input: path, output: trainer.log_dir.clone() }.into()
        );
    }
    let asked = if goes_on { asked(resume, &path)? } else { None };
    let mut run = Run::begin::<M>(&path, asked.as_deref(), data, trainer)?;
    run.train(watch)
}

/// The model that a run is to go on with; `None` if nobody says, or nothing is left of it and the
/// checkpoint at `path` has all that is needed.
fn asked(resume: &AutoResume, path: &Path) -> Result<Option<PathBuf>> {
    if let Some(source) = resume.import_path.as_deref().map(Path::new)
        && let Some(recorded) = Base::recorded(path)?
        && AdapterMetadata::read(path)?.is_none()
        && std::path::absolute(source).is_ok_and(|source| source == recorded.path)
        && !look::exists(source)?
    {
        tracing::warn!(path = %source.display(), "is not there any more; the run has its own weights");
        return Ok(None);
    }
    match resume.base()? {
        // The run itself: what it began with, it says.
        Some(base) if is_same_file(&base, path)? => Ok(None),
        base => Ok(base),
    }
}

/// The model that the run whose checkpoint is at `path` began with, or begins with now; `None` if it
/// is not known. `asked` is the one that it is to have begun with.
fn base_of(
    path: &Path,
    (earlier, adapted): (Option<&RunState>, Option<&AdapterMetadata>),
    asked: Option<&Path>,
    cancel: &Cancel,
) -> Result<Option<Base>> {
    let recorded = earlier.and_then(|earlier| earlier.base.clone());
    let found = match (asked, adapted) {
        (Some(asked), _) => Base::behind(asked, cancel)?,
        (None, Some(adapted)) => {
            let path = adapted.base(path, None, cancel)?;
            match &recorded {
                // It was held against this already.
                Some(recorded) => Base { path, ..recorded.clone() },
                None => Base::of(&path, cancel)?,
            }
        }
        // Its own weights go on.
        (None, None) if earlier.is_some() => return Ok(recorded),
        (None, None) => Base::of(path, cancel)?,
    };
    match (recorded, asked, adapted) {
        (Some(recorded), ..) if recorded.tensors != found.tensors => {
            return Err(recorded.is_not(&found, path));
        }
        (Some(_), ..) | (None, None, _) => {}
        (None, Some(_), Some(adapted)) if look::exists(&adapted.model_ckpt_path)? => {
            let began = Base::of(&adapted.model_ckpt_path, cancel)?;
            if began.tensors != found.tensors {
                return Err(began.is_not(&found, path));
            }
        }
        (None, Some(_), _) => tracing::warn!(
            base = %found.path.display(),
            "the run does not say which model it began with; this one is taken for it from now on"
        ),
    }
    Ok(Some(found))
}

/// A run at some step.
struct Run<'a> {
    trainer: &'a Trainer,
    config: GptConfig,
    /// Those of the model: variables, or what an adapter is put on.
    parameters: Parameters,
    optimizer: Optimizer,
    /// The type in which each parameter is saved.
    saved_as: BTreeMap<String, DType>,
    adapter: Option<AdapterMetadata>,
    /// The files that each checkpoint gets.
    context: Context,
    device: Device,
    dataset: Arc<Dataset>,
    validation: Option<Dataset>,
    state: RunState,
}

/// The name of a parameter in f32, in a checkpoint whose weights have fewer bits. Megatron-core's.
const MASTER: &str = "optimizer.state.fp32_param.";

impl<'a> Run<'a> {
    /// Goes on from the checkpoint at `path`, or begins with its weights if it is no run's.
    fn begin<M: Trainee>(
        path: &Path,
        asked: Option<&Path>,
        data: &FineTuningData,
        trainer: &'a Trainer,
    ) -> Result<Self> {
        let target = trainer.checkpoint();
        let earlier = RunState::read(path)?;
        if look::exists(&target)? && !is_same_file(&target, path)? {
            let problem = "is the checkpoint of an earlier run, which this one would replace";
            return Err(refused(&target, problem));
        }
        // An adapter goes on on the model that it began with.
        let adapted = AdapterMetadata::read(path)?;
        if adapted.is_none() && earlier.as_ref().is_some_and(|earlier| earlier.lora.is_some()) {
            let problem = "is of a run that trains an adapter, but weights/ does not say of what: \
                           adapter_metadata.json is missing";
            return Err(refused(path, problem));
        }
        let began = base_of(path, (earlier.as_ref(), adapted.as_ref()), asked, &trainer.cancel)?;
        let base = match (&began, &adapted) {
            (Some(began), Some(_)) => &began.path,
            _ => path,
        };
        let dtype = match trainer.peft {
            Some(_) => trainer.precision.compute(),
            None => DType::F32,
        };
        let device = trainer.device;
        let loaded = Loaded::open(
            base,
            &LoadOptions { dtype: Some(dtype), device, ..LoadOptions::default() },
        )?;
        check_model::<M>(base, &loaded, data)?;
        let end = loaded.stop_tokens()?.first().copied();
        let tokenizer = loaded.tokenizer()?;
        let dataset = data.load(&tokenizer, end)?;
        let validation = data.load_validation(&tokenizer, end)?;
        for dataset in [Some(&dataset), validation.as_ref()].into_iter().flatten() {
            check_tokens(dataset, &loaded)?;
        }
        let (model, lora) = (loaded.registration.model, trainer.peft.clone());
        let mut now = RunState::new(model, trainer.seed, dataset.fingerprint(), lora);
        now.base = began.clone();
        if let Some(earlier) = &earlier {
            earlier.check_same(&now)?;
        }
        let opened = TrainedOptions::default().open(base, "hf", None)?;
        let context = Context::of(&opened, &loaded)?;
        let mut parameters = loaded.parameters;
        let saved_as = types(opened.source().tensors(), &parameters);
        let (variables, adapter) = match &trainer.peft {
            None => (parameters.train(|_| true)?, None),
            Some(lora) => {
                let mut model = GPTModel::new(&loaded.config, &parameters)?;
                let variables = lora.variables(&mut model, trainer.seed)?;
                let model_ckpt_path =
                    fs::canonicalize(base).map_err(store::Error::io("find", base))?;
                (variables, Some(AdapterMetadata { model_ckpt_path, peft: lora.clone() }))
            }
        };
        let device = trainer.device.open()?;
        let mut run = Run {
            trainer,
            config: loaded.config,
            parameters,
            optimizer: Optimizer::new(trainer.optim, variables)?,
            saved_as,
            adapter,
            context,
            device,
            dataset: Arc::new(dataset),
            validation,
            state: now,
        };
        match earlier {
            Some(earlier) => run.restore(path, earlier)?,
            None => tracing::info!(path = %path.display(), "begins with these weights, at step 0"),
        }
        Ok(run)
    }

    /// Takes up what the checkpoint at `path` has beside the weights.
    fn restore(&mut self, path: &Path, earlier: RunState) -> Result<()> {
        let mut state = read_optimizer(path, &self.device)?;
        let mut values = match &self.adapter {
            Some(_) => read_tensors(&path.join(WEIGHTS), &self.device)?,
            None => Named::new(),
        };
        state.retain(|name, tensor| match name.strip_prefix(MASTER) {
            Some(name) => {
                values.insert(name.into(), tensor.clone());
                false
            }
            None => true,
        });
        self.set(values, path)?;
        self.optimizer.restore(earlier.step, state).map_err(Error::refused)?;
        let base = self.state.base.take();
        self.state = earlier;
        self.state.base = base;
        Ok(())
    }

    /// Sets variables to values that were saved apart from the model.
    fn set(&self, mut values: Named, path: &Path) -> Result<()> {
        let mut findings = Vec::new();
        for (name, variable) in self.optimizer.variables() {
            match values.remove(name) {
                Some(value) if value.dims() == variable.dims() && value.dtype() == DType::F32 => {
                    variable.set(&value).map_err(Error::candle)?;
                }
                Some(value) => {
                    let (found, wanted) = (value.dims(), variable.dims());
                    let problem = format!("is {found:?}; it should be {wanted:?} in f32");
                    findings.push(Finding::new(FindingKind::Shape, name, problem));
                }
                // The weights themselves, in f32, have it; those of an adapter are here.
                None if self.adapter.is_none() && self.saved_as[name] == DType::F32 => {}
                None => {
                    let problem = format!("is not in {}", path.display());
                    findings.push(Finding::new(FindingKind::MissingSource, name, problem));
                }
            }
        }
        findings.extend(values.into_keys().map(|name| {
            Finding::new(FindingKind::UnusedTensor, name, "is nothing that is trained")
        }));
        if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
    }

    fn train(&mut self, watch: &dyn Watch) -> Result<FineTuned> {
        let trainer = self.trainer;
        let resumed_at = self.state.step;
        let mut log = Log::open(trainer.log(), resumed_at)?;
        if resumed_at > 0 {
            // The last run may have been killed before it drew.
            self.draw(log.records())?;
        }
        watch.begins(&self.dataset, self.validation.as_ref(), resumed_at);
        let dataset = Arc::clone(&self.dataset);
        let mut sampler = Sampler::new(&dataset, trainer.seed, self.state.consumed_samples);
        let begun = Instant::now();
        let mut stopped = false;
        while self.state.step < trainer.max_steps && !stopped {
            let mut record = self.step(&mut sampler)?;
            let step = self.state.step;
            let is_last = step == trainer.max_steps;
            if is_last || step.is_multiple_of(trainer.val_check_interval) {
                record.val_loss = self.validate()?;
            }
            let done = self.state.step - resumed_at;
            let left = time_left(begun.elapsed(), done, trainer.max_steps - step);
            watch.stepped(&record, left);
            let is_logged = step.is_multiple_of(trainer.log_every_n_steps);
            if step == 1 || is_last || is_logged || record.val_loss.is_some() {
                log.add(record)?;
            }
            stopped = trainer.cancel.is_cancelled();
            if is_last || stopped || step.is_multiple_of(trainer.every_n_train_steps) {
                self.save()?;
                self.draw(log.records())?;
                watch.saved(&trainer.checkpoint());
                failpoint("training.saved")?;
            }
        }
        Ok(FineTuned {
            checkpoint: trainer.checkpoint(),
            base: self.state.base.as_ref().map(|base| base.path.clone()),
            step: self.state.step,
            resumed_at,
            is_complete: self.state.step >= trainer.max_steps,
            records: log.records().to_vec(),
        })
    }

    /// One step: the gradient of the mean loss over all tokens that its rows learn.
    fn step(&mut self, sampler: &mut Sampler<'_>) -> Result<StepRecord> {
        let Trainer { micro_batch_size, accumulate_grad_batches, max_steps, .. } = *self.trainer;
        let begun = Instant::now();
        let batches =
            (0..accumulate_grad_batches).map(|_| sampler.next(micro_batch_size, &self.device));
        let batches = batches.collect::<Result<Vec<Batch>>>()?;
        // Not the mean of the batches' means: a token counts the same wherever it stands.
        let learnt: usize = batches.iter().map(|batch| batch.learnt).sum();
        let model = self.model(&self.parameters, &self.values())?;
        let (mut loss, mut gradients) = (0.0, Gradients::new());
        let (mut forward, mut backward) = (Duration::ZERO, Duration::ZERO);
        for batch in &batches {
            let started = Instant::now();
            let share = loss_of(&model, batch)? * (1.0 / learnt as f64);
            let share = share.map_err(Error::candle)?;
            let value = f64::from(share.to_scalar::<f32>().map_err(Error::candle)?);
            if !value.is_finite() {
                return Err(Error::Diverged { what: "the loss", step: self.state.step });
            }
            loss += value;
            let middle = Instant::now();
            self.add_gradients(&share, &mut gradients).map_err(Error::candle)?;
            forward += middle - started;
            backward += middle.elapsed();
        }
        let started = Instant::now();
        let lr = self.trainer.lr_scheduler.at(self.state.step, max_steps);
        let grad_norm = self.optimizer.step(&gradients, lr)?;
        let optimizer_seconds = started.elapsed().as_secs_f64();
        self.state.step += 1;
        self.state.consumed_samples = sampler.consumed();
        Ok(StepRecord {
            step: self.state.step,
            loss,
            val_loss: None,
            lr,
            grad_norm,
            consumed_samples: self.state.consumed_samples,
            tokens: batches.iter().map(|batch| batch.tokens as u64).sum(),
            seconds: begun.elapsed().as_secs_f64(),
            forward_seconds: forward.as_secs_f64(),
            backward_seconds: backward.as_secs_f64(),
            optimizer_seconds,
        })
    }

    /// The mean loss over all tokens that the held out examples teach; `None` if there are none.
    fn validate(&self) -> Result<Option<f64>> {
        let Some(validation) = &self.validation else { return Ok(None) };
        // Without gradients, so that nothing is kept for a backward pass.
        let values = self.values().into_iter().map(|(name, value)| (name, value.detach()));
        let model = self.model(&self.parameters.detach(), &values.collect())?;
        let (mut loss, mut learnt) = (0.0, 0);
        for batch in validation.batches(self.trainer.micro_batch_size, &self.device) {
            let batch = batch?;
            let value = loss_of(&model, &batch)?.to_scalar::<f32>().map_err(Error::candle)?;
            loss += f64::from(value);
            learnt += batch.learnt;
        }
        let loss = loss / learnt as f64;
        if !loss.is_finite() {
            return Err(Error::Diverged { what: "the validation loss", step: self.state.step });
        }
        Ok(Some(loss))
    }

    /// The model with these parameters, and with the adapter of these `values` if it is one that is
    /// trained.
    fn model(&self, parameters: &Parameters, values: &Named) -> Result<GPTModel> {
        // The cast has a gradient, which comes back in f32.
        let parameters = parameters.to_dtype(self.trainer.precision.compute())?;
        let mut model = GPTModel::new(&self.config, &parameters)?;
        if let Some(adapter) = &self.adapter {
            adapter.peft.put_on(&mut model, values);
        }
        Ok(model)
    }

    fn add_gradients(&self, loss: &Tensor, sums: &mut Gradients) -> candle_core::Result<()> {
        let mut found = loss.backward()?;
        for (name, variable) in self.optimizer.variables() {
            let Some(gradient) = found.remove(variable) else { continue };
            let sum = match sums.remove(name) {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            };
            sums.insert(name.into(), sum);
        }
        Ok(())
    }

    /// The variables as tensors.
    fn values(&self) -> Named {
        let named = |(name, variable): (&str, &Var)| (name.into(), variable.as_tensor().clone());
        self.optimizer.variables().map(named).collect()
    }

    fn save(&self) -> Result<()> {
        let mut optimizer: Named = self.optimizer.state().into_iter().collect();
        let mut weights = self.values();
        if self.adapter.is_none() {
            for (name, tensor) in &mut weights {
                let dtype = self.saved_as[name];
                if dtype != DType::F32 {
                    let rounded = tensor.to_dtype(dtype).map_err(Error::candle)?;
                    optimizer.insert(format!("{MASTER}{name}"), std::mem::replace(tensor, rounded));
                }
            }
        }
        let (state, adapter, context) = (&self.state, self.adapter.as_ref(), &self.context);
        Snapshot { state, weights, adapter, optimizer, context }.save(&self.trainer.checkpoint())
    }

    fn draw(&self, records: &[StepRecord]) -> Result<()> {
        match curve::draw(&self.trainer.name, records) {
            Ok(svg) => Ok(replace_file(&self.trainer.curve(), svg.as_bytes())?),
            // A run is not lost for a picture.
            Err(problem) => {
                tracing::warn!(%problem, "the loss cannot be drawn");
                Ok(())
            }
        }
    }
}

/// The sum of the losses of all tokens that a batch learns.
fn loss_of(model: &GPTModel, batch: &Batch) -> Result<Tensor> {
    let hidden = model.hidden_packed(&batch.inputs, &batch.lengths)?;
    // Only what is learnt is said: of prompts no logits are computed.
    let hidden = hidden.flatten(0, 1).and_then(|rows| rows.index_select(&batch.positions, 0));
    let logits = model.logits(&hidden.map_err(Error::candle)?)?;
    cross_entropy(&logits, &batch.labels).map_err(Error::candle)
}

/// Refuses another family's model than was asked for, and rows that are too long for it.
fn check_model<M: Trainee>(path: &Path, loaded: &Loaded, data: &FineTuningData) -> Result<()> {
    if !M::is_of(loaded.registration) {
        let asked = std::any::type_name::<M>().rsplit("::").next().unwrap_or_default();
        let problem = format!("holds a {}, not a {asked}", loaded.registration.model);
        return Err(refused(path, problem));
    }
    let longest = loaded.config.seq_length;
    if data.seq_length > longest {
        let problem = format!("is {}; the model is for at most {longest} tokens", data.seq_length);
        return Err(Error::refused(vec![Finding::new(FindingKind::Config, "seq_length", problem)]));
    }
    Ok(())
}

/// Refuses tokens that the model does not know: those of another model's tokenizer.
fn check_tokens(dataset: &Dataset, loaded: &Loaded) -> Result<()> {
    let (largest, vocab_size) = (dataset.largest_token(), loaded.config.vocab_size);
    if (largest as usize) < vocab_size {
        return Ok(());
    }
    let problem = format!(
        "makes the token {largest} of the data; the model's vocabulary has {vocab_size}. Is it \
         another model's?"
    );
    let file = loaded.file(Tokenizer::FILE)?.unwrap_or_default();
    Err(refused(&file, problem))
}

/// How long `left` steps take at the pace of those that are `done`.
fn time_left(time: Duration, done: u64, left: u64) -> Duration {
    let seconds = time.as_secs_f64() / done as f64 * left as f64;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn is_inside(dir: &Path, of: &Path) -> Result<bool> {
    Ok(real(dir)?.starts_with(real(of)?))
}

fn is_same_file(a: &Path, b: &Path) -> Result<bool> {
    if !look::exists(a)? || !look::exists(b)? {
        return Ok(false);
    }
    Ok(real(a)? == real(b)?)
}

fn real(path: &Path) -> Result<PathBuf> {
    Ok(fs::canonicalize(path).map_err(store::Error::io("find", path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_told_of_any_number_of_steps() {
        let seconds = Duration::from_secs;
        for (time, done, left, want) in [
            (seconds(10), 5, 3, seconds(6)),
            (seconds(10), 5, 0, Duration::ZERO),
            (seconds(10), 1, u64::MAX, Duration::MAX),
        ] {
            assert_eq!(time_left(time, done, left), want);
        }
    }
}
