//! The tensors that an export writes twice: `copy a == b`.

use super::build::Builder;
use super::finding::Problem;
use super::{CopyOf, FindingKind, Output, Step, Work};
use crate::key::Captures;
use crate::mapping::FlatEqual;
use crate::schema::{expand, holds};
use foldhash::HashMap;

/// Adds a step for each copy, which makes it as another step makes what it is a copy of.
pub(super) fn add(builder: &mut Builder<'_>) -> Vec<CopyOf> {
    if !builder.findings.is_empty() {
        return Vec::new();
    }
    let names = builder.outputs.iter().enumerate();
    let mut written: HashMap<String, usize> =
        names.map(|(number, output)| (output.name.clone(), number)).collect();
    let mut copies = Vec::new();
    for row in &builder.request.mapping.equal {
        if builder.request.instance.is_none() && !row.when.is_empty() {
            let note = "`when` needs flags, which only a schema declares";
            refuse(builder, row, &row.left.to_string(), note.into());
            continue;
        }
        for (captures, at) in places(builder, row) {
            let field = builder.field(&at);
            let keys = [&row.left, &row.right].map(|key| key.key(&captures, &field));
            drop(field);
            let [Some(name), Some(of)] = keys else {
                let note = "the indices of a copy are those of axes, which a schema declares";
                refuse(builder, row, &row.left.to_string(), note.into());
                break;
            };
            let number = builder.outputs.len();
            match (written.get(&of).copied(), written.contains_key(&name)) {
                (_, true) => refuse(builder, row, &name, "a rule writes it too".into()),
                (Some(original), false) => match repeat(builder, original, &name) {
                    Ok(()) => {
                        written.insert(name.clone(), number);
                        copies.push(CopyOf { name, of, at: row.at });
                    }
                    Err(note) => refuse(builder, row, &name, note),
                },
                (None, false) if builder.absent.contains(&of) => builder.absent.push(name),
                (None, false) => {
                    let note = format!("it is a copy of {of}, which is not written");
                    refuse(builder, row, &name, note);
                }
            }
        }
    }
    copies
}

/// The indices at which a copy is written, and the index of each axis.
fn places(builder: &Builder<'_>, row: &FlatEqual) -> Vec<(Captures<'static>, Vec<usize>)> {
    let Some(instance) = builder.request.instance else {
        let field = builder.field(&[]);
        let names = builder.outputs.iter().map(|output| &output.name);
        let captures = names.filter_map(|name| row.right.captures_with(name, &field));
        return captures.map(|captures| (captures, Vec::new())).collect();
    };
    let mut places = expand(instance, &row.left);
    places.retain(|(_, at)| row.when.iter().all(|when| holds(instance, when, at)));
    places
}

/// Adds the step that makes output number `original` once more, as `name`.
fn repeat(builder: &mut Builder<'_>, original: usize, name: &str) -> Result<(), String> {
    let output = builder.outputs[original].clone();
    let mut step: Step = builder.steps[output.step].clone();
    match &mut step.work {
        Work::Moves(moves) => {
            let target = step.outputs.iter().position(|number| *number == original);
            moves.retain(|m| Some(m.target) == target);
            moves.iter_mut().for_each(|m| m.target = 0);
        }
        Work::Compute { .. } | Work::Function { .. } if step.outputs.len() == 1 => {}
        Work::Compute { .. } | Work::Function { .. } => {
            let operation = builder.rule(step.rule).name();
            return Err(format!(
                "it is a copy of {}, which {operation} gives together with others",
                output.name
            ));
        }
    }
    step.outputs = vec![builder.outputs.len()];
    builder.outputs.push(Output { name: name.into(), step: builder.steps.len(), ..output });
    builder.steps.push(step);
    Ok(())
}

fn refuse(builder: &mut Builder<'_>, row: &FlatEqual, key: &str, note: String) {
    let note = format!("{note} (the `copy` row at {})", row.at);
    builder.finding(FindingKind::Rule, Problem::Unable, key, None, vec![note]);
}
