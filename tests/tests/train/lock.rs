//! A run has its folder to itself.

use crate::support::{Desk, losses};
use connector_core::train::{Dataset, FineTuned, Trainer, Watch, finetune_watched};
use connector_core::{AutoModel, Error, Result, store};
use connector_tests::{Child, Ended};
use std::cell::RefCell;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// Calls a function when a run begins, and after its first checkpoint.
struct Meanwhile<F>(F);

impl<F: Fn()> Watch for Meanwhile<F> {
    fn begins(&self, _: &Dataset, _: Option<&Dataset>, _: u64) {
        (self.0)();
    }

    fn saved(&self, _: &std::path::Path) {
        (self.0)();
    }
}

fn run_while(desk: &Desk, trainer: &Trainer, meanwhile: impl Fn()) -> Result<FineTuned> {
    let resume = desk.resume(trainer);
    finetune_watched::<AutoModel>(&desk.data, trainer, &resume, &Meanwhile(meanwhile))
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let desk = Desk::of("llama");
    let trainer = Trainer { max_steps: 2, every_n_train_steps: 1, ..desk.trainer("run") };
    let alone = desk.run(&Trainer { log_dir: desk.dir.path().join("alone"), ..trainer.clone() });
    let seen = RefCell::new(Vec::new());
    let tuned = run_while(&desk, &trainer, || {
        // Of this process, and of another.
        let Err(Error::Store(store::Error::Locked { path, .. })) = desk.run(&trainer) else {
            panic!("it went on")
        };
        assert_eq!(path, trainer.log_dir);
        let path = |path: &std::path::Path| path.to_str().unwrap().to_string();
        let (base, data, run) = (path(&desk.base), path(&desk.data.path), path(&trainer.log_dir));
        let child = Child::new(PROGRAM, &["finetune", &base, "--data", &data, "--output", &run]);
        seen.borrow_mut().push(child.arg("--seq-length=32").run());
    })
    .unwrap();
    let owner = format!("another process (pid {} on ", std::process::id());
    for Ended { code, text } in seen.borrow().iter() {
        assert_eq!(*code, Some(4), "{text}");
        assert!(text.contains(&owner) && text.contains("is writing"), "{text}");
        assert!(text.contains("wait until it is done"), "{text}");
    }
    assert_eq!(seen.borrow().len(), 3);
    assert_eq!(losses(&tuned), losses(&alone.unwrap()));
    // It is free afterwards, and the lock leaves nothing.
    let names: Vec<String> = std::fs::read_dir(&trainer.log_dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
    assert!(desk.run(&trainer).unwrap().is_complete);
}

/// Runs of other names share a folder.
#[test]
fn runs_of_other_names_share_a_folder() {
    let desk = Desk::of("llama");
    let trainer = Trainer { max_steps: 1, ..desk.trainer("run") };
    let other = Trainer { name: "other".into(), ..trainer.clone() };
    run_while(&desk, &trainer, || assert!(desk.run(&other).unwrap().is_complete)).unwrap();
}
