//! What the macros expand to, as values.

use connector_core::key::{Condition, Pattern, Term};
use connector_core::mapping::{Fold, Mapping, Row, Rule};
use connector_core::schema::{Model, ParamSchema};
use connector_core::transform::{Class, Kernel, Operation, SPREAD, StateTransform, Transform};
use connector_core::{Tensor, mapping, ops, param_schema, state_transform};

type Result<T> = std::result::Result<T, std::fmt::Error>;

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
    hidden: usize,
    tied: bool,
}

param_schema! {
    /// A model.
    #[derive(Debug)]
    pub(crate) SmallModel(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        field groups(layer) = layer + 1;
        field first = 2;
        flag tied = c.tied;
        flag moe(layer) = layer >= 1;

        "output.weight": [c.hidden, c.hidden] if !tied keep f32;
        "norm.{p:weight|bias}": [c.hidden] aka "final_norm.{p}", "ln_f.{p}" when !tied;
        "layers.{layer}" {
            "dense.weight": [layer * 10, c.hidden] if !moe;
            "mlp" if moe {
                "router.weight": [c.experts, c.hidden];
                "fc1.weight{e}": [e, layer, c.hidden] if tied || !tied aka "local.{e}.fc1.weight";
            }
        }
        "extra.{first + e}": [];
    }
}

#[test]
fn a_schema_has_whole_names_and_conditions() {
    let schema = SmallModel::PARAMETERS;
    assert_eq!(SmallModel::SCHEMA.unwrap().model, "SmallModel");
    assert_eq!((schema.axes, schema.fields), (&["layer", "e"][..], &["groups", "first"][..]));
    assert_eq!(schema.flags, ["tied", "moe"]);
    let names: Vec<String> = schema.parameters.iter().map(|p| p.pattern.to_string()).collect();
    assert_eq!(
        names,
        [
            "output.weight",
            "norm.weight",
            "norm.bias",
            "layers.{layer}.dense.weight",
            "layers.{layer}.mlp.router.weight",
            "layers.{layer}.mlp.fc1.weight{e}",
            "extra.{first + e}",
        ]
    );
    let [output, weight, bias, dense, router, fc1, _] = schema.parameters else { panic!() };
    assert_eq!(output.keep.unwrap().name(), "F32");
    assert_eq!(output.when, Condition(&[Term::Flag("tied"), Term::Not]));
    assert_eq!(weight.when, Condition::ALWAYS);
    assert_eq!(bias.aka, ["final_norm.bias", "ln_f.bias"].map(Pattern::new));
    assert_eq!(bias.written_as, [(Condition(&[Term::Flag("tied"), Term::Not]), 1)]);
    assert_eq!(dense.when, Condition(&[Term::Flag("moe"), Term::Not]));
    assert_eq!(router.when, Condition(&[Term::Flag("moe")]));
    let tied = Term::Flag("tied");
    let or = [Term::Flag("moe"), tied, tied, Term::Not, Term::Or, Term::And];
    assert_eq!(fc1.when.0, or);
    assert_eq!(fc1.aka, [Pattern::new("layers.{layer}.mlp.local.{e}.fc1.weight")]);
    assert!(fc1.written_as.is_empty());
    assert!(output.at.file.ends_with("expansions.rs"));
    assert_eq!(weight.at.line, output.at.line + 1);
    assert_eq!(output.at.column, 9);
}

#[test]
fn a_schema_is_evaluated_under_a_config() {
    let config = Config { layers: 3, experts: 4, hidden: 8, tied: true };
    let model = SmallModel::new(config);
    let instance = SmallModel::instance(model.config()).unwrap();
    assert_eq!((instance.axis(0), instance.axis(1)), (3, 4));
    assert_eq!((instance.field(0, &[2, 0]), instance.field(1, &[0, 0])), (3, 2));
    assert!(instance.flag(0, &[0, 0]));
    assert!(!instance.flag(1, &[0, 0]) && instance.flag(1, &[1, 0]));
    assert_eq!(instance.shape(0, &[0, 0]), [8, 8]);
    assert_eq!(instance.shape(2, &[0, 0]), [8]);
    assert_eq!(instance.shape(3, &[2, 0]), [20, 8]);
    assert_eq!(instance.shape(5, &[2, 3]), [3, 2, 8]);
    assert!(instance.shape(6, &[0, 1]).is_empty());
}

#[state_transform(
    source_key = (
        "model.layers.*.self_attn.q_proj.{p:weight|bias}",
        "model.layers.*.self_attn.k_proj.{p}",
    ),
    target_key = "decoder.layers.*.qk.{p}",
    inverse = split_qk,
    when = tied && !(moe || qkv_bias),
    optional,
    reads = "model.scale",
)]
fn combine_qk(ctx: &connector_core::transform::TransformCtx, q: Tensor, _k: Tensor) -> Tensor {
    let _scale = ctx.read("model.scale");
    q
}

#[state_transform]
fn join(a: Tensor, _b: Tensor) -> Tensor {
    a
}

#[state_transform]
fn together(all: &[Tensor]) -> Tensor {
    all[0].clone()
}

/// Its attributes stay.
#[state_transform(inverse = combine_qk)]
pub fn split_qk(qk: Tensor) -> Result<(Tensor, Tensor)> {
    Ok((qk.clone(), qk))
}

#[state_transform(
    source_key(up = "a.up", gate = "a.gate"),
    target_key = ("b.one", "b.two"),
)]
fn by_name(gate: Tensor, up: Tensor) -> [Tensor; 2] {
    [gate, up]
}

#[state_transform(
    source_key = "experts.{layer}.{e}.w",
    target_key = "experts.w.{layer}",
    inverse = spread,
)]
fn gather(_ctx: &connector_core::transform::TransformCtx, all: &[Tensor]) -> Result<Tensor> {
    all.first().cloned().ok_or(std::fmt::Error)
}

