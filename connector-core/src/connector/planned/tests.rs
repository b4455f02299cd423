//! An edited function, or an edited connector, is another conversion.

use super::*;
use crate::connector::cache::{Cache, Cached};
use crate::connector::{ImportOptions, Planned};
use crate::plan::Work as StepWork;
use crate::transform::{Function, Kernel};

fn llama() -> Planned {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
    Planned::import(fixture, ImportOptions::default()).unwrap()
}

/// The same with its connector's code edited, as the macro would see it.
fn edited() -> Planned {
    let mut planned = llama();
    let fingerprint = planned.registration.fingerprint ^ 1;
    // The registry's entries live as long as the program, and this one so too.
    planned.registration =
        Box::leak(Box::new(Registration { fingerprint, ..*planned.registration }));
    planned
}

#[test]
fn an_edited_connector_converts_again_and_finds_nothing_old() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path());
    let convert = |planned: &Planned| {
        let cached = cache.convert(planned, Overwrite::No, &NoProgress, |_| {}).unwrap();
        let made = matches!(cached, Cached::Made(..));
        (made, cached.path().to_path_buf())
    };
    let (made, before) = convert(&llama());
    assert!(made);
    let (made, after) = convert(&edited());
    assert!(made && after != before);
    assert_eq!(convert(&llama()), (false, before));
    assert_eq!(convert(&edited()), (false, after));
}

#[test]
fn an_edited_function_has_another_place() {
    let cache = Cache::at("cache");
    let place = |fingerprint| {
        let mut planned = llama();
        let function = Function { call: |_, x| Ok(x), group: false, keyed: false, fingerprint };
        let plan = &mut planned.conversion.plan;
        plan.steps[0].work = StepWork::Function { calls: 1 };
        plan.mapping.rules[plan.steps[0].rule].operations[0].kernel = Kernel::Function(function);
        cache.place(&planned).unwrap()
    };
    assert_eq!(place(1), place(1));
    assert_ne!(place(1), place(2));
}
