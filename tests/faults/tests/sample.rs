//! A sample of the faults of every case; `cargo run -p connector-faults --release -- --all` runs all.

#![cfg(has_tracer)]

use connector_faults::cases::CASES;
use connector_faults::report::closing;
use connector_faults::suite::{self, Selection};
use std::path::Path;

/// Every so many; a prime, so that it is another fault of each call.
const EVERY: usize = 211;

#[test]
fn a_sample_of_all_faults() {
    let program = Path::new(env!("CARGO_BIN_EXE_connector-faults"));
    let cases: Vec<_> = CASES.iter().collect();
    let tallies = suite::run(&cases, program, Selection::every(EVERY), 2, &|_| {}).unwrap();
    let tried: usize = tallies.iter().map(|tally| tally.faults + tally.kills).sum();
    assert!(tried >= 2 * CASES.len(), "{tried} faults are no sample");
    let held = tallies.iter().all(|tally| tally.violations.is_empty());
    assert!(held, "\n{}", closing(&tallies));
}
