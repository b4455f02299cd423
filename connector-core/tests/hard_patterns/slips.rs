//! 33, 34: slips. Those that the macros see do not compile; the files named here hold them and the
//! messages.

use crate::support::{Free, begin, nothing, plan};
use connector_core::{Mapping, mapping, ops, param_schema};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Asserts that `tests/ui` has a file of this name that must not compile.
#[track_caller]
fn does_not_compile(name: &str) {
    let ui = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ui/tests/fail");
    for file in [ui.join(name).with_extension("rs"), ui.join(name).with_extension("stderr")] {
        assert!(file.is_file(), "{} is not there", file.display());
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Config {}

param_schema! { Model(_c: Config) { "fc1": [8, 4]; "fc2": [4]; } }

// In NeMo a tuple with a misspelt key is a no-op. Here the source is missing by name, and what it
// was meant for is left over by name.
#[test]
fn p33_a_misspelt_source() {
    const SLIP: Mapping = mapping! {
        ("gate_proj", "up_projj") => "fc1" via ops::merge_fc1,
        "down_proj" => "fc2",
    };
    let source = ["gate_proj: 4 4", "up_proj: 4 4", "down_proj: 4"];
    begin(
        &plan::<Model>(&Config {}, SLIP, &source).refused(),
        &[
            "unused-tensor up_proj: did you mean up_projj?",
            "missing-source fc1: merge_fc1 needs up_projj, which is not in the checkpoint",
        ],
    );
    const FREE: Mapping = mapping! { ("gate_proj", "up_projj") => "fc1" via ops::merge_fc1 };
    begin(
        &plan::<Free>(&nothing(), FREE, &source[..2]).refused(),
        &[
            "unused-tensor up_proj: did you mean up_projj?",
            "missing-source fc1: merge_fc1 needs up_projj",
        ],
    );
}

#[test]
fn p33_a_misspelt_target() {
    const SLIP: Mapping = mapping! { "gate_up" => "fc1", "down_proj" => "fc3" };
    begin(
        &plan::<Model>(&Config {}, SLIP, &["gate_up: 8 4", "down_proj: 4"]).refused(),
        &[
            "unused-tensor down_proj: down_proj takes it, but this config has no parameter for it",
            "no-rule fc2: no rule of this importer makes it",
        ],
    );
}

#[test]
fn p34_as_many_sources_as_parameters() {
    does_not_compile("sources-too-few");
    does_not_compile("sources-too-many");
    does_not_compile("targets-fewer-than-returned");
    does_not_compile("targets-more-than-returned");
    does_not_compile("mapping-via-arity");
    does_not_compile("mapping-without-via");
}

#[test]
fn p12_captures_that_do_not_correspond() {
    does_not_compile("captures-by-position");
    does_not_compile("captures-by-name");
    does_not_compile("captures-mixed");
    does_not_compile("captures-one-axis-more");
    does_not_compile("mapping-captures");
}

#[test]
fn p30_axes_that_nothing_folds() {
    does_not_compile("mapping-nothing-to-stack");
    does_not_compile("mapping-axis-without-group");
    does_not_compile("mapping-group-without-axis");
    does_not_compile("stack-unknown-axis");
}
