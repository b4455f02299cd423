use super::elements::{Elements, index, numbers};
use super::landed::Landed;
use super::shown::{Exempt, Lossless, Origin};
use crate::connector::{ModelConnector, Planned};
use crate::engine::{self, Context};
use crate::key::Condition;
use crate::mapping::{FlatIgnore, FlatMapping, FlatRule};
use crate::plan::{Finding, FindingKind, IgnoredBy, Plan, PlanOptions, Request, Work, group_keys};
use crate::schema::{self, Instance, Model};
use crate::store::{Dtype, TensorInfo};
use crate::transform::{Class, Config, Tensor};
use crate::{DeviceChoice, Error, Location, Result};
use candle_core::{DType, Device};
use std::collections::{BTreeMap, BTreeSet};

/// Shows that an importer loses nothing, for the model that `config` describes.
///
/// The rows are run, and read backwards, on tensors in which every element is its own identity.
/// What is shown is that:
/// - each source tensor is read by a rule, or listed as not shown;
/// - each of its elements lands where its operation says, and in no other place of the whole model,
///   but where an operation says that it copies (`duplicate2`); nothing else is written but zeros of
///   padding;
/// - the export brings back every source tensor, every element in its place.
///
/// A user's function runs on whole numbers where it can. Where it fails on them, or computes new
/// ones, it runs on F64, and what is shown is that its inverse brings back what it was given, bit
/// for bit. Every branch of a `one_of` is shown in turn.
///
/// The source tensors are those that the importer's `source_schema` declares, under the same config.
/// Without one they are those that the export writes, and then a tensor that a source has beside them, or
/// rows that it has and the export has not, are not seen: [`prove_import`] takes them from a real
/// checkpoint. [`Lossless::origin`] says which it was. Branches of a `one_of` for which the declared
/// tensors have not the keys are shown on what the export writes.
///
/// What nothing is shown about is listed in [`Lossless::exempt`]: what `ignore` and `==` rows leave
/// behind, rules whose operation has no inverse or loses numbers by design. Nor does it show that
/// an element is where the model expects it: two norms of one shape that change places lose nothing.
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
/// the model has no schema, or has more elements than are held in memory: a small config shows as much.
pub fn prove_lossless<C: ModelConnector>(config: &<C::Model as Model>::Config) -> Result<Lossless> {
    let reason = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
    let connector = std::any::type_name::<C>().rsplit("::").next().unwrap_or_default();
    let format = match C::source_config(config, None) {
        Ok(config) => Config::from_json(config),
        Err(Error::NoExport { .. }) => Config::default(),
        Err(error) => return Err(error),
    };
    let mapping = FlatMapping::new(&C::MAPPING, &[]);
    let instance = <C::Model as Model>::instance(config);
    let model = Config::from_model(config).map_err(reason)?;
    let mut proof = Proof::new(connector, instance.as_deref(), &model, &format)?;
    let declared = C::source_instance(config, format.json())?.map(|format| {
        proof.shown.origin = Origin::Schema(format.schema().model.into());
        parameters(format.as_ref())
    });
    let taken = match &declared {
        Some(tensors) => proof.branches(&mapping, tensors)?,
        None => Vec::new(),
    };
    proof.show_all(&mapping, declared.as_deref().map(|tensors| (tensors, taken)))
}