#[state_transform(source_key = "experts.w.{layer}", target_key = "experts.{layer}.{e}.w")]
fn spread(all: Tensor) -> Result<Vec<Tensor>> {
    Ok(vec![all])
}

#[state_transform(source_key = "e.{e}.{l}", target_key = "e.{l}", stack = e)]
fn stacked(all: Tensor) -> Tensor {
    all
}

const fn operation<T: Transform>() -> Operation {
    T::OPERATION
}

fn rules<T: StateTransform>() -> &'static [Rule] {
    T::RULES
}

fn texts(patterns: &[Pattern<'_>]) -> Vec<String> {
    patterns.iter().map(Pattern::to_string).collect()
}

#[test]
fn a_transform_becomes_rules() {
    let [weight, bias] = rules::<combine_qk>() else { panic!("one rule for each text") };
    assert_eq!(texts(weight.targets), ["decoder.layers.*.qk.weight"]);
    assert_eq!(texts(bias.sources)[1], "model.layers.*.self_attn.k_proj.bias");
    assert_eq!(texts(bias.reads), ["model.scale"]);
    assert!(weight.optional);
    let [tied, moe, bias] = ["tied", "moe", "qkv_bias"].map(Term::Flag);
    assert_eq!(weight.when.0, [tied, moe, bias, Term::Or, Term::Not, Term::And]);

    let [rule] = rules::<by_name>() else { panic!() };
    assert_eq!(texts(rule.sources), ["a.gate", "a.up"], "in the order of the parameters");
    assert_eq!(rules::<gather>()[0].fold, Fold::Gather("e"));
    assert_eq!(rules::<spread>()[0].fold, Fold::Spread("e"));
    assert_eq!(rules::<stacked>()[0].fold, Fold::Stack("e"));
}

#[test]
fn a_transform_is_an_operation() {
    let combine = operation::<combine_qk>();
    assert_eq!((combine.name, combine.sources, combine.targets), ("combine_qk", 2, 1));
    assert_eq!(combine.class, Class::Bijective);
    assert_eq!(combine.inverse.unwrap()().name, "split_qk");
    assert_eq!(operation::<split_qk>().targets, 2);
    assert_eq!(operation::<by_name>().class, Class::Copy);
    assert_eq!((operation::<gather>().sources, operation::<gather>().targets), (0, 1));
    assert_eq!(operation::<spread>().targets, SPREAD);
    let [Kernel::Function(gather), Kernel::Function(spread)] =
        [operation::<gather>().kernel, operation::<spread>().kernel]
    else {
        panic!()
    };
    assert!(gather.group && !spread.group);
    assert_ne!(gather.fingerprint, spread.fingerprint);
    // The functions are still functions.
    let _: fn(Tensor) -> Tensor = stacked;
}

const SHARED: Mapping = mapping! {
    "o.weight" => "proj.weight",
    "w.{e}" => "w" stack e when moe,
};

const MAPPING: Mapping = mapping! {
    "embed" => "embedding.weight" optional,
    "lm_head.weight" == "embed" when tied,
    "layers.{layer}" => "decoder.{layer}" when !tied {
        ..SHARED,
        ("gate.{p:weight|bias}", "up.{p}") => "fc1.{p}" via join when moe optional,
        ignore "inv_freq",
        "experts.{e}" => "experts" {
            "w2" => "w2" stack e,
            "w3" => "w3.{e}",
            "w4" => "w4" via together,
        }
        one_of {
            fused { "qk" => ("q", "k") via split_qk }
            split { "q" => "q", "k" => "k" }
        }
    }
    "shared" => "" { "a.*" => "b.*" },
    "packed" => "packed.{e}" unstack e,
    combine_qk,
};

#[test]
fn a_mapping_has_its_rows() {
    let [embed, equal, block, shared, packed, named] = MAPPING.rows else { panic!() };
    let Row::Rule(embed) = embed else { panic!() };
    assert!(embed.optional && embed.operations[0].name == operation::<ops::rename>().name);
    assert!(matches!(equal, Row::Equal(equal) if equal.when.0.len() == 1));
    let Row::Block(block) = block else { panic!() };
    assert_eq!(block.when.0.len(), 2);
    let [include, weight, bias, ignore, experts, one_of] = block.rows else { panic!() };
    assert!(matches!(include, Row::Include(included) if included.mapping.rows.len() == 2));
    let (Row::Rule(weight), Row::Rule(bias)) = (weight, bias) else { panic!() };
    assert_eq!(texts(weight.sources), ["gate.weight", "up.weight"]);
    assert_eq!(texts(bias.targets), ["fc1.bias"]);
    assert_eq!(weight.at, bias.at);
    assert_eq!(weight.operations[0].name, "join");
    assert!(matches!(ignore, Row::Ignore(_)));
    let Row::Block(experts) = experts else { panic!() };
    let folds = experts.rows.iter().map(|row| match row {
        Row::Rule(rule) => rule.fold,
        _ => panic!(),
    });
    let folds: Vec<_> = folds.collect();
    assert_eq!(folds, [Fold::Stack("e"), Fold::None, Fold::Gather("e")]);
    let Row::OneOf(one_of) = one_of else { panic!() };
    assert_eq!(one_of.branches.iter().map(|b| b.name).collect::<Vec<_>>(), ["fused", "split"]);
    assert!(matches!(shared, Row::Block(block) if block.target.is_empty()));
    assert!(matches!(packed, Row::Rule(rule) if rule.fold == Fold::Unstack("e")));
    assert!(matches!(named, Row::Rules(named) if named.rules.len() == 2));
    let local = mapping! { "a" => "b" };
    assert_eq!(local.rows.len(), 1);
}
