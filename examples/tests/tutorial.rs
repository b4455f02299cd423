//! docs/tutorial.md says what is so: its snippets are in the files of its steps, its messages are
//! what the compiler and the commands print, its commands run.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::scaffold::draft;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");
const DRAFT: &str = include_str!("../scaffolded/1-draft/model.rs");
const FILES: [&str; 5] = [
    DRAFT,
    include_str!("../scaffolded/2-decided/model.rs"),
    include_str!("../scaffolded/2-decided/main.rs"),
    include_str!("../scaffolded/3-finished/model.rs"),
    include_str!("../scaffolded/3-finished/main.rs"),
];
/// What the compiler says of the draft: a UI test compares it.
const COMPILER: &str = include_str!("../../tests/ui/tests/fail/scaffold-draft.stderr");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    let blocks = TUTORIAL.split(&fence).skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty(), "no {language}");
    blocks
}

/// Whether the lines of `part` follow each other in `whole`, however far they are indented.
fn has(whole: &str, part: &str) -> bool {
    let whole: Vec<&str> = whole.lines().map(str::trim).collect();
    let part: Vec<&str> = part.lines().map(str::trim).collect();
    whole.windows(part.len()).any(|window| window == part)
}

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scaffolded/checkpoint")
}

/// Runs a step's program as the tutorial's reader does, and returns its exit code and what it
/// printed, with the places of the reader's crate.
fn run(program: &str, dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    let output = command.args(args).env("NO_COLOR", "1").current_dir(dir).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let text = ["2-decided", "3-finished"]
        .iter()
        .fold(text, |text, step| text.replace(&format!("examples/scaffolded/{step}/"), "src/"));
    (output.status.code(), text.replace("kestrel-decided", "kestrel"))
}

/// A directory with the checkpoint in it, as the tutorial has it.
fn crate_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("kestrel-hf");
    fs::create_dir(&copy).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(checkpoint().join(file), copy.join(file)).unwrap();
    }
    dir
}

#[test]
fn the_draft_is_what_scaffold_prints() {
    let draft = draft(&HfCheckpoint::open(checkpoint()).unwrap(), None).unwrap();
    assert!(draft.text == DRAFT, "examples/scaffolded/1-draft/model.rs should be:\n{}", draft.text);
    let counts = format!("{} of {} tensors understood", draft.understood, draft.tensors);
    assert!(TUTORIAL.contains(&counts), "{counts}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for what in &draft.undecided {
        assert!(words(TUTORIAL).contains(&words(what)), "{what}");
    }
}

#[test]
fn the_snippets_are_in_the_files() {
    for block in blocks("rust") {
        assert!(FILES.iter().any(|file| has(file, block)), "in no file:\n{block}");
    }
    let manifest = include_str!("../../Cargo.toml");
    for block in blocks("toml") {
        for line in block.lines().filter(|line| line.contains("version")) {
            assert!(manifest.contains(line), "not in the workspace's Cargo.toml: {line}");
        }
    }
}

#[test]
fn the_messages_are_what_is_printed() {
    let dir = crate_dir();
    let root = dir.path();
    let decided = env!("CARGO_BIN_EXE_kestrel-decided");
    let finished = env!("CARGO_BIN_EXE_kestrel");
    let (code, refused) = run(decided, dir.path(), &["plan", "kestrel-hf"]);
    assert_eq!(code, Some(3), "{refused}");
    let mut printed = vec![COMPILER.to_string(), refused];
    for line in blocks("sh").iter().flat_map(|block| block.lines()) {
        let Some(line) = line.strip_prefix("cargo run ") else { continue };
        let args: Vec<&str> = line.split_once("-- ").unwrap().1.split(' ').collect();
        let (code, text) = run(finished, dir.path(), &args);
        // What cannot be computed is refused.
        let want = if args.contains(&"--logits") { 3 } else { 0 };
        assert_eq!(code, Some(want), "{line}: {text}");
        printed.push(text);
    }
    let yaml = fs::read_to_string(dir.path().join("kestrel-nemo/context/model.yaml")).unwrap();
    assert!(yaml.contains("residual_scale: 0.5"), "{yaml}");
    let json = |dir: &str| {
        let text = fs::read(root.join(dir).join("config.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(json("kestrel-back"), json("kestrel-hf"));
    // The draft's summary is held against the draft itself, what was shown in the finished step.
    let elsewhere = ["tensors understood", "the same tensors"];
    let here = |block: &&str| !elsewhere.iter().any(|words| block.contains(words));
    for block in blocks("text").into_iter().filter(here) {
        assert!(printed.iter().any(|text| has(text, block)), "nobody prints:\n{block}");
    }
}
