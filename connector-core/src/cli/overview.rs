//! What `import`, `export` and `plan` say alike: the source, and the plan in a few lines.

use super::page::Page;
use super::text::{self, JOINED};
use crate::checkpoint::{HfCheckpoint, MegatronCheckpoint};
use crate::connector::{Direction, Planned, Registration};
use crate::key::Pattern;
use crate::plan::{DroppedRows, IgnoredBy, Plan, PlanOptions, Summary};
use crate::store::{Dtype, Source, TensorInfo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How many items of a list the screen shows; JSON has all.
const MOST: usize = 6;

/// A checkpoint as the commands name it.
pub(super) struct About<'a> {
    path: &'a Path,
    hub_revision: Option<(String, String)>,
    /// Its architectures, or of what an import wrote the model.
    names: Vec<&'a str>,
    architectures: Vec<&'a str>,
    source: &'a dyn Source,
}

impl<'a> From<&'a Planned> for About<'a> {
    fn from(planned: &'a Planned) -> Self {
        let names = planned.model_names();
        About {
            path: planned.path(),
            hub_revision: planned.hub_revision(),
            architectures: match planned.direction() {
                Direction::Import => names.clone(),
                Direction::Export => Vec::new(),
            },
            names,
            source: planned.source(),
        }
    }
}

impl<'a> From<&'a MegatronCheckpoint> for About<'a> {
    fn from(checkpoint: &'a MegatronCheckpoint) -> Self {
        About {
            path: checkpoint.path(),
            hub_revision: None,
            names: checkpoint.model().into_iter().collect(),
            architectures: Vec::new(),
            source: checkpoint.source(),
        }
    }
}

impl<'a> From<&'a HfCheckpoint> for About<'a> {
    fn from(checkpoint: &'a HfCheckpoint) -> Self {
        About {
            path: checkpoint.path(),
            hub_revision: checkpoint.hub_revision(),
            names: checkpoint.architectures(),
            architectures: checkpoint.architectures(),
            source: checkpoint.source(),
        }
    }
}

/// `  source   org/name @ 27d67f1b · MistralForCausalLM · bf16 · 14.5 GB in 2 files`
pub(super) fn show_source<'a>(page: &mut Page, about: impl Into<About<'a>>) {
    let About { path, hub_revision, names, source, .. } = about.into();
    let mut parts = vec![match hub_revision {
        Some((name, revision)) => format!("{name} @ {}", revision.get(..8).unwrap_or(&revision)),
        None => path.display().to_string(),
    }];
    parts.extend((!names.is_empty()).then(|| names.join(", ")));
    parts.push(dtypes(source.tensors()).join(", "));
    parts.push(format!(
        "{} in {}",
        text::bytes(total_bytes(source.tensors())),
        text::count(source.file_count(), "file")
    ));
    page.field("source", &parts.join(" · "));
}

pub(super) fn source_json<'a>(about: impl Into<About<'a>>) -> Value {
    let About { path, hub_revision, architectures, source, .. } = about.into();
    let (repository, revision) = hub_revision.unzip();
    json!({
        "path": path.to_string_lossy(),
        "repository": repository,
        "revision": revision,
        "architectures": architectures,
        "dtypes": dtypes(source.tensors()),
        "tensors": source.tensors().len(),
        "bytes": total_bytes(source.tensors()),
        "files": source.file_count(),
    })
}

pub(super) fn total_bytes(tensors: &[TensorInfo]) -> u64 {
    tensors.iter().map(TensorInfo::bytes).sum()
}

/// The types of the tensors, the one with most bytes first.
pub(super) fn dtypes(tensors: &[TensorInfo]) -> Vec<String> {
    let mut bytes: BTreeMap<_, u64> = BTreeMap::new();
    for tensor in tensors {
        *bytes.entry(tensor.dtype).or_default() += tensor.bytes();
    }
    let mut sorted: Vec<_> = bytes.into_iter().collect();
    sorted.sort_by_key(|&(dtype, bytes)| (std::cmp::Reverse(bytes), dtype));
    sorted.into_iter().map(|(dtype, _)| text::dtype(dtype)).collect()
}

