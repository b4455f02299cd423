use super::args::{Selection, Trained};
use super::exit::Exit;
use super::failure::Failure;
use super::page::Page;
use super::screen::Screen;
use super::{findings, layout, nearest, source, text};
use crate::connector::Planned;
use crate::plan::{Explanation, Finding, IgnoredBy, InputView, OutputView, Remark};
use crate::store::Source;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(
    selection: &Selection,
    trained: &Trained,
    key: &str,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    match source::plan_either(selection, trained) {
        Ok(planned) => follow(&planned, key, screen),
        Err(failure) if !failure.findings.is_empty() => {
            let reader = source::reader(&source::weights(&selection.source, &trained.iteration)?)?;
            refused(&reader, &selection.source, failure, key, screen)
        }
        Err(failure) => Err(failure),
    }
}

/// What happens to a key under a plan.
fn follow(planned: &Planned, asked: &str, screen: &mut Screen) -> Result<Exit, Failure> {
    let source = planned.source();
    let outputs = planned.plan().outputs.iter().map(|output| output.name.as_str());
    let keys: Vec<&str> = source.tensors().iter().map(|t| t.name.as_str()).chain(outputs).collect();
    let key = nearest::find(&keys, asked).ok_or_else(|| unknown(&keys, asked))?;
    let explanations = planned
        .plan()
        .explain(key, source.tensors(), &|file| source.path(file).display().to_string());
    let explanations = explanations.unwrap_or_default();

    let mut page = screen.page();
    page.subject(key, &describe(key, &explanations));
    for explanation in &explanations {
        show(&mut page, planned, explanation, key);
    }
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.explain/1",
            "key": key,
            "refused": false,
            "explanations": explanations.iter().map(|e| to_json(planned, e)).collect::<Vec<_>>(),
            "findings": [],
        })
    });
    Ok(Exit::Ok)
}

/// What is known of a key where there is no plan: its place and the findings that are about it.
fn refused(
    source: &dyn Source,
    path: &Path,
    failure: Failure,
    asked: &str,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let tensors = source.tensors();
    let about = failure.findings.iter().flat_map(|finding| finding.keys.iter().map(String::as_str));
    let keys: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).chain(about).collect();
    let key = nearest::find(&keys, asked).ok_or_else(|| unknown(&keys, asked))?.to_string();
    let tensor = tensors.iter().find(|tensor| tensor.name == key);
    let concerns = |finding: &&Finding| {
        let names =
            |note: &String| note.split(' ').any(|word| word.trim_matches([',', '?']) == key);
        finding.subject == key || finding.keys.contains(&key) || finding.notes.iter().any(names)
    };
    let findings: Vec<Finding> = failure.findings.iter().filter(concerns).cloned().collect();

    let place = tensor.and_then(|tensor| {
        let (file, offset) = tensor.pieces.first()?;
        Some((relative(source.path(file), path), offset, offset + tensor.bytes()))
    });
    let mut page = screen.page();
    match tensor {
        Some(tensor) => {
            page.subject(&key, &size(&tensor.shape, &tensor.dtype.to_string(), tensor.bytes()))
        }
        None => page.subject(&key, "not in the source"),
    }
    if let Some((file, from, to)) = &place {
        page.field("lies in", &place_text(file, *from, *to));
    }
    let all = text::count(failure.findings.len(), "finding");
    match findings.len() {
        0 => page.field("refused", &format!("there is no plan, for other reasons: {all}")),
        n => page.field("refused", &format!("there is no plan; about this tensor: {n} of {all}")),
    }
    findings::show(&mut page, &findings);
    if findings.len() < failure.findings.len() {
        page.gap();
        page.advice(&format!("`connector plan {}` lists all findings", text::quoted(path)));
    }
    screen.show(&page);
    screen.document(|| {
        let place = place.map(|(file, from, to)| json!({ "file": file, "start": from, "end": to }));
        json!({
            "schema": "connector.explain/1",
            "key": key,
            "refused": true,
            "explanations": [],
            "findings": findings,
            "tensor": tensor.map(|t| json!({
                "shape": t.shape, "dtype": t.dtype.to_string(), "bytes": t.bytes(), "place": place,
            })),
        })
    });
    Ok(Exit::Refused)
}

fn unknown(keys: &[&str], asked: &str) -> Failure {
    let message = format!("neither side has a tensor called {asked}");
    let failure = Failure::new(Exit::Usage, "unknown-key", message);
    let near = nearest::near(keys, asked);
    if near.is_empty() {
        return failure.help("`connector inspect SOURCE` lists the source's tensors, grouped");
    }
    failure.help(format!("did you mean {}?", near.join(" or ")))
}

