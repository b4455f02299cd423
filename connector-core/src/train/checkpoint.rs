//! The checkpoint of a run, from which it goes on.
//!
//! ```text
//! NAME-last/weights/          the model; or of an adapter its tensors and adapter_metadata.json
//!           context/          model.yaml and everything else that the model began with
//!           optimizer/        the moments, and parameters in f32 where weights/ has fewer bits
//!           training.json     the step, the position in the data, what the run is
//! ```

use super::Lora;
use crate::checkpoint::safetensors::{Layout, OutputTensor, Writer};
use crate::checkpoint::{CONTEXT, MODEL_YAML, MegatronCheckpoint, Sidecars, Small, WEIGHTS, look};
use crate::connector::{MAX_SHARD_SIZE, TOOL};
use crate::engine::{from_candle_dtype, tensor_bytes, to_candle_dtype};
use crate::framework::model_yaml;
use crate::model::{
    ADAPTER_METADATA, AdapterMetadata, Base, Loaded, Parameters, parse, read_tensors, refused,
};
use crate::plan::{Finding, FindingKind};
use crate::store::failpoint::failpoint;
use crate::store::{Overwrite, Sink, Staging, TRAINING_JSON, TensorInfo, write_new};
use crate::{Cancel, CandleError, Error, Result, checkpoint, store};
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the optimizer's state.
const OPTIMIZER: &str = "optimizer";
/// The version of `training.json`.
const SCHEMA: &str = "connector.training/1";

/// The largest number of steps or rows that is believed; sums with it do not overflow.
const MOST: u64 = 1 << 53;

/// What `training.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RunState {
    schema: String,
    tool: String,
    /// The model's type.
    pub model: String,
    /// The steps that were made.
    pub step: u64,
    /// The rows of data that were read.
    pub consumed_samples: u64,
    /// What the order of the rows follows from.
    pub seed: u64,
    /// A hash of the rows.
    pub data: String,
    /// The adapter, if it is one that is trained.
    pub lora: Option<Lora>,
    /// The model that the run began with. Earlier versions did not record it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

impl RunState {
    pub fn new(model: &str, seed: u64, data: &str, lora: Option<Lora>) -> Self {
        RunState {
            schema: SCHEMA.into(),
            tool: TOOL.into(),
            model: model.into(),
            step: 0,
            consumed_samples: 0,
            seed,
            data: data.into(),
            lora,
            base: None,
        }
    }

    /// What the checkpoint at `path` says; `None` if it is no run's.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be understood; [`Io`](crate::store::Error::Io).
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let path = path.join(TRAINING_JSON);
        match Small::read(&path)? {
            Small::Read(bytes) => {
                let state: RunState = parse(&path, &bytes)?;
                if state.schema != SCHEMA {
                    let problem =
                        format!("is of layout {}; this tool knows {SCHEMA}", state.schema);
                    return Err(refused(&path, problem));
                }
                for (field, number) in
                    [("step", state.step), ("consumed_samples", state.consumed_samples)]
                {
                    if number > MOST {
                        let problem = format!("\"{field}\" is {number}, which no run reaches");
                        return Err(refused(&path, problem));
                    }
                }
                Ok(Some(state))
            }
            Small::Absent => Ok(None),
            Small::Unreasonable => Err(refused(&path, "is no file of reasonable length")),
        }
    }

    /// Refuses to go on with `now` what began as `self`: the losses would be those of neither.
    pub fn check_same(&self, now: &RunState) -> Result<()> {
        let mut findings = Vec::new();
        let mut differ = |field: &str, then: String, now: String| {
            if then != now {
                let problem = format!("the run began with {then}, now it is {now}");
                let note = "set it back, or begin a new run in another log_dir";
                findings.push(Finding::new(FindingKind::Config, field, problem).note(note));
            }
        };
        differ("model", self.model.clone(), now.model.clone());
        differ("seed", self.seed.to_string(), now.seed.to_string());
        let shown = |lora: &Option<Lora>| {
            lora.as_ref().map_or("none".into(), |Lora { dim, alpha, target_modules }| {
                format!("dim {dim}, alpha {alpha}, on {}", target_modules.join(", "))
            })
        };
        differ("peft", shown(&self.lora), shown(&now.lora));
        let short = |hash: &str| format!("rows with the hash {}…", hash.get(..12).unwrap_or(hash));
        differ("data", short(&self.data), short(&now.data));
        if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
    }
}

