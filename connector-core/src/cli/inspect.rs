use super::args::Iteration;
use super::exit::Exit;
use super::failure::Failure;
use super::page::{Column, Page};
use super::progress::{Shown, Verb};
use super::screen::Screen;
use super::style::BAD;
use super::{overview, signals, source, text};
use crate::Cancel;
use crate::checkpoint::{Checked, Small, Tensors};
use crate::connector::Recorded;
use crate::engine::EngineOptions;
use crate::plan::{group_keys, natural_order};
use crate::store::{self, Dtype, Source, TensorInfo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How many files and problems the screen shows; JSON has all.
const MOST: usize = 8;

/// How much is looked at.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    /// Whether every tensor is listed.
    pub all: bool,
    /// Whether every byte is read.
    pub check: bool,
}

pub(super) fn run(
    path: &Path,
    depth: Depth,
    iteration: &Iteration,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let Depth { all, check } = depth;
    let weights = source::weights(path, iteration)?;
    let reader = source::reader(&weights)?;
    let checked = if check { check_sums(&reader, screen)? } else { None };
    let about = about(path)?;
    let groups = groups(reader.tensors());

    let mut page = screen.page();
    page.field("weights", &head(&weights, &reader));
    for (label, text) in &about {
        page.field(label, text);
    }
    if !groups.is_empty() {
        page.gap();
    }
    if all {
        show_all(&mut page, &reader);
    } else {
        show_groups(&mut page, &groups);
    }
    show_files(&mut page, &reader);
    show_problems(&mut page, &reader);
    match &checked {
        Some(checked) => show_checked(&mut page, checked),
        None if check => {
            page.field("checksums", &without(&format!("{} has none", reader.container())));
        }
        None => {}
    }
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.inspect/1",
            "path": weights.to_string_lossy(),
            "container": reader.container(),
            "tensors": reader.tensors().len(),
            "elements": reader.tensors().iter().map(TensorInfo::elements).sum::<u64>(),
            "bytes": overview::total_bytes(reader.tensors()),
            "files": files(&reader),
            "groups": groups.iter().map(Group::json).collect::<Vec<_>>(),
            "all": all.then(|| every(&reader)),
            "problems": reader.problems(),
            "checked": checked.as_ref().map(|checked| json!({
                "records": checked.records,
                "bytes": checked.bytes,
                "without": checked.without,
                "problems": problems(checked),
            })),
        })
    });
    let damaged = checked.is_some_and(|checked| !checked.damaged.is_empty());
    Ok(match (reader.problems().is_empty(), reader.file_count()) {
        (true, _) if damaged => Exit::Verification,
        (true, _) => Exit::Ok,
        (_, 0) => Exit::Io,
        _ => Exit::Refused,
    })
}

/// What the files beside the tensors say of the model.
fn about(path: &Path) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut about = Vec::new();
    if let Small::Read(text) = Small::read(&path.join("config.json"))?
        && let Ok(config) = crate::base::json::config::<Value>(&text)
        && let Some(names) = config["architectures"].as_array()
    {
        let names = names.iter().filter_map(Value::as_str);
        about.push(("model", names.collect::<Vec<_>>().join(", ")));
    }
    if let Some(made) = Recorded::read(path)? {
        let part = if made.is_complete() { "" } else { ", not the whole model" };
        let Recorded { tool, model, format, direction, .. } = made;
        let text = match direction.as_str() {
            "export" => format!("{tool}: {format} from {model}{part}"),
            "convert" => format!("{tool}: {model}, converted from another container{part}"),
            _ => format!("{tool}: {model} from {format}{part}"),
        };
        about.push(("made by", text));
    }
    Ok(about)
}

/// Reads every byte.
fn check_sums(reader: &Tensors, screen: &Screen) -> Result<Option<Checked>, Failure> {
    let cancel = Cancel::default();
    signals::watch(&cancel).map_err(store::Error::io("handle", "SIGINT"))?;
    let progress = Shown::new(screen, Verb::Comparing);
    let checked = reader.check(EngineOptions::default().threads, &progress, &cancel);
    progress.clear();
    checked.map_err(|error| Failure::from(error).signalled(&cancel))
}

fn problems(checked: &Checked) -> Vec<String> {
    checked.damaged.iter().map(ToString::to_string).collect()
}

/// The field for files without checksums.
fn without(why: &str) -> String {
    format!("{why}; `verify` compares with the source")
}

fn show_checked(page: &mut Page, checked: &Checked) {
    if checked.records == 0 && checked.damaged.is_empty() {
        return page.field("checksums", &without("the files were written without any"));
    }
    let sound =
        format!("{}, {}", text::count(checked.records, "record"), text::bytes(checked.bytes));
    page.field("checksums", &format!("{sound}: as they were written"));
    if checked.without > 0 {
        page.more(&format!("{} without any", text::count(checked.without, "record")));
    }
    let problems = problems(checked);
    if problems.is_empty() {
        return;
    }
    page.styled_field("damaged", BAD, &text::count(problems.len(), "record"));
    problems.iter().take(MOST).for_each(|problem| page.more(problem));
    if let Some(more @ 1..) = problems.len().checked_sub(MOST) {
        page.more(&format!("and {more} more; --json lists them"));
    }
}

