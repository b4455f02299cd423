//! Mappings read backwards.

use super::super::test_support::{Free, begin, export, nothing, plan};
use super::{Sizes, Toy};
use crate::mapping::Mapping;
use crate::transform::BoxError;
use crate::{Tensor, mapping, ops, param_schema, state_transform};

const ROWS: Mapping = mapping! {
    "embed" => "embed",
    "head" => "head",
    "head" == "embed" when tied,
    ignore "m.{layer}.inv_freq",
    "m.{layer}" => "d.{layer}" {
        "norm" => "norm",
        "fc" => "fc",
        one_of {
            single { "e.{e}.fc" => "weight{e}", }
            fused { "e.fc" => "weight{e}" unstack e, }
        }
    }
};

/// A whole checkpoint of two layers and two experts, the second layer with experts.
const CHECKPOINT: [&str; 5] =
    ["embed: 8 4", "head: 8 4", "d.{0..2}.norm: 4", "d.0.fc: 2 4", "d.1.weight{0..2}: 2 4"];

fn with(line: &str, other: &[&'static str]) -> Vec<&'static str> {
    assert!(CHECKPOINT.contains(&line));
    CHECKPOINT.into_iter().filter(|l| *l != line).chain(other.iter().copied()).collect()
}

#[test]
fn each_parameter_goes_where_its_rule_took_it_from() {
    let want = [
        "embed <- embed",
        "head <- head",
        "m.0.fc <- d.0.fc",
        "m.0.norm <- d.0.norm",
        "m.1.e.0.fc <- d.1.weight0",
        "m.1.e.1.fc <- d.1.weight1",
        "m.1.norm <- d.1.norm",
    ];
    assert_eq!(export::<Toy>(&Sizes::new(2, 2, 1), ROWS, &CHECKPOINT).makes(), want);
}

#[test]
fn either_spelling_is_read() {
    let checkpoint = with("d.{0..2}.norm: 4", &["d.0.norm: 4", "d.1.ln: 4"]);
    let makes = export::<Toy>(&Sizes::new(2, 2, 1), ROWS, &checkpoint).makes();
    assert_eq!(makes[3], "m.0.norm <- d.0.norm");
    assert_eq!(makes[6], "m.1.norm <- d.1.ln");
}

/// What is refused for a complete mapping, when the checkpoint or the config is another one.
macro_rules! refused {
    ($($name:ident: $config:expr, $checkpoint:expr => [$($start:literal),*];)*) => {$(
        #[test]
        fn $name() {
            begin(&export::<Toy>(&$config, ROWS, &$checkpoint).refused(), &[$($start),*]);
        }
    )*};
}

refused! {
    a_missing_expert_is_named: Sizes::new(2, 3, 1), CHECKPOINT =>
        ["missing-source m.1.e.2.fc: rename needs d.1.weight2, which is not in the checkpoint"];
    a_slip_names_what_is_missing: Sizes::new(2, 2, 1), with("d.0.fc: 2 4", &["d.0.cf: 2 4"]) => [
        "unused-tensor d.0.cf: did you mean d.0.fc?",
        "missing-source m.0.fc: rename needs d.0.fc, which is not in the checkpoint"
    ];
    a_tied_head_is_left_over: Sizes { tied: true, ..Sizes::new(2, 2, 1) }, CHECKPOINT =>
        ["unused-tensor head: head takes it, but this config has no parameter for it"];
    a_wrong_shape: Sizes::new(2, 2, 1), with("embed: 8 4", &["embed: 9 4"]) =>
        ["shape embed: embed is [8, 4] under this config; the checkpoint has [9, 4]"];
    both_spellings: Sizes::new(2, 2, 1),
        with("d.{0..2}.norm: 4", &["d.{0..2}.norm: 4", "d.0.ln: 4"]) =>
        ["ambiguous d.0.ln: it is another name of d.0.norm, which is there too"];
}

#[state_transform(inverse = spread_back)]
fn gather_up(_all: &[Tensor]) -> Result<Tensor, BoxError> {
    Err(super::NEVER_CALLED.into())
}

#[state_transform(inverse = gather_up)]
fn spread_back(_all: Tensor) -> Result<Vec<Tensor>, BoxError> {
    Err(super::NEVER_CALLED.into())
}

#[state_transform]
fn one_way(_x: Tensor) -> Result<Tensor, BoxError> {
    Err(super::NEVER_CALLED.into())
}

param_schema! {
    /// Parameters for every fold.
    Folds(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        "d.{layer}" {
            "stacked": [c.experts, 8, 4];
            "one.{e}": [2, 4];
            "gathered": [c.experts, 4];
            "part.{e}": [4];
            "fc1": [4, 4];
            "gate": [2, 4];
            "up": [2, 4];
        }
    }
}

const FOLDS: Mapping = mapping! {
    "m.{layer}" => "d.{layer}" {
        ("e.{e}.gate", "e.{e}.up") => "stacked" via ops::merge_fc1 stack e,
        "all" => "one.{e}" unstack e,
        "g.{e}" => "gathered" via gather_up,
        "parts" => "part.{e}" via spread_back,
        ("gate", "up") => "fc1" via ops::merge_fc1,
        "gate_up" => ("gate", "up") via ops::split_fc1,
    }
};

#[test]
fn folds_turn_round() {
    let checkpoint = [
        "d.0.stacked: 2 8 4",
        "d.0.one.{0..2}: 2 4",
        "d.0.gathered: 2 4",
        "d.0.part.{0..2}: 4",
        "d.0.fc1: 4 4",
        "d.0.gate: 2 4",
        "d.0.up: 2 4",
    ];
    let planned = export::<Folds>(&Sizes::new(1, 2, 0), FOLDS, &checkpoint);
    let want = [
        "m.0.all <- d.0.one.0, d.0.one.1",
        "m.0.e.0.gate <- d.0.stacked[0]",
        "m.0.e.0.up <- d.0.stacked[0]",
        "m.0.e.1.gate <- d.0.stacked[1]",
        "m.0.e.1.up <- d.0.stacked[1]",
        "m.0.g.0 <- d.0.gathered",
        "m.0.g.1 <- d.0.gathered",
        "m.0.gate <- d.0.fc1",
        "m.0.gate_up <- d.0.gate, d.0.up",
        "m.0.parts <- d.0.part.0, d.0.part.1",
        "m.0.up <- d.0.fc1",
    ];
    assert_eq!(planned.makes(), want);
    let shape = |name: &str| {
        let output = planned.plan().outputs.iter().find(|output| output.name == name);
        output.and_then(|output| output.shape.clone())
    };
    assert_eq!(shape("m.0.e.1.up"), Some(vec![4, 4]));
    assert_eq!(shape("m.0.all"), Some(vec![2, 2, 4]));
    assert_eq!(shape("m.0.gate_up"), Some(vec![4, 4]));
}

#[test]
fn what_an_export_writes_imports_to_the_same_parameters() {
    let there = export::<Toy>(&Sizes::new(2, 2, 1), ROWS, &CHECKPOINT);
    let outputs = there.plan().outputs.iter().map(|output| {
        let sizes: Vec<String> =
            output.shape.iter().flatten().map(|size| size.to_string()).collect();
        format!("{}: {}", output.name, sizes.join(" "))
    });
    let lines: Vec<String> = outputs.collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let back = plan::<Toy>(&Sizes::new(2, 2, 1), ROWS, &lines);
    let mut names: Vec<&str> = back.plan().outputs.iter().map(|o| o.name.as_str()).collect();
    let mut want: Vec<&str> = there.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    want.sort_unstable();
    assert_eq!(names, want);
}

#[test]
fn a_row_without_inverse_is_named() {
    const ONE_WAY: Mapping = mapping! {
        "a.{i}" => "b.{i}" via one_way,
        "c" => "d",
    };
    let refused = export::<Free>(&nothing(), ONE_WAY, &["b.{0..2}: 3", "d: 1"]).refused();
    begin(&refused, &["rule a.{0,1}: one_way has no inverse: give its `#[state_transform]`"]);
}

#[test]
fn copies_of_one_tensor_are_compared_and_written_once() {
    const TWICE: Mapping = mapping! { "x" => "embed", "x" => "head" };
    let none = Sizes::new(0, 0, 0);
    let planned = export::<Toy>(&none, TWICE, &["embed: 8 4", "head: 8 4"]);
    assert_eq!(planned.makes(), ["x <- embed"]);
    assert_eq!(planned.compared(), ["head == embed"]);

    let refused = export::<Toy>(&none, TWICE, &["embed: 8 4", "head: 8 4 bf16"]).refused();
    begin(&refused, &["ambiguous x: by the rule here and by the rule at"]);

    const TURNED: Mapping = mapping! { "x" => "embed", "x" => "head" via ops::transpose };
    let refused = export::<Toy>(&none, TURNED, &["embed: 8 4", "head: 8 4"]).refused();
    begin(&refused, &["ambiguous x: by the rule here and by the rule at"]);
}

#[test]
fn without_a_schema_the_checkpoint_drives() {
    const LOOSE: Mapping = mapping! {
        ("l.*.gate", "l.*.up") => "d.*.fc1" via ops::merge_fc1,
        "e.{e}.w" => "experts" stack e,
        "x" == "l.0.gate",
    };
    let planned = export::<Free>(&nothing(), LOOSE, &["d.{0..2}.fc1: 4 2", "experts: 3 2 2"]);
    let want = [
        "e.0.w <- experts[0]",
        "e.1.w <- experts[1]",
        "e.2.w <- experts[2]",
        "l.0.gate <- d.0.fc1",
        "l.0.up <- d.0.fc1",
        "l.1.gate <- d.1.fc1",
        "l.1.up <- d.1.fc1",
    ];
    assert_eq!(planned.makes(), want);
}
