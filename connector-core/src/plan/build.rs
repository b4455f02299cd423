use super::branches::Branches;
use super::finding::{self, Problem, Single};
use super::step;
use super::together::Blocks;
use super::{
    EqualCheck, Finding, FindingKind, Ignored, IgnoredBy, Output, Plan, Request, Step, copies,
    dropped, leftovers, natural_order, origins, parse_patterns, sources, targets, together,
};
use crate::base::{TensorInfo, parallel};
use crate::key::{Captures, Pattern};
use crate::mapping::{Direction, FlatRule, Fold};
use crate::transform::{Numbers, Shape};
use foldhash::{HashMap, HashMapExt};
use std::collections::{BTreeSet, HashSet};

/// Everything known while a plan is made.
pub(super) struct Builder<'a> {
    pub request: &'a Request<'a>,
    /// The source tensors that are not left out, by name.
    pub by_name: HashMap<&'a str, usize>,
    /// Other names under which rules may ask for them (`aka`).
    pub spellings: HashMap<String, usize>,
    /// Which source tensors some step reads.
    pub used: Vec<bool>,
    /// Source keys that a rule asked for in vain.
    pub missing: BTreeSet<String>,
    pub findings: Vec<Single>,
    /// Rules that could not be carried out somewhere. What they would read is no leftover.
    pub failed: BTreeSet<usize>,
    /// The branches that are taken.
    pub branches: Branches,
    pub steps: Vec<Step>,
    pub outputs: Vec<Output>,
    /// Sources that an operation or a row wants to be the same.
    pub equal: Vec<EqualCheck>,
    /// Which step a rule and its captures already have.
    known: HashMap<(usize, Captures<'static>), Option<usize>>,
    /// For rules that fold an axis that no schema knows: the indices that it runs over.
    pub folded: HashMap<usize, BTreeSet<u64>>,
    /// Targets of `optional` rules whose sources are not there.
    pub absent: Vec<String>,
    /// What is there of each optional block.
    pub together: Blocks,
}

/// A target of a rule: its name and, with a schema, its shape and whether a cast spares it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub name: String,
    pub shape: Option<Shape>,
    pub keep: bool,
}

pub(super) fn build(request: &Request<'_>) -> Result<Plan, Vec<Finding>> {
    let ignore = parse_patterns(&request.options.ignore)?;
    let only = parse_patterns(&request.options.only)?;
    let mut builder = Builder::new(request);
    builder.refuse_repeated();
    let ignored = builder.leave_out(&ignore);

    match (request.instance, request.mapping.direction) {
        (Some(instance), Direction::Import) => targets::build(&mut builder, instance)?,
        (Some(instance), Direction::Export) => origins::build(&mut builder, instance)?,
        (None, _) => sources::build(&mut builder),
    }
    together::all_or_none(&mut builder);
    let copies = match request.mapping.direction {
        Direction::Import => Vec::new(),
        Direction::Export => copies::add(&mut builder),
    };
    let left_behind = leftovers::settle(&mut builder);
    let mut absent = std::mem::take(&mut builder.absent);
    absent.sort_by_cached_key(|name| natural_order(name));
    if builder.findings.is_empty() {
        builder.refuse_idle(&only);
    }
    if !builder.findings.is_empty() {
        return Err(finding::group(builder.findings));
    }

    // The steps of an unstacked axis all ask for the same comparison.
    let mut compared = HashSet::new();
    builder.equal.retain(|equal| compared.insert((equal.left, equal.right)));
    let compared = builder.equal.iter().map(|equal| equal.left);
    let dropped = dropped::of_sources(&builder.steps, request.mapping, request.tensors, compared);
    let mut plan = Plan {
        mapping: request.mapping.clone(),
        steps: builder.steps,
        outputs: builder.outputs,
        equal: builder.equal,
        copies,
        dropped,
        ignored: ignored.into_iter().chain(left_behind).collect(),
        skipped: 0,
        absent,
        configs: format!("{} {}", request.model.json(), request.format.json()),
    };
    keep_only(&mut plan, &only);
    plan.dropped.extend(dropped::between(&plan.steps, &plan.mapping));
    sort(&mut plan);
    Ok(plan)
}

