use super::elements::{Elements, index, moved, numbers};
use super::shown::{Exempt, Lossless};
use crate::connector::{Configuration, ModelConnector, Registration};
use crate::engine::{self, Context};
use crate::key::Condition;
use crate::mapping::{FlatIgnore, FlatMapping, FlatRule, Mapping};
use crate::plan::{Finding, FindingKind, Plan, PlanOptions, Request, Work, group_keys};
use crate::schema::{self, Instance, Model};
use crate::store::{Dtype, TensorInfo};
use crate::transform::{Class, Config, Tensor};
use crate::{DeviceChoice, Error, Location, Result};
use candle_core::{DType, Device};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Shows that an importer loses nothing, for the model that `config` describes.
///
/// The rows are run, and read backwards, on tensors in which every element is its own identity:
/// - each element of each source tensor lands where its operation says, once, and nothing else is
///   written;
/// - the export brings back every source tensor, every element in its place.
///
/// A user's function runs on whole numbers where it can. Where it fails on them, or computes new
/// ones, it runs on F64, and what is shown is that its inverse brings back what it was given, bit
/// for bit. Every branch of a `one_of` is shown in turn.
///
/// What nothing is shown about is listed in [`Lossless::exempt`]: `ignore` and `==` rows, rules
/// whose operation has no inverse or loses numbers by design. The source tensors are those that the
/// export writes, so that shapes come from the schema and a small config makes a proof of
/// milliseconds.
///
/// ```
/// use connector_core::families::HfLlama;
/// use connector_core::gpt::GptConfig;
/// use connector_core::testing::prove_lossless;
///
/// let config: GptConfig = serde_json::from_value(serde_json::json!({
///     "num_layers": 2, "hidden_size": 8, "ffn_hidden_size": 12, "num_attention_heads": 4,
///     "num_query_groups": 2, "kv_channels": 2, "seq_length": 16, "vocab_size": 10,
///     "make_vocab_size_divisible_by": 4, "share_embeddings_and_output_weights": false,
///     "attention_bias": true, "mlp_bias": true, "layernorm_epsilon": 1e-5,
///     "normalization": "RMSNorm", "activation_func": "silu", "gated_linear_unit": true,
///     "position_embedding_type": "rope", "rotary_base": 1e4, "init_method_std": 0.02,
/// }))?;
///
/// let shown = prove_lossless::<HfLlama>(&config)?;
/// assert_eq!((shown.sources, shown.parameters), (35, 23));
/// assert!(shown.computed.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] with the first element of each tensor that is lost, doubled or misplaced, by
/// its key and index; [`Function`](crate::engine::Error::Function) where a function fails; if
/// the model has no schema.
pub fn prove_lossless<C: ModelConnector>(config: &<C::Model as Model>::Config) -> Result<Lossless> {
    let reason = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
    let connector = std::any::type_name::<C>().rsplit("::").next().unwrap_or_default();
    let instance = <C::Model as Model>::instance(config);
    let model = Config::from_model(config).map_err(reason)?;
    prove(connector, &C::MAPPING, Configuration { model, instance }, || {
        C::source_config(config, None)
    })
}

/// As [`prove_lossless`], for a connector of the registry and the fields of its model's config: so
/// that a test shows it of every importer that is linked in.
///
/// # Errors
/// As [`prove_lossless`]; [`Error::Refused`] if the fields are not those of the model's config.
pub fn prove_registered(registration: &Registration, config: &Value) -> Result<Lossless> {
    let connector = registration.connector;
    let configuration = connector.restore(config, "the model's config")?;
    let model = configuration.model.clone();
    prove(registration.name, &connector.mapping(), configuration, || {
        connector.source_config(&model, None)
    })
}

