//! What is dropped of tensors that are read is listed: by its rows, with the rule.

use super::super::test_support::{Free, nothing, plan};
use crate::transform::{
    BoxError, Class, Kernel, LayOut, Move, Moves, Numbers, Operation, Shape, Signature, Transform,
    TransformCtx,
};
use crate::{Mapping, Tensor, mapping, ops, param_schema};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Size {
    vocab_size: usize,
}

param_schema! {
    Short(c: Size) { "w": [4, 3]; "x": [4, 2]; "t": [2, 300]; }
}

const SHORT: Size = Size { vocab_size: 4 };

/// What is dropped, and the rule's operation.
fn dropped(mapping: Mapping, source: &[&str]) -> Vec<String> {
    let planned = plan::<Short>(&SHORT, mapping, source);
    let rows = planned.plan().summary(&planned.tensors).dropped;
    rows.iter().map(|row| format!("{} {} {}", row.operation, row.keys, row.rows)).collect()
}

#[test]
fn rows_that_go_nowhere_are_listed() {
    const PRUNED: Mapping = mapping! {
        "w" => "w" via ops::prune_rows,
        "x" => "x" via ops::prune_vocab,
        "t" => "t",
    };
    let source = ["w: 5 3", "x: 9 2", "t: 2 300"];
    assert_eq!(dropped(PRUNED, &source), ["prune_rows w row 4", "prune_vocab x rows 4 to 8"]);
    assert_eq!(dropped(PRUNED, &["w: 4 3", "x: 4 2", "t: 2 300"]), [""; 0]);
    let planned = plan::<Short>(&SHORT, PRUNED, &source);
    let explained = planned.plan().explain("x", &planned.tensors, &|_| String::new()).unwrap();
    let remark = explained.iter().find_map(|one| one.remark.as_ref()).unwrap().to_string();
    assert!(remark.starts_with("prune_vocab leaves rows 4 to 8 out"), "{remark}");
}

#[test]
fn a_chain_says_what_its_last_operation_drops() {
    // Each element of a transpose moves by itself, and the chain is not joined.
    const CHAIN: Mapping = mapping! {
        "w" => "w",
        "x" => "x",
        "t" => "t" via (ops::transpose, ops::prune_rows),
    };
    let source = ["w: 4 3", "x: 4 2", "t: 300 200"];
    assert_eq!(dropped(CHAIN, &source), ["transpose, prune_rows t rows 2 to 199"]);
    // A short one is: of its source, columns are dropped.
    const SHORT_CHAIN: Mapping = mapping! {
        "w" => "w" via (ops::transpose, ops::prune_rows),
        "x" => "x",
        "t" => "t",
    };
    let source = ["w: 3 5", "x: 4 2", "t: 2 300"];
    assert_eq!(dropped(SHORT_CHAIN, &source), ["transpose, prune_rows w elements 4, 9, 14"]);
}

/// An operation that says of itself that it drops nothing, and forgets an element.
#[derive(Debug)]
struct Forgets;

impl Transform for Forgets {
    const OPERATION: Operation = Operation {
        name: "forgets",
        class: Class::Bijective,
        sources: 1,
        targets: 1,
        signature: Signature::Unknown,
        kernel: Kernel::Moves(&Forgets),
        inverse: None,
        each: false,
    };
}

impl LayOut for Forgets {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let elements = sources[0].iter().product::<usize>() as u64;
        let moves = vec![Move::run(0, 0, 1, 0, elements - 1)];
        Ok(Moves { shapes: sources.to_vec(), moves, equal: Vec::new() })
    }

    fn apply(
        &self,
        _: &TransformCtx<'_>,
        _: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        Err(super::NEVER_CALLED.into())
    }
}

#[test]
fn operations_of_others_are_not_trusted() {
    const FORGETS: Mapping = mapping! { "a" => "b" via Forgets };
    let planned = plan::<Free>(&nothing(), FORGETS, &["a: 4 3"]);
    assert_eq!(planned.plan().dropped[0].text(), "element 0");
}

#[test]
fn what_is_read_by_several_is_whole() {
    const BOTH: Mapping = mapping! {
        "w" => "w" via Forgets,
        "w" => "v",
        "twice" => ("one", "two") via ops::duplicate2,
        ("same", "other") => "same" via ops::same2,
    };
    let source = ["w: 5 3", "twice: 2", "same: 2", "other: 2"];
    assert_eq!(plan::<Free>(&nothing(), BOTH, &source).plan().dropped, []);
}
