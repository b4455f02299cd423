use super::super::test_support::{begin, has, plan};
use super::{SOURCE, Sizes, Toy, halves, spread, without};
use crate::Location;
use crate::key::{Condition, Pattern};
use crate::mapping::Mapping;
use crate::schema::{Instance, Model, Outer, Parameter, Schema};
use crate::{mapping, param_schema};

const ROWS: Mapping = mapping! {
    "embed" => "embed",
    "head" => "head",
    "m.{layer}" => "d.{layer}" {
        "norm" => "norm",
        "fc" => "fc",
        "e.{e}.fc" => "weight{e}",
    }
};

#[test]
fn each_parameter_has_its_rule_and_each_layer_its_kind() {
    let planned = plan::<Toy>(&Sizes::new(2, 2, 1), ROWS, &SOURCE);
    let want = [
        "d.0.fc <- m.0.fc",
        "d.0.norm <- m.0.norm",
        "d.1.norm <- m.1.norm",
        "d.1.weight0 <- m.1.e.0.fc",
        "d.1.weight1 <- m.1.e.1.fc",
        "embed <- embed",
        "head <- head",
    ];
    assert_eq!(planned.makes(), want);
}

#[test]
fn layers_and_experts_are_paired_by_number() {
    let source = ["embed: 8 4", "head: 8 4", "m.{0..12}.norm: 4", "m.{0..12}.e.{0..11}.fc: 2 4"];
    let makes = plan::<Toy>(&Sizes::new(12, 11, 0), ROWS, &source).makes();
    assert_eq!(makes.len(), 2 + 12 + 12 * 11);
    has(&makes, &["d.2.norm <- m.2.norm", "d.11.norm <- m.11.norm", "d.10.weight9 <- m.10.e.9.fc"]);
}

param_schema! {
    /// Layers of kinds that may not be told apart.
    Kinds(c: Sizes) {
        axis layer = c.layers;
        flag first(layer) = layer < c.dense;
        flag last(layer) = layer >= c.experts;
        flag tied = c.tied;
        one of first, last;
        at most one of first, tied;
        "d.{layer}": [4] if first || last;
    }
}

#[test]
fn flags_that_exclude_each_other_do() {
    const ROWS: Mapping = mapping! {
        "f.{layer}" => "d.{layer}" when first,
        "l.{layer}" => "d.{layer}" when last,
    };
    let plan = |sizes: &Sizes| plan::<Kinds>(sizes, ROWS, &["f.0: 4", "l.1: 4"]);
    assert_eq!(plan(&Sizes::new(2, 1, 1)).makes(), ["d.0 <- f.0", "d.1 <- l.1"]);
    for (sizes, want) in [
        (
            Sizes::new(2, 1, 2),
            "one of first, last`, but under this config first and last hold at {layer} = 1",
        ),
        (
            Sizes::new(2, 2, 1),
            "one of first, last`, but under this config none holds at {layer} = 1",
        ),
        (
            Sizes { tied: true, ..Sizes::new(2, 1, 1) },
            "at most one of first, tied`, but under this config first and tied hold at {layer} = 0",
        ),
    ] {
        begin(&plan(&sizes).refused(), &[&format!("config first: Kinds declares `{want}")]);
    }
}

/// What is refused for a complete mapping, when the source or the config is another one.
macro_rules! refused {
    ($($name:ident: $config:expr, $source:expr => [$($start:literal),*];)*) => {$(
        #[test]
        fn $name() {
            begin(&plan::<Toy>(&$config, ROWS, &$source).refused(), &[$($start),*]);
        }
    )*};
}