/// As [`prove_lossless`], with the tensors of a real checkpoint as the source, of which the names,
/// types and shapes are looked at and no number. It shows the most: that what a checkpoint of this
/// kind has is read, whole, whatever an export would write.
///
/// The checkpoint is the one that the import was planned for; a tiny one shows as much as a large one.
///
/// ```
/// use connector_core::testing::prove_import;
/// use connector_core::{ImportOptions, Planned};
/// # let checkpoint = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
///
/// let shown = prove_import(&Planned::import(checkpoint, ImportOptions::default())?)?;
/// assert_eq!((shown.sources, shown.parameters), (21, 15));
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// As [`prove_lossless`].
pub fn prove_import(planned: &Planned) -> Result<Lossless> {
    let registration = planned.registration();
    let mapping = FlatMapping::new(&registration.connector.mapping(), &[]);
    let (model, format) = (planned.model_config(), planned.format_config());
    let mut proof = Proof::new(registration.name, planned.instance(), model, format)?;
    proof.shown.origin = Origin::Checkpoint(planned.path().into());
    let (plan, source) = (planned.plan(), planned.source().tensors());
    let mut tensors: Vec<Option<Shaped>> =
        source.iter().map(|tensor| Some((tensor.name.clone(), tensor.shape.clone()))).collect();
    for ignored in &plan.ignored {
        if let IgnoredBy::Option(_) = ignored.by {
            let keys = source[ignored.tensor].name.clone();
            let (reason, at) = (format!("is ignored by {}", ignored.by), registration.at);
            proof.shown.exempt.push(Exempt { keys, reason, at });
            tensors[ignored.tensor] = None;
        }
    }
    let tensors: Vec<Shaped> = tensors.into_iter().flatten().collect();
    proof.show_all(&mapping, Some((&tensors, taken(plan))))
}

/// The most elements that are held in memory, 8 bytes for each and a few times over.
const MOST_ELEMENTS: u64 = 1 << 26;

/// The name and the shape of a tensor.
type Shaped = (String, Vec<usize>);

/// Choices of a mapping by their numbers, and which branch of each.
type Branches = Vec<(usize, usize)>;

/// The parameters of a schema.
fn parameters(instance: &dyn Instance) -> Vec<Shaped> {
    let existing = schema::existing(instance).into_iter().filter_map(|parameter| {
        let name = schema::names(instance, &parameter)?.swap_remove(0);
        Some((name, instance.shape(parameter.number, &parameter.at)))
    });
    existing.collect()
}

/// The branches in which the rules of a plan stand.
fn taken(plan: &Plan) -> Branches {
    let rules = plan.steps.iter().flat_map(|step| &plan.mapping.rules[step.rule].branches);
    let branches: BTreeSet<(usize, usize)> = rules.map(|at| (at.choice, at.branch)).collect();
    branches.into_iter().collect()
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
    model: &'a Config,
    format: &'a Config,
    device: Device,
    shown: Lossless,
    /// The parameters that no rule makes with a way back.
    hidden: BTreeSet<String>,
}

/// A side of the conversion: descriptions and tensors, in one order.
struct State {
    infos: Vec<TensorInfo>,
    tensors: Vec<Tensor>,
}

impl<'a> Proof<'a> {
    fn new(
        connector: &str,
        instance: Option<&'a dyn Instance>,
        model: &'a Config,
        format: &'a Config,
    ) -> Result<Self> {
        let Some(instance) = instance else {
            let problem = "its model has no schema, so nothing says which tensors there are";
            return Err(Error::refused(vec![Finding::new(FindingKind::Rule, connector, problem)]));
        };
        Ok(Proof {
            instance,
            model,
            format,
            device: DeviceChoice::default().open()?,
            shown: Lossless { connector: connector.into(), ..Lossless::default() },
            hidden: BTreeSet::new(),
        })
    }

    /// Shows the branches that the declared tensors take on these, the others on what the export writes.
    fn show_all(
        mut self,
        mapping: &FlatMapping,
        declared: Option<(&[Shaped], Branches)>,
    ) -> Result<Lossless> {
        let mut others = one_at_a_time(mapping);
        match declared {
            Some((tensors, taken)) => {
                let rules = |branches: &Branches| -> Vec<Location> {
                    mapping.taking(branches).rules.iter().map(|rule| rule.rule.at).collect()
                };
                self.show(mapping.taking(&taken), Some(tensors))?;
                others.retain(|branches| rules(branches) != rules(&taken));
            }
            None => self.exempt_rows(mapping),
        }
        for branches in others {
            self.hidden.clear();
            self.show(mapping.taking(&branches), None)?;
        }
        self.shown.exempt.sort();
        self.shown.exempt.dedup();
        Ok(self.shown)
    }

