//! A sample of the power cuts; `cargo run -p connector-faults --release -- --power-cut` has all.

#![cfg(has_tracer)]

use connector_faults::powercut::{Effort, Outcome, run};
use std::path::Path;

const LITTLE: Effort = Effort { samples: 2, runs: 4 };

fn outcomes(case: &str) -> Vec<Outcome> {
    run(case, Path::new(env!("CARGO_BIN_EXE_connector-faults")), LITTLE).unwrap()
}

#[test]
fn after_a_power_cut_there_is_the_old_output_or_the_new_one() {
    for outcome in ["import", "import-overwrite"].into_iter().flat_map(outcomes) {
        assert!(outcome.disks > 1000 && outcome.runs == LITTLE.runs, "{outcome}");
        assert!(outcome.wrong.is_empty(), "{outcome}");
    }
}

/// What `--no-sync` says that it gives up is found; so it would be where a sync is forgotten.
#[test]
fn without_sync_outputs_are_torn() {
    let outcomes = outcomes("import-no-sync");
    let torn = |what: &String| what.contains("out is neither old nor new");
    assert!(outcomes[0].wrong.iter().any(torn), "{}", outcomes[0]);
}