refused! {
    a_missing_expert_is_named: Sizes::new(2, 3, 1), SOURCE =>
        ["missing-source d.1.weight2: rename needs m.1.e.2.fc, which is not in the checkpoint"];
    missing_tensors_are_grouped: Sizes::new(2, 2, 1), without("m.1.e.{0..2}.fc: 2 4") =>
        ["missing-source d.1.weight{0,1}: rename needs m.1.e.{0,1}.fc, which"];
    a_layer_too_many_is_left_over: Sizes::new(1, 2, 1), SOURCE => [
        "unused-tensor m.1.e.{0,1}.fc: m.{layer}.e.{e}.fc takes it, but this config has no parameter",
        "unused-tensor m.1.norm: m.{layer}.norm takes it, but this config has no parameter for it"
    ];
    a_layer_of_the_other_kind: Sizes::new(2, 2, 2), SOURCE =>
        ["unused-tensor m.1.e.{0,1}.fc", "missing-source d.1.fc: rename needs m.1.fc, which"];
    a_tied_head_is_left_over: Sizes { tied: true, ..Sizes::new(2, 2, 1) }, SOURCE =>
        ["unused-tensor head"];
    a_slip_names_what_is_missing: Sizes::new(2, 2, 1),
        [&without("m.{0..2}.norm: 4")[..], &["m.{0..2}.nrom: 4"]].concat() => [
        "unused-tensor m.{0,1}.nrom: did you mean m.{0,1}.norm?",
        "missing-source d.{0,1}.norm"
    ];
    a_wrong_shape: Sizes::new(2, 2, 1), [&without("embed: 8 4")[..], &["embed: 4 8"]].concat() =>
        ["shape embed: embed is [8, 4] under this config; the checkpoint gives [4, 8]; from embed [4, 8]"];
    a_tensor_twice: Sizes::new(2, 2, 1), [&SOURCE[..], &["m.0.fc: 2 4"]].concat() =>
        ["files m.0.fc: nothing says which of the two is meant"];
    an_empty_source: Sizes::new(1, 0, 1), [] as [&str; 0] => [
        "missing-source d.0.fc: rename needs m.0.fc",
        "missing-source d.0.norm: rename needs m.0.norm",
        "missing-source embed: rename needs embed",
        "missing-source head: rename needs head"
    ];
}

/// What is refused for a complete source, when the mapping is another one.
macro_rules! wrong {
    ($($name:ident: { $($rows:tt)* } => [$($start:literal),*];)*) => {$(
        #[test]
        fn $name() {
            const WRONG: Mapping = mapping! { $($rows)* };
            begin(&plan::<Toy>(&Sizes::new(2, 2, 1), WRONG, &SOURCE).refused(), &[$($start),*]);
        }
    )*};
}

wrong! {
    two_rules_for_one_parameter: { ..ROWS, "head" => "embed" } =>
        ["ambiguous embed: by the rule here and by the rule at"];
    two_rules_for_two_spellings: { ..ROWS, "m.{layer}.fc" => "d.{layer}.ln" } =>
        ["ambiguous d.{0,1}.norm: by the rule here"];
    no_rule: { "embed" => "embed", "head" => "head", "m.{layer}.norm" => "d.{layer}.norm",
            "m.{layer}.fc" => "d.{layer}.fc" } =>
        ["unused-tensor m.1.e.{0,1}.fc: no key that this importer knows is near",
         "no-rule d.1.weight{0,1}: no rule of this importer makes it"];
    a_rule_that_is_off: { ..ROWS, "m.{layer}.norm" => "d.{layer}.norm" when moe } =>
        ["ambiguous d.1.norm"];
    an_unknown_flag: { ..ROWS, "x" => "y" when meo } =>
        ["rule y: `meo` is not a flag of Toy: tied, moe"];
    an_unknown_axis: { ..ROWS, "x" => "y" when layr == 0 } =>
        ["rule y: `layr` is not an axis of Toy: layer, e"];
    an_unknown_field: { ..ROWS, "x" => "y" when layer < n } =>
        ["rule y: `n` is not a field of Toy: "];
    an_index_below_zero: { "embed" => "embed", "head" => "head", "m.{layer}.fc" => "d.{layer}.fc",
            "m.{layer}.e.{e}.fc" => "d.{layer}.weight{e}", "m.{layer}.norm" => "d.{layer}.norm"
            when layer < 1, "m.{layer - 2}.norm" => "d.{layer}.norm" when layer != 0 } =>
        ["rule d.1.norm: m.{layer - 2}.norm needs a capture or a number that is not there"];
    an_unknown_flag_of_an_ignore: { ..ROWS, ignore "x" when meo } => ["rule x: `meo` is not"];
    an_unknown_flag_of_an_equal: { ..ROWS, "a" == "b" when meo } => ["rule a: `meo` is not"];
    an_unknown_number_in_a_source: { "embed" => "embed", "head" => "head",
            "m.{layer}.fc" => "d.{layer}.fc", "m.{layer}.e.{e}.fc" => "d.{layer}.weight{e}",
            "m.{frist + layer}.norm" => "d.{layer}.norm" } =>
        ["rule d.{0,1}.norm: m.{frist + layer}.norm needs a capture or a number"];
    a_target_of_several_is_no_parameter: { "head" => "head", "m.{layer}" => "d.{layer}" {
            "norm" => "norm", "fc" => "fc", "e.{e}.fc" => "weight{e}" },
            "embed" => ("embed", "embd") via halves } =>
        ["rule embd: Toy has no such parameter under this config"];
}

