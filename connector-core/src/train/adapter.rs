//! Adapters that were trained: put on their model, merged into it, exported for PEFT.

use super::Lora;
use super::checkpoint::{Context, Named, RunState, to_json, types, write_tensors};
use super::lora::merged;
use super::peft;
use crate::checkpoint::{CONTEXT, WEIGHTS};
use crate::connector::{TOOL, TrainedOptions};
use crate::model::{
    AdapterMetadata, GPTModel, IN, LoadOptions, Loaded, LoadedAdapter, OUT, refused,
};
use crate::plan::{Finding, FindingKind};
use crate::store::{CONVERSION_JSON, Overwrite, Staging, check_separate, write_new};
use crate::{DeviceChoice, Error, Result};
use candle_core::{DType, Tensor};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// An adapter, with the model that it adapts.
///
/// ```no_run
/// use connector_core::store::Overwrite;
/// use connector_core::train::Adapted;
/// use connector_core::{DeviceChoice, ExportOptions, export_ckpt};
///
/// let adapted = Adapted::open("runs/squad/checkpoints/default-last", DeviceChoice::default())?;
/// // For the library peft, with the base model beside it:
/// adapted.export_peft("squad-adapter", Overwrite::No)?;
/// // Or as one model, for everything else:
/// adapted.merge("squad-nemo", Overwrite::No)?;
/// export_ckpt("squad-nemo", "squad-hf", ExportOptions::default())?;
/// # Ok::<(), connector_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Adapted {
    path: PathBuf,
    step: u64,
    adapter: LoadedAdapter,
    base: Loaded,
}

/// What `conversion.json` says of what an adapter became.
#[derive(Serialize)]
struct Record<'a> {
    schema: &'static str,
    tool: &'static str,
    made: &'static str,
    model: &'a str,
    lora: &'a Lora,
    step: u64,
}

