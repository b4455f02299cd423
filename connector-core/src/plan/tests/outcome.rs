//! Options, the hash, the summary, explanations.

use super::super::test_support::{Free, Planned, begin, nothing, plan, plan_with, tensors};
use super::{NEVER_CALLED, SOURCE, Sizes, Toy};
use crate::base::{Dtype, Encoding};
use crate::mapping::Mapping;
use crate::plan::{IgnoredBy, Plan, PlanOptions};
use crate::transform::BoxError;
use crate::{Tensor, mapping, ops, param_schema, state_transform};
use std::collections::BTreeMap;

const ROWS: Mapping = mapping! {
    "embed" => "embed",
    "head" => "head",
    "m.{layer}" => "d.{layer}" { "norm" => "norm", "fc" => "fc", "e.{e}.fc" => "weight{e}" }
};

fn toy(options: PlanOptions) -> Planned {
    plan_with::<Toy>(&Sizes::new(2, 2, 1), ROWS, tensors(&SOURCE), &options)
}

fn only(patterns: &[&str]) -> PlanOptions {
    PlanOptions { only: patterns.iter().map(|p| p.to_string()).collect(), ..Default::default() }
}

#[test]
fn only_what_is_asked_for() {
    for (patterns, makes, skipped) in [
        (&["embed"][..], &["embed <- embed"][..], 6),
        (
            &["d.{layer}.norm", "head"],
            &["d.0.norm <- m.0.norm", "d.1.norm <- m.1.norm", "head <- head"],
            4,
        ),
        (&["d.1.weight{e}"], &["d.1.weight0 <- m.1.e.0.fc", "d.1.weight1 <- m.1.e.1.fc"], 5),
        (&["**"], &[], 0),
    ] {
        let planned = toy(only(patterns));
        assert_eq!(planned.plan().skipped, skipped);
        if skipped > 0 {
            assert_eq!(planned.makes(), makes);
        }
        let steps = planned.plan().outputs.iter().map(|output| output.step);
        assert!(steps.max().unwrap() < planned.plan().steps.len());
    }
}

#[test]
fn a_slip_in_an_option_is_refused() {
    for (options, want) in [
        (
            only(&["embed", "d.{layer}.nrom"]),
            "rule d.{layer}.nrom: it is one of the patterns that choose what is converted",
        ),
        (only(&["d.{"]), "rule d.{: "),
        (PlanOptions { ignore: vec!["a..b".into()], ..Default::default() }, "rule a..b: "),
        // What is left out is missing where it is needed.
        (
            PlanOptions { ignore: vec!["head".into()], ..Default::default() },
            "missing-source head: rename needs head",
        ),
    ] {
        begin(&toy(options).refused(), &[want]);
    }
}

#[test]
fn left_out_by_the_user() {
    let options = PlanOptions { ignore: vec!["x.**".into()], ..Default::default() };
    let source = tensors(&[&SOURCE[..], &["x.y: 1", "x.z.w: 1"]].concat());
    let planned = plan_with::<Toy>(&Sizes::new(2, 2, 1), ROWS, source, &options);
    assert_eq!(planned.ignored(), ["x.y", "x.z.w"]);
    assert_eq!(planned.plan().ignored[0].by, IgnoredBy::Option("x.**".into()));
}

#[test]
fn comparisons_go_with_what_is_compared() {
    const TIED: Mapping = mapping! { "a" => "a", "b" => "b", "c" == "a" };
    let source = ["a: 4", "b: 4", "c: 4"];
    let both = plan::<Free>(&nothing(), TIED, &source);
    assert_eq!(both.compared(), ["c == a"]);
    let planned = plan_with::<Free>(&nothing(), TIED, tensors(&source), &only(&["b"]));
    assert!(planned.compared().is_empty());
    const SAME: Mapping = mapping! { ("a.{l}", "b.{l}") => "c.{l}" via ops::same2 };
    let planned = plan::<Free>(&nothing(), SAME, &["a.{0..2}: 4", "b.{0..2}: 4"]);
    assert_eq!(planned.compared(), ["b.0 == a.0", "b.1 == a.1"]);
}

param_schema! {
    /// One parameter that keeps its type.
    Kept(_c: Sizes) { "a": [4]; "b": [4] keep f32; "n": [4]; }
}

#[test]
fn casts_spare_what_is_kept_and_what_is_no_float() {
    const SAME: Mapping = mapping! { "a" => "a", "b" => "b", "n" => "n" };
    let options = PlanOptions { dtype: Some(Dtype::Bf16), ..Default::default() };
    let source = tensors(&["a: 4 f32", "b: 4 f32", "n: 4 i64"]);
    let planned = plan_with::<Kept>(&Sizes::default(), SAME, source, &options);
    let dtypes: Vec<Dtype> = planned.plan().outputs.iter().map(|output| output.dtype).collect();
    assert_eq!(dtypes, [Dtype::Bf16, Dtype::F32, Dtype::I64]);
    assert_eq!(planned.plan().summary(&planned.tensors).casts, 1);
}

#[test]
fn quantised_tensors_are_refused() {
    const SAME: Mapping = mapping! { "a" => "a" };
    let mut source = tensors(&["a: 128 128 f8_e4m3"]);
    source[0].encoding = Encoding::BlockScaled { scales: "a_scale".into(), block: vec![128, 128] };
    let refused = plan_with::<Free>(&nothing(), SAME, source, &PlanOptions::default()).refused();
    begin(&refused, &["dtype a: a is quantised: no operation takes its scales into account"]);
}

