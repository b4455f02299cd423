//! `stack`, `unstack`, groups and `Vec`s, with a schema and without.

use super::super::test_support::{Free, begin, export, nothing, plan};
use super::{Sizes, gather, scale_and_gather, spread};
use crate::mapping::Mapping;
use crate::{mapping, ops, param_schema};

param_schema! {
    /// Experts in one tensor for each layer.
    Stacked(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        "s.{layer}": [c.experts, 2, 4];
    }
}

param_schema! {
    /// Experts apart, in some layers only every second.
    Apart(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        flag odd(e) = e % 2 == 1;
        flag all(layer) = layer < c.dense;
        "e.{layer}.{e}": [2, 4] if odd || all;
    }
}

param_schema! {
    /// Two of each.
    Pairs(c: Sizes) {
        axis e = c.experts;
        "a.{e}": [4];
        "b.{e}": [4];
    }
}

/// One test for each row, source and outcome.
macro_rules! makes {
    ($($name:ident: $model:ty, $config:expr, { $($rows:tt)* }, $source:expr => $makes:expr;)*) => {$(
        #[test]
        fn $name() {
            const ROWS: Mapping = mapping! { $($rows)* };
            assert_eq!(plan::<$model>(&$config, ROWS, &$source).makes(), $makes);
        }
    )*};
}

/// One test for each row, source and refusal.
macro_rules! refused {
    ($($name:ident: $model:ty, $config:expr, { $($rows:tt)* }, $source:expr => $starts:expr;)*) => {$(
        #[test]
        fn $name() {
            const ROWS: Mapping = mapping! { $($rows)* };
            begin(&plan::<$model>(&$config, ROWS, &$source).refused(), &$starts);
        }
    )*};
}

#[test]
fn what_is_repeated_must_be_the_same_to_be_one_again() {
    const ROWS: Mapping = mapping! { ("q", "k") => "s.{layer}" via ops::merge_fc1 repeat layer };
    let sizes = Sizes::new(3, 2, 0);
    let there = plan::<Stacked>(&sizes, ROWS, &["q: 1 2 4", "k: 1 2 4"]);
    assert_eq!(there.makes(), ["s.0 <- q, k", "s.1 <- q, k", "s.2 <- q, k"]);
    let back = export::<Stacked>(&sizes, ROWS, &["s.{0..3}: 2 2 4"]);
    assert_eq!(back.makes(), ["k <- s.0", "q <- s.0"]);
    assert_eq!(back.compared(), ["s.1 == s.0", "s.2 == s.0"]);
    begin(
        &plan::<Free>(&nothing(), ROWS, &["q: 1 2", "k: 1 2"]).refused(),
        &["rule s.{layer}: `repeat layer` needs an axis that a schema declares"],
    );
}

fn sizes() -> Sizes {
    Sizes::new(2, 3, 2)
}

