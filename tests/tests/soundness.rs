//! Mappings that compile and are wrong for some checkpoint: the plan refuses them, naming the tensor.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::mapping::FlatMapping;
use connector_core::plan::{Plan, PlanOptions, Request};
use connector_core::schema::Model;
use connector_core::store::{Dtype, TensorInfo};
use connector_core::transform::Config;
use connector_core::{
    Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema,
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
    flag: bool,
}

/// What is refused of tensors of these names, each `[4, 4]`; or that all is planned.
fn plan<C>(names: &[&str], config: &Sizes) -> String
where
    C: ModelConnector,
    C::Model: Model<Config = Sizes>,
{
    let instance = C::Model::instance(config).unwrap();
    let info = |name: &&str| TensorInfo::whole(name.to_string(), vec![4, 4], Dtype::F32, 0, 0);
    let tensors: Vec<TensorInfo> = names.iter().map(info).collect();
    let request = Request {
        mapping: &FlatMapping::new(&C::MAPPING, &[]),
        instance: Some(instance.as_ref()),
        model: &Config::from_model(config).unwrap(),
        format: &Config::from_json(serde_json::Value::Null),
        tensors: &tensors,
        options: &PlanOptions::default(),
    };
    match Plan::new(&request) {
        Ok(plan) => format!("planned, {} compared", plan.equal.len()),
        Err(findings) => findings.iter().map(|finding| format!("{finding}\n")).collect(),
    }
}

macro_rules! cases { ($(
    $(#[$doc:meta])* $name:ident($c:ident) { $($schema:tt)* } { $($rows:tt)* }
    $names:expr, $config:expr => $want:expr;
)*) => { $(
    $(#[$doc])*
    #[test]
    fn $name() {
        param_schema! { Finch($c: Sizes) { $($schema)* } }
        struct HfFinch;
        #[model_importer(Finch, "hf")]
        impl ModelConnector for HfFinch {
            const MAPPING: Mapping = mapping! { $($rows)* };

            fn config(_: &HfCheckpoint) -> Result<Sizes> {
                Err(Error::Cancelled)
            }
        }
        let text = plan::<HfFinch>(&$names, &$config);
        assert!(text.contains($want), "{text}");
    }
)* } }

const TWO: Sizes = Sizes { layers: 2, flag: true };

cases! {
    /// The branches of a choice are taken for a checkpoint, not for each layer.
    layers_in_different_branches(c) { axis layer = c.layers; "l.{layer}.fc1": [8, 4]; } {
        one_of {
            fused { "m.{layer}.gate_up" => "l.{layer}.fc1" }
            apart { ("m.{layer}.gate", "m.{layer}.up") => "l.{layer}.fc1" via ops::merge_fc1 }
        }
    } ["m.0.gate_up", "m.1.gate", "m.1.up"], TWO => "the other keys are those of `apart`";

    /// Two tensors that are compared with each other, and neither is converted.
    compared_in_a_circle(c) { "x": [4, 4]; } { "x" => "x", "b" == "a", "a" == "b", }
        ["x", "a", "b"], TWO => "which is not converted";

    /// A tensor that is said to be a copy is compared, byte by byte.
    a_copy_is_compared(c) { "a": [4, 4]; } { "a" => "a", "b" == "a", }
        ["a", "b"], TWO => "planned, 1 compared";

    leading_zeros_are_no_index(c) { axis layer = c.layers; "l.{layer}.w": [4, 4]; } {
        "m.{layer}.w" => "l.{layer}.w",
    } ["m.00.w", "m.01.w"], TWO => "did you mean m.{0,1}.w?";

    an_index_beyond_all_numbers(c) { axis layer = c.layers; "l.{layer}.w": [4, 4]; } {
        "m.{layer}.w" => "l.{layer}.w",
    } ["m.0.w", "m.1.w", "m.18446744073709551616.w"], TWO => "m.18446744073709551616.w: 1 tensor";

    more_in_a_stack_than_the_axis(c) { axis e = c.layers; "w{e}": [4]; } {
        "m.w" => "w{e}" unstack e,
    } ["m.w"], TWO => "its first dimension should be 2";

    more_layers_than_the_config(c) { axis layer = c.layers; "l.{layer}.w": [4, 4]; } {
        "m.{layer}.w" => "l.{layer}.w", ignore "m.{layer}.freq",
    } ["m.0.w", "m.1.w", "m.2.w", "m.2.freq"], TWO => "this config has no parameter for it";

    one_source_of_two_kinds(c) {
        axis layer = c.layers;
        flag dense(layer) = layer < 2;
        flag sparse(layer) = layer > 0;
        "l.{layer}.dense.norm": [4, 4] if dense;
        "l.{layer}.sparse.norm": [4, 4] if sparse;
    } {
        "m.{layer}.norm" => "l.{layer}.dense.norm",
        "m.{layer}.norm" => "l.{layer}.sparse.norm",
    } ["m.0.norm", "m.1.norm"], TWO => "m.1.norm: 1 tensor matches two rules";
}

/// A flag of both schemas that they mean differently.
#[test]
fn a_flag_of_two_meanings() {
    param_schema! { Finch(c: Sizes) { flag flag = c.flag; "w": [4, 4] if flag; } }
    param_schema! { FinchOnHub(c: Sizes) { flag flag = !c.flag; "m.w": [4, 4] if flag; } }
    struct HfFinch;
    #[model_importer(Finch, "hf", source_schema = FinchOnHub)]
    impl ModelConnector for HfFinch {
        const MAPPING: Mapping = mapping! { "m.w" => "w" };

        fn config(_: &HfCheckpoint) -> Result<Sizes> {
            Err(Error::Cancelled)
        }
    }
    let text = plan::<HfFinch>(&[], &TWO);
    assert!(text.contains("rename needs m.w, which is not in the checkpoint"), "{text}");
    let text = plan::<HfFinch>(&["m.w"], &Sizes { flag: false, ..TWO });
    assert!(text.contains("this config has no parameter for it"), "{text}");
}