#[test]
fn conditions_choose_between_rules_in_each_layer() {
    let rows = mapping! {
        "embed" => "embed", "head" => "head",
        "m.{layer}" => "d.{layer}" { "fc" => "fc", "e.{e}.fc" => "weight{e}" }
        "m.{layer}.norm" => "d.{layer}.norm" when moe,
        "m.{layer}.dense_norm" => "d.{layer}.norm" when !moe,
    };
    let source = ["m.0.dense_norm: 4", "m.1.norm: 4"];
    let source = [&without("m.{0..2}.norm: 4")[..], &source].concat();
    let makes = plan::<Toy>(&Sizes::new(2, 2, 1), rows, &source).makes();
    has(&makes, &["d.0.norm <- m.0.dense_norm", "d.1.norm <- m.1.norm"]);
}

#[test]
fn a_rule_may_write_another_spelling() {
    let rows = mapping! {
        "embed" => "embed", "head" => "head",
        "m.{layer}" => "d.{layer}" { "norm" => "ln", "fc" => "fc", "e.{e}.fc" => "weight{e}" }
    };
    has(&plan::<Toy>(&Sizes::new(2, 2, 1), rows, &SOURCE).makes(), &["d.1.ln <- m.1.norm"]);
}

param_schema! {
    /// Experts whose names follow from the config.
    Spelt(c: Sizes) {
        axis e = c.experts;
        flag grouped = c.tied;
        flag dotted = c.dense > 0;
        "experts.{e}.{p:a|b}": [4] aka "{p}{e}" when grouped, "{p}.{e}" when dotted && !grouped, "old.{p}.{e}";
    }
}

#[test]
fn flags_choose_the_spelling() {
    const NAME: Mapping = mapping! { "{e}.a" => "experts.{e}.a", "{e}.b" => "experts.{e}.b" };
    const GROUPED: Mapping = mapping! { "{e}.a" => "a{e}", "{e}.b" => "b{e}" };
    const OLD: Mapping = mapping! { "{e}.a" => "old.a.{e}", "{e}.b" => "old.b.{e}" };
    const TWO: Mapping = mapping! { "{e}" => ("b{e}", "experts.{e}.a") via halves };
    let apart = ["{0..11}.a: 4", "{0..11}.b: 4"];
    for (rows, source, grouped, dotted, want) in [
        (NAME, &apart[..], false, 0, ["experts.10.a", "experts.10.b"]),
        (NAME, &apart, true, 0, ["a10", "b10"]),
        (NAME, &apart, true, 1, ["a10", "b10"]),
        (NAME, &apart, false, 1, ["a.10", "b.10"]),
        (GROUPED, &apart, true, 0, ["a10", "b10"]),
        (GROUPED, &apart, false, 1, ["a.10", "b.10"]),
        // The row says `a10`, but the config says that this is not how it is written.
        (GROUPED, &apart, false, 0, ["experts.10.a", "experts.10.b"]),
        (OLD, &apart, true, 0, ["a10", "b10"]),
        (OLD, &apart, false, 0, ["old.a.10", "old.b.10"]),
        (TWO, &["{0..11}: 8"], true, 0, ["a10", "b10"]),
        (TWO, &["{0..11}: 8"], false, 0, ["experts.10.a", "experts.10.b"]),
    ] {
        let sizes = Sizes { experts: 11, tied: grouped, dense: dotted, ..Sizes::default() };
        let planned = plan::<Spelt>(&sizes, rows, source);
        let names: Vec<&str> = planned.plan().outputs.iter().map(|o| o.name.as_str()).collect();
        assert_eq!(names.len(), 22);
        assert!(want.iter().all(|want| names.contains(want)), "{want:?} in {names:?}");
    }
}

param_schema! {
    /// Names that mean two things.
    Aliased(c: Sizes) {
        axis layer = c.layers;
        "a.{layer}": [4] aka "b.{layer}";
        "b.{layer}": [4];
    }
}

#[test]
fn a_name_of_two_parameters_is_refused() {
    let rows = mapping! { "x.{layer}" => "b.{layer}" };
    let refused = plan::<Aliased>(&Sizes::new(2, 0, 0), rows, &["x.{0..2}: 4"]).refused();
    begin(&refused, &["ambiguous b.{0,1}: it is a name of a.{0,1} and of b.{0,1}"]);
}

param_schema! {
    /// Members that the schema lists one by one.
    Listed(c: Sizes) {
        axis layer = c.layers;
        "w0": [4];
        "w1": [4];
        "l.{layer}.a": [4];
        "l.{layer}.b": [4];
    }
}

