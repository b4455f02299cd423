//! All parameters trained.

use crate::support::{Desk, files, losses};

#[test]
fn the_loss_falls() {
    let desk = Desk::of("llama");
    let tuned = desk.run(&desk.trainer("run")).unwrap();
    assert!(tuned.is_complete && tuned.step == 6 && tuned.records.len() == 6);
    let (first, last) = (&tuned.records[0], &tuned.records[5]);
    assert!(last.loss < 0.8 * first.loss, "{} {}", first.loss, last.loss);
}

/// The same losses and the same files, whether a run was broken off or not.
#[test]
fn a_run_goes_on_as_if_it_had_not_stopped() {
    let desk = Desk::of("llama");
    let whole = desk.trainer("whole");
    let unbroken = desk.run(&whole).unwrap();
    let broken = desk.trainer("broken");
    for step in [1, 3, 4] {
        let stopped = desk.stop_after(&broken, step).unwrap();
        assert!(!stopped.is_complete && stopped.step == step);
    }
    let tuned = desk.run(&broken).unwrap();
    assert_eq!(losses(&tuned), losses(&unbroken));
    assert_eq!(files(&tuned.checkpoint), files(&unbroken.checkpoint));
}
