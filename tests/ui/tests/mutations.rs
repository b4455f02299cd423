//! Every row of every importer in `families/`, left out, misspelt and written twice: none of them
//! compiles, and what the compiler says names the row.
//!
//! Each mutation is a module with a copy of the family, or of the rows that families share and of one
//! family that has the row; all of them are one crate, checked once.

mod source;

use serde_json::Value;
use source::{Row, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug)]
enum Mutation {
    LeftOut,
    Misspelt,
    Doubled,
}

impl Mutation {
    const ALL: [Mutation; 3] = [Mutation::LeftOut, Mutation::Misspelt, Mutation::Doubled];

    /// The text of the row's file with the row changed.
    fn apply(self, row: &Row, text: &str) -> String {
        let (before, after) = (&text[..row.range.start], &text[row.range.end..]);
        let written = &text[row.range.clone()];
        match self {
            Mutation::LeftOut => format!("{before}{}", after.trim_start_matches(',')),
            Mutation::Misspelt => {
                // Behind the quote.
                let at = row.target.start + 1;
                format!("{}x{}", &text[..at], &text[at..])
            }
            Mutation::Doubled => format!("{before}{written}, {written}{after}"),
        }
    }

    /// What the message has to say.
    fn expected(self, row: &Row) -> Vec<String> {
        let name = row.name.clone();
        match self {
            Mutation::LeftOut => vec!["does not produce".into(), name],
            Mutation::Misspelt => {
                vec![format!("x{name}` is not a parameter"), "did you mean".into(), name]
            }
            Mutation::Doubled => vec![format!("{name}` is produced twice")],
        }
    }
}

/// A module of the crate and what the compiler has to say about it.
struct Mutant {
    what: String,
    expected: Vec<String>,
    /// How many importers its family has: what is wrong with a row they share is wrong with each.
    importers: usize,
}

#[test]
fn no_mutated_importer_compiles() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../connector-core/src");
    let sources = source::read(&src);
    let scratch = tempfile::tempdir().unwrap();
    let src = scratch.path().join("src");

    let mut mutants = Vec::new();
    let mut shared = BTreeSet::new();
    for (family, rows) in source::importers(&sources) {
        assert!(rows.len() > 4, "{}: few rows were found", family.display());
        add(&src, &sources, &family, None, &mut mutants, "as it is".into(), Vec::new());
        let of_another =
            |row: &&Row| row.file == family || shared.insert((row.file.clone(), row.range.start));
        for row in rows.iter().filter(of_another) {
            for mutation in Mutation::ALL {
                let text = mutation.apply(row, &sources[&row.file].text);
                let what = format!("{mutation:?}: {} in {}", row.name, family.display());
                let changed = Some((&row.file, text));
                let expected = mutation.expected(row);
                add(&src, &sources, &family, changed, &mut mutants, what, expected);
            }
        }
    }

    let errors = check(scratch.path(), mutants.len());
    let mut wrong = String::new();
    for (number, mutant) in mutants.iter().enumerate() {
        let found = errors.get(&number).map_or(&[][..], Vec::as_slice);
        // One mistake, one error for each importer that has the row; a row with a choice in its keys is
        // several rows.
        let fits = match &mutant.expected[..] {
            [] => found.is_empty(),
            expected => {
                let says = |error: &String| expected.iter().all(|text| error.contains(text));
                found.len() == mutant.importers && found.iter().all(says)
            }
        };
        if !fits {
            let Mutant { what, expected, .. } = mutant;
            writeln!(wrong, "{what}\n  expected {expected:?}\n  found {found:#?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Writes the next module: the family, and the rows that families share if they are what is changed.
/// All else is the core's.
fn add(
    src: &Path,
    sources: &BTreeMap<PathBuf, Source>,
    family: &Path,
    changed: Option<(&PathBuf, String)>,
    mutants: &mut Vec<Mutant>,
    what: String,
    expected: Vec<String>,
) {
    let module = src.join(format!("m{}", mutants.len()));
    let mut root = String::from("#![allow(dead_code, unused_imports)]\n");
    let rows = sources.iter().filter(|(_, source)| !source.mappings.is_empty());
    let changes = |file: &PathBuf| changed.as_ref().is_some_and(|(of, _)| *of == file);
    let has_shared = changed.as_ref().is_some_and(|(of, _)| of.as_path() != family);
    for (file, source) in rows.filter(|(file, _)| file.as_path() == family || changes(file)) {
        let text = match &changed {
            Some((of, text)) if *of == file => text,
            _ => &source.text,
        };
        let path = module.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // What families share is the mutant's own.
        let text = if has_shared { text.replace("crate::gpt", "super::gpt") } else { text.clone() };
        let text = text.replace("crate::", "connector_core::");
        fs::write(path, text).unwrap();
        let name = |part: Option<&OsStr>| part.unwrap().to_str().unwrap().to_string();
        let own = name(file.file_stem());
        if source.is_importer {
            writeln!(root, "pub mod {own};").unwrap();
        } else {
            // What is named hides what is meant by `*`.
            let (folder, mappings) = (name(file.parent().map(Path::as_os_str)), &source.mappings);
            writeln!(root, "pub mod {folder} {{\n    mod {own};").unwrap();
            writeln!(root, "    pub use connector_core::{folder}::*;").unwrap();
            writeln!(root, "    pub use {own}::{{{}}};\n}}", mappings.join(", ")).unwrap();
        }
    }
    fs::write(module.join("mod.rs"), root).unwrap();
    let importers = sources[family].text.matches("#[model_importer(").count();
    mutants.push(Mutant { what, expected, importers });
}

/// The errors that `cargo check` finds, by the number of the module.
fn check(dir: &Path, modules: usize) -> BTreeMap<usize, Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let core = root.join("connector-core").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"mutations\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         connector-core = {{ path = {core:?}, default-features = false }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\nserde_json = \"1\"\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    let lib: String = (0..modules).map(|number| format!("mod m{number};\n")).collect();
    fs::write(dir.join("src/lib.rs"), lib).unwrap();

    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--message-format=json", "--lib"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", root.join("target/tests/mutations"))
        .output()
        .unwrap();
    let mut errors: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut messages = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let message = &line["message"];
        messages += 1;
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().unwrap();
        let Some(span) = spans.iter().find(|span| span["is_primary"] == true) else { continue };
        let file = Path::new(span["file_name"].as_str().unwrap());
        let module = file.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        let number = module[1..].parse().unwrap();
        errors.entry(number).or_default().push(message["message"].as_str().unwrap().into());
    }
    assert!(messages > 0, "cargo check said {}", String::from_utf8_lossy(&output.stderr));
    errors
}
