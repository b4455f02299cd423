use super::args::{How, Selection, Trained};
use super::exit::Exit;
use super::failure::Failure;
use super::page::{Column, Page};
use super::screen::Screen;
use super::text::{self, JOINED};
use super::{memory, overview, source};
use crate::connector::{Direction, Planned, Registration};
use crate::plan::{PlanOptions, RuleUse, Summary};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

/// How many files, rules or fields the screen shows; JSON has all.
const MOST: usize = 12;

pub(super) fn run(
    selection: &Selection,
    trained: &Trained,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    // The program ends here: to free 100,000 steps piece by piece takes longer than that.
    let planned = ManuallyDrop::new(source::plan_either(selection, trained)?);
    let warnings = warnings(&planned, &selection.what.options())?;
    let summary = planned.plan().summary(planned.source().tensors());
    let mut page = screen.page();
    show(&mut page, &planned, &selection.how, &summary);
    screen.show(&page);
    warnings.iter().for_each(|warning| screen.warn(warning));
    screen.document(|| {
        let mut document = json!({ "schema": "connector.plan/1", "warnings": warnings });
        if let (Value::Object(document), Value::Object(plan)) =
            (&mut document, json(&planned, &summary))
        {
            document.extend(plan);
        }
        document
    });
    Ok(Exit::Ok)
}

/// Options without effect; an error if with them nothing would be written at all.
pub(super) fn warnings(planned: &Planned, asked: &PlanOptions) -> Result<Vec<String>, Failure> {
    let mut warnings = overview::unmatched(planned.plan(), asked);
    if planned.plan().outputs.is_empty() && !asked.only.is_empty() {
        let source = text::quoted(planned.path());
        return Err(Failure::usage(warnings.join("; "))
            .help(format!("`connector plan {source}` without --only shows what there is")));
    }
    warnings.extend(planned.warnings().iter().cloned());
    Ok(warnings)
}

pub(super) fn show(page: &mut Page, planned: &Planned, how: &How, summary: &Summary) {
    overview::show_source(page, planned);
    page.field(
        if planned.direction() == Direction::Import { "importer" } else { "exporter" },
        &connector(planned),
    );
    overview::show_plan(page, planned, summary);
    page.gap();
    show_rules(page, &summary.rules);
    page.gap();
    let files: Vec<_> = planned.files().collect();
    let total = files.iter().map(|file| file.1).sum();
    let read = text::count(planned.source().file_count(), "file");
    page.field("read", &format!("{} from {read}", text::bytes(summary.bytes_in)));
    let each: Vec<String> =
        files.iter().map(|(name, len)| format!("{name}{JOINED}{}", text::bytes(*len))).collect();
    let many = files.len() > 1;
    let largest =
        if many { format!(", at most {} each", how.max_shard_size) } else { String::new() };
    page.field(
        "write",
        &format!(
            "{} in {}{}{largest}",
            text::bytes(total),
            text::count(files.len(), "file"),
            if planned.weights().is_empty() { "" } else { " of weights/" },
        ),
    );
    page.more(&text::some(&each, MOST));
    page.field("memory", &bound(planned, how));
    show_config(page, planned);
}

fn connector(planned: &Planned) -> String {
    let registration = planned.registration();
    let Registration { model, format, at, dynamic, exports, .. } = registration;
    let name = overview::short_name(registration);
    let read_backwards = registration.direction != planned.direction();
    let way = match planned.direction() {
        Direction::Import => "from",
        Direction::Export => "to",
    };
    let backwards = if read_backwards { ", read backwards" } else { "" };
    let has_schema = registration.connector.schema().is_some();
    let proof = match (dynamic, registration.direction) {
        (true, _) => "dynamic: it converts in its own way",
        (false, Direction::Export) => "written by hand",
        (false, Direction::Import) if !has_schema => "without a schema",
        (false, Direction::Import) if read_backwards && !exports => "not declared to `export`",
        (false, Direction::Import) => "proven at compile time",
    };
    format!("{name}: {model} {way} {format}{backwards} · {proof} · {at}")
}

