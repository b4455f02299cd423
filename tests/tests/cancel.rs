//! Imports that are stopped, and the directories made for an output.

use connector_core::engine::Progress;
use connector_core::{Cancel, Error, Planned, import_ckpt};
use connector_tests::{Bench, Model, assert_same_tensors, fixture, options, read_tensors};
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_cancelled_import_leaves_nothing() {
    let bench = Bench::new(&Model::fixture("llama"));
    let error = bench.refuse(options(|o| o.cancel.cancel()));
    assert!(matches!(error, Error::Cancelled), "{error}");
}

#[test]
fn parents_of_the_output_are_made_and_not_left_behind() {
    let bench = Bench::new(&Model::fixture("llama"));
    let out = bench.dir().join("a/b/out");
    bench.unchanged(|| import_ckpt(bench.source(), &out, options(|o| o.cancel.cancel())));
    import_ckpt(bench.source(), &out, options(|_| {})).unwrap();
    assert_same_tensors(
        &read_tensors(&out.join("weights")),
        &read_tensors(&fixture("llama/nemo_state.safetensors")),
    );
    bench.assert_tidy();
}

/// Asks to stop as soon as something is written, and counts what is written all the same.
#[derive(Default)]
struct StopAtOnce {
    cancel: Cancel,
    parts: AtomicU64,
}

impl Progress for StopAtOnce {
    fn begin(&self, bytes: u64) {
        assert!(bytes > 0);
    }

    fn advance(&self, _: u64) {
        self.cancel.cancel();
        self.parts.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_more_is_written_once_somebody_asked_to_stop() {
    let bench = Bench::new(&Model::fixture("llama"));
    let progress = StopAtOnce::default();
    let options = options(|o| {
        o.engine.threads = 1;
        o.cancel = progress.cancel.clone();
    });
    let planned = Planned::import(bench.source(), options).unwrap();
    let error = bench.unchanged(|| planned.run(bench.out(), &progress));
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(progress.parts.into_inner(), 1);
}
