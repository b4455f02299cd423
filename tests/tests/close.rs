//! What a file system says only when a file is closed, as one with a quota over a network does.

use connector_tests::{Bench, Child, Model, contents};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// How many files there are.
fn files(dir: &Path) -> usize {
    contents(dir).map_or(0, |all| all.into_values().flatten().count())
}

/// Fails the close of each file in turn: everything that is written passes there.
#[test]
fn every_file_that_is_written_is_heard_when_it_is_closed() {
    for args in [
        &["--no-sync", "--max-shard-size", "100kB"][..],
        &["--no-sync", "--container", "torch_dist", "--files", "2"],
        &[],
    ] {
        let bench = Bench::new(&Model::fixture("llama"));
        let import = |points: &str| {
            let child = Child::import(PROGRAM, &bench.source(), &bench.out());
            args.iter().fold(child, |child, arg| child.arg(arg)).failpoints(points).run()
        };
        let mut number = 1;
        loop {
            let ended = import(&format!("store.close=error@{number}"));
            if ended.code == Some(0) {
                break;
            }
            assert_eq!(ended.code, Some(4), "{args:?}, {number}: {}", ended.text);
            // Lines are broken where the screen ends.
            let text = ended.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let named = text.split_once("cannot close ").map(|(_, named)| named);
            assert!(named.is_some_and(|n| n.contains(".out.connector-staging/")), "{text}");
            assert!(!bench.out().exists());
            bench.assert_tidy();
            number += 1;
        }
        assert_eq!(number - 1, files(&bench.out()), "{args:?}");
        fs::remove_dir_all(bench.out()).unwrap();
    }
}
