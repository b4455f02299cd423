//! Attributes and comments before rows.

use connector_core::config::ConfigMap;
use connector_core::connector::ModelConnector;
use connector_core::gpt::GptConfig;
use connector_core::mapping::{Mapping, Row};
use connector_core::{Tensor, config_map, mapping, model_importer, ops, param_schema, state_transform};

#[state_transform]
fn join(a: Tensor, _b: Tensor) -> Tensor {
    a
}

const MAPPING: Mapping = mapping! {
    /// What is read as it is.
    "a" => "a",
    #[cfg(any())]
    "b" => "b" via not_there,
    /// What is joined.
    #[cfg(all())]
    #[cfg(not(any()))]
    ("c.{p:weight|bias}", "d.{p}") => "c.{p}" via join,
    #[cfg(any())]
    ..NOT_THERE,
    #[cfg(any())]
    not_there,
    #[cfg(all())]
    "x" => "y" {
        /// Inside.
        #[cfg(any())]
        "k" => "l" via (ops::transpose, not_there),
        "m" => "n" via (ops::transpose, ops::transpose),
    }
    #[cfg(all())]
    "e" == "a",
};

param_schema! {
    Model(c: Config) {
        "a": [c.n];
        "c.{p:weight|bias}": [c.n];
        "y.n": [c.n, c.n];
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Config {
    n: usize,
}

struct Hf;

// What the compiler proves does not see rows that are none.
#[model_importer(Model, "hf")]
impl ModelConnector for Hf {
    const MAPPING: Mapping = mapping! {
        #[cfg(any())]
        "b" => "b",
        /// All others.
        ..MAPPING,
    };

    fn config(_: &connector_core::checkpoint::HfCheckpoint) -> connector_core::Result<Config> {
        Ok(Config { n: 1 })
    }
}

const CONFIG: ConfigMap = config_map! { GptConfig {
    /// The number of layers.
    "num_hidden_layers" <=> num_layers,
    #[cfg(any())]
    "nothing" <=> not_there,
    #[cfg(any())]
    ..NOT_THERE,
    #[cfg(all())]
    carry ["bos_token_id"],
}};

fn main() {
    assert_eq!(MAPPING.rows.len(), 4);
    let Row::Block(joined) = &MAPPING.rows[1] else { panic!() };
    assert!(joined.source.is_empty() && joined.rows.len() == 2);
    assert_eq!(CONFIG.rows.len(), 2);
}