    /// The branches that these tensors take.
    fn branches(&mut self, mapping: &FlatMapping, tensors: &[Shaped]) -> Result<Branches> {
        let mut mapping = mapping.clone();
        let stay = self.exempt_rules(&mut mapping);
        let infos: Vec<TensorInfo> = given(&mapping, &stay, tensors)
            .into_iter()
            .map(|(name, shape)| TensorInfo::whole(name, shape, Dtype::I64, 0, 0))
            .collect();
        Ok(taken(&self.plan(&mapping, &infos)?))
    }

    fn show(&mut self, mut mapping: FlatMapping, declared: Option<&[Shaped]>) -> Result<()> {
        let mut backwards = mapping.reversed();
        let stay = self.exempt_rules(&mut mapping);
        let mut stays = stay.iter().copied();
        backwards.rules.retain(|rule| {
            let stays = stays.next().unwrap_or_default();
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
        let shapes = match declared {
            Some(tensors) => given(&mapping, &stay, tensors),
            None => self.source_shapes(&backwards)?,
        };
        let elements = |(_, shape): &Shaped| shape.iter().map(|&n| n as u64).product::<u64>();
        let all: u64 = shapes.iter().map(elements).sum();
        if all > MOST_ELEMENTS {
            let problem =
                format!("{all} elements are more than the {MOST_ELEMENTS} that are held in memory");
            let finding = Finding::new(FindingKind::Resource, &self.shown.connector, problem);
            return Err(Error::refused(vec![
                finding.note("a small config, or checkpoint, shows as much"),
            ]));
        }

        // Functions that cannot work on whole numbers show themselves at the first try.
        let mut computing = BTreeSet::new();
        for dtype in [Dtype::I64, Dtype::F64] {
            let mut elements = Elements::new();
            let mut sources = fill(&shapes, &mut elements, dtype, &self.device)?;
            let import = self.plan(&mapping, &sources.infos)?;
            for equal in &import.equal {
                sources.tensors[equal.left] = sources.tensors[equal.right].clone();
            }
            let made = self.run(&import, &sources, &elements, dtype, &mut computing)?;
            let Some((made, copying)) = made else { continue };
            let left_behind = self.left_behind(&import, &sources.infos);
            let shown = self.compare_back(&backwards, made, &sources, &elements, &left_behind)?;
            if declared.is_some() {
                self.shown.exempt.extend(left_behind.into_values());
            }
            self.shown.elements =
                self.shown.elements.max(shown.iter().map(|tensor| tensor.elements()).sum());
            self.shown.sources = self.shown.sources.max(shown.len());
            self.shown.parameters = self.shown.parameters.max(import.outputs.len());
            add(&mut self.shown.copying, &mapping, copying);
            break;
        }
        add(&mut self.shown.computed, &mapping, computing);
        Ok(())
    }

    /// The tensors that need not come back, by their numbers.
    fn left_behind(&self, import: &Plan, sources: &[TensorInfo]) -> BTreeMap<usize, Exempt> {
        let read: BTreeSet<usize> =
            import.steps.iter().flat_map(|step| &step.inputs).map(|input| input.tensor).collect();
        let exempt = |tensor: usize, reason, at| {
            (tensor, Exempt { keys: sources[tensor].name.clone(), reason, at })
        };
        let equal = import.equal.iter().filter(|equal| !read.contains(&equal.left)).map(|equal| {
            let right = &sources[equal.right].name;
            exempt(equal.left, format!("must equal {right} and is not carried"), equal.at)
        });
        let ignored = import.ignored.iter().filter_map(|ignored| match ignored.by {
            IgnoredBy::Row(at) => Some(exempt(ignored.tensor, "is left behind".into(), at)),
            IgnoredBy::Option(_) => None,
        });
        equal.chain(ignored).collect()
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
    fn source_shapes(&self, backwards: &FlatMapping) -> Result<Vec<Shaped>> {
        let mut parameters = parameters(self.instance);
        parameters.retain(|(name, _)| !self.hidden.contains(name));
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
            model: self.model,
            format: self.format,
            tensors,
            options,
        };
        Plan::new(&request).map_err(Error::refused)
    }

    fn context(&self, export: bool) -> Context<'_> {
        Context {
            model: self.model,
            format: self.format,
            instance: Some(self.instance),
            export,
            device: &self.device,
        }
    }

    /// Runs the import and follows the elements: what is made, and the rules that copy. `None` if some
    /// function failed on whole numbers or computed others: its rule is then in `computing`, and another
    /// type is to be tried.
    fn run(
        &self,
        plan: &Plan,
        sources: &State,
        elements: &Elements,
        dtype: Dtype,
        computing: &mut BTreeSet<usize>,
    ) -> Result<Option<(State, BTreeSet<usize>)>> {
        let mut made = State { infos: Vec::new(), tensors: Vec::new() };
        let mut landed = Landed::new(plan, elements);
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
            let inputs =
                step.inputs.iter().map(|&input| Ok(numbers(&fetch(input)?)?.unwrap_or_default()));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let finding = if dtype == Dtype::I64 || !computing.contains(&step.rule) {
                landed.follow(number, &inputs, &outputs)?
            } else {
                landed.used(number, &inputs)
            };
            match finding {
                Some(_) if first_try => drop(computing.insert(step.rule)),
                finding => findings.extend(finding),
            }
            for (&output, tensor) in step.outputs.iter().zip(outputs) {
                let (name, shape) = (plan.outputs[output].name.clone(), tensor.dims().to_vec());
                made.infos.push(TensorInfo::whole(name, shape, dtype, 0, 0));
                made.tensors.push(tensor);
            }
        }
        if findings.is_empty() && dtype == Dtype::I64 && !computing.is_empty() {
            return Ok(None);
        }
        findings.extend(landed.finish());
        if findings.is_empty() {
            Ok(Some((made, landed.copying)))
        } else {
            Err(Error::refused(findings))
        }
    }