impl Adapted {
    /// Whether the directory `path` is a checkpoint of an adapter.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn is_at(path: impl AsRef<Path>) -> Result<bool> {
        let path = path.as_ref();
        Ok(AdapterMetadata::read(path)?.is_some())
    }

    /// Opens the checkpoint of an adapter, which names that of its model, in f32.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is no adapter's, or its tensors are not those that it declares; as
    /// [`Loaded::open`].
    pub fn open(path: impl AsRef<Path>, device: DeviceChoice) -> Result<Self> {
        let path = path.as_ref();
        Adapted::open_on(path, None, device)
    }

    /// As [`open`](Self::open), but its model is at `base` now, if that is given: the checkpoint, or
    /// what was imported.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Refused`] if that is another model.
    pub fn open_on(
        path: impl AsRef<Path>,
        base: Option<&Path>,
        device: DeviceChoice,
    ) -> Result<Self> {
        let path = path.as_ref();
        let step = RunState::read(path)?.map_or(0, |state| state.step);
        let (dtype, base) = (Some(DType::F32), base.map(Path::to_path_buf));
        let options = LoadOptions { dtype, base, device, ..LoadOptions::default() };
        // Before anything is loaded.
        let is_adapter = Self::is_at(path)?;
        let mut base = if is_adapter { Some(Loaded::open(path, &options)?) } else { None };
        let adapter = base.as_mut().and_then(|base| base.adapter.take());
        let (Some(base), Some(adapter)) = (base, adapter) else {
            let problem = "is no checkpoint of an adapter: weights/ has no adapter_metadata.json";
            return Err(refused(path, problem));
        };
        Ok(Adapted { path: path.into(), step, adapter, base })
    }

    /// The adapter's settings.
    pub fn lora(&self) -> &Lora {
        &self.adapter.metadata.peft
    }

    /// The checkpoint of the model that it adapts.
    pub fn base(&self) -> &Path {
        &self.adapter.metadata.model_ckpt_path
    }

    /// The model with the adapter on it.
    ///
    /// # Errors
    /// As [`GPTModel::new`].
    pub fn model(&self) -> Result<GPTModel> {
        let mut model = self.base.model()?;
        self.adapter.put_on(&mut model);
        Ok(model)
    }

    /// Writes the model with the adapter added to its weights to the new directory `output`, as a
    /// checkpoint that an import could have written. NeMo's `merge_lora`.
    ///
    /// `W + alpha / dim · B·A` is computed in f32 and rounded once to the type of `W`. All other
    /// parameters stay as they are, to the bit. The whole model is in memory, in f32.
    ///
    /// # Errors
    /// [`store::Error`](crate::store::Error) if `output` cannot be written.
    pub fn merge(&self, output: impl AsRef<Path>, overwrite: Overwrite) -> Result<()> {
        let output = output.as_ref();
        let opened = TrainedOptions::default().open(self.base(), "hf", None)?;
        let saved_as = types(opened.source().tensors(), &self.base.parameters);
        let context = Context::of(&opened, &self.base)?;
        let mut weights = Named::new();
        for (name, tensor) in self.base.parameters.tensors() {
            let projection = name.strip_suffix(".weight").unwrap_or(name);
            let tensor = match self.parts(projection) {
                Some((a, b)) => merged(tensor, a, b, self.lora().scale())?,
                None => tensor.clone(),
            };
            let tensor = tensor.to_dtype(saved_as[name]).map_err(Error::candle)?;
            weights.insert(name.clone(), tensor);
        }
        self.write(output, overwrite, "merged", |root| {
            write_tensors(&root.join(WEIGHTS), &weights)?;
            context.write(&root.join(CONTEXT))
        })
    }

    /// Writes the adapter to the new directory `output` as the library peft loads it:
    /// `adapter_config.json` and `adapter_model.safetensors`. NeMo's `export_ckpt(path,
    /// "hf-peft")`.
    ///
    /// The adapter of a fused projection becomes one for each of the projections that it was made
    /// of: they share its `A`, and its `B` is split as the weights are, by the importer's own
    /// mapping.
    ///
    /// # Errors
    /// [`Error::Refused`] for adapters of experts, which transformers has in one tensor since
    /// version 5: [`merge`](Self::merge) them; [`store::Error`](crate::store::Error) if `output`
    /// cannot be written.
    pub fn export_peft(&self, output: impl AsRef<Path>, overwrite: Overwrite) -> Result<()> {
        let output = output.as_ref();
        let experts = self.projections().filter(|name| name.contains(".experts."));
        let findings: Vec<Finding> = crate::plan::group_keys(experts.map(String::from))
            .into_iter()
            .map(|group| {
                let problem =
                    "adapts experts, which peft finds in no version of transformers alike";
                Finding { keys: group.keys, ..Finding::new(FindingKind::Rule, group.text, problem) }
                    .note("merge the adapter into the model and export that")
            })
            .collect();
        if !findings.is_empty() {
            return Err(Error::refused(findings));
        }
        let mut modules = Vec::new();
        for projection in self.projections() {
            if let Some((a, b)) = self.parts(projection) {
                modules.extend(peft::split(&self.base, projection, a, b)?);
            }
        }
        self.write(output, overwrite, "hf-peft", |root| {
            peft::write(root, self.lora(), self.base(), &modules)
        })
    }

    /// The projections that are adapted.
    fn projections(&self) -> impl Iterator<Item = &str> {
        self.adapter.tensors.keys().filter_map(|name| name.strip_suffix(IN))
    }

    /// `A` and `B` of a projection.
    fn parts(&self, projection: &str) -> Option<(&Tensor, &Tensor)> {
        let part = |suffix| self.adapter.tensors.get(&format!("{projection}{suffix}"));
        part(IN).zip(part(OUT))
    }

    fn write(
        &self,
        output: &Path,
        overwrite: Overwrite,
        made: &'static str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        check_separate(&self.path, output)?;
        check_separate(self.base(), output)?;
        let staging = Staging::begin(output, overwrite)?;
        fill(staging.path())?;
        let model = self.base.registration.model;
        let (lora, step, tool) = (self.lora(), self.step, TOOL);
        let record = Record { schema: "connector.adapter/1", tool, made, model, lora, step };
        write_new(&staging.path().join(CONVERSION_JSON), &to_json(&record)?)?;
        Ok(staging.publish()?)
    }
}
