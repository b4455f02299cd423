#![deny(warnings, clippy::all, missing_docs, unused_qualifications)]
//! Blocks in schemas, in every place; attributes on entries.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::schema::{Model, ParamSchema};
use connector_core::{
    Error, Mapping, ModelConnector, Result, mapping, model_importer, param_block, param_schema,
};

/// A config.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Config {
    layers: usize,
    experts: usize,
    hidden: usize,
    flags: u32,
}

impl Config {
    fn has(&self, flag: u32) -> bool {
        self.flags >> flag & 1 == 1
    }
}

param_block! {
    /// A block with everything of its own.
    pub MIXTURE(c: Config) {
        axis e = c.experts;
        field half = c.experts / 2;
        flag odd(e) = e % 2 == 1;
        /// Every expert has it.
        "up.{e}.{p:weight|bias}": [e, c.hidden] aka "up_{p}.{e}" when wide;
        "down.{e}": [c.hidden, half(c)] if odd || !wide;
        flag wide = c.has(10);
    }
}

fn half(c: &Config) -> usize {
    c.experts / 2
}

param_block! {
    /// A block of the schema's axis and flag, with a block.
    pub LAYER(c: Config) {
        axis layer;
        flag f14;
        "norm": [layer + 1] if f14;
        ..MIXTURE if !f14;
    }
}

/// Its rows, under the same name.
pub const LAYER: Mapping = mapping! {
    "n" => "norm",
    "u.{e}.{p:weight|bias}" => "up.{e}.{p}",
    "d.{e}" => "down.{e}",
};

param_schema! {
    /// A model of 16 flags.
    pub Sixteen(c: Config) {
        axis layer = c.layers;
        flag f0 = c.has(0);
        flag f1 = c.has(1);
        flag f2 = c.has(2);
        flag f3 = c.has(3);
        flag f4 = c.has(4);
        flag f5 = c.has(5);
        flag f6 = c.has(6);
        flag f7 = c.has(7);
        flag f8 = c.has(8);
        flag f9 = c.has(9);
        flag f11 = c.has(11);
        flag f12 = c.has(12);
        /// Depends on the layer.
        flag f13(layer) = layer > 0;
        flag f14 = c.has(14);
        "one": [1] if f0 && f8 || f9;
        "two": [2] if !f8 && f1 && f2 && f3 && f4 && f5 && f11 && f12;
        #[cfg(any())]
        "never": [compile_error!("not there")];
        #[cfg(any())]
        flag never = c.nothing();
        #[cfg(not(any()))]
        "either": [4];
        #[cfg(any())]
        "either": [5];
        "layers.{layer}" if f6 || f7 {
            ..LAYER if f13;
        }
        "last": [3];
    }
}

struct HfSixteen;

#[model_importer(Sixteen, "hf")]
impl ModelConnector for HfSixteen {
    const MAPPING: Mapping = mapping! {
        "a" => "one" when f0,
        "b" => "one" when !f0,
        "c" => "two",
        "d" => "either",
        "h.{layer}" => "layers.{layer}" {
            ..LAYER,
        },
        "z" => "last",
    };

    fn config(_: &HfCheckpoint) -> Result<Config> {
        Err(Error::Cancelled)
    }
}

fn main() {
    let schema = Sixteen::PARAMETERS;
    assert_eq!((schema.axes, schema.fields), (&["layer", "e"][..], &["half"][..]));
    assert_eq!((schema.flags.len(), &schema.flags[14..]), (16, &["odd", "wide"][..]));
    let names: Vec<String> = schema.parameters.iter().map(|p| p.pattern.to_string()).collect();
    assert_eq!(names[2..], [
        "either",
        "layers.{layer}.norm",
        "layers.{layer}.up.{e}.weight",
        "layers.{layer}.up.{e}.bias",
        "layers.{layer}.down.{e}",
        "last",
    ]);
    assert_eq!(schema.parameters[4].aka[0].to_string(), "layers.{layer}.up_weight.{e}");
    let config = Config { layers: 3, experts: 4, hidden: 8, flags: 1 << 10 | 1 << 6 };
    let model = Sixteen::instance(&config).unwrap();
    let holds = |n: usize, flags: u16| {
        schema.parameters[n].when.truth(schema.flags).unwrap().holds(flags)
    };
    assert!(holds(0, 1 << 9) && holds(0, 1 | 1 << 8) && !holds(0, 1));
    // Behind the layer's own conditions and the two includes'.
    let (f6, f13, f14, odd) = (1 << 6, 1 << 12, 1 << 13, 1 << 14);
    assert!(holds(6, f6 | f13 | odd) && !holds(6, f6 | odd) && !holds(6, f6 | f13 | f14 | odd));
    assert_eq!((model.axis(0), model.axis(1), model.field(0, &[0, 0])), (3, 4, 2));
    assert!(model.flag(14, &[0, 3]) && !model.flag(14, &[0, 2]) && model.flag(15, &[0, 0]));
    assert!(model.flag(12, &[1, 0]) && !model.flag(12, &[0, 0]));
    assert_eq!((model.shape(3, &[2, 0]), model.shape(5, &[2, 3])), (vec![3], vec![3, 8]));
    assert_eq!((model.shape(6, &[0, 0]), model.shape(7, &[0, 0])), (vec![8, 2], vec![3]));
    assert_eq!(model.shape(2, &[0, 0]), [4]);
}