/// The plan in numbers, and what it leaves behind.
pub(super) fn show_plan(page: &mut Page, planned: &Planned, summary: &Summary) {
    let plan = planned.plan();
    let what = written(planned);
    let head = format!(
        "{} → {}",
        text::count(summary.tensors, if what == "tensor" { "parameter" } else { "tensor" }),
        text::count(summary.parameters, what)
    );
    page.field("plan", &format!("{head}: {}", what_happens(summary).join(", ")));
    page.more(&completeness(planned, summary));
    for (keys, who) in summary.ignored.iter().take(MOST) {
        let who = match who {
            IgnoredBy::Option(_) => "--ignore".into(),
            who => who.to_string(),
        };
        page.more(&format!("left behind on purpose: {keys} ({who})"));
    }
    if let Some(more @ 1..) = summary.ignored.len().checked_sub(MOST) {
        page.more(&format!("and {more} more groups; --json lists them"));
    }
    for keys in summary.compared.iter().take(MOST) {
        page.more(&format!("{keys} repeats another tensor and is only compared"));
    }
    for rows in summary.dropped.iter().take(MOST) {
        let DroppedRows { keys, rows, operation, at, .. } = rows;
        page.more(&format!("{operation} leaves out {rows} of {keys} ({at})"));
    }
    if summary.casts > 0 {
        page.field("cast", &casts(plan, what).join(", "));
    }
}

/// What one of the tensors is called that are written.
fn written(planned: &Planned) -> &'static str {
    match planned.direction() {
        Direction::Import => "parameter",
        Direction::Export => "tensor",
    }
}

/// `131 renamed`, `32 × q_proj,k_proj,v_proj → linear_qkv`.
fn what_happens(summary: &Summary) -> Vec<String> {
    let renamed: usize =
        summary.rules.iter().filter(|rule| rule.rename).map(|rule| rule.steps).sum();
    let mut items = Vec::new();
    if renamed > 0 {
        items.push(format!("{renamed}{JOINED}renamed"));
    }
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for rule in summary.rules.iter().filter(|rule| !rule.rename) {
        let label = rule.label.replace(", ", ",").replace(' ', &JOINED.to_string());
        *others.entry(label).or_default() += rule.steps;
    }
    let show = |(label, steps): (&String, &usize)| format!("{steps}{JOINED}×{JOINED}{label}");
    items.extend(others.iter().take(MOST).map(show));
    if let Some(more @ 1..) = others.len().checked_sub(MOST) {
        items.push(format!("and {more} more rules"));
    }
    items
}

/// `HfLlama` of `my_crate::llama::HfLlama`.
pub(super) fn short_name(connector: &Registration) -> &'static str {
    connector.name.rsplit("::").next().unwrap_or(connector.name)
}

/// What the plan proves.
fn completeness(planned: &Planned, summary: &Summary) -> String {
    if summary.skipped > 0 {
        let skipped = text::count(summary.skipped, written(planned));
        return format!("{skipped} not asked for (--only): the output is not a whole model");
    }
    let export = planned.direction() == Direction::Export;
    let used = match (export, summary.ignored.len()) {
        (false, 0) => "every source tensor used",
        (false, _) => "every other source tensor used",
        (true, 0) => "every tensor of the checkpoint used",
        (true, _) => "every other tensor of the checkpoint used",
    };
    match (export, planned.registration().connector.schema().is_some()) {
        (false, true) => format!("{used}, every parameter produced"),
        (true, true) => format!("{used}, every parameter there"),
        (_, false) => {
            format!("{used}; without a schema nothing tells whether a parameter is missing")
        }
    }
}

/// `195 parameters f32 → bf16`.
fn casts(plan: &Plan, what: &str) -> Vec<String> {
    let mut casts: BTreeMap<(Dtype, Dtype), usize> = BTreeMap::new();
    for output in plan.outputs.iter().filter(|output| output.dtype != output.made_as) {
        *casts.entry((output.made_as, output.dtype)).or_default() += 1;
    }
    let show = |((from, to), count): (&(Dtype, Dtype), &usize)| {
        format!("{} {} → {}", text::count(*count, what), text::dtype(from), text::dtype(to))
    };
    casts.iter().map(show).collect()
}

/// Options that had no effect, which is probably not meant so.
pub(super) fn unmatched(plan: &Plan, options: &PlanOptions) -> Vec<String> {
    let by =
        |pattern: &String| plan.ignored.iter().any(|i| i.by == IgnoredBy::Option(pattern.clone()));
    let ignore = options.ignore.iter().filter(|pattern| !by(pattern));
    let ignore = ignore.map(|pattern| format!("--ignore '{pattern}' matches no source tensor"));
    let writes = |pattern: &String| {
        let Ok(pattern) = Pattern::parse(pattern) else { return false };
        plan.outputs.iter().any(|output| pattern.matches(&output.name))
    };
    let only = options.only.iter().filter(|pattern| !writes(pattern));
    let only = only.map(|pattern| format!("--only '{pattern}' matches no parameter"));
    ignore.chain(only).collect()
}
