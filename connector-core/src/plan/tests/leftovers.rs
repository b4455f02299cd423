//! `==`, `ignore`, and what nobody takes.

use super::super::test_support::{Free, begin, nothing, plan};
use super::{NEVER_CALLED, Sizes, Toy};
use crate::mapping::{FlatMapping, Mapping};
use crate::transform::{BoxError, StateTransform};
use crate::{Tensor, TransformCtx, mapping, param_schema, state_transform};

param_schema! {
    /// Layers, and more behind the last.
    Tail(c: Sizes) {
        axis layer = c.layers;
        axis mtp = 1;
        field num_layers = c.layers;
        flag tied = c.tied;
        flag moe(layer) = layer >= c.dense;
        "embed": [4];
        "d.{layer}": [4];
        "mtp.{mtp}": [4];
    }
}

const ROWS: Mapping = mapping! {
    "embed" => "embed",
    "m.{layer}.w" => "d.{layer}",
    "m.{num_layers + mtp}.w" => "mtp.{mtp}",
    "head" == "embed" when tied,
    ignore "m.{layer}.freq",
    ignore "m.{layer}.bias" when moe,
    ignore "m.{num_layers + mtp}.embed",
};

const SOURCE: [&str; 2] = ["embed: 4", "m.{0..3}.w: 4"];

fn tail() -> Sizes {
    Sizes { tied: true, ..Sizes::new(2, 0, 1) }
}

#[test]
fn what_is_left_behind_on_purpose() {
    for (more, ignored, compared) in [
        (&[][..], &[][..], &[][..]),
        (&["head: 4"], &[], &["head == embed"]),
        (&["m.{0..2}.freq: 1"], &["m.0.freq", "m.1.freq"], &[]),
        (&["m.1.bias: 1"], &["m.1.bias"], &[]),
        (&["m.2.embed: 4"], &["m.2.embed"], &[]),
    ] {
        let planned = plan::<Tail>(&tail(), ROWS, &[&SOURCE[..], more].concat());
        assert_eq!(
            (planned.ignored(), planned.compared()),
            (ignored.to_vec(), compared.iter().map(|c| c.to_string()).collect())
        );
    }
}

#[test]
fn what_is_not() {
    for (tied, more, want) in [
        (false, &["head: 4"][..], "unused-tensor head"),
        (true, &["head: 5"], "shape head: it is F32 [5] and must equal embed, which is F32 [4]"),
        (true, &["head: 4 bf16"], "shape head: it is BF16 [4] and must equal embed"),
        // Beyond the axis, before the offset, in a layer where the condition does not hold.
        (true, &["m.2.freq: 1"], "unused-tensor m.2.freq"),
        (true, &["m.3.embed: 4"], "unused-tensor m.3.embed"),
        (true, &["m.1.embed: 4"], "unused-tensor m.1.embed"),
        (true, &["m.0.bias: 1"], "unused-tensor m.0.bias"),
        (
            true,
            &["m.3.w: 4"],
            "unused-tensor m.3.w: m.{layer}.w takes it, but this config has no parameter for it",
        ),
        (
            true,
            &["zzz.qqqqqqqq: 4"],
            "unused-tensor zzz.qqqqqqqq: no key that this importer knows is near",
        ),
    ] {
        let source = [&SOURCE[..], more].concat();
        begin(&plan::<Tail>(&Sizes { tied, ..tail() }, ROWS, &source).refused(), &[want]);
    }
}

#[test]
fn equal_to_what_is_not_converted() {
    const ALONE: Mapping = mapping! { "c" => "c", "a" == "b" };
    let refused = plan::<Free>(&nothing(), ALONE, &["a: 4", "c: 4"]).refused();
    begin(&refused, &["shape a: it must equal b, which is not in the checkpoint"]);
    const EACH_OTHER: Mapping = mapping! { "c" => "c", "a" == "b", "b" == "a" };
    let refused = plan::<Free>(&nothing(), EACH_OTHER, &["a: 4", "b: 4", "c: 4"]).refused();
    begin(&refused, &["shape a: it must equal b, which is not converted"]);
    const IN_A_ROW: Mapping = mapping! { "c" => "c", "b" == "c", "a" == "b" };
    let planned = plan::<Free>(&nothing(), IN_A_ROW, &["a: 4", "b: 4", "c: 4"]);
    assert_eq!(planned.compared(), ["b == c", "a == b"]);
}

#[test]
fn a_rule_comes_before_an_ignore_row() {
    const BOTH: Mapping = mapping! { ignore "**", "a" => "a" };
    let planned = plan::<Free>(&nothing(), BOTH, &["a: 4", "b: 4"]);
    assert_eq!((planned.makes(), planned.ignored()), (vec!["a <- a".into()], vec!["b"]));
}

#[state_transform(source_key = "w.{l}", target_key = "v.{l}", reads = ("scale", "shift.{l}"))]
fn scaled(ctx: &TransformCtx<'_>, _w: Tensor) -> Result<Tensor, BoxError> {
    ctx.read("scale")?;
    Err(NEVER_CALLED.into())
}

#[test]
fn what_a_function_reads_is_used() {
    const READS: Mapping = mapping! { scaled };
    let source = ["w.{0..2}: 4", "scale: 1", "shift.{0..2}: 1"];
    let planned = plan::<Free>(&nothing(), READS, &source);
    assert_eq!(planned.plan().steps[1].reads, [2, 4]);
    let refused =
        plan::<Free>(&nothing(), READS, &["w.{0..2}: 4", "scale: 1", "shift.0: 1"]).refused();
    begin(&refused, &["missing-source v.1: scaled reads shift.1, which is not in the checkpoint"]);
    // A list of transforms plans as rows do.
    let flat = FlatMapping::new(&mapping! {}, &[<scaled as StateTransform>::RULES]);
    assert_eq!(flat.rules[0].reads[1].to_string(), "shift.{l}");
}

#[test]
fn a_checkpoint_of_another_model_takes_no_time() {
    const OTHER: Mapping = mapping! {
        "embed" => "embed", "head" => "head",
        "model.layers.{layer}.norm" => "d.{layer}.norm",
        "model.layers.{layer}.mlp.experts.{e}.w" => "d.{layer}.weight{e}",
    };
    let source = ["transformer.blocks.{0..60}.ffn.local_experts.{0..256}.up_proj.weight: 4"];
    let refused = plan::<Toy>(&Sizes::new(60, 256, 0), OTHER, &source).refused();
    assert_eq!(refused.len(), 5, "{}", refused.join("\n"));
}