#[state_transform(source_key = "w.{l}", target_key = "v.{l}")]
fn change(_w: Tensor) -> Result<Tensor, BoxError> {
    Err(NEVER_CALLED.into())
}

#[state_transform(source_key = "w.{l}", target_key = "v.{l}")]
fn change_otherwise(w: Tensor) -> Result<Tensor, BoxError> {
    Err(format!("{NEVER_CALLED} {w:?}").into())
}

/// The hash of a plan without a schema.
fn hash(config: &[(&str, u64)], mapping: Mapping, source: &[&str]) -> String {
    let config: BTreeMap<String, u64> = config.iter().map(|(n, v)| (n.to_string(), *v)).collect();
    let planned = plan::<Free>(&config, mapping, source);
    planned.plan().hash(&planned.tensors)
}

#[test]
fn the_hash_follows_what_is_done() {
    const MOVES: Mapping = mapping! { "w.{l}" => "v.{l}" };
    const FUNCTION: Mapping = mapping! { change };
    const OTHERWISE: Mapping = mapping! { change_otherwise };
    const TRANSPOSED: Mapping = mapping! { "w.{l}" => "v.{l}" via ops::transpose };
    let source = ["w.{0..12}: 4 4"];
    // The order in which a hash table gives its keys must not show.
    let once = hash(&[], MOVES, &source);
    assert!((0..8).all(|_| hash(&[], MOVES, &source) == once));
    assert_eq!(once.len(), 32);
    let same = [(hash(&[("n", 1)], MOVES, &source), "moves do not depend on the config")];
    for (other, why) in same {
        assert_eq!(other, once, "{why}");
    }
    let mut all = vec![once];
    all.extend([
        hash(&[], MOVES, &["w.{0..11}: 4 4"]),
        hash(&[], MOVES, &["w.{0..12}: 4 5"]),
        hash(&[], MOVES, &["w.{0..12}: 4 4 bf16"]),
        hash(&[], TRANSPOSED, &source),
        hash(&[], FUNCTION, &source),
        hash(&[("n", 1)], FUNCTION, &source),
        hash(&[], OTHERWISE, &source),
    ]);
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn the_summary_counts() {
    const EVERYTHING: Mapping = mapping! {
        ("q.{l}.weight", "k.{l}.weight") => "qk.{l}.weight" via ops::concat2,
        "s" => "e.{i}.bias" unstack i,
        "o" => "o" optional,
        "c" == "s",
        ignore "x.**",
    };
    let source = ["q.{0..3}.weight: 4", "k.{0..3}.weight: 4", "s: 2 4", "c: 2 4", "x.{0..9}.y: 1"];
    let planned = plan::<Free>(&nothing(), EVERYTHING, &source);
    let summary = planned.plan().summary(&planned.tensors);
    assert_eq!((summary.tensors, summary.parameters, summary.skipped), (17, 5, 0));
    assert_eq!((summary.bytes_in, summary.bytes_out), (6 * 16 + 32, 3 * 32 + 2 * 16));
    let rules: Vec<(&str, &str, usize)> =
        summary.rules.iter().map(|r| (&*r.operation, &*r.label, r.steps)).collect();
    assert_eq!(rules, [("concat2", "q, k → qk", 3), ("rename", "s → e.bias", 2)]);
    assert_eq!(summary.ignored[0].0, "x.{0..8}.y");
    assert_eq!(summary.compared, ["c"]);
    assert!(summary.absent.is_empty(), "a row without captures is not tried without a source");
}

#[test]
fn every_key_of_either_side_is_explained() {
    const EVERYTHING: Mapping = mapping! {
        ("q.{l}", "k.{l}") => "qk.{l}" via ops::concat2,
        "c" == "q.0",
        ignore "x",
    };
    let source = ["q.0: 4", "k.0: 4", "c: 4", "x: 1"];
    let planned = plan::<Free>(&nothing(), EVERYTHING, &source);
    let tensors = planned.tensors.clone();
    let explain = |plan: &Plan, key: &str| {
        let first = plan.explain(key, &tensors, &|_| "model.safetensors".into())?.remove(0);
        let made = || format!("{} at {}", first.operation, first.captures);
        Some(first.remark.as_ref().map_or_else(made, ToString::to_string))
    };
    for (key, want) in [
        ("q.0", Some("concat2 at {l} = 0")),
        ("qk.0", Some("concat2 at {l} = 0")),
        ("c", Some("adds nothing: it must hold the same bytes as q.0")),
        ("x", Some("left behind by an `ignore` row at")),
        ("y", None),
    ] {
        let got = explain(planned.plan(), key);
        let fits = |want: &str| got.as_ref().is_some_and(|got| got.starts_with(want));
        assert!(want.map_or(got.is_none(), fits), "{key}: {got:?}");
    }
    const TWO: Mapping = mapping! { "q.0" => "a", "k.0" => "b", ignore "c", ignore "x" };
    let planned = plan_with::<Free>(&nothing(), TWO, planned.tensors, &only(&["a"]));
    let got = explain(planned.plan(), "k.0").unwrap();
    assert!(got.contains("nothing of it was asked for"), "{got}");
}
