// Each of the three has a mistake of its own; what is proven with them is left alone.
use connector_core::mapping::Mapping;
use connector_core::schema::ParamSchema;
use connector_core::transform::{StateTransform, Transform};
use connector_core::{Tensor, mapping, param_schema, state_transform};

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    hidden: usize,
}

param_schema! { pub MyModel(c: Config) {
    "*": [c.hidden];
} }

#[state_transform(source_key = "a", target_key = "b")]
async fn f(a: Tensor) -> Tensor {
    a
}

const MAPPING: Mapping = mapping! { "a..b" => "c", ("c", "e") => "d" via f, f };

const _: () = assert!(MAPPING.rows.len() == 9);
const _: () = assert!(MyModel::PARAMETERS.parameters.len() == 9);
const _: () = assert!(<f as Transform>::OPERATION.sources == 9);
const _: () = assert!(<f as StateTransform>::RULES.len() == 9);

fn main() {}
