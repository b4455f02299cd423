//! A run that is killed, at any point of writing a checkpoint, goes on to the same end.

use crate::support::{Desk, files};
use connector_core::train::StepRecord;
use connector_tests::{Child, Ended};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

fn child(desk: &Desk, run: &Path) -> Child {
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let data = path(&desk.data.path);
    Child::new(PROGRAM, &["finetune", &path(&desk.base), "--data", &data, "--output", &path(run)])
        .arg("--seq-length=32")
        .arg("--max-steps=3")
        .arg("--save-every=1")
        .arg("--lr=0.01")
}

/// The losses in the log, to the bit.
fn losses(run: &Path) -> Vec<u64> {
    let lines = fs::read_to_string(run.join("default.jsonl")).unwrap();
    let record = |line| serde_json::from_str::<StepRecord>(line).unwrap().loss.to_bits();
    lines.lines().map(record).collect()
}

#[test]
fn a_killed_run_ends_as_an_unbroken_one() {
    let desk = Desk::of("llama");
    let whole = desk.dir.path().join("whole");
    let Ended { code, text } = child(&desk, &whole).run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("5 examples in") && text.contains("next"), "{text}");
    let checkpoint = |run: &Path| files(&run.join("checkpoints/default-last"));
    for (number, points) in [
        "training.weights=abort@2",
        "training.written=abort@2",
        "publish.renamed=abort@2",
        "training.saved=abort@1",
    ]
    .into_iter()
    .enumerate()
    {
        let run = desk.dir.path().join(format!("broken-{number}"));
        let Ended { code, text } = child(&desk, &run).failpoints(points).run();
        assert_eq!(code, None, "{points}: {text}");
        let Ended { code, text } = child(&desk, &run).run();
        assert_eq!(code, Some(0), "{points}: {text}");
        assert_eq!(losses(&run), losses(&whole), "{points}");
        assert!(checkpoint(&run) == checkpoint(&whole), "{points}: another checkpoint");
        let names: Vec<_> = fs::read_dir(run.join("checkpoints"))
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["default-last"], "{points}");
    }
}

/// Failures of the disk are told, and leave the checkpoint before.
#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_one_before() {
    let desk = Desk::of("llama");
    let run = desk.dir.path().join("run");
    let Ended { code, text } = child(&desk, &run).failpoints("training.written=error@2").run();
    assert_eq!(code, Some(4), "{text}");
    let state = fs::read_to_string(run.join("checkpoints/default-last/training.json")).unwrap();
    assert!(state.contains("\"step\": 1"), "{state}");
}
