//! `==` between keys that capture different things, and `copy`.

use super::super::test_support::{Free, begin, export, nothing, plan};
use super::{NEVER_CALLED, Sizes};
use crate::mapping::Mapping;
use crate::transform::BoxError;
use crate::{Tensor, mapping, ops, param_schema, state_transform};

#[state_transform(inverse = halves_back)]
fn join(_a: Tensor, _b: Tensor) -> Result<Tensor, BoxError> {
    Err(NEVER_CALLED.into())
}

#[state_transform(inverse = join)]
fn halves_back(_whole: Tensor) -> Result<(Tensor, Tensor), BoxError> {
    Err(NEVER_CALLED.into())
}

param_schema! {
    /// Layers, and as many behind the last as there are experts.
    Tail(c: Sizes) {
        axis layer = c.layers;
        axis mtp = c.experts;
        field num_layers = c.layers;
        flag tied = c.tied;
        flag moe(layer) = layer >= c.dense;
        "embed": [8, 4];
        "head": [8, 4] if !tied;
        "mtp.{mtp}": [4];
        "d.{layer}": [4];
    }
}

const ROWS: Mapping = mapping! {
    "embed" => "embed",
    "head" => "head",
    "m.{layer}.norm" => "d.{layer}",
    "m.{num_layers + mtp}.norm" => "mtp.{mtp}",
    copy "m.{num_layers + mtp}.embed" == "embed",
    copy "m.{num_layers + mtp}.head" == "head" when !tied,
    "m.{layer}.again" == "embed" when moe,
};

const SOURCE: [&str; 3] = ["embed: 8 4", "head: 8 4", "m.{0..4}.norm: 4"];
const CHECKPOINT: [&str; 4] = ["embed: 8 4", "head: 8 4", "d.{0..2}: 4", "mtp.{0..2}: 4"];

fn tail() -> Sizes {
    Sizes::new(2, 2, 1)
}

#[test]
fn one_tensor_is_what_several_must_equal() {
    for (more, compared) in [
        (&[][..], &[][..]),
        (&["m.{2..4}.embed: 8 4"], &["m.2.embed == embed", "m.3.embed == embed"]),
        (&["m.3.head: 8 4", "m.1.again: 8 4"], &["m.3.head == head", "m.1.again == embed"]),
    ] {
        let planned = plan::<Tail>(&tail(), ROWS, &[&SOURCE[..], more].concat());
        assert_eq!(planned.compared(), compared);
    }
    for (more, want) in [
        ("m.1.embed: 8 4", "unused-tensor m.1.embed"),
        ("m.4.embed: 8 4", "unused-tensor m.4.embed"),
        ("m.0.again: 8 4", "unused-tensor m.0.again"),
        ("m.2.embed: 9 4", "shape m.2.embed: it is F32 [9, 4] and must equal embed"),
    ] {
        begin(&plan::<Tail>(&tail(), ROWS, &[&SOURCE[..], &[more]].concat()).refused(), &[want]);
    }
}

#[test]
fn copies_are_written_for_each_index() {
    let made = export::<Tail>(&tail(), ROWS, &CHECKPOINT);
    let want = [
        "embed <- embed",
        "head <- head",
        "m.0.norm <- d.0",
        "m.1.norm <- d.1",
        "m.2.embed <- embed",
        "m.2.head <- head",
        "m.2.norm <- mtp.0",
        "m.3.embed <- embed",
        "m.3.head <- head",
        "m.3.norm <- mtp.1",
    ];
    assert_eq!(made.makes(), want);
    let copies = &made.plan().copies;
    assert_eq!(copies.len(), 4);
    assert_eq!((copies[1].name.as_str(), copies[1].of.as_str()), ("m.3.embed", "embed"));
    let why = made.plan().explain("m.3.embed", &made.tensors, &|_| String::new()).unwrap();
    let why = why[1].remark.as_ref().unwrap().to_string();
    assert!(why.starts_with("a copy of embed ("), "{why}");

    let tied = Sizes { tied: true, ..tail() };
    let without: Vec<&str> = CHECKPOINT.into_iter().filter(|line| *line != "head: 8 4").collect();
    assert!(
        !export::<Tail>(&tied, ROWS, &without).makes().iter().any(|line| line.contains("head"))
    );
}

#[test]
fn one_of_several_results_is_copied_if_it_only_moves() {
    const MOVED: Mapping = mapping! {
        ("a", "b") => "ab" via ops::merge_fc1,
        copy "c" == "b",
    };
    let made = export::<Free>(&nothing(), MOVED, &["ab: 4 2"]);
    assert_eq!(made.makes(), ["a <- ab", "b <- ab", "c <- ab"]);
    let plan = made.plan();
    let work = |name: &str| {
        let number = plan.outputs.iter().position(|output| output.name == name).unwrap();
        format!("{:?}", plan.steps[plan.outputs[number].step].work)
    };
    assert!(work("c").contains("from: 4") && !work("c").contains("from: 0, to: 0, len: 4"));
}

#[test]
fn copies_that_cannot_be_written_are_refused() {
    let refused = |mapping| export::<Free>(&nothing(), mapping, &["x: 4"]).refused();
    const TWICE: Mapping = mapping! { "a" => "x", "b" => "x", copy "b" == "a" };
    begin(&refused(TWICE), &["rule b: a rule writes it too (the `copy` row at "]);
    const FREE: Mapping = mapping! { "a" => "x", copy "m.{i}" == "a" };
    begin(&refused(FREE), &["rule m.{i}: the indices of a copy are those of axes"]);
    const WHEN: Mapping = mapping! { "a" => "x", copy "b" == "a" when tied };
    begin(&refused(WHEN), &["rule b: `when` needs flags"]);
    const TOGETHER: Mapping = mapping! { ("a", "b") => "x" via join, copy "c" == "a" };
    begin(&refused(TOGETHER), &["rule c: it is a copy of a, which halves_back gives together"]);
    const UNWRITTEN: Mapping = mapping! {
        "embed" => "embed",
        "m.{layer}.norm" => "d.{layer}",
        "m.{num_layers + mtp}.norm" => "mtp.{mtp}",
        copy "m.{num_layers + mtp}.embed" == "head",
    };
    let tied = Sizes { tied: true, ..tail() };
    let without: Vec<&str> = CHECKPOINT.into_iter().filter(|line| *line != "head: 8 4").collect();
    let refused = export::<Tail>(&tied, UNWRITTEN, &without).refused();
    begin(
        &refused,
        &["rule m.{2,3}.embed: it is a copy of head, which is not written (the `copy`"],
    );
}
