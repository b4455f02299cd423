//! Which branch of a `one_of` is taken.

use super::super::test_support::{Free, begin, nothing, plan};
use super::{Sizes, Toy, without};
use crate::mapping::Mapping;
use crate::{mapping, ops};

const CHOICE: Mapping = mapping! {
    one_of {
        fused { "m.{l}.qkv" => "d.{l}.qkv" }
        apart { ("m.{l}.q", "m.{l}.k", "m.{l}.v") => "d.{l}.qkv" via ops::concat3 }
    }
};

#[test]
fn the_keys_of_the_source_choose() {
    for (source, want) in [
        (&["m.0.qkv: 4"][..], "d.0.qkv <- m.0.qkv"),
        (&["m.0.q: 4", "m.0.k: 4", "m.0.v: 4"], "d.0.qkv <- m.0.q, m.0.k, m.0.v"),
    ] {
        assert_eq!(plan::<Free>(&nothing(), CHOICE, source).makes(), [want]);
    }
}

#[test]
fn what_the_other_branch_would_take_is_left_over() {
    for (source, want) in [
        (&["m.0.qkv: 4", "m.0.q: 4"][..], "unused-tensor m.0.q: m.{l}.q takes it, but the other"),
        (
            &["m.0.qkv: 4", "m.0.q: 4", "m.0.k: 4", "m.0.v: 4"],
            "unused-tensor m.0.qkv: m.{l}.qkv takes it, but the other keys are those of `apart`",
        ),
        // Layers are not of two minds.
        (&["m.0.qkv: 4", "m.1.q: 4", "m.1.k: 4", "m.1.v: 4"], "unused-tensor m.0.qkv"),
        (&["m.0.q: 4", "m.0.k: 4"], "missing-source d.0.qkv: concat3 needs m.0.v"),
        // Of none, the first is named.
        (&[], "missing-source d.{l}.qkv: nothing in the checkpoint matches m.{l}.qkv"),
    ] {
        begin(&plan::<Free>(&nothing(), CHOICE, source).refused(), &[want]);
    }
}

#[test]
fn of_two_complete_branches_the_one_that_explains_more() {
    const ROWS: Mapping = mapping! {
        one_of {
            less { "a" => "x" }
            more { "a" => "x", "b" => "y" }
        }
    };
    assert_eq!(plan::<Free>(&nothing(), ROWS, &["a: 4", "b: 4"]).makes(), ["x <- a", "y <- b"]);
    assert_eq!(plan::<Free>(&nothing(), ROWS, &["a: 4"]).makes(), ["x <- a"]);
}

#[test]
fn choices_nest() {
    const ROWS: Mapping = mapping! {
        one_of {
            new { "n" => "n", one_of { a { "n.a" => "x" } b { "n.b" => "x" } } }
            old { "o" => "n", one_of { a { "o.a" => "x" } b { "o.b" => "x" } } }
        }
    };
    for (source, want) in
        [(["n: 4", "n.b: 4"], ["n <- n", "x <- n.b"]), (["o: 4", "o.a: 4"], ["n <- o", "x <- o.a"])]
    {
        assert_eq!(plan::<Free>(&nothing(), ROWS, &source).makes(), want);
    }
}

const SPELLINGS: Mapping = mapping! {
    "embed" => "embed",
    "head" => "head",
    one_of {
        old {
            "m.{layer}.norm" => "d.{layer}.norm",
            "m.{layer}.fc" => "d.{layer}.fc",
            "m.{layer}.e.{e}.fc" => "d.{layer}.weight{e}",
        }
        new {
            "m.{layer}.norm" => "d.{layer}.norm",
            "m.{layer}.mlp" => "d.{layer}.fc",
            "m.{layer}.experts" => "d.{layer}.weight{e}" unstack e,
        }
    }
};

#[test]
fn rows_for_what_the_model_has_not_do_not_count() {
    // Without experts, `old` has two of its two rows; with all rows counted, two of three would be
    // less than `new` has of a source that names its MLP so.
    let dense = ["embed: 8 4", "head: 8 4", "m.0.norm: 4", "m.0.fc: 2 4"];
    let makes = plan::<Toy>(&Sizes::new(1, 0, 1), SPELLINGS, &dense).makes();
    assert_eq!(makes[..2], ["d.0.fc <- m.0.fc", "d.0.norm <- m.0.norm"]);
    const LONG: Mapping = mapping! {
        "embed" => "embed", "head" => "head",
        one_of {
            long {
                "m.{layer}.norm" => "d.{layer}.norm",
                "m.{layer}.fc" => "d.{layer}.fc",
                ("m.{layer}.e.{e}.a", "m.{layer}.e.{e}.b", "m.{layer}.e.{e}.c") => "d.{layer}.weight{e}"
                    via ops::concat3,
            }
            short {
                "m.{layer}.norm" => "d.{layer}.norm",
                "m.{layer}.mlp" => "d.{layer}.fc",
                "m.{layer}.experts" => "d.{layer}.weight{e}" unstack e,
            }
        }
    };
    // Two of five against one of three, if the rows for experts counted.
    let makes = plan::<Toy>(&Sizes::new(1, 0, 1), LONG, &dense).makes();
    assert_eq!(makes[..2], ["d.0.fc <- m.0.fc", "d.0.norm <- m.0.norm"]);
}

#[test]
fn experts_choose_with_a_schema() {
    let source = [&without("m.1.e.{0..2}.fc: 2 4")[..], &["m.1.experts: 2 2 4"]].concat();
    let refused = plan::<Toy>(&Sizes::new(2, 2, 1), SPELLINGS, &source).refused();
    // Half of each: what is left over and what is missing says so.
    begin(&refused, &["unused-tensor m.1.experts", "missing-source d.1.weight{0,1}"]);
    let source =
        ["embed: 8 4", "head: 8 4", "m.{0..2}.norm: 4", "m.0.mlp: 2 4", "m.1.experts: 2 2 4"];
    let makes = plan::<Toy>(&Sizes::new(2, 2, 1), SPELLINGS, &source).makes();
    assert_eq!(makes[3..5], ["d.1.weight0 <- m.1.experts[0]", "d.1.weight1 <- m.1.experts[1]"]);
}

#[test]
fn a_branch_without_a_rule_is_named() {
    const ROWS: Mapping = mapping! {
        "embed" => "embed", "head" => "head",
        one_of {
            whole { "a.{layer}" => "d.{layer}.norm", "b.{layer}" => "d.{layer}.fc" }
            half { "c.{layer}" => "d.{layer}.norm" }
        }
    };
    let source = ["embed: 8 4", "head: 8 4", "c.0: 4"];
    let refused = plan::<Toy>(&Sizes::new(1, 0, 1), ROWS, &source).refused();
    begin(
        &refused,
        &["no-rule d.0.fc: the checkpoint's keys are those of `half`, where no rule makes it"],
    );
}