fn head(path: &Path, reader: &Tensors) -> String {
    let tensors = reader.tensors();
    [
        path.display().to_string(),
        text::count(tensors.len(), "tensor"),
        format!("{} parameters", text::amount(tensors.iter().map(TensorInfo::elements).sum())),
        overview::dtypes(tensors).join(", "),
        format!(
            "{} in {}",
            text::bytes(overview::total_bytes(tensors)),
            text::count(reader.file_count(), "file")
        ),
    ]
    .into_iter()
    .filter(|part| !part.is_empty())
    .collect::<Vec<_>>()
    .join(" · ")
}

/// Tensors alike in all but their indices.
struct Group {
    keys: String,
    count: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: u64,
}

impl Group {
    fn json(&self) -> Value {
        let Group { keys, count, dtype, shape, bytes } = self;
        json!({ "keys": keys, "count": count, "dtype": dtype.name(), "shape": shape, "bytes": bytes })
    }
}

fn groups(tensors: &[TensorInfo]) -> Vec<Group> {
    let mut alike: BTreeMap<(Dtype, &[usize]), Vec<&TensorInfo>> = BTreeMap::new();
    for tensor in tensors {
        alike.entry((tensor.dtype, &tensor.shape)).or_default().push(tensor);
    }
    let mut groups = Vec::new();
    for ((dtype, shape), tensors) in alike {
        let each = tensors.first().map_or(0, |tensor| tensor.bytes());
        for group in group_keys(tensors.iter().map(|tensor| tensor.name.clone())) {
            let (first, count) = (natural_order(&group.keys[0]), group.keys.len());
            let bytes = each * count as u64;
            groups.push((
                first,
                Group { keys: group.text, count, dtype, shape: shape.into(), bytes },
            ));
        }
    }
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    groups.into_iter().map(|(_, group)| group).collect()
}

fn show_groups(page: &mut Page, groups: &[Group]) {
    let row = |group: &Group| {
        let count = if group.count == 1 { String::new() } else { format!("{} ×", group.count) };
        vec![
            group.keys.clone(),
            count,
            text::dtype(group.dtype),
            text::shape(&group.shape),
            text::bytes(group.bytes),
        ]
    };
    let columns = [Column::Left, Column::Right, Column::Left, Column::Left, Column::Right];
    page.table(2, &columns, &groups.iter().map(row).collect::<Vec<_>>());
}

/// The tensors in natural order.
fn sorted(reader: &Tensors) -> Vec<&TensorInfo> {
    let mut tensors: Vec<_> = reader.tensors().iter().collect();
    tensors.sort_by_cached_key(|tensor| natural_order(&tensor.name));
    tensors
}

fn show_all(page: &mut Page, reader: &Tensors) {
    let row = |tensor: &&TensorInfo| {
        let place = tensor.pieces.first();
        let place = place.map(|(file, offset)| format!("{} at {offset}", file_name(reader, file)));
        vec![
            tensor.name.clone(),
            text::dtype(tensor.dtype),
            text::shape(&tensor.shape),
            text::bytes(tensor.bytes()),
            place.unwrap_or_default(),
        ]
    };
    let columns = [Column::Left, Column::Left, Column::Left, Column::Right, Column::Left];
    page.table(2, &columns, &sorted(reader).iter().map(row).collect::<Vec<_>>());
}

fn every(reader: &Tensors) -> Vec<Value> {
    let tensor = |tensor: &TensorInfo| {
        let place = tensor.pieces.first();
        json!({
            "name": tensor.name,
            "dtype": tensor.dtype.name(),
            "shape": tensor.shape,
            "bytes": tensor.bytes(),
            "file": place.map(|(file, _)| file_name(reader, file)),
            "offset": place.map(|(_, offset)| offset),
        })
    };
    sorted(reader).into_iter().map(tensor).collect()
}

fn file_name(reader: &Tensors, file: usize) -> String {
    reader.path(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn files(reader: &Tensors) -> Vec<Value> {
    let mut tensors = vec![0usize; reader.file_count()];
    for piece in reader.tensors().iter().flat_map(|tensor| tensor.boxes().into_owned()) {
        tensors[reader.shown(piece.file)] += 1;
    }
    let file = |(file, tensors): (usize, &usize)| json!({ "name": file_name(reader, file), "bytes": reader.file_len(file), "tensors": tensors });
    tensors.iter().enumerate().map(file).collect()
}

fn show_files(page: &mut Page, reader: &Tensors) {
    if reader.file_count() < 2 {
        return;
    }
    page.gap();
    let names: Vec<String> = (0..reader.file_count())
        .map(|file| {
            let bytes = text::bytes(reader.file_len(file));
            format!("{}{}{bytes}", file_name(reader, file), text::JOINED)
        })
        .collect();
    page.field("files", &text::some(&names, MOST));
}

fn show_problems(page: &mut Page, reader: &Tensors) {
    let problems = reader.problems();
    if problems.is_empty() {
        return;
    }
    page.gap();
    page.styled_field(
        "problems",
        BAD,
        &format!("{}; this is not a whole checkpoint", problems.len()),
    );
    for problem in problems.iter().take(MOST) {
        page.more(&problem.to_string());
    }
    if let Some(more @ 1..) = problems.len().checked_sub(MOST) {
        page.more(&format!("and {more} more; --json lists them"));
    }
}
