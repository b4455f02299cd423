//! Conversion in memory, on tensors.

use crate::base::Cancel;
use crate::engine::{self, Context, from_candle_dtype};
use crate::mapping::{Direction, FlatMapping, Mapping, Rule};
use crate::plan::{Finding, FindingKind, Plan, PlanOptions, Request, group_keys};
use crate::schema::{Instance, Model};
use crate::store::TensorInfo;
use crate::transform::Config;
use crate::{Error, Result, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A model in memory: its config and its tensors by name. NeMo's `_ModelState`.
#[derive(Clone, Default)]
pub struct ModelState {
    config: Config,
    instance: Option<Arc<dyn Instance>>,
    tensors: BTreeMap<String, Tensor>,
}

impl ModelState {
    /// A model of which a config and tensors are known. As a target, the tensors say which names
    /// and shapes are wanted; without any, whatever the rules make is taken.
    pub fn new(config: Value, tensors: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        let tensors = tensors.into_iter().collect();
        ModelState { config: Config::from_json(config), instance: None, tensors }
    }

    /// A model with a schema, without tensors yet: the target of a conversion.
    ///
    /// # Errors
    /// If the config cannot be written as JSON.
    pub fn of<M: Model>(config: &M::Config) -> Result<Self> {
        let reason = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
        Ok(ModelState {
            config: Config::from_model(config).map_err(reason)?,
            instance: M::instance(config).map(Arc::from),
            tensors: BTreeMap::new(),
        })
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The tensors by name.
    pub fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }
}

/// Converts a model in memory: NeMo's `apply_transforms`. Tensors stay on their device.
///
/// `mapping` and `transforms` are joined; it is the same plan as that of a checkpoint on disk, so
/// that what NeMo lets pass is refused: a source tensor that no rule uses, two rules for one
/// target, a group with a missing member, a target that is not produced.
///
/// ```
/// use connector_core::connector::{ModelState, apply_transforms};
/// use connector_core::{Mapping, Tensor, mapping, state_transform, transforms};
/// use serde_json::json;
///
/// #[state_transform(source_key = ("a.*.gate", "a.*.up"), target_key = "b.*.fc1")]
/// fn fuse(gate: Tensor, up: Tensor) -> candle_core::Result<Tensor> {
///     Tensor::cat(&[gate, up], 0)
/// }
///
/// const MAPPING: Mapping = mapping! { "a.*.down" => "b.*.fc2" };
///
/// let x = Tensor::arange(0i64, 6, &candle_core::Device::Cpu)?.reshape((2, 3))?;
/// let names = ["a.0.gate", "a.0.up", "a.0.down"];
/// let source = ModelState::new(json!({}), names.map(|name| (name.into(), x.clone())));
/// let target = ModelState::new(json!({}), []);
///
/// let converted = apply_transforms(&source, &target, &MAPPING, &transforms![fuse])?;
/// assert_eq!(converted.tensors()["b.0.fc1"].dims(), [4, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with all findings; [`Function`](crate::engine::Error::Function) where a
/// function fails.
pub fn apply_transforms(
    source: &ModelState,
    target: &ModelState,
    mapping: &Mapping,
    transforms: &[&'static [Rule]],
) -> Result<ModelState> {
    convert(source, target, &FlatMapping::new(mapping, transforms))
}

/// Converts a model in memory back: `mapping` and `transforms`, which [`apply_transforms`] applies
/// from the format to the model, read backwards, each with its operation's inverse.
///
/// ```
/// use connector_core::connector::{ModelState, apply_transforms, revert_transforms};
/// use connector_core::{Mapping, Tensor, mapping, ops};
/// use serde_json::json;
///
/// const MAPPING: Mapping = mapping! {
///     ("a.{i}.gate", "a.{i}.up") => "b.{i}.fc1" via ops::merge_fc1,
/// };
///
/// let x = Tensor::arange(0i64, 6, &candle_core::Device::Cpu)?.reshape((2, 3))?;
/// let source = ModelState::new(json!({}), ["a.0.gate", "a.0.up"].map(|n| (n.into(), x.clone())));
/// let empty = ModelState::new(json!({}), []);
///
/// let model = apply_transforms(&source, &empty, &MAPPING, &[])?;
/// let back = revert_transforms(&model, &empty, &MAPPING, &[])?;
/// assert_eq!(back.tensors()["a.0.up"].to_vec2::<i64>()?, x.to_vec2::<i64>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`apply_transforms`]; a rule whose operation has no inverse is a finding.
pub fn revert_transforms(
    source: &ModelState,
    target: &ModelState,
    mapping: &Mapping,
    transforms: &[&'static [Rule]],
) -> Result<ModelState> {
    convert(source, target, &FlatMapping::new(mapping, transforms).reversed())
}

pub(crate) fn convert(
    source: &ModelState,
    target: &ModelState,
    mapping: &FlatMapping,
) -> Result<ModelState> {
    let (model, format) = match mapping.direction {
        Direction::Import => (target, source),
        Direction::Export => (source, target),
    };
    let infos = source.tensors.iter().map(|(name, tensor)| describe(name, tensor));
    let infos = infos.collect::<Result<Vec<TensorInfo>>>()?;
    let plan = Plan::new(&Request {
        mapping,
        instance: model.instance.as_deref(),
        model: &model.config,
        format: &format.config,
        tensors: &infos,
        options: &PlanOptions::default(),
    })
    .map_err(Error::refused)?;

    let tensors: Vec<Tensor> = source.tensors.values().cloned().collect();
    // Without tensors there is nothing to run, whatever the device.
    let Some(device) = tensors.first().map(|tensor| tensor.device().clone()) else {
        return Ok(ModelState { tensors: BTreeMap::new(), ..target.clone() });
    };
    let context = Context {
        model: &model.config,
        format: &format.config,
        instance: model.instance.as_deref(),
        export: mapping.direction == Direction::Export,
        device: &device,
    };
    check_equal(&plan, &infos, &tensors)?;
    check_dropped(&plan, &infos, &tensors)?;
    let made = engine::run_in_memory(&plan, &infos, &engine::among(&tensors), &context)?;
    if target.instance.is_none() && !target.tensors.is_empty() {
        check_wanted(&made, &target.tensors)?;
    }
    Ok(ModelState { tensors: made, ..target.clone() })
}

fn describe(name: &str, tensor: &Tensor) -> Result<TensorInfo> {
    let Some(dtype) = from_candle_dtype(tensor.dtype()) else {
        let problem = format!("{:?} is no type to compute with", tensor.dtype());
        return Err(Error::refused(vec![Finding::new(FindingKind::Dtype, name, problem)]));
    };
    Ok(TensorInfo::whole(name.into(), tensor.dims().to_vec(), dtype, 0, 0))
}

/// Compares the tensors that an `a == b` row or an operation wants to be the same.
fn check_equal(plan: &Plan, infos: &[TensorInfo], tensors: &[Tensor]) -> Result<()> {
    let mut findings = Vec::new();
    for equal in &plan.equal {
        let [left, right] = [equal.left, equal.right].map(|tensor| &tensors[tensor]);
        let differ = left.ne(right).and_then(|ne| ne.to_dtype(candle_core::DType::U32)?.sum_all());
        let differ = differ.and_then(|count| count.to_scalar::<u32>()).map_err(Error::candle)?;
        if differ > 0 {
            let problem = format!("it must hold the same values as {}", infos[equal.right].name);
            let finding = Finding::new(FindingKind::Unequal, &infos[equal.left].name, problem);
            findings.push(finding.note(format!("{differ} elements differ")).rule(equal.at));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
}

/// Passes if what the plan drops is zero, or the padding of a vocabulary.
fn check_dropped(plan: &Plan, infos: &[TensorInfo], tensors: &[Tensor]) -> Result<()> {
    let found = engine::not_zero(plan, infos, &engine::read_among(tensors), &Cancel::default())?;
    let lost = found.iter().filter(|(number, _)| !plan.is_vocab_padding(&plan.dropped[*number]));
    let findings: Vec<Finding> =
        lost.map(|(number, lost)| engine::lost(plan, infos, *number, lost)).collect();
    if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
}

/// Holds what was made against the names and shapes of the target's tensors.
fn check_wanted(made: &BTreeMap<String, Tensor>, wanted: &BTreeMap<String, Tensor>) -> Result<()> {
    let absent = |from: &BTreeMap<String, Tensor>, of: &BTreeMap<String, Tensor>| {
        group_keys(of.keys().filter(|name| !from.contains_key(*name)).cloned())
    };
    let finding = |kind, group: crate::plan::KeyGroup, problem: &str| Finding {
        keys: group.keys,
        ..Finding::new(kind, group.text, problem)
    };
    let missing = absent(made, wanted).into_iter();
    let mut findings: Vec<Finding> = missing
        .map(|group| finding(FindingKind::NoRule, group, "the target has it, no rule makes it"))
        .collect();
    let extra = absent(wanted, made).into_iter();
    findings
        .extend(extra.map(|group| {
            finding(FindingKind::Rule, group, "a rule makes it, the target has none")
        }));
    for (name, tensor) in made {
        if let Some(other) = wanted.get(name).filter(|other| other.dims() != tensor.dims()) {
            let problem = format!("is {:?}, the target has {:?}", tensor.dims(), other.dims());
            findings.push(Finding::new(FindingKind::Shape, name, problem));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
}