fn prove(
    connector: &str,
    mapping: &Mapping,
    configuration: Configuration,
    format: impl FnOnce() -> Result<Value>,
) -> Result<Lossless> {
    let Some(instance) = configuration.instance else {
        let problem = "its model has no schema, so nothing says which tensors there are";
        return Err(Error::refused(vec![Finding::new(FindingKind::Rule, connector, problem)]));
    };
    let format = match format() {
        Ok(config) => config,
        Err(Error::NoExport { .. }) => Value::Null,
        Err(error) => return Err(error),
    };
    let mapping = FlatMapping::new(mapping, &[]);
    let mut proof = Proof {
        instance: instance.as_ref(),
        model: configuration.model,
        format: Config::from_json(format),
        device: DeviceChoice::default().open()?,
        shown: Lossless { connector: connector.into(), ..Lossless::default() },
        hidden: BTreeSet::new(),
    };
    for branches in one_at_a_time(&mapping) {
        proof.hidden.clear();
        proof.show(mapping.taking(&branches))?;
    }
    proof.exempt_rows(&mapping);
    proof.shown.exempt.sort();
    proof.shown.exempt.dedup();
    Ok(proof.shown)
}

/// The branches to take: the first of each choice, then each other one by itself.
fn one_at_a_time(mapping: &FlatMapping) -> Vec<Vec<(usize, usize)>> {
    let branches = mapping.rules.iter().flat_map(|rule| &rule.branches);
    let others: BTreeSet<(usize, usize)> =
        branches.map(|at| (at.choice, at.branch)).filter(|(_, branch)| *branch > 0).collect();
    let with_parents = |(choice, branch)| {
        // A choice inside of another branch is only reached through that one.
        let inside = mapping.rules.iter().find_map(|rule| {
            let depth = rule.branches.iter().position(|b| (b.choice, b.branch) == (choice, branch));
            depth.map(|depth| rule.branches[..=depth].iter().map(|b| (b.choice, b.branch)))
        });
        inside.map_or(Vec::new(), Iterator::collect)
    };
    std::iter::once(Vec::new()).chain(others.into_iter().map(with_parents)).collect()
}

struct Proof<'a> {
    instance: &'a dyn Instance,
    model: Config,
    format: Config,
    device: Device,
    shown: Lossless,
    /// The parameters that no rule makes with a way back.
    hidden: BTreeSet<String>,
}

/// What a step did with an element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    NotGiven,
    Given,
    Landed,
}

/// A side of the conversion: descriptions and tensors, in one order.
struct State {
    infos: Vec<TensorInfo>,
    tensors: Vec<Tensor>,
}