/// Tensors by name.
pub(super) type Named = BTreeMap<String, Tensor>;

/// What a checkpoint is made of.
pub(super) struct Snapshot<'a> {
    pub state: &'a RunState,
    pub weights: Named,
    pub adapter: Option<&'a AdapterMetadata>,
    pub optimizer: Named,
    pub context: &'a Context,
}

/// What becomes `context/`.
pub(super) struct Context {
    /// The folder whose files are copied.
    from: Option<PathBuf>,
    /// The file that says which model it is, where that folder has it under another name.
    model_yaml: Option<Vec<u8>>,
}

impl Context {
    /// That of the checkpoint `opened`, which was loaded.
    pub fn of(opened: &MegatronCheckpoint, loaded: &Loaded) -> Result<Self> {
        let from = opened.context().map(Path::to_path_buf);
        let has_it = match &from {
            Some(dir) => {
                let warnings = Sidecars::list(dir, &[])?.warnings;
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                look::is_file(&dir.join(MODEL_YAML))?
            }
            None => false,
        };
        let make = || -> Result<_> {
            let config = serde_json::to_value(&loaded.config).map_err(Error::config)?;
            Ok(model_yaml(loaded.registration.model, &config)?)
        };
        Ok(Context { from, model_yaml: (!has_it).then(make).transpose()? })
    }

    /// Writes it into the new folder `to`.
    pub fn write(&self, to: &Path) -> Result<()> {
        fs::create_dir(to).map_err(store::Error::io("create", to))?;
        if let Some(from) = &self.from {
            // Listed anew: a run lasts, and its model's folder may be tidied meanwhile.
            Sidecars::list(from, &[])?.copy(to, &BTreeMap::new(), &Cancel::default())?;
        }
        let Some(model_yaml) = &self.model_yaml else { return Ok(()) };
        Ok(write_new(&to.join(MODEL_YAML), model_yaml)?)
    }
}

impl Snapshot<'_> {
    /// Writes the checkpoint to `target`, in place of an earlier one. Whenever the process is
    /// killed, there is the old one or the new one.
    ///
    /// # Errors
    /// As [`Staging::begin`] and [`Staging::publish`].
    pub fn save(&self, target: &Path) -> Result<()> {
        let staging = Staging::begin(target, Overwrite::Yes)?;
        let root = staging.path();
        let weights = root.join(WEIGHTS);
        write_tensors(&weights, &self.weights)?;
        failpoint("training.weights")?;
        if let Some(adapter) = self.adapter {
            write_new(&weights.join(ADAPTER_METADATA), &to_json(adapter)?)?;
        }
        write_tensors(&root.join(OPTIMIZER), &self.optimizer)?;
        self.context.write(&root.join(CONTEXT))?;
        write_new(&root.join(TRAINING_JSON), &to_json(self.state)?)?;
        failpoint("training.written")?;
        Ok(staging.publish()?)
    }
}

/// The optimizer's state of the checkpoint at `path`.
///
/// # Errors
/// As [`read_tensors`].
pub(super) fn read_optimizer(path: &Path, device: &Device) -> Result<Named> {
    read_tensors(&path.join(OPTIMIZER), device)
}

/// Writes tensors into the new folder `dir`.
pub(super) fn write_tensors(dir: &Path, tensors: &Named) -> Result<()> {
    fs::create_dir(dir).map_err(store::Error::io("create", dir))?;
    let outputs = tensors.iter().map(|(name, tensor)| {
        let dtype = from_candle_dtype(tensor.dtype()).ok_or_else(|| {
            CandleError(format!("{name} is {:?}, which no file holds", tensor.dtype()))
        })?;
        Ok(OutputTensor { name, dtype, shape: tensor.dims() })
    });
    let layout = Layout::new(&outputs.collect::<Result<Vec<_>>>()?, &[], MAX_SHARD_SIZE);
    let layout = layout.map_err(checkpoint::Error::from)?;
    let writer = Writer::create(dir, layout.clone())?;
    for (tensor, place) in tensors.values().zip(layout.placements()) {
        tensor_bytes(tensor, |bytes| -> Result<()> {
            Ok(writer.write_at(place.file, place.offset, bytes)?)
        })?;
    }
    Ok(writer.finish()?)
}

