//! Plans for tests: sources in short lines, and what comes out in short lines. The unit tests and
//! `tests/hard_patterns` share this file.
#![allow(dead_code, reason = "not every test needs everything")]

use connector_core::Mapping;
use connector_core::mapping::FlatMapping;
use connector_core::plan::{Finding, Input, Output, Plan, PlanOptions, Request};
use connector_core::schema::{Instance, Model, expand, holds};
use connector_core::store::{Dtype, TensorInfo};
use connector_core::transform::Config;
use std::collections::{BTreeMap, HashMap, HashSet};

/// A model without a schema, and with whatever numbers a test wants as config.
#[derive(Debug)]
pub struct Free;

impl Model for Free {
    type Config = BTreeMap<String, u64>;
}

/// No config for [`Free`].
pub fn nothing() -> BTreeMap<String, u64> {
    BTreeMap::new()
}

/// The tensors of a source: `"layers.{0..4}.q: 8 16 bf16"` are four of shape `[8, 16]`. Ranges do
/// not include their end; the type is F32 if none is given.
pub fn tensors(lines: &[&str]) -> Vec<TensorInfo> {
    let mut all = Vec::new();
    for line in lines {
        let (names, rest) = line.split_once(": ").expect("`name: dimensions`");
        let numbers = rest.split_whitespace().filter_map(|word| word.parse().ok());
        let shape: Vec<usize> = numbers.collect();
        let dtype = rest.split_whitespace().find_map(|word| word.to_uppercase().parse().ok());
        for name in ranges(names) {
            let dtype = dtype.unwrap_or(Dtype::F32);
            all.push(TensorInfo::whole(name, shape.clone(), dtype, 0, 0));
        }
    }
    all
}

/// `a.{0..3}` and so on as `a.0`, `a.1`, `a.2`.
fn ranges(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.into()] };
    let (range, after) = rest.split_once('}').expect("`{from..to}`");
    let (from, to) = range.split_once("..").expect("`{from..to}`");
    let numbers = from.parse::<u64>().unwrap()..to.parse().unwrap();
    let after = ranges(after);
    numbers.flat_map(|n| after.iter().map(move |after| format!("{before}{n}{after}"))).collect()
}

/// The outcome of planning, with the source it was made for.
pub struct Planned {
    pub tensors: Vec<TensorInfo>,
    pub result: Result<Plan, Vec<Finding>>,
}

/// Plans `source` for the model `M` under `config`.
pub fn plan<M: Model>(config: &M::Config, mapping: Mapping, source: &[&str]) -> Planned {
    plan_with::<M>(config, mapping, tensors(source), &PlanOptions::default())
}

/// The same with options.
pub fn plan_with<M: Model>(
    config: &M::Config,
    mapping: Mapping,
    tensors: Vec<TensorInfo>,
    options: &PlanOptions,
) -> Planned {
    let planned = make::<M>(config, &FlatMapping::new(&mapping, &[]), tensors, options);
    if let (Ok(plan), Some(instance)) = (&planned.result, M::instance(config)) {
        check_complete(plan, instance.as_ref());
    }
    planned
}

/// Plans the export of a checkpoint of the model `M`: the mapping read backwards.
pub fn export<M: Model>(config: &M::Config, mapping: Mapping, checkpoint: &[&str]) -> Planned {
    let mapping = FlatMapping::new(&mapping, &[]).reversed();
    make::<M>(config, &mapping, tensors(checkpoint), &PlanOptions::default())
}

fn make<M: Model>(
    config: &M::Config,
    mapping: &FlatMapping,
    tensors: Vec<TensorInfo>,
    options: &PlanOptions,
) -> Planned {
    let result = Plan::new(&Request {
        mapping,
        instance: M::instance(config).as_deref(),
        model: &Config::from_model(config).unwrap(),
        format: &Config::default(),
        tensors: &tensors,
        options,
    });
    if let Ok(plan) = &result {
        check_consumed(plan, tensors.len());
    }
    Planned { tensors, result }
}

