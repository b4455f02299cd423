//! Plans over 100,000 tensors: that they come to an end, not how soon.

use connector_core::mapping::{FlatMapping, Mapping};
use connector_core::plan::{Finding, Plan, PlanOptions, Request};
use connector_core::schema::{Instance, Model};
use connector_core::store::{Dtype, TensorInfo};
use connector_core::transform::Config;
use connector_core::{mapping, ops, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
    experts: usize,
}

param_schema! {
    Experts(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        "layers.{layer}" {
            "fc1.weight{e}": [8, 2];
            "fc2.weight{e}": [2, 4];
            "router": [c.experts, 2];
        }
    }
}

const MAPPING: Mapping = mapping! {
    "model.layers.{layer}" => "layers.{layer}" {
        ("experts.{e}.w1.weight", "experts.{e}.w3.weight") => "fc1.weight{e}" via ops::merge_fc1,
        "experts.{e}.w2.weight" => "fc2.weight{e}",
        "gate.weight" => "router",
    },
};

const LAYERS: usize = 100;
const EXPERTS: usize = 333;

fn tensors() -> Vec<TensorInfo> {
    let mut all = Vec::new();
    let mut add = |name: String, shape: Vec<usize>| {
        let offset = all.len() as u64 * 64;
        all.push(TensorInfo::whole(name, shape, Dtype::Bf16, 0, offset));
    };
    for layer in 0..LAYERS {
        add(format!("model.layers.{layer}.gate.weight"), vec![EXPERTS, 2]);
        for e in 0..EXPERTS {
            for (name, shape) in [("w1", vec![4, 2]), ("w2", vec![2, 4]), ("w3", vec![4, 2])] {
                add(format!("model.layers.{layer}.experts.{e}.{name}.weight"), shape);
            }
        }
    }
    assert_eq!(all.len(), 100_000);
    all
}

fn plan(tensors: &[TensorInfo], instance: Option<&dyn Instance>) -> Result<Plan, Vec<Finding>> {
    let config = Config::from_json(serde_json::json!({"layers": LAYERS, "experts": EXPERTS}));
    let mapping = FlatMapping::new(&MAPPING, &[]);
    let options = PlanOptions::default();
    Plan::new(&Request {
        mapping: &mapping,
        instance,
        model: &config,
        format: &config,
        tensors,
        options: &options,
    })
}

fn instance() -> Box<dyn Instance> {
    Experts::instance(&Sizes { layers: LAYERS, experts: EXPERTS }).unwrap()
}

fn check(plan: &Plan) {
    assert_eq!(plan.outputs.len(), LAYERS * (2 * EXPERTS + 1));
    assert_eq!(plan.steps.len(), plan.outputs.len());
    let inputs: usize = plan.steps.iter().map(|step| step.inputs.len()).sum();
    assert_eq!(inputs, 100_000);
}

#[test]
fn with_a_schema() {
    let (tensors, instance) = (tensors(), instance());
    let planned = plan(&tensors, Some(&*instance)).unwrap();
    check(&planned);
    assert_eq!(planned.summary(&tensors).rules.len(), 3);
    assert_eq!(planned.hash(&tensors), plan(&tensors, Some(&*instance)).unwrap().hash(&tensors));
}

#[test]
fn without_a_schema() {
    check(&plan(&tensors(), None).unwrap());
}

/// The worst case of a refusal: nothing fits.
#[test]
fn where_every_key_is_wrong() {
    let mut tensors = tensors();
    for tensor in &mut tensors {
        tensor.name = tensor.name.replace("experts", "expert");
    }
    let instance = instance();
    let findings = plan(&tensors, Some(&*instance)).unwrap_err();
    let text: Vec<String> = findings.iter().map(|finding| finding.to_string()).collect();
    assert!(findings.len() < 20, "{}", text.join("\n"));
    let all = format!("model.layers.{{0..{}}}.expert.{{0..{}}}.w1.weight", LAYERS - 1, EXPERTS - 1);
    assert!(text.iter().any(|finding| finding.starts_with(&all)), "{}", text.join("\n"));
}

/// As many kinds of keys as keys: grouping has nothing to group.
#[test]
fn where_no_two_keys_are_alike() {
    let mut tensors = tensors();
    for (i, tensor) in tensors.iter_mut().enumerate() {
        tensor.name = format!("x{i}y.weight");
    }
    let instance = instance();
    let findings = plan(&tensors, Some(&*instance)).unwrap_err();
    assert!(findings.iter().any(|finding| finding.subject == "x99999y.weight"));
}

/// Each index of a stacked axis is looked up, not searched for.
#[test]
fn a_stack_of_all_of_them() {
    const STACKED: Mapping = mapping! { "rows.{i}" => "all" stack i };
    let row = |i| TensorInfo::whole(format!("rows.{i}"), vec![2], Dtype::F32, 0, i as u64 * 8);
    let tensors: Vec<TensorInfo> = (0..100_000).map(row).collect();
    let config = Config::default();
    let mapping = FlatMapping::new(&STACKED, &[]);
    let options = PlanOptions::default();
    let request = Request {
        mapping: &mapping,
        instance: None,
        model: &config,
        format: &config,
        tensors: &tensors,
        options: &options,
    };
    let plan = Plan::new(&request).unwrap();
    assert_eq!(plan.outputs[0].shape.as_deref(), Some(&[100_000, 2][..]));
}
