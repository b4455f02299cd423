//! `connector cache`: what `import` keeps.

use super::args::CacheAction;
use super::exit::Exit;
use super::failure::Failure;
use super::page::Column;
use super::screen::Screen;
use super::style::{BAD, GOOD};
use super::{source, text};
use crate::Cancel;
use crate::connector::cache::{Cache, Entry};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn run(action: &CacheAction, screen: &mut Screen) -> Result<Exit, Failure> {
    let cache = Cache::from_env();
    match action {
        CacheAction::Ls => list(&cache, screen),
        CacheAction::Path { selection, hash } => {
            let mut options = selection.options()?;
            options.hash = *hash;
            let planned = source::plan(&selection.source, options)?;
            let (path, found) = (cache.place(&planned)?, cache.find(&planned)?);
            if !screen.json {
                screen.print(&format!("{}\n", path.display()));
            }
            screen.document(|| {
                json!({
                    "schema": "connector.cache-path/1",
                    "path": path.to_string_lossy(),
                    "cached": found.is_some(),
                })
            });
            Ok(Exit::Ok)
        }
        CacheAction::Verify { names } => verify(&cache, names, screen),
        CacheAction::Rm { names } => remove(&cache, names, screen),
        CacheAction::Gc { older_than, dry_run } => {
            sweep(&cache, older_than.map(|days| DAY * days), *dry_run, screen)
        }
    }
}

/// How an entry is called: its place below the folder.
fn name(cache: &Cache, entry: &Entry) -> String {
    entry.path.strip_prefix(cache.root()).unwrap_or(&entry.path).display().to_string()
}

fn list(cache: &Cache, screen: &mut Screen) -> Result<Exit, Failure> {
    let entries = cache.entries()?;
    let mut page = screen.page();
    page.field("cache", &cache.root().display().to_string());
    if entries.is_empty() {
        page.more("is empty; `import` without --output fills it");
    }
    let row = |entry: &Entry| {
        let bytes = text::bytes(entry.bytes);
        let state = match entry {
            Entry { is_ours: false, .. } => "not connector's",
            Entry { damage: Some(_), .. } => "damaged",
            _ => "",
        };
        let (name, dtype) = (name(cache, entry), entry.dtype.clone());
        vec![name, entry.model.clone(), dtype, bytes, text::day(entry.converted), state.into()]
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    let mut columns = [Column::Left; 6];
    columns[3] = Column::Right;
    page.table(4, &columns, &rows);
    screen.show(&page);
    screen.document(|| {
        json!({
            "schema": "connector.cache-ls/1",
            "root": cache.root().to_string_lossy(),
            "entries": entries.iter().map(entry_json).collect::<Vec<_>>(),
        })
    });
    Ok(Exit::Ok)
}

fn entry_json(entry: &Entry) -> Value {
    let (repository, revision) = entry.revision.clone().unzip();
    json!({
        "path": entry.path.to_string_lossy(),
        "repository": repository,
        "revision": revision,
        "model": entry.model,
        "dtype": entry.dtype,
        "tool": entry.tool,
        "bytes": entry.bytes,
        "converted": text::day(entry.converted),
        "damage": entry.damage,
        "is_ours": entry.is_ours,
    })
}

/// The entries that names mean; no name means all.
fn named(cache: &Cache, names: &[String]) -> Result<Vec<Entry>, Failure> {
    if names.is_empty() {
        return Ok(cache.entries()?);
    }
    let mut entries: Vec<Entry> = Vec::new();
    for name in names {
        let found = cache.entries_of(name)?;
        if found.is_empty() {
            let message = format!("{name}: nothing in the cache is called so");
            return Err(Failure::usage(message).help("`connector cache ls` lists what there is"));
        }
        let known = |entry: &Entry| entries.iter().any(|known| known.path == entry.path);
        let new: Vec<Entry> = found.into_iter().filter(|entry| !known(entry)).collect();
        entries.extend(new);
    }
    Ok(entries)
}

fn verify(cache: &Cache, names: &[String], screen: &mut Screen) -> Result<Exit, Failure> {
    let mut results = Vec::new();
    for entry in named(cache, names)? {
        let problems = entry.verify(&Cancel::default())?;
        results.push((entry, problems));
    }
    let sound = results.iter().all(|(_, problems)| problems.is_empty());
    let mut page = screen.page();
    if results.is_empty() {
        page.field("cache", "is empty");
    }
    for (entry, problems) in &results {
        let name = name(cache, entry);
        match problems.as_slice() {
            [] if entry.has_hashes() => {
                page.styled_field("sound", GOOD, &format!("{name}: every byte of its tensors"));
            }
            [] => page.styled_field("sound", GOOD, &format!("{name}: lengths and headers")),
            problems => {
                page.styled_field("damaged", BAD, &name);
                problems.iter().for_each(|problem| page.more(problem));
            }
        }
    }
    screen.show(&page);
    screen.document(|| {
        let result = |(entry, problems): &(Entry, Vec<String>)| {
            json!({
                "path": entry.path.to_string_lossy(),
                "problems": problems,
                "hashes": entry.has_hashes(),
            })
        };
        json!({
            "schema": "connector.cache-verify/1",
            "sound": sound,
            "entries": results.iter().map(result).collect::<Vec<_>>(),
        })
    });
    Ok(if sound { Exit::Ok } else { Exit::Verification })
}

fn remove(cache: &Cache, names: &[String], screen: &mut Screen) -> Result<Exit, Failure> {
    let entries = named(cache, names)?;
    // None of them, rather than some.
    if let Some(entry) = entries.iter().find(|entry| !entry.is_ours) {
        return Err(crate::Error::NotOurs { path: entry.path.clone() }.into());
    }
    let mut page = screen.page();
    for entry in &entries {
        cache.remove(entry)?;
        page.field("removed", &format!("{} · {}", name(cache, entry), text::bytes(entry.bytes)));
    }
    screen.show(&page);
    screen.document(|| {
        let paths: Vec<_> = entries.iter().map(|entry| entry.path.to_string_lossy()).collect();
        json!({ "schema": "connector.cache-rm/1", "removed": paths })
    });
    Ok(Exit::Ok)
}

fn sweep(
    cache: &Cache,
    older: Option<Duration>,
    dry_run: bool,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let swept = cache.sweep(older, dry_run)?;
    let mut page = screen.page();
    let label = if dry_run { "dry run" } else { "removed" };
    for one in &swept {
        page.field(label, &format!("{}: {}", one.path.display(), one.why));
    }
    if swept.is_empty() {
        page.field(label, "nothing");
    }
    screen.show(&page);
    screen.document(|| {
        let json = |one: &crate::connector::cache::Swept| {
            json!({ "path": one.path.to_string_lossy(), "why": one.why })
        };
        let removed: Vec<_> = swept.iter().map(json).collect();
        json!({ "schema": "connector.cache-gc/1", "dry_run": dry_run, "removed": removed })
    });
    Ok(Exit::Ok)
}