/// Drops the steps none of whose outputs was asked for.
fn keep_only(plan: &mut Plan, only: &[(Pattern<'_>, &str)]) {
    if only.is_empty() {
        return;
    }
    let wanted = |output: &Output| only.iter().any(|(pattern, _)| pattern.matches(&output.name));
    let keep: Vec<bool> =
        plan.steps.iter().map(|s| s.outputs.iter().any(|&o| wanted(&plan.outputs[o]))).collect();
    let before = plan.outputs.len();
    retain(&mut plan.steps, &mut plan.outputs, &keep);
    plan.skipped = before - plan.outputs.len();
    // What is not converted needs no comparison: the two may be the largest tensors there are.
    let read: HashSet<usize> =
        plan.steps.iter().flat_map(|s| &s.inputs).map(|i| i.tensor).collect();
    plan.equal.retain(|equal| read.contains(&equal.right));
    plan.dropped.retain(|dropped| read.contains(&dropped.tensor));
}

/// Drops the steps that are not to be kept, with their outputs.
pub(super) fn retain(steps: &mut Vec<Step>, outputs: &mut Vec<Output>, keep: &[bool]) {
    let (old_steps, old_outputs) = (std::mem::take(steps), std::mem::take(outputs));
    for (mut step, _) in old_steps.into_iter().zip(keep).filter(|(_, keep)| **keep) {
        for output in &mut step.outputs {
            outputs.push(Output { step: steps.len(), ..old_outputs[*output].clone() });
            *output = outputs.len() - 1;
        }
        steps.push(step);
    }
}

/// Puts the outputs in the order in which they are written.
fn sort(plan: &mut Plan) {
    let key = |output: usize| natural_order(&plan.outputs[output].name);
    let keys = parallel::each(plan.outputs.len(), key);
    let mut order: Vec<usize> = (0..plan.outputs.len()).collect();
    // The outputs of one parameter come in order: a stable sort only merges these runs.
    order.sort_by(|&a, &b| keys[a].cmp(&keys[b]));
    let mut place = vec![0; order.len()];
    for (new, &old) in order.iter().enumerate() {
        place[old] = new;
    }
    let mut outputs: Vec<_> = std::mem::take(&mut plan.outputs).into_iter().map(Some).collect();
    plan.outputs = order.iter().filter_map(|&old| outputs[old].take()).collect();
    for step in &mut plan.steps {
        for output in &mut step.outputs {
            *output = place[*output];
        }
    }
}

impl<'a> Builder<'a> {
    fn new(request: &'a Request<'a>) -> Self {
        let names = request.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i));
        Builder {
            request,
            by_name: names.collect(),
            spellings: HashMap::new(),
            used: vec![false; request.tensors.len()],
            missing: BTreeSet::new(),
            findings: Vec::new(),
            failed: BTreeSet::new(),
            branches: Branches::default(),
            steps: Vec::new(),
            outputs: Vec::new(),
            equal: Vec::new(),
            known: HashMap::new(),
            folded: HashMap::new(),
            absent: Vec::new(),
            together: Blocks::default(),
        }
    }

    /// Two tensors of one name: rules would take either for the other.
    fn refuse_repeated(&mut self) {
        for (number, tensor) in self.request.tensors.iter().enumerate() {
            if self.by_name[tensor.name.as_str()] != number {
                self.used[number] = true;
                let note = vec!["nothing says which of the two is meant".into()];
                let (kind, problem) = (FindingKind::Files, Problem::Repeated);
                self.finding(kind, problem, &tensor.name, None, note);
            }
        }
    }

    /// A pattern of [`only`](super::PlanOptions::only) that no parameter matches: a slip would leave
    /// an empty checkpoint.
    fn refuse_idle(&mut self, only: &[(Pattern<'_>, &str)]) {
        for (pattern, text) in only {
            if !self.outputs.iter().any(|output| pattern.matches(&output.name)) {
                self.finding(FindingKind::Rule, Problem::Idle, text, None, Vec::new());
            }
        }
    }

    /// Takes the tensors that the user does not want out of the source.
    fn leave_out(&mut self, ignore: &[(Pattern<'_>, &str)]) -> Vec<Ignored> {
        let mut ignored = Vec::new();
        for (number, tensor) in self.request.tensors.iter().enumerate() {
            if let Some((_, text)) = ignore.iter().find(|(p, _)| p.matches(&tensor.name)) {
                self.by_name.remove(tensor.name.as_str());
                self.used[number] = true;
                let by = IgnoredBy::Option(text.to_string());
                ignored.push(Ignored { tensor: number, by });
            }
        }
        ignored
    }

    pub fn tensor(&self, number: usize) -> &'a TensorInfo {
        &self.request.tensors[number]
    }

    /// The source tensor that a rule calls `key`.
    pub fn find(&self, key: &str) -> Option<usize> {
        self.by_name.get(key).or_else(|| self.spellings.get(key)).copied()
    }

    pub fn rule(&self, number: usize) -> &'a FlatRule {
        &self.request.mapping.rules[number]
    }

    pub fn finding(
        &mut self,
        kind: FindingKind,
        problem: Problem,
        key: &str,
        rule: Option<usize>,
        notes: Vec<String>,
    ) {
        if matches!(kind, FindingKind::Ambiguous | FindingKind::Rule) {
            self.failed.extend(rule);
        }
        let rule = rule.map(|rule| self.rule(rule).rule.at);
        self.findings.push(Single { kind, key: key.into(), problem, notes, rule });
    }

    /// The numbers of the model, for index offsets and operations.
    pub fn numbers<'b>(&'b self, at: &'b [usize]) -> Numbers<'b> {
        Numbers::new(self.request.model, self.request.instance.map(|instance| (instance, at)))
    }

    /// The same for the offsets of patterns.
    pub fn field<'b>(&'b self, at: &'b [usize]) -> impl Fn(&str) -> Option<u64> + 'b {
        let numbers = self.numbers(at);
        move |name| numbers.get(name).map(|n| n as u64)
    }

    /// Whether a rule has one step for several parameters.
    pub fn is_shared(&self, rule: usize) -> bool {
        let FlatRule { sources, targets, fold, .. } = self.rule(rule);
        match self.request.mapping.direction {
            Direction::Import => targets.len() > 1 || matches!(fold, Fold::Spread(_)),
            Direction::Export => sources.len() > 1 || self.is_folded(rule),
        }
    }

    /// Whether a rule takes the tensors along an axis together.
    pub fn is_folded(&self, rule: usize) -> bool {
        matches!(self.rule(rule).fold, Fold::Stack(_) | Fold::Gather(_))
    }

    /// The step that applies `rule` at `captures`, made at the first call. `None` if it cannot be
    /// made, which is then a finding, or need not be (`optional`).
    ///
    /// `targets` are in the order of the rule's; for a spread axis they are its members.
    pub fn step(
        &mut self,
        rule: usize,
        captures: Captures<'static>,
        at: &[usize],
        targets: Vec<Target>,
    ) -> Option<usize> {
        let key = self.is_shared(rule).then(|| (rule, captures.clone()));
        if let Some(known) = key.as_ref().and_then(|key| self.known.get(key)) {
            return *known;
        }
        step::index_folded_axis(self, rule, at);
        let applied = step::apply(self, rule, &captures, at, &targets);
        let made = step::add(self, rule, captures, targets, applied);
        if let Some(key) = key {
            self.known.insert(key, made);
        }
        made
    }
}
