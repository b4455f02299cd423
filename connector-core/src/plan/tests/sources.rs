//! Models without a schema.

use super::super::test_support::{Free, begin, nothing, plan};
use crate::mapping::Mapping;
use crate::{mapping, ops};

macro_rules! makes {
    ($($name:ident: { $($rows:tt)* }, $source:expr => $makes:expr;)*) => {$(
        #[test]
        fn $name() {
            const ROWS: Mapping = mapping! { $($rows)* };
            assert_eq!(plan::<Free>(&nothing(), ROWS, &$source).makes(), $makes);
        }
    )*};
}

macro_rules! refused {
    ($($name:ident: { $($rows:tt)* }, $source:expr => $starts:expr;)*) => {$(
        #[test]
        fn $name() {
            const ROWS: Mapping = mapping! { $($rows)* };
            begin(&plan::<Free>(&nothing(), ROWS, &$source).refused(), &$starts);
        }
    )*};
}

makes! {
    by_value: { "m.{l}.q" => "d.{l}.q" }, ["m.{1..4}.q: 4"] =>
        ["d.1.q <- m.1.q", "d.2.q <- m.2.q", "d.3.q <- m.3.q"];
    joined_by_value: { ("q.{l}", "k.{l}") => "qk.{l}" via ops::concat2 },
        ["k.{0..2}: 4", "q.{0..2}: 4"] => ["qk.0 <- q.0, k.0", "qk.1 <- q.1, k.1"];
    joined_in_another_order: { ("q.{l}.{e}", "k.{e}.{l}") => "qk.{l}.{e}" via ops::concat2 },
        ["q.0.{0..2}: 4", "k.{0..2}.0: 4"] => ["qk.0.0 <- q.0.0, k.0.0", "qk.0.1 <- q.0.1, k.1.0"];
    stars_bind_by_position: { "a.*.*.w" => "b.*.*.w" }, ["a.1.x.w: 4"] => ["b.1.x.w <- a.1.x.w"];
    any_binds_by_value: { "**.q.w" => "**.p.w" }, ["l.10.q.w: 4", "l.2.q.w: 4"] =>
        ["l.2.p.w <- l.2.q.w", "l.10.p.w <- l.10.q.w"];
    one_source_on_purpose_twice: { "e" => "e", "e" => "h" }, ["e: 4"] => ["e <- e", "h <- e"];
    an_optional_row_without_sources: { "a" => "a", "b.{l}" => "b.{l}" optional }, ["a: 4"] =>
        ["a <- a"];
}

refused! {
    a_missing_member: { ("q.{l}", "k.{l}") => "qk.{l}" via ops::concat2 },
        ["q.{0..3}: 4", "k.0: 4", "k.2: 4"] =>
        ["missing-source qk.1: concat2 needs k.1, which is not in the checkpoint"];
    a_missing_first_member: { ("q.{l}", "k.{l}") => "qk.{l}" via ops::concat2 }, ["k.0: 4"] =>
        ["missing-source qk.0: concat2 needs q.0"];
    half_of_an_optional_row: { ("q.{l}", "k.{l}") => "qk.{l}" via ops::concat2 optional },
        ["k.0: 4"] => ["missing-source qk.0: concat2 needs q.0"];
    nothing_matches: { "m.{l}.q" => "d.{l}.q" }, ["m.0.p: 4"] => [
        "unused-tensor m.0.p: did you mean m.{l}.q?",
        "missing-source d.{l}.q: nothing in the checkpoint matches m.{l}.q"
    ];
    one_target_of_two_rules: { "a.{l}" => "c.{l}", "b.{l}" => "c.{l}" }, ["a.0: 4", "b.0: 4"] =>
        ["ambiguous c.0: by the rule here and by the rule at"];
    one_source_of_two_patterns: { "**.w" => "**.v", "e.*.w" => "f.*.w" }, ["e.0.w: 4"] =>
        ["ambiguous e.0.w: by the rule here and by the rule at"];
    a_condition: { "a" => "a" when tied }, ["a: 4"] =>
        ["rule a: `when` needs flags, which only a schema declares"];
    two_types: { ("q", "k") => "qk" via ops::concat2 }, ["q: 4 f32", "k: 4 bf16"] =>
        ["dtype qk: q is F32; k is BF16"];
    two_widths: { ("q", "k") => "qk" via ops::concat2 }, ["q: 4 2", "k: 4 3"] =>
        ["shape qk: concat2: the parts [[4, 2], [4, 3]] differ in more than their number of rows"];
}

#[test]
fn a_join_of_many_keys_takes_no_time() {
    const ROWS: Mapping = mapping! {
        ("a.{l}.{e}", "b.{e}.{l}") => "c.{l}.{e}" via ops::concat2,
    };
    let planned =
        plan::<Free>(&nothing(), ROWS, &["a.{0..60}.{0..256}: 4", "b.{0..256}.{0..60}: 4"]);
    assert_eq!(planned.plan().outputs.len(), 60 * 256);
}