/// Shape, type and size of the key that was asked for, from whichever side has it.
fn describe(key: &str, explanations: &[Explanation]) -> String {
    let inputs = explanations.iter().flat_map(|e| &e.inputs);
    if let Some(input) = inputs.into_iter().find(|input| input.name == key) {
        return size(&input.shape, &input.dtype, bytes_of(input));
    }
    let mut outputs = explanations.iter().flat_map(|e| &e.outputs);
    match outputs.find(|output| output.name == key) {
        Some(OutputView { shape: Some(shape), dtype, bytes: Some(bytes), .. }) => {
            size(shape, dtype, *bytes)
        }
        _ => "of a shape that only its function knows".into(),
    }
}

fn size(shape: &[usize], dtype: &str, bytes: u64) -> String {
    format!("{} {}, {}", text::shape(shape), text::dtype(dtype), text::bytes(bytes))
}

fn bytes_of(input: &InputView) -> u64 {
    input.places.iter().map(|(_, from, to)| to - from).sum()
}

fn show(page: &mut Page, planned: &Planned, explanation: &Explanation, key: &str) {
    let Explanation { operation, at, captures, inputs, outputs, remark, .. } = explanation;
    let root = planned.path();
    if let Some(remark) = remark {
        page.field("unused", &why(remark));
        for input in inputs {
            page.field("lies in", &input_place(input, root));
        }
        return;
    }
    let captures = if captures.is_empty() { String::new() } else { format!(" · {captures}") };
    let made = outputs.iter().any(|output| output.name == key);
    let label = if made { "made by" } else { "used by" };
    page.field(label, &format!("{operation} · {at}{captures}"));
    let rows: Vec<_> = inputs.iter().map(|input| input_row(input, root)).collect();
    page.places("from", &rows);
    let cut = layout::describe_source(planned.plan(), inputs, outputs);
    if let Some(layout) = &cut {
        page.field("layout", &format!("of the source: {layout}"));
    }
    for output in outputs {
        let layout = layout::describe(planned.plan(), output.number, inputs);
        if let Some(layout) = layout.filter(|_| cut.is_none()) {
            page.field("layout", &layout);
        }
        if let Some(from) = &output.cast_from {
            page.field("cast", &format!("{} → {}", text::dtype(from), text::dtype(&output.dtype)));
        }
    }
    let rows: Vec<_> = outputs.iter().map(|output| output_row(planned, output)).collect();
    page.places("to", &rows);
}

/// Why a tensor is not converted, by the option that asked for it.
fn why(remark: &Remark) -> String {
    match remark {
        Remark::LeftBehind(IgnoredBy::Option(pattern)) => {
            format!("left behind by --ignore {pattern}")
        }
        Remark::NotAskedFor => "not converted: nothing of it was asked for with --only".into(),
        remark => remark.to_string(),
    }
}

fn input_row(input: &InputView, root: &Path) -> [String; 3] {
    let index = input.index.map_or(String::new(), |index| format!(" at {index}"));
    [format!("{}{index}", input.name), text::shape(&input.shape), input_place(input, root)]
}

fn input_place(input: &InputView, root: &Path) -> String {
    match input.places.as_slice() {
        [(file, from, to)] => place_text(&relative(Path::new(file), root), *from, *to),
        pieces => format!("in {} pieces", pieces.len()),
    }
}

fn output_row(planned: &Planned, output: &OutputView) -> [String; 3] {
    let shape = output.shape.as_deref().map_or("unknown".into(), text::shape);
    let place = match planned.places(output.number)[..] {
        [(file, from, len)] => place_text(&in_output(planned, file), from, from + len),
        ref parts => format!("in {} pieces", parts.len()),
    };
    [output.name.clone(), shape, place]
}

/// A file of tensors as it will lie in the output: `weights/model.safetensors`.
fn in_output(planned: &Planned, file: &str) -> String {
    match planned.weights() {
        "" => file.into(),
        folder => format!("{folder}/{file}"),
    }
}

fn place_text(file: &str, from: u64, to: u64) -> String {
    format!("{file}, bytes {from}..{to}")
}

fn relative(file: &Path, root: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).display().to_string()
}

fn to_json(planned: &Planned, explanation: &Explanation) -> Value {
    let mut value = serde_json::to_value(explanation).unwrap_or(Value::Null);
    value["remark"] = explanation.remark.as_ref().map(why).into();
    let outputs = value.get_mut("outputs").and_then(Value::as_array_mut);
    for (view, output) in outputs.into_iter().flatten().zip(&explanation.outputs) {
        let place = |&(file, from, len): &(&str, u64, u64)| json!({ "file": in_output(planned, file), "start": from, "end": from + len });
        view["place"] = match &planned.places(output.number)[..] {
            [part] => place(part),
            parts => parts.iter().map(place).collect(),
        };
        view["layout"] =
            layout::describe(planned.plan(), output.number, &explanation.inputs).into();
    }
    value
}