/// What every plan with a schema must hold: each parameter that exists is written once, under one
/// of its names and in its shape, or is known to be left out.
fn check_complete(plan: &Plan, instance: &dyn Instance) {
    let schema = instance.schema();
    let mut outputs: HashMap<&str, &Output> = HashMap::new();
    for output in &plan.outputs {
        assert!(outputs.insert(&output.name, output).is_none(), "{} is written twice", output.name);
    }
    let absent: HashSet<&str> = plan.absent.iter().map(String::as_str).collect();
    let mut count = 0;
    for (number, parameter) in schema.parameters.iter().enumerate() {
        for (captures, at) in expand(instance, &parameter.pattern) {
            if !holds(instance, &parameter.when, &at) {
                continue;
            }
            count += 1;
            let field = |name: &str| {
                let field = schema.fields.iter().position(|field| *field == name)?;
                Some(instance.field(field, &at))
            };
            let spellings = std::iter::once(&parameter.pattern).chain(parameter.aka);
            let names: Vec<_> = spellings.map(|p| p.key(&captures, field).unwrap()).collect();
            let made: Vec<_> = names.iter().filter_map(|name| outputs.get(name.as_str())).collect();
            let absent = names.iter().filter(|name| absent.contains(name.as_str())).count();
            assert!(made.len() + absent <= 1, "{names:?} is written {} times", made.len());
            assert!(plan.skipped > 0 || made.len() + absent == 1, "{names:?} is never written");
            for output in made {
                assert_eq!(output.shape, Some(instance.shape(number, &at)), "{}", output.name);
            }
        }
    }
    assert_eq!(count, plan.outputs.len() + plan.absent.len() + plan.skipped);
}

/// What every plan must hold: each source tensor is read, compared or left behind on purpose.
fn check_consumed(plan: &Plan, tensors: usize) {
    let mut consumed = vec![plan.skipped > 0; tensors];
    for step in &plan.steps {
        step.inputs.iter().for_each(|input| consumed[input.tensor] = true);
        step.reads.iter().for_each(|&tensor| consumed[tensor] = true);
    }
    plan.ignored.iter().for_each(|ignored| consumed[ignored.tensor] = true);
    plan.equal.iter().for_each(|equal| consumed[equal.left] = true);
    assert!(consumed.iter().all(|consumed| *consumed), "a source tensor is lost");
}

impl Planned {
    /// The plan.
    #[track_caller]
    pub fn plan(&self) -> &Plan {
        match &self.result {
            Ok(plan) => plan,
            Err(_) => panic!("refused:\n{}", self.refused().join("\n")),
        }
    }

    /// For each output a line: `target <- source, source[index]`.
    #[track_caller]
    pub fn makes(&self) -> Vec<String> {
        let plan = self.plan();
        let input = |input: &Input| {
            let index = input.index.map_or(String::new(), |index| format!("[{index}]"));
            self.tensors[input.tensor].name.clone() + &index
        };
        let line = |output: &Output| {
            let inputs: Vec<String> = plan.steps[output.step].inputs.iter().map(input).collect();
            format!("{} <- {}", output.name, inputs.join(", "))
        };
        plan.outputs.iter().map(line).collect()
    }

    /// For each finding its kind, subject and notes: `missing-source a.0: it needs …; …`.
    #[track_caller]
    pub fn refused(&self) -> Vec<String> {
        let Err(findings) = &self.result else { panic!("accepted:\n{}", self.makes().join("\n")) };
        let line = |finding: &Finding| {
            let kind = serde_json::to_value(finding.kind).unwrap();
            let (kind, subject) = (kind.as_str().unwrap(), &finding.subject);
            let advice = finding.advice.iter().map(ToString::to_string);
            let notes: Vec<String> = finding.notes.iter().cloned().chain(advice).collect();
            format!("{kind} {subject}: {}", notes.join("; "))
        };
        findings.iter().map(line).collect()
    }

    /// The tensors that are left behind on purpose.
    #[track_caller]
    pub fn ignored(&self) -> Vec<&str> {
        let ignored = &self.plan().ignored;
        ignored.iter().map(|ignored| self.tensors[ignored.tensor].name.as_str()).collect()
    }

    /// The tensors that are compared: `left == right`.
    #[track_caller]
    pub fn compared(&self) -> Vec<String> {
        let name = |tensor: usize| &self.tensors[tensor].name;
        let equal = self.plan().equal.iter();
        equal.map(|equal| format!("{} == {}", name(equal.left), name(equal.right))).collect()
    }
}

/// Asserts that `all` has each of `some`.
#[track_caller]
pub fn has(all: &[String], some: &[&str]) {
    for line in some {
        assert!(all.iter().any(|other| other == line), "no `{line}` in:\n{}", all.join("\n"));
    }
}

/// Asserts that `lines` are as many as `starts` and begin so.
#[track_caller]
pub fn begin(lines: &[String], starts: &[&str]) {
    let fit =
        lines.len() == starts.len() && lines.iter().zip(starts).all(|(l, s)| l.starts_with(s));
    assert!(fit, "not {starts:?}:\n{}", lines.join("\n"));
}