impl Proof<'_> {
    fn show(&mut self, mut mapping: FlatMapping) -> Result<()> {
        let mut backwards = mapping.reversed();
        let mut stay = self.exempt_rules(&mut mapping).into_iter();
        backwards.rules.retain(|rule| {
            let stays = stay.next().unwrap_or_default();
            if !stays {
                let ignored = rule.sources.iter().map(|&pattern| FlatIgnore {
                    pattern,
                    when: rule.when.clone(),
                    at: rule.rule.at,
                });
                backwards.ignore.extend(ignored);
            }
            stays
        });
        let shapes = self.source_shapes(&backwards)?;

        // Functions that cannot work on whole numbers show themselves at the first try.
        let mut computing = BTreeSet::new();
        for dtype in [Dtype::I64, Dtype::F64] {
            let mut elements = Elements::new();
            let mut sources = fill(&shapes, &mut elements, dtype, &self.device)?;
            let import = self.plan(&mapping, &sources.infos)?;
            for equal in &import.equal {
                sources.tensors[equal.left] = sources.tensors[equal.right].clone();
            }
            let Some(made) = self.run(&import, &sources, &elements, dtype, &mut computing)? else {
                continue;
            };
            self.compare_back(&backwards, made, &sources, &elements)?;
            self.shown.elements = self.shown.elements.max(elements.count());
            self.shown.sources = self.shown.sources.max(sources.infos.len());
            self.shown.parameters = self.shown.parameters.max(import.outputs.len());
            break;
        }
        for rule in computing {
            let rule = &mapping.rules[rule];
            let name = format!("{} ({})", rule.name(), rule.rule.at);
            if !self.shown.computed.contains(&name) {
                self.shown.computed.push(name);
            }
        }
        Ok(())
    }

    /// Takes the rules out of the proof that have no way back: their sources may then be absent.
    /// Which rules stay.
    fn exempt_rules(&mut self, mapping: &mut FlatMapping) -> Vec<bool> {
        let mut stay = Vec::new();
        for rule in &mut mapping.rules {
            let reason = rule.operations.iter().find_map(|operation| {
                let name = operation.name;
                match (operation.class, operation.inverse) {
                    (Class::Lossy, _) => Some(format!("`{name}` loses numbers by design")),
                    (_, None) => Some(format!("`{name}` has no inverse")),
                    _ => None,
                }
            });
            let Some(reason) = reason else {
                stay.push(true);
                continue;
            };
            stay.push(false);
            rule.optional = true;
            rule.together.clear();
            let mut own = BTreeSet::new();
            for parameter in schema::existing(self.instance) {
                let holds = |when: &Condition| schema::holds(self.instance, when, &parameter.at);
                let names = schema::names(self.instance, &parameter).unwrap_or_default();
                let makes = |name: &&String| rule.targets.iter().any(|t| t.matches(name));
                if rule.when.iter().all(holds) {
                    own.extend(names.iter().find(makes).cloned());
                }
            }
            for group in group_keys(own) {
                let (reason, at) = (reason.clone(), rule.rule.at);
                self.hidden.extend(group.keys.iter().cloned());
                self.shown.exempt.push(Exempt { keys: group.text, reason, at });
            }
        }
        stay
    }

    /// The source tensors and their shapes: those that the export makes of the parameters.
    fn source_shapes(&self, backwards: &FlatMapping) -> Result<Vec<(String, Vec<usize>)>> {
        let existing = schema::existing(self.instance).into_iter().filter_map(|parameter| {
            let name = schema::names(self.instance, &parameter)?.swap_remove(0);
            Some((name, self.instance.shape(parameter.number, &parameter.at)))
        });
        let parameters: Vec<_> = existing.filter(|(name, _)| !self.hidden.contains(name)).collect();
        // What a function makes has no shape before it has run.
        let State { infos, tensors } =
            fill(&parameters, &mut Elements::new(), Dtype::F64, &self.device)?;
        let export = self.plan(backwards, &infos)?;
        let made =
            engine::run_in_memory(&export, &infos, &engine::among(&tensors), &self.context(true))?;
        Ok(made.into_iter().map(|(name, tensor)| (name, tensor.dims().to_vec())).collect())
    }

    fn plan(&self, mapping: &FlatMapping, tensors: &[TensorInfo]) -> Result<Plan> {
        let options = &PlanOptions::default();
        let request = Request {
            mapping,
            instance: Some(self.instance),
            model: &self.model,
            format: &self.format,
            tensors,
            options,
        };
        Plan::new(&request).map_err(Error::refused)
    }

    fn context(&self, export: bool) -> Context<'_> {
        Context {
            model: &self.model,
            format: &self.format,
            instance: Some(self.instance),
            export,
            device: &self.device,
        }
    }

    /// Runs the import and holds each step against what it may do. `None` if some function failed
    /// on whole numbers or computed others: its rule is then in `computing`, and another type is to
    /// be tried.
    fn run(
        &self,
        plan: &Plan,
        sources: &State,
        elements: &Elements,
        dtype: Dtype,
        computing: &mut BTreeSet<usize>,
    ) -> Result<Option<State>> {
        let mut made = State { infos: Vec::new(), tensors: Vec::new() };
        let mut findings = Vec::new();
        for (number, step) in plan.steps.iter().enumerate() {
            let context = self.context(false);
            let fetch = engine::among(&sources.tensors);
            let result = engine::run_step(plan, number, &sources.infos, &fetch, &context);
            let first_try = dtype == Dtype::I64 && !matches!(step.work, Work::Moves(_));
            let outputs = match result {
                Err(_) if first_try => {
                    computing.insert(step.rule);
                    continue;
                }
                result => result?,
            };
            if dtype == Dtype::I64 || !computing.contains(&step.rule) {
                match self.landed(plan, number, sources, &outputs, elements)? {
                    Ok(()) => {}
                    Err(_) if first_try => {
                        computing.insert(step.rule);
                    }
                    Err(finding) => findings.push(finding),
                }
            }
            for (&output, tensor) in step.outputs.iter().zip(outputs) {
                let (name, shape) = (plan.outputs[output].name.clone(), tensor.dims().to_vec());
                made.infos.push(TensorInfo::whole(name, shape, dtype, 0, 0));
                made.tensors.push(tensor);
            }
        }
        match findings.is_empty() {
            true => Ok((dtype == Dtype::F64 || computing.is_empty()).then_some(made)),
            false => Err(Error::refused(findings)),
        }
    }

    /// Whether a step puts each element of its sources where it belongs. The inner error is the
    /// first that it does not.
    fn landed(
        &self,
        plan: &Plan,
        number: usize,
        sources: &State,
        outputs: &[Tensor],
        elements: &Elements,
    ) -> Result<Result<(), Finding>> {
        let step = &plan.steps[number];
        let rule = &plan.mapping.rules[step.rule];
        let mut inputs = Vec::new();
        for input in &step.inputs {
            inputs.push(numbers(&engine::among(&sources.tensors)(*input)?)?.unwrap_or_default());
        }
        let wrong = |output: usize, element: usize, problem: String| {
            let place = index(outputs[output].dims(), element as u64);
            let subject = format!("{}{place}", plan.outputs[step.outputs[output]].name);
            Ok(Err(Finding::new(FindingKind::Unequal, subject, problem).rule(rule.rule.at)))
        };
        let mut values = Vec::new();
        for (output, tensor) in outputs.iter().enumerate() {
            match numbers(tensor)? {
                Some(numbers) => values.push(numbers),
                None => return wrong(output, 0, "is no element of its sources".into()),
            }
        }
        if let Work::Moves(moves) = &step.work {
            let sizes: Vec<u64> = values.iter().map(|values| values.len() as u64).collect();
            let expected = moved(step, moves, &inputs, &sizes);
            for (output, (got, want)) in values.iter().zip(&expected).enumerate() {
                if let Some(at) = got.iter().zip(want).position(|(got, want)| got != want) {
                    let name = |number| match number {
                        0 => "nothing".into(),
                        number => elements.name(number),
                    };
                    let (got, want) = (name(got[at]), name(want[at]));
                    return wrong(
                        output,
                        at,
                        format!("holds {got}; its operation puts {want} there"),
                    );
                }
            }
        }
        let mut fates = vec![Fate::NotGiven; elements.count() as usize + 1];
        inputs.iter().flatten().for_each(|&value| fates[value as usize] = Fate::Given);
        let copies = rule.operations.iter().any(|operation| operation.class == Class::Copy);
        let may_repeat = copies && !matches!(step.work, Work::Function { .. });
        for (output, values) in values.iter().enumerate() {
            for (at, &value) in values.iter().enumerate() {
                // Rows that the vocabulary is padded with.
                if value == 0 && may_repeat {
                    continue;
                }
                match fates.get_mut(value as usize) {
                    None | Some(Fate::NotGiven) => {
                        return wrong(output, at, "holds no element of its sources".into());
                    }
                    Some(Fate::Landed) if !may_repeat => {
                        let name = elements.name(value);
                        let problem = format!("holds {name}, which is elsewhere already");
                        return wrong(output, at, problem);
                    }
                    Some(fate) => *fate = Fate::Landed,
                }
            }
        }
        let is_lost = |value: &&u64| fates[**value as usize] == Fate::Given;
        let lost = inputs.iter().flatten().find(is_lost);
        Ok(match lost {
            Some(&value) => {
                let problem = format!("is lost: `{}` puts it nowhere", rule.name());
                let finding = Finding::new(FindingKind::Unequal, elements.name(value), problem);
                Err(finding.rule(rule.rule.at))
            }
            None => Ok(()),
        })
    }

    /// Exports what was made and holds it against the sources.
    fn compare_back(
        &self,
        backwards: &FlatMapping,
        made: State,
        sources: &State,
        elements: &Elements,
    ) -> Result<()> {
        let export = self.plan(backwards, &made.infos)?;
        let context = self.context(true);
        let back =
            engine::run_in_memory(&export, &made.infos, &engine::among(&made.tensors), &context)?;
        let mut rules: BTreeMap<&str, Location> = BTreeMap::new();
        for output in &export.outputs {
            let rule: &FlatRule = &export.mapping.rules[export.steps[output.step].rule];
            rules.insert(&output.name, rule.rule.at);
        }
        let mut findings = Vec::new();
        for (info, tensor) in sources.infos.iter().zip(&sources.tensors) {
            let finding = |subject: String, problem: String| {
                let finding = Finding::new(FindingKind::Unequal, subject, problem);
                match rules.get(info.name.as_str()) {
                    Some(&at) => finding.rule(at),
                    None => finding,
                }
            };
            let Some(other) = back.get(&info.name) else {
                findings.push(finding(info.name.clone(), "does not come back".into()));
                continue;
            };
            if other.dims() != tensor.dims() {
                let problem =
                    format!("comes back as {:?}, it was {:?}", other.dims(), tensor.dims());
                findings.push(finding(info.name.clone(), problem));
                continue;
            }
            let exact = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
            let (got, want) = (exact(other).map_err(Error::candle)?, exact(tensor));
            let want = want.map_err(Error::candle)?;
            let Some(at) = got.iter().zip(&want).position(|(got, want)| got != want) else {
                continue;
            };
            let subject = format!("{}{}", info.name, index(&info.shape, at as u64));
            let problem = match numbers(other)?.filter(|_| info.dtype == Dtype::I64) {
                Some(numbers) if numbers[at] != 0 => {
                    format!("comes back as {}", elements.name(numbers[at]))
                }
                Some(_) => "comes back as zero".into(),
                None => format!("was {:?} and comes back as {:?}", want[at], got[at]),
            };
            findings.push(finding(subject, problem));
        }
        if findings.is_empty() { Ok(()) } else { Err(Error::refused(findings)) }
    }

    /// Rows that carry nothing.
    fn exempt_rows(&mut self, mapping: &FlatMapping) {
        for row in &mapping.ignore {
            let (keys, reason) = (row.pattern.to_string(), "is left behind".into());
            self.shown.exempt.push(Exempt { keys, reason, at: row.at });
        }
        for row in mapping.equal.iter().filter(|row| !row.copy) {
            let reason = format!("must equal {} and is not carried", row.right);
            self.shown.exempt.push(Exempt { keys: row.left.to_string(), reason, at: row.at });
        }
    }
}

/// Tensors of these names and shapes, filled.
fn fill(
    shapes: &[(String, Vec<usize>)],
    elements: &mut Elements,
    dtype: Dtype,
    device: &Device,
) -> Result<State> {
    let mut state = State { infos: Vec::new(), tensors: Vec::new() };
    for (name, shape) in shapes {
        let candle = if dtype == Dtype::I64 { DType::I64 } else { DType::F64 };
        state.tensors.push(elements.fill(name, shape, candle, device)?);
        state.infos.push(TensorInfo::whole(name.clone(), shape.clone(), dtype, 0, 0));
    }
    Ok(state)
}
