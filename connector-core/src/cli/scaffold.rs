//! Prints a draft: alone on standard output, so that it can go to a file; what there is to say of
//! it on standard error.

use super::exit::Exit;
use super::failure::Failure;
use super::new_file::write_new;
use super::screen::Screen;
use super::{overview, source, text};
use crate::connector::Registry;
use crate::scaffold::{Draft, draft};
use serde_json::json;
use std::path::Path;

/// How many decisions the screen lists; the draft and JSON have all.
const MOST: usize = 12;

pub(super) fn run(
    path: &Path,
    like: Option<&str>,
    output: Option<&Path>,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let like = like.map(|name| Registry::get()?.importer("hf", Some(name), &[])).transpose();
    let like = like.map_err(Failure::from)?;
    let checkpoint = source::checkpoint(path)?;
    let draft = draft(&checkpoint, like).map_err(|error| source::explain(path, error))?;
    match output {
        Some(file) => write_new(file, draft.text.as_bytes())?,
        None if !screen.json => screen.print(&draft.text),
        None => {}
    }
    if !screen.json && !screen.quiet {
        let mut page = screen.message();
        overview::show_source(&mut page, &checkpoint);
        show(&mut page, &draft, output);
        screen.tell(&page);
    }
    screen.document(|| {
        json!({
            "schema": "connector.scaffold/1",
            "source": overview::source_json(&checkpoint),
            "like": like.map(|like| like.name),
            "output": output.map(|file| file.to_string_lossy()),
            "draft": draft,
        })
    });
    Ok(Exit::Ok)
}

fn show(page: &mut super::page::Page, draft: &Draft, output: Option<&Path>) {
    let Draft { model, tensors, understood, undecided, notes, by_name, .. } = draft;
    let tensors = text::count(*tensors, "tensor");
    page.field("draft", &format!("{model} · {understood} of {tensors} understood"));
    if let Some(file) = output {
        page.more(&format!("written to {}", file.display()));
    }
    if undecided.is_empty() {
        page.field("decide", "nothing: it compiles as it is");
    }
    for (number, what) in undecided.iter().take(MOST).enumerate() {
        match number {
            0 => page.field("decide", what),
            _ => page.more(what),
        }
    }
    if let Some(more @ 1..) = undecided.len().checked_sub(MOST) {
        page.more(&format!("and {more} more, which the draft's first lines list"));
    }
    for (number, note) in notes.iter().enumerate() {
        match number {
            0 => page.field("note", note),
            _ => page.more(note),
        }
    }
    if let Some(name) = by_name {
        page.field("choose", &format!("`--model {name}` chooses this draft"));
    }
    let next = "add the file to a crate (README, \"Write your own importer\"); `cargo check` says \
                what is left";
    page.field("next", next);
}
