//! Examples that are held out: their loss is told, and they change nothing.

use crate::support::{Desk, files, losses};
use connector_core::train::{FineTuningData, Lora, Precision, Trainer};
use connector_tests::{Child, Ended};
use std::fs;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// A desk with something held out, and that.
fn with_validation(lines: &str) -> Desk {
    let desk = Desk::of("llama");
    let path = desk.dir.path().join("validation.jsonl");
    fs::write(&path, lines).unwrap();
    Desk { data: FineTuningData { validation: Some(path), ..desk.data.clone() }, ..desk }
}

const HELD_OUT: &str = r#"
{"input": "the sea", "output": "is on the sand."}
{"text": "we mend the boats at the lake."}
{"input": "we are", "output": "in the night."}
"#;

#[test]
fn what_is_held_out_changes_nothing() {
    let desk = with_validation(HELD_OUT);
    for (name, peft, precision) in [
        ("full", None, Precision::F32),
        ("lora", Some(Lora { dim: 4, ..Lora::default() }), Precision::Bf16Mixed),
    ] {
        let with = Trainer {
            val_check_interval: 4,
            log_every_n_steps: 3,
            peft,
            precision,
            ..desk.trainer(name)
        };
        let tuned = desk.run(&with).unwrap();
        let at = |of: &dyn Fn(&connector_core::train::StepRecord) -> bool| -> Vec<u64> {
            tuned.records.iter().filter(|record| of(record)).map(|record| record.step).collect()
        };
        // The first, every third, those with a validation loss, the last.
        assert_eq!(at(&|_| true), [1, 3, 4, 6]);
        assert_eq!(at(&|record| record.val_loss.is_some()), [4, 6]);
        let without = Desk {
            data: FineTuningData { validation: None, ..desk.data.clone() },
            dir: tempfile::tempdir().unwrap(),
            base: desk.base.clone(),
        };
        let plain = without.run(&Trainer { log_dir: without.dir.path().join("x"), ..with.clone() });
        let plain = plain.unwrap();
        assert!(files(&plain.checkpoint) == files(&tuned.checkpoint), "{name}");
        assert!(plain.records.iter().all(|record| record.val_loss.is_none()));
        assert!(fs::read_to_string(with.curve()).unwrap().contains("validation"));
        assert!(
            !fs::read_to_string(without.dir.path().join("x/default.svg"))
                .unwrap()
                .contains("validation")
        );
    }
}

/// Of the training data itself, in one batch, it is the loss of the next step.
#[test]
fn the_validation_loss_is_that_of_the_formula() {
    let desk = Desk::of("llama");
    let data = FineTuningData { validation: Some(desk.data.path.clone()), ..desk.data.clone() };
    let desk = Desk { data, ..desk };
    let trainer = Trainer { val_check_interval: 1, micro_batch_size: 1, ..desk.trainer("run") };
    // All rows in each step, so that the order makes no difference.
    let all = Trainer { accumulate_grad_batches: desk.rows(), ..trainer };
    let tuned = desk.run(&all).unwrap();
    for pair in tuned.records.windows(2) {
        let apart = (pair[0].val_loss.unwrap() - pair[1].loss).abs();
        assert!(apart < 1e-5, "{apart:e} at step {}", pair[1].step);
    }
    // A run that goes on logs the same.
    let stopped = Trainer { log_dir: desk.dir.path().join("broken"), ..all };
    desk.stop_after(&stopped, 3).unwrap();
    let again = desk.run(&stopped).unwrap();
    assert_eq!(losses(&again), losses(&tuned));
    let held_out = |tuned: &connector_core::train::FineTuned| -> Vec<Option<f64>> {
        tuned.records.iter().map(|record| record.val_loss).collect()
    };
    assert_eq!(held_out(&again), held_out(&tuned));
}

#[test]
fn held_out_data_that_is_bad_is_named() {
    let desk = with_validation("{\"text\": \"a sea\"}\n{\"txt\": \"a\"}\n");
    let error = desk.run(&desk.trainer("run")).unwrap_err().to_string();
    assert!(error.contains("validation.jsonl:2: has neither"), "{error}");
    let desk = with_validation("");
    let error = desk.run(&desk.trainer("run")).unwrap_err().to_string();
    assert!(error.contains("validation.jsonl: has no text"), "{error}");
}

#[test]
fn the_command_line_tells_it() {
    let desk = with_validation(HELD_OUT);
    let path = |path: &std::path::Path| path.to_str().unwrap().to_string();
    let (base, data) = (path(&desk.base), path(&desk.data.path));
    let (run, held_out) =
        (path(&desk.dir.path().join("run")), path(desk.data.validation.as_ref().unwrap()));
    let child = || Child::new(PROGRAM, &["finetune", &base, "--data", &data, "--output", &run]);
    let child = || child().arg("--seq-length=32").arg("--max-steps=3");
    let Ended { code, text } = child().arg("--val-interval=2").run();
    assert!(code == Some(2) && text.contains("--val-data"), "{text}");
    let Ended { code, text } =
        child().arg("--val-data").arg(&held_out).arg("--val-interval=2").run();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("held out 3 examples") || text.contains("held out  3 examples"),
        "{text}"
    );
    assert!(text.contains("validation ") && text.contains(" at step 2 → "), "{text}");
}