makes! {
    stacked_in_order: Stacked, Sizes::new(1, 11, 0), { "s.{layer}.{e}" => "s.{layer}" stack e },
        ["s.0.{0..11}: 2 4"] =>
        ["s.0 <- s.0.0, s.0.1, s.0.2, s.0.3, s.0.4, s.0.5, s.0.6, s.0.7, s.0.8, s.0.9, s.0.10"];
    stacked_pairs: Stacked, Sizes::new(1, 2, 0),
        { ("a.{layer}.{e}", "b.{layer}.{e}") => "s.{layer}" via ops::merge_fc1 stack e },
        ["a.0.{0..2}: 1 4", "b.0.{0..2}: 1 4"] => ["s.0 <- a.0.0, b.0.0, a.0.1, b.0.1"];
    stacked_without_a_schema: Free, nothing(), { "s.{l}.{e}" => "s.{l}" stack e },
        ["s.{0..2}.{0..3}: 4"] => ["s.0 <- s.0.0, s.0.1, s.0.2", "s.1 <- s.1.0, s.1.1, s.1.2"];
    unstacked: Apart, Sizes::new(1, 3, 1), { "s.{layer}" => "e.{layer}.{e}" unstack e },
        ["s.0: 3 2 4"] => ["e.0.0 <- s.0[0]", "e.0.1 <- s.0[1]", "e.0.2 <- s.0[2]"];
    unstacked_in_pairs: Free, nothing(), { "s" => ("a.{e}", "b.{e}") via ops::duplicate2 unstack e },
        ["s: 2 4"] => ["a.0 <- s[0]", "a.1 <- s[1]", "b.0 <- s[0]", "b.1 <- s[1]"];
    unstacked_from_two: Free, nothing(), { ("a", "b") => "s.{e}" via ops::concat2 unstack e },
        ["a: 2 4", "b: 2 4"] => ["s.0 <- a[0], b[0]", "s.1 <- a[1], b[1]"];
    gathered: Stacked, sizes(), { "s.{layer}.{e}" => "s.{layer}" via gather },
        ["s.{0..2}.{0..3}: 2 4"] => ["s.0 <- s.0.0, s.0.1, s.0.2", "s.1 <- s.1.0, s.1.1, s.1.2"];
    gathered_behind_one: Free, nothing(),
        { ("scale.{l}", "s.{l}.{e}") => "s.{l}" via scale_and_gather },
        ["scale.{0..2}: 1", "s.{0..2}.{0..2}: 4"] =>
        ["s.0 <- scale.0, s.0.0, s.0.1", "s.1 <- scale.1, s.1.0, s.1.1"];
    spread_over_the_axis: Apart, sizes(), { "s.{layer}" => "e.{layer}.{e}" via spread },
        ["s.{0..2}: 9"] => [
            "e.0.0 <- s.0", "e.0.1 <- s.0", "e.0.2 <- s.0",
            "e.1.0 <- s.1", "e.1.1 <- s.1", "e.1.2 <- s.1",
        ];
    spread_without_a_schema: Free, nothing(), { "s" => "e.{e}" via spread },
        ["s: 2 4"] => ["e.0 <- s", "e.1 <- s"];
}

