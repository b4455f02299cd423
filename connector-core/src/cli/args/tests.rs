use super::*;
use crate::connector::Experts;
use crate::store::Dtype;
use crate::{ExportOptions, ImportOptions};
use clap::CommandFactory;

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

fn selection(line: &str) -> Result<Selection, clap::Error> {
    let words = ["connector", "plan", "."].into_iter().chain(line.split_whitespace());
    match Cli::try_parse_from(words)?.command {
        Command::Plan { selection, .. } => Ok(selection),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_are_those_of_the_library() {
    let (ours, theirs) = (selection("").unwrap().options().unwrap(), ImportOptions::default());
    assert_eq!(ours.max_shard_size, theirs.max_shard_size);
    assert_eq!(ours.engine.max_memory, theirs.engine.max_memory);
    assert_eq!(ours.engine.threads, theirs.engine.threads);
    assert_eq!(ours.format, theirs.format);
    assert_eq!(ours.device, theirs.device);
}

#[test]
fn exports_have_the_defaults_of_the_library() {
    let words = ["connector", "export", "a", "-o", "b"];
    let Command::Export(export) = Cli::try_parse_from(words).unwrap().command else {
        panic!("an export")
    };
    let (ours, theirs) = (export.options().unwrap(), ExportOptions::default());
    assert_eq!(ours.max_shard_size, theirs.max_shard_size);
    assert_eq!((&ours.format, ours.keep_vocab_padding), (&theirs.format, false));
}

#[test]
fn mistakes_are_refused_with_an_example() {
    for (line, want) in [
        ("--max-memory 0", "2GiB"),
        ("--max-memory lots", "2GiB"),
        ("--max-shard-size 5G", "2GiB"),
        ("--threads 0", "1..="),
        ("--dtype fp8", "bf16"),
        ("--device tpu", "cuda"),
        ("--ignore a..b", "model.layers"),
        ("--pad-vocab-to-multiple-of 0", "1.."),
        ("--experts fused", "grouped"),
        ("--quiet --verbose", "cannot be used"),
        ("--max-memry 1GB", "--max-memory"),
    ] {
        let error = selection(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(want), "{line}: {error}");
    }
}

#[test]
fn options_are_handed_on() {
    let line = "--dtype bf16 --ignore a.* --ignore b --only c --threads 3 --max-memory 1MB";
    let options = selection(line).unwrap().options().unwrap();
    assert_eq!(options.plan.dtype, Some(Dtype::Bf16));
    assert_eq!(options.plan.ignore, ["a.*", "b"]);
    assert_eq!(options.plan.only, ["c"]);
    assert_eq!(
        selection("--experts grouped").unwrap().options().unwrap().experts,
        Some(Experts::Grouped)
    );
    assert_eq!((options.engine.threads, options.engine.max_memory), (3, 1_000_000));
}
