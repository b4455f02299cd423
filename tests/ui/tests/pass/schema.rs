#![deny(warnings, clippy::all, missing_docs, unused_qualifications)]
//! Every form of a schema.

use connector_core::param_schema;
use connector_core::schema::ParamSchema;

/// A config.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    hidden: usize,
    tied: bool,
}

impl Config {
    fn rows(&self, layer: usize) -> usize {
        self.hidden * (layer + 1)
    }
}

param_schema! {
    /// A model with everything.
    #[derive(Clone, Debug)]
    pub Everything(c: Config) {
        axis layer = c.layers;
        axis e = 4;
        field groups(layer) = c.rows(layer) / 2;
        field num_layers = c.layers;
        flag tied = c.tied;
        flag moe(layer) = layer % 2 == 1;
        flag odd(layer, e) = (layer + e) % 2 == 1;

        "embedding.weight": [c.hidden, c.hidden];
        "output.weight": [c.hidden, c.hidden] if !tied keep f32 aka "head.weight", "lm.weight" when tied;
        "layers.{layer}" {
            "norm.{p:weight|bias}": [c.rows(layer)] aka ("ln.{p}", "layer_norm.{p}") when moe || tied, "n.{p}";
            "mlp" if moe && !tied {
                "fc1.weight{e}": [e + 1, c.hidden] if odd || tied;
            }
            "{side:left|right}" {
                "weight": [c.hidden];
            }
        }
        "mtp.{num_layers + e}.{2 + layer}.scale": [];
    }
}

param_schema! { Private(c: Config) { "w": [c.hidden]; } }

param_schema! { pub(crate) Empty(c: Config) {} }

fn main() {
    assert_eq!(Everything::PARAMETERS.parameters.len(), 8);
    assert_eq!(Empty::PARAMETERS.parameters.len() + Private::PARAMETERS.parameters.len(), 1);
    let config = Config { layers: 1, hidden: 2, tied: false };
    let _ = Everything::new(config).config().tied;
}