refused! {
    a_member_is_missing: Stacked, sizes(), { "s.{layer}.{e}" => "s.{layer}" stack e },
        ["s.0.{0..3}: 2 4", "s.1.0: 2 4", "s.1.2: 2 4"] =>
        ["missing-source s.1: rename needs s.1.1, which is not in the checkpoint"];
    a_member_too_many: Stacked, sizes(), { "s.{layer}.{e}" => "s.{layer}" stack e },
        ["s.{0..2}.{0..4}: 2 4"] => ["unused-tensor s.{0,1}.3"];
    a_hole_without_a_schema: Free, nothing(), { "s.{e}" => "s" stack e },
        ["s.{0..2}: 4", "s.3: 4"] => ["missing-source s: rename needs s.2, which"];
    a_group_with_a_hole_without_a_schema: Free, nothing(), { "s.{e}" => "s" via gather },
        ["s.{1..3}: 4"] => ["missing-source s: gather needs s.0, which"];
    a_hole_without_end: Free, nothing(), { "s.{e}" => "s" stack e },
        ["s.0: 4", "s.18446744073709551615: 4"] => ["missing-source s: rename needs s.1, which"];
    ragged_experts_without_a_schema: Free, nothing(), { "s.{l}.{e}" => "s.{l}" stack e },
        ["s.0.{0..2}: 4", "s.1.{0..3}: 4"] => ["missing-source s.0: rename needs s.0.2, which"];
    members_of_different_shapes: Stacked, sizes(), { "s.{layer}.{e}" => "s.{layer}" stack e },
        ["s.{0..2}.{0..2}: 2 4", "s.{0..2}.2: 4 2"] =>
        ["shape s.{0,1}: the tensors along the axis differ: F32 [2, 4]; F32 [4, 2]"];
    no_members: Free, nothing(), { ("scale", "s.{e}") => "s" via scale_and_gather },
        ["scale: 1"] => ["missing-source s: scale_and_gather needs tensors along its axis; there are none"];
    unstacked_too_long: Apart, Sizes::new(1, 3, 1), { "s.{layer}" => "e.{layer}.{e}" unstack e },
        ["s.0: 4 2 4"] => ["shape e.0.{0..2}: s.0 is [4, 2, 4]: its first dimension should be 3"];
    unstacked_too_short: Apart, Sizes::new(1, 3, 1), { "s.{layer}" => "e.{layer}.{e}" unstack e },
        ["s.0: 2 2 4"] => ["shape e.0.{0..2}: s.0 is [2, 2, 4]: its first dimension should be 3"];
    unstacked_without_a_dimension: Apart, Sizes::new(1, 1, 1),
        { "s.{layer}" => "e.{layer}.{e}" unstack e }, ["s.0: "] => ["shape e.0.0: s.0 is []"];
    unstacked_members_that_go_nowhere: Apart, Sizes::new(1, 3, 0),
        { "s.{layer}" => "e.{layer}.{e}" unstack e }, ["s.0: 3 2 4"] =>
        ["unused-tensor s.0: it is [3, 2, 4], and nothing is made of index 0 of its first dimension"];
    unstacked_from_two_lengths: Free, nothing(), { ("a", "b") => "s.{e}" via ops::concat2 unstack e },
        ["a: 2 4", "b: 3 4"] => ["shape s.{0,1}: b is [3, 4]: its first dimension should be 2"];
    spread_to_what_does_not_exist: Apart, Sizes::new(1, 3, 0),
        { "s.{layer}" => "e.{layer}.{e}" via spread }, ["s.0: 9"] =>
        ["rule e.0.0: Apart has no such parameter"];
    spread_to_two_targets: Free, nothing(), { "s" => ("a.{e}", "b.{e}") via spread }, ["s: 2 4"] =>
        ["rule a.{e}: it returns the tensors along {e}, for one target"];
    spread_to_two_parameters: Pairs, Sizes::new(0, 2, 0), { "s" => ("a.{e}", "b.{e}") via spread },
        ["s: 2 4"] => ["rule a.{0,1}: it returns the tensors along {e}, for one target", "rule b.{0,1}"];
    an_unstacked_source_is_missing: Free, nothing(),
        { ("a", "b") => "s.{e}" via ops::concat2 unstack e }, ["b: 2 4"] =>
        ["missing-source s.0: concat2 needs a, which is not in the checkpoint"];
}

#[test]
fn an_optional_group_may_be_absent_as_a_whole() {
    const ROWS: Mapping = mapping! { "s.{layer}.{e}" => "s.{layer}" stack e optional };
    let absent = plan::<Stacked>(&sizes(), ROWS, &[]);
    assert_eq!(absent.plan().absent, ["s.0", "s.1"]);
    let half = plan::<Stacked>(&sizes(), ROWS, &["s.1.0: 2 4"]).refused();
    begin(
        &half,
        &[
            "missing-source s.1: rename needs s.1.1, which is not in the checkpoint; rename needs s.1.2",
        ],
    );
    const UNDECLARED: Mapping = mapping! { "s.{layer}.{i}" => "s.{layer}" stack i optional };
    assert_eq!(plan::<Stacked>(&sizes(), UNDECLARED, &[]).plan().absent, ["s.0", "s.1"]);
}

#[test]
fn copies_are_compared_within_their_call() {
    const STACKED: Mapping = mapping! { ("a.{e}", "b.{e}") => "c" via ops::same2 stack e };
    let planned = plan::<Free>(&nothing(), STACKED, &["a.{0..3}: 4", "b.{0..3}: 4"]);
    assert_eq!(planned.compared(), ["b.0 == a.0", "b.1 == a.1", "b.2 == a.2"]);
    const UNSTACKED: Mapping = mapping! { ("a", "b") => "c.{e}" via ops::same2 unstack e };
    let planned = plan::<Free>(&nothing(), UNSTACKED, &["a: 3 4", "b: 3 4"]);
    assert_eq!(planned.compared(), ["b == a"]);
}
