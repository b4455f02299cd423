//! The order of the modules of `connector-core`, read from its sources: each uses only what is below
//! it, and only the command line knows its options. Tests beside the code may use anything.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A part of the house: of the two wings neither knows the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wing {
    /// What maps to what: no files.
    Language,
    /// Where bytes lie: no mappings.
    Bytes,
    /// Both.
    House,
}

use Wing::{Bytes, House, Language};

/// The floors, from the ground up. Those in a row may use each other; a file may lie below its
/// module, if it has what others are made of.
const FLOORS: &[(Wing, &[&str])] = &[
    (House, &["base"]),
    (Language, &["schema", "mapping", "transform"]),
    (Language, &["proof"]),
    (Language, &["plan"]),
    (Bytes, &["store"]),
    (Bytes, &["checkpoint"]),
    (House, &["config"]),
    (House, &["gpt"]),
    (House, &["framework"]),
    (House, &["engine"]),
    // Of what `Error` is composed.
    (House, &["connector/hub/error", "model/error"]),
    (House, &["error"]),
    (House, &["connector"]),
    (House, &["families"]),
    (House, &["model"]),
    (House, &["train"]),
    (House, &["scaffold", "testing"]),
    (House, &["cli"]),
];

/// What uses everything by its nature: the crate's face, what the macros write, what is fuzzed.
const OUTSIDE: [&str; 4] = ["lib", "private", "fuzzing", "bin"];

/// Options of other programs, of which messages may speak.
const FOREIGN: [&str; 1] = ["--use-checkpoint-args"];