#[test]
fn an_axis_that_only_the_mapping_knows() {
    let layers = ["l.0: 8"];
    let config = Sizes::new(1, 0, 0);
    let rows = mapping! {
        "w" => "w{i}" unstack i,
        "l.{layer}" => ("l.{layer}.a", "l.{layer}.b") via halves,
    };
    let makes = plan::<Listed>(&config, rows, &["w: 2 4", layers[0]]).makes();
    assert_eq!(makes, ["l.0.a <- l.0", "l.0.b <- l.0", "w0 <- w[0]", "w1 <- w[1]"]);
    let refused = plan::<Listed>(&config, rows, &["w: 3 4", layers[0]]).refused();
    begin(&refused, &["unused-tensor w: it is [3, 4], and nothing is made of index 2"]);
    let refused = plan::<Listed>(&config, rows, &["w: 1 4", layers[0]]).refused();
    begin(&refused, &["shape w1: w is [1, 4]: its first dimension should be 1"]);
    // A function gives as many as the axis is long, and how long that is nothing says.
    let rows = mapping! {
        "w" => "w{i}" via spread,
        "l.{layer}" => ("l.{layer}.a", "l.{layer}.b") via halves,
    };
    let refused = plan::<Listed>(&config, rows, &["w: 2 4", layers[0]]).refused();
    begin(
        &refused,
        &["rule w0: it returns the tensors along {i}, which is no axis of Listed", "rule w1"],
    );
}

#[test]
fn a_function_with_several_targets_is_one_step() {
    let rows = mapping! {
        "w.{i}" => "w{i}",
        "l.{layer}" => ("l.{layer}.b", "l.{layer}.a") via halves,
    };
    let planned = plan::<Listed>(&Sizes::new(2, 0, 0), rows, &["l.{0..2}: 8", "w.{0..2}: 4"]);
    assert_eq!(planned.plan().steps.len(), 4);
    let step = &planned.plan().steps[2];
    let names: Vec<&str> =
        step.outputs.iter().map(|&output| planned.plan().outputs[output].name.as_str()).collect();
    assert_eq!(names, ["l.0.b", "l.0.a"], "in the order of the rule");
}

/// A schema by hand, with an axis that it does not declare.
struct Odd;

const ODD: Schema = Schema {
    model: "Odd",
    axes: &[],
    fields: &[],
    one_of: &[],
    flags: &[],
    parameters: &[Parameter {
        pattern: Pattern::new("d.{layer}"),
        when: Condition::ALWAYS,
        aka: &[],
        written_as: &[],
        keep: None,
        said: crate::key::Role::UNKNOWN,
        entry: (0, 0),
        at: HERE,
    }],
    experts: None,
    vocabulary: None,
    depends: &[],
    outer: Outer { axes: &[], flags: &[] },
    at: HERE,
};

const HERE: Location = Location { file: file!(), line: 1, column: 1 };

impl Model for Odd {
    type Config = Sizes;

    fn instance(_: &Sizes) -> Option<Box<dyn Instance>> {
        Some(Box::new(Odd))
    }
}

impl Instance for Odd {
    fn schema(&self) -> &'static Schema {
        &ODD
    }

    fn axis(&self, _: usize) -> usize {
        0
    }

    fn field(&self, _: usize, _: &[usize]) -> u64 {
        0
    }

    fn flag(&self, _: usize, _: &[usize]) -> bool {
        false
    }

    fn shape(&self, _: usize, _: &[usize]) -> Vec<usize> {
        Vec::new()
    }
}

#[test]
fn a_parameter_without_a_name_is_refused() {
    let refused = plan::<Odd>(&Sizes::default(), mapping! {}, &[]).refused();
    begin(
        &refused,
        &["rule d.{layer}: its name needs an axis or a field that the schema does not"],
    );
}

param_schema! {
    /// A norm of one of two kinds, which nothing says exclude each other.
    TwoNorms(c: Sizes) {
        flag dense = c.layers > 0;
        flag sparse = c.layers > 1;
        "dense.norm": [4] if dense;
        "sparse.norm": [4] if sparse;
    }
}

#[test]
fn parameters_that_exist_together_have_no_source_in_common() {
    const ROWS: Mapping = mapping! { "norm" => "dense.norm", "norm" => "sparse.norm" };
    let planned = |layers| plan::<TwoNorms>(&Sizes::new(layers, 0, 0), ROWS, &["norm: 4"]);
    assert_eq!(planned(1).makes(), ["dense.norm <- norm"]);
    begin(&planned(2).refused(), &["ambiguous norm: by the rule here and by the rule at "]);
}