/// The type in which each parameter is saved: that of the tensor of its name, or else, where the
/// checkpoint spells it differently, the one that most bytes have.
pub(super) fn types(tensors: &[TensorInfo], parameters: &Parameters) -> BTreeMap<String, DType> {
    let mut by_name = BTreeMap::new();
    let mut bytes: BTreeMap<_, u64> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.dtype.is_castable()) {
        by_name.insert(tensor.name.as_str(), tensor.dtype);
        *bytes.entry(tensor.dtype).or_default() += tensor.bytes();
    }
    let most = bytes.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(dtype, _)| dtype);
    let of = |name: &String| {
        let dtype = by_name.get(name.as_str()).copied().or(most);
        dtype.and_then(to_candle_dtype).unwrap_or(DType::F32)
    };
    parameters.tensors().keys().map(|name| (name.clone(), of(name))).collect()
}

pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::ModelConfig { reason: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> RunState {
        RunState::new("LlamaModel", 7, &"a".repeat(64), None)
    }

    #[test]
    fn a_run_goes_on_only_as_what_it_began() {
        assert!(state().check_same(&RunState { step: 9, ..state() }).is_ok());
        let other = RunState {
            seed: 8,
            data: "b".repeat(64),
            lora: Some(Lora { dim: 4, ..Lora::default() }),
            ..state()
        };
        let text = state().check_same(&other).unwrap_err().to_string();
        for want in [
            "seed: the run began with 7, now it is 8",
            "peft: the run began with none, now it is dim 4, alpha 32, on linear_qkv, linear_proj, \
             linear_fc1, linear_fc2",
            "data: the run began with rows with the hash aaaaaaaaaaaa…, now it is",
        ] {
            assert!(text.contains(want), "{want}: {text}");
        }
    }

    fn snapshot<'a>(state: &'a RunState, context: &'a Context, value: f32) -> Snapshot<'a> {
        let tensor = Tensor::new(&[value, 2.0], &Device::Cpu).unwrap();
        let weights = [("w".to_string(), tensor.clone())].into();
        let optimizer = [("optimizer.state.exp_avg.w".to_string(), tensor)].into();
        Snapshot { state, weights, adapter: None, optimizer, context }
    }

    #[test]
    fn a_checkpoint_is_replaced_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        fs::create_dir(&context).unwrap();
        fs::write(context.join("model.yaml"), "x").unwrap();
        let target = dir.path().join("runs/a-last");
        for step in 1..3 {
            let state = RunState { step, ..state() };
            let context = Context { from: Some(context.clone()), model_yaml: None };
            snapshot(&state, &context, step as f32).save(&target).unwrap();
            assert_eq!(RunState::read(&target).unwrap(), Some(state));
            let optimizer = read_optimizer(&target, &Device::Cpu).unwrap();
            let values = optimizer["optimizer.state.exp_avg.w"].to_vec1::<f32>().unwrap();
            assert_eq!(values, [step as f32, 2.0]);
        }
        assert_eq!(fs::read(target.join("context/model.yaml")).unwrap(), b"x");
        assert_eq!(fs::read_dir(dir.path().join("runs")).unwrap().count(), 1);
        assert_eq!(RunState::read(dir.path()).unwrap(), None);
        assert!(AdapterMetadata::read(&target).unwrap().is_none());
    }

    #[test]
    fn a_record_that_is_not_understood_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{}", "{\"schema\": 1}"] {
            fs::write(dir.path().join(TRAINING_JSON), text).unwrap();
            let error = RunState::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("training.json: "), "{text}: {error}");
        }
    }
}