#[test]
fn modules_use_what_is_below_them() {
    let sources = Sources::read();
    let floors = sources.floors();
    let mut wrong = Vec::new();
    for Source { name, lines } in &sources.all {
        let text = lines.join("\n");
        for (line, path) in used(&text) {
            let (from, to) = (floors.of(name), floors.of(&path));
            if !may_use(from, to) {
                let [from, to] = [from, to].map(|floor| FLOORS[floor].1.join(", "));
                let path = path.replace('/', "::");
                wrong.push(format!(
                    "connector-core/src/{name}.rs:{line}: `crate::{path}` is of the floor {to}, which \
                     {from} must not use"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nthe floors are in {}", wrong.join("\n"), file!());
}

#[test]
fn only_the_command_line_knows_its_options() {
    let mut wrong = Vec::new();
    for Source { name, lines } in Sources::read().all {
        if name.starts_with("cli/") {
            continue;
        }
        for (number, line) in lines.iter().enumerate() {
            if let Some(option) = option(line).filter(|option| !FOREIGN.contains(option)) {
                wrong.push(format!(
                    "connector-core/src/{name}.rs:{}: {option}: say it in words, or as `Advice`, \
                     which the command line tells as options",
                    number + 1
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file of the crate: its path without `.rs`, and its lines; empty are comments and tests.
struct Source {
    name: String,
    lines: Vec<String>,
}

struct Sources {
    all: Vec<Source>,
    /// The module of each name that `lib.rs` exports from one.
    exported: HashMap<String, String>,
}

/// Which floor a path is on.
struct Floors<'a> {
    sources: &'a Sources,
    /// Where the types are defined that lie below their module, as `model::ModelError`.
    below: HashMap<String, &'static str>,
}

impl Sources {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../connector-core/src");
        let mut files = Vec::new();
        list(&root, &mut files);
        let mut all: Vec<Source> = Vec::new();
        let mut tests = Vec::new();
        for file in &files {
            let name = file.strip_prefix(&root).unwrap().with_extension("");
            let name = name.to_str().unwrap().replace('\\', "/");
            let (lines, test_files) = code(&fs::read_to_string(file).unwrap());
            let folder = name.strip_suffix("/mod").unwrap_or(&name).to_string();
            tests.extend(test_files.iter().map(|test| format!("{folder}/{test}")));
            all.push(Source { name, lines });
        }
        let is_test = |name: &str| {
            tests.iter().any(|test| name.strip_prefix(test.as_str()).is_some_and(is_end))
        };
        let exported = all.iter().find(|source| source.name == "lib").map(exported).unwrap();
        let outside = |name: &str| OUTSIDE.contains(&name.split('/').next().unwrap());
        all.retain(|source| !is_test(&source.name) && !outside(&source.name));
        assert!(all.len() > 200, "{} files", all.len());
        Sources { all, exported }
    }

    fn floors(&self) -> Floors<'_> {
        let mut below = HashMap::new();
        for place in FLOORS.iter().flat_map(|floor| floor.1).filter(|place| place.contains('/')) {
            let source = self.all.iter().find(|source| source.name == *place);
            let (module, _) = place.split_once('/').unwrap();
            for line in source.into_iter().flat_map(|source| &source.lines) {
                let defined = ["pub enum ", "pub struct "].map(|word| line.strip_prefix(word));
                if let Some(rest) = defined.into_iter().flatten().next() {
                    below.insert(format!("{module}/{}", identifier(rest)), *place);
                }
            }
        }
        Floors { sources: self, below }
    }
}

impl Floors<'_> {
    /// The floor of a file, or of what is used, `model/ModelError`.
    fn of(&self, path: &str) -> usize {
        let (module, rest) = path.split_once('/').unwrap_or((path, ""));
        let module = self.sources.exported.get(module).map_or(module, String::as_str);
        let last = rest.rsplit('/').next().unwrap_or_default();
        let below = self.below.get(&format!("{module}/{last}")).copied();
        let floor = |place: &str| FLOORS.iter().position(|floor| floor.1.contains(&place));
        floor(below.unwrap_or(path))
            .or_else(|| floor(module))
            .unwrap_or_else(|| panic!("`{path}` is on no floor; give it one in {}", file!()))
    }
}

fn may_use(from: usize, to: usize) -> bool {
    let (mine, theirs) = (FLOORS[from].0, FLOORS[to].0);
    to <= from && (mine == House || theirs == House || mine == theirs)
}

fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => list(&path, files),
            false if path.extension().is_some_and(|extension| extension == "rs") => {
                files.push(path);
            }
            false => {}
        }
    }
}

/// The lines of a file without comments and tests, and the modules of tests in files of their own.
fn code(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut tests) = (Vec::new(), Vec::new());
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        let is_test = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if !is_test {
            lines.push(without_comment(line).to_string());
            continue;
        }
        // What follows is a file, an import, or the tests at the end of this one.
        let item = rest.find(|line| !line.starts_with("#[")).unwrap_or_default();
        match item.strip_prefix("mod ").map(|name| name.split_at(identifier(name).len())) {
            Some((name, ";")) => tests.push(name.to_string()),
            Some(_) => break,
            None => {}
        }
        lines.extend([String::new(), String::new()]);
    }
    (lines, tests)
}

fn without_comment(line: &str) -> &str {
    let begins = line.trim_start();
    if begins.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() }
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// What the crate's face exports: of `pub use connector::{A, B}` that `A` is of `connector`.
fn exported(lib: &Source) -> HashMap<String, String> {
    let text = lib.lines.join("\n");
    let uses = text.split("pub use ").skip(1).filter_map(|rest| rest.split_once(';'));
    let mut exported = HashMap::new();
    for (path, _) in uses {
        let (module, names) = path.split_once("::").unwrap_or((path, path));
        // The language of keys and the macros are crates of their own, below this one.
        let module = if module.starts_with("connector_") { "base" } else { module };
        for name in names.split(|c: char| !c.is_alphanumeric() && c != '_') {
            exported.insert(name.to_string(), module.to_string());
        }
    }
    exported.insert("key".into(), "base".into());
    exported.retain(|name, _| !FLOORS.iter().any(|floor| floor.1.contains(&name.as_str())));
    exported
}

/// Every path in the crate that a text uses, `model/ModelError`, with its line.
fn used(text: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        // `$crate::…` is written where a macro is used.
        if at > 0 && text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let line = text[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        expand(&text[at + "crate::".len()..], "", &mut paths);
        all.extend(paths.into_iter().map(|path| (line, path)));
    }
    all
}

/// The paths that `rest` begins with: `a::{b, c::d}` is `a/b` and `a/c/d`. What comes behind them.
fn expand<'t>(rest: &'t str, before: &str, paths: &mut Vec<String>) -> &'t str {
    let mut rest = rest.trim_start();
    let Some(inner) = rest.strip_prefix('{') else {
        let name = identifier(rest);
        let path = if before.is_empty() { name.into() } else { format!("{before}/{name}") };
        rest = &rest[name.len()..];
        return match rest.strip_prefix("::") {
            Some(rest) if rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => {
                expand(rest, &path, paths)
            }
            _ => {
                paths.push(path.trim_end_matches("/self").into());
                rest
            }
        };
    };
    rest = inner;
    loop {
        rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('}') {
            return rest;
        }
        let next = expand(rest, before, paths);
        rest = next.trim_start().strip_prefix(',').unwrap_or(next);
        if next.trim_start().starts_with("as ") {
            rest = &next[next.find([',', '}']).unwrap_or(next.len())..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        if rest.is_empty() {
            return rest;
        }
    }
}

/// The name of an option in a line of code, `--json`.
fn option(line: &str) -> Option<&str> {
    line.match_indices("--").find_map(|(at, _)| {
        let joined = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_');
        let name = identifier_of_option(&line[at + 2..]);
        let is_option = !joined && name.starts_with(|c: char| c.is_ascii_lowercase());
        is_option.then(|| &line[at..at + 2 + name.len()])
    })
}

fn identifier_of_option(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '-');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn paths_are_read_out_of_braces() {
    let text = "use crate::{Error, a::{self, b, c::D}, e as f};\nlet x = crate::g::H::new();";
    let paths = used(text);
    let want = ["Error", "a", "a/b", "a/c/D", "e"].map(|path| (1, path.to_string()));
    assert_eq!(paths[..5], want);
    assert_eq!(paths[5..], [(2, "g/H/new".to_string())]);
    assert_eq!(option("\"pass --overwrite, or\""), Some("--overwrite"));
    assert_eq!(option("models--org--name"), None);
}