fn show_rules(page: &mut Page, rules: &[RuleUse]) {
    // The same rule for weights and biases, or for dense and MoE layers, is one line.
    let mut lines: BTreeMap<(&str, &str), (usize, &str)> = BTreeMap::new();
    for rule in rules {
        let operation = if rule.rename { "rename" } else { rule.operation.as_str() };
        let line = lines.entry((&rule.label, operation)).or_insert((0, &rule.at));
        line.0 += rule.steps;
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|((label, _), (steps, _))| (std::cmp::Reverse(*steps), *label));
    let digits = lines.first().map_or(0, |line| line.1.0.to_string().len());
    let row = |((label, operation), (steps, at)): &((&str, &str), (usize, &str))| {
        vec![format!("{steps:>digits$} × {label}"), operation.to_string(), at.to_string()]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    page.table(2, &[Column::Left; 3], &rows);
}

/// The bound, and the rule that sets it.
fn bound(planned: &Planned, how: &How) -> String {
    let bound = planned.bound();
    let mut text = memory::bound(bound, &how.resources.max_memory);
    if let Some((rule, key)) = largest(planned) {
        let step = text::bytes(bound.step);
        text += &format!(", {step} for {} of {key} ({})", rule.operation, rule.at);
    }
    text
}

/// The operation and place of the rule behind the largest step, and the step's target.
fn largest(planned: &Planned) -> Option<(Rule, &str)> {
    let key = planned.bound().largest.as_deref()?;
    let plan = planned.plan();
    let output = plan.outputs.iter().find(|output| output.name == key)?;
    let rule = &plan.mapping.rules[plan.steps[output.step].rule];
    Some((Rule { operation: rule.name(), at: rule.rule.at.to_string() }, key))
}

struct Rule {
    operation: String,
    at: String,
}

fn show_config(page: &mut Page, planned: &Planned) {
    let report = planned.field_report();
    if planned.direction() == Direction::Export {
        return show_made_config(page, planned);
    }
    let names =
        |fields: &BTreeMap<String, Value>| -> Vec<String> { fields.keys().cloned().collect() };
    let used = names(&report.consumed);
    page.field(
        "config",
        &format!("{} used: {}", text::count(used.len(), "field"), text::some(&used, MOST)),
    );
    if !report.defaulted.is_empty() {
        let set = |(name, value): (&String, &Value)| format!("{name}{JOINED}={JOINED}{value}");
        let set: Vec<String> = report.defaulted.iter().map(set).collect();
        page.more(&format!("{} absent, taken as {}", set.len(), text::some(&set, MOST)));
    }
    if !report.carried.is_empty() {
        let carried = names(&report.carried);
        let list = text::some(&carried, MOST);
        page.more(&format!(
            "{} without effect on the weights, kept in context/: {list}",
            carried.len()
        ));
    }
}

/// What `config.json` is made of.
fn show_made_config(page: &mut Page, planned: &Planned) {
    let report = planned.field_report();
    let list = |fields: &BTreeMap<String, Value>| {
        let names: Vec<&String> = fields.keys().collect();
        format!("{}: {}", text::count(names.len(), "field"), text::some(&names, MOST))
    };
    page.field("config", &format!("as {} says, {}", planned.config_file(), list(&report.consumed)));
    let Some(original) = planned.original_file() else { return };
    if !report.changed.is_empty() {
        page.more(&format!("other than in {original}, {}", list(&report.changed)));
    }
    if !report.carried.is_empty() {
        page.more(&format!("only in {original}, {}", list(&report.carried)));
    }
}

pub(super) fn json(planned: &Planned, summary: &Summary) -> Value {
    let registration = planned.registration();
    let bound = planned.bound();
    let files: Vec<Value> =
        planned.files().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect();
    json!({
        "source": overview::source_json(planned),
        "direction": match planned.direction() {
            Direction::Import => "import",
            Direction::Export => "export",
        },
        "importer": super::list::connector_json(registration),
        "hash": planned.plan().hash(planned.source().tensors()),
        "summary": summary,
        "files": files,
        "memory": {
            "total": bound.total(),
            "pool": bound.pool,
            "step": bound.step,
            "tables": bound.tables,
            "largest": bound.largest,
            "operation": largest(planned).map(|(rule, _)| rule.operation),
            "at": largest(planned).map(|(rule, _)| rule.at),
        },
        "config": planned.field_report(),
        "model_config": planned.model_config().json(),
        "format_config": planned.format_config().json(),
    })
}