    /// Exports what was made and holds it against the sources. Returns those that are shown.
    fn compare_back(
        &self,
        backwards: &FlatMapping,
        made: State,
        sources: &State,
        elements: &Elements,
        left_behind: &BTreeMap<usize, Exempt>,
    ) -> Result<Vec<TensorInfo>> {
        let export = self.plan(backwards, &made.infos)?;
        let context = self.context(true);
        let back =
            engine::run_in_memory(&export, &made.infos, &engine::among(&made.tensors), &context)?;
        let mut rules: BTreeMap<&str, Location> = BTreeMap::new();
        for output in &export.outputs {
            let rule: &FlatRule = &export.mapping.rules[export.steps[output.step].rule];
            rules.insert(&output.name, rule.rule.at);
        }
        let (mut shown, mut findings) = (Vec::new(), Vec::new());
        for (number, (info, tensor)) in sources.infos.iter().zip(&sources.tensors).enumerate() {
            let finding = |subject: String, problem: String| {
                let finding = Finding::new(FindingKind::Unequal, subject, problem);
                match rules.get(info.name.as_str()) {
                    Some(&at) => finding.rule(at),
                    None => finding,
                }
            };
            let Some(other) = back.get(&info.name) else {
                if left_behind.contains_key(&number) {
                    continue;
                }
                findings.push(finding(info.name.clone(), "does not come back".into()));
                continue;
            };
            shown.push(info.clone());
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
        if findings.is_empty() { Ok(shown) } else { Err(Error::refused(findings)) }
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

/// Adds rules by their names and places.
fn add(names: &mut Vec<String>, mapping: &FlatMapping, rules: BTreeSet<usize>) {
    for rule in rules.into_iter().map(|rule| &mapping.rules[rule]) {
        let name = format!("{} ({})", rule.name(), rule.rule.at);
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

/// Without the tensors that only rules read which are taken out of the proof.
fn given(mapping: &FlatMapping, stay: &[bool], tensors: &[Shaped]) -> Vec<Shaped> {
    let reads = |name: &str, stays: bool| {
        let mut rules = mapping.rules.iter().zip(stay).filter(|(_, stay)| **stay == stays);
        rules.any(|(rule, _)| {
            let mut sources = rule.sources.iter().chain(rule.rule.reads);
            sources.any(|source| source.matches(name))
        })
    };
    let hidden = |name: &str| reads(name, false) && !reads(name, true);
    tensors.iter().filter(|(name, _)| !hidden(name)).cloned().collect()
}

/// Tensors of these names and shapes, filled.
fn fill(
    shapes: &[Shaped],
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
