//! 20: arithmetic on indices.

use crate::support::{begin, has, plan};
use connector_core::{Mapping, mapping, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    num_layers: usize,
    mtp: usize,
}

param_schema! {
    /// DeepSeek V3: the layers that predict further tokens stand behind the last.
    DeepSeekV3(c: Config) {
        axis layer = c.num_layers;
        axis mtp = c.mtp;
        field num_layers = c.num_layers;
        "embed": [4];
        "decoder.layers.{layer}.input_layernorm.weight": [4];
        "mtp.layers.{mtp}.transformer_layer.input_layernorm.weight": [4];
        "mtp.layers.{mtp}.eh_proj.weight": [4, 8];
    }
}

const V3: Mapping = mapping! {
    "model.embed_tokens.weight" => "embed",
    "model.layers.{layer}.input_layernorm.weight" => "decoder.layers.{layer}.input_layernorm.weight",
    "model.layers.{num_layers + mtp}" => "mtp.layers.{mtp}" {
        "input_layernorm.weight" => "transformer_layer.input_layernorm.weight",
        "eh_proj.weight" => "eh_proj.weight",
    }
    // A copy of the embedding. `==` needs the same captures on both sides, so that the bytes are
    // not compared: a gap in the language.
    ignore "model.layers.{num_layers + mtp}.embed_tokens.weight",
};

#[test]
fn p20_layers_behind_the_last() {
    let config = Config { num_layers: 61, mtp: 1 };
    let source = [
        "model.embed_tokens.weight: 4",
        "model.layers.{0..62}.input_layernorm.weight: 4",
        "model.layers.61.eh_proj.weight: 4 8",
        "model.layers.61.embed_tokens.weight: 4",
    ];
    let planned = plan::<DeepSeekV3>(&config, V3, &source);
    let makes = planned.makes();
    assert_eq!(makes.len(), 64);
    has(
        &makes,
        &[
            "decoder.layers.60.input_layernorm.weight <- model.layers.60.input_layernorm.weight",
            "mtp.layers.0.transformer_layer.input_layernorm.weight <- model.layers.61.input_layernorm.weight",
            "mtp.layers.0.eh_proj.weight <- model.layers.61.eh_proj.weight",
        ],
    );
    assert_eq!(planned.ignored(), ["model.layers.61.embed_tokens.weight"]);
    // Bounded at both ends: neither a layer of the decoder nor one behind the last is ignored.
    let more = ["model.layers.60.embed_tokens.weight: 4", "model.layers.62.embed_tokens.weight: 4"];
    let refused = plan::<DeepSeekV3>(&config, V3, &[&source[..], &more].concat()).refused();
    begin(&refused, &["unused-tensor model.layers.{60,62}.embed_tokens.weight"]);
}

param_schema! {
    /// Evo 2: the file counts two layers that are none.
    Hyena(c: Config) {
        axis layer = c.num_layers;
        "decoder.layers.{layer}.mixer.weight": [4];
    }
}

#[test]
fn p20_a_constant() {
    const ROWS: Mapping = mapping! {
        "sequential.{2 + layer}.mixer.weight" => "decoder.layers.{layer}.mixer.weight",
        ignore "sequential.1.**",
    };
    let config = Config { num_layers: 9, mtp: 0 };
    let planned =
        plan::<Hyena>(&config, ROWS, &["sequential.{2..11}.mixer.weight: 4", "sequential.1.x: 1"]);
    has(&planned.makes(), &["decoder.layers.8.mixer.weight <- sequential.10.mixer.weight"]);
    assert_eq!(planned.ignored(), ["sequential.1.x"]);
}

param_schema! {
    /// MLlama: of five layers the fourth goes to `xattn_layers`, the others close the gap.
    MLlama(c: Config) {
        axis layer = c.num_layers;
        axis xattn = c.mtp;
        "decoder.layers.{layer}.weight": [4];
        "decoder.xattn_layers.{xattn}.weight": [4];
    }
}

// A renumbering that is no sum cannot be said. Whatever is written instead is refused: a straight
// row leaves the gap and what is behind it.
#[test]
fn p20_no_affine_renumbering() {
    const ROWS: Mapping = mapping! {
        "layers.{layer}.self_attn" => "decoder.layers.{layer}.weight",
        "layers.{3 + xattn}.cross_attn" => "decoder.xattn_layers.{xattn}.weight",
    };
    let source = [
        "layers.{0..3}.self_attn: 4",
        "layers.3.cross_attn: 4",
        "layers.{4..8}.self_attn: 4",
        "layers.8.cross_attn: 4",
        "layers.9.self_attn: 4",
    ];
    begin(
        &plan::<MLlama>(&Config { num_layers: 8, mtp: 2 }, ROWS, &source).refused(),
        &[
            "unused-tensor layers.8.cross_attn: layers.{3 + xattn}.cross_attn takes it, but this config",
            "unused-tensor layers.9.self_attn: layers.{layer}.self_attn takes it, but this config",
            "missing-source decoder.layers.3.weight: rename needs layers.3.self_attn, which",
            "missing-source decoder.xattn_layers.1.weight: rename needs layers.4.cross_attn, which",
        ],
    );
}
