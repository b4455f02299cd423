//! 7, 8, 9, 22, 31: layers that differ. What a layer has is a matter of the schema; a row is live
//! where its target exists.

use crate::support::{begin, has, plan};
use connector_core::{Mapping, mapping, ops, param_schema};
use serde::{Deserialize, Serialize};

/// What each layer is and how large.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Config {
    /// One letter for each layer.
    kinds: String,
    /// The key/value groups of each layer.
    groups: Vec<usize>,
    experts: usize,
    num_attention_heads: usize,
    kv_channels: usize,
}

impl Config {
    fn new(kinds: &str) -> Self {
        Config { kinds: kinds.into(), experts: 2, ..Config::default() }
    }

    fn is(&self, layer: usize, kind: u8) -> bool {
        self.kinds.as_bytes()[layer] == kind
    }
}

param_schema! {
    /// DeepSeek: the first layers are dense.
    DeepSeek(c: Config) {
        axis layer = c.kinds.len();
        axis e = c.experts;
        flag moe(layer) = c.is(layer, b'E');
        "decoder.layers.{layer}" {
            "mlp.linear_fc1.layer_norm_weight": [4] if !moe;
            "pre_mlp_layernorm.weight": [4] if moe;
            "mlp.linear_fc2.weight": [4] if !moe;
            "mlp.experts.linear_fc2.weight{e}": [4] if moe;
            "mlp.router.expert_bias": [2] if moe keep f32;
        }
    }
}

// NeMo renames keys in memory (`dense-post_attention_layernorm`) so that its ranks come out right.
#[test]
fn p07_one_source_two_homes() {
    const ROWS: Mapping = mapping! {
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "post_attention_layernorm.weight" => "pre_mlp_layernorm.weight",
            "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
            "mlp.experts.{e}.down_proj.weight" => "mlp.experts.linear_fc2.weight{e}",
            "mlp.gate.e_score_correction_bias" => "mlp.router.expert_bias",
        }
    };
    let source = [
        "model.layers.{0..3}.post_attention_layernorm.weight: 4",
        "model.layers.0.mlp.down_proj.weight: 4",
        "model.layers.{1..3}.mlp.experts.{0..2}.down_proj.weight: 4",
        "model.layers.{1..3}.mlp.gate.e_score_correction_bias: 2",
    ];
    let makes = plan::<DeepSeek>(&Config::new("DEE"), ROWS, &source).makes();
    has(
        &makes,
        &[
            "decoder.layers.0.mlp.linear_fc1.layer_norm_weight <- model.layers.0.post_attention_layernorm.weight",
            "decoder.layers.1.pre_mlp_layernorm.weight <- model.layers.1.post_attention_layernorm.weight",
            "decoder.layers.2.pre_mlp_layernorm.weight <- model.layers.2.post_attention_layernorm.weight",
        ],
    );
    // Llama 4 alternates; the mapping is the same. With a config of another order nothing passes.
    let source = [
        "model.layers.{0..2}.post_attention_layernorm.weight: 4",
        "model.layers.1.mlp.down_proj.weight: 4",
        "model.layers.0.mlp.experts.{0..2}.down_proj.weight: 4",
        "model.layers.0.mlp.gate.e_score_correction_bias: 2",
    ];
    has(
        &plan::<DeepSeek>(&Config::new("ED"), ROWS, &source).makes(),
        &[
            "decoder.layers.1.mlp.linear_fc1.layer_norm_weight <- model.layers.1.post_attention_layernorm.weight",
        ],
    );
    begin(
        &plan::<DeepSeek>(&Config::new("DE"), ROWS, &source).refused(),
        &[
            "unused-tensor model.layers.0.mlp.experts.{0,1}.down_proj.weight",
            "unused-tensor model.layers.0.mlp.gate.e_score_correction_bias",
            "unused-tensor model.layers.1.mlp.down_proj.weight",
            "missing-source decoder.layers.0.mlp.linear_fc2.weight",
            "missing-source decoder.layers.1.mlp.experts.linear_fc2.weight{0,1}",
            "missing-source decoder.layers.1.mlp.router.expert_bias",
        ],
    );
}

param_schema! {
    /// Nemotron-H: Mamba, MLP or attention, by a string of symbols.
    NemotronH(c: Config) {
        axis layer = c.kinds.len();
        flag mamba(layer) = c.is(layer, b'M');
        flag mlp(layer) = c.is(layer, b'-');
        flag attention(layer) = c.is(layer, b'*');
        "decoder.layers.{layer}" {
            "mixer.in_proj.layer_norm_weight": [4] if mamba;
            "mlp.linear_fc1.layer_norm_weight": [4] if mlp;
            "self_attention.linear_qkv.layer_norm_weight": [4] if attention;
        }
    }
}

#[test]
fn p08_one_source_three_homes() {
    const ROWS: Mapping = mapping! {
        "backbone.layers.{layer}.norm.weight" => "decoder.layers.{layer}.mixer.in_proj.layer_norm_weight",
        "backbone.layers.{layer}.norm.weight" => "decoder.layers.{layer}.mlp.linear_fc1.layer_norm_weight",
        "backbone.layers.{layer}.norm.weight" => "decoder.layers.{layer}.self_attention.linear_qkv.layer_norm_weight",
    };
    let source = ["backbone.layers.{0..5}.norm.weight: 4"];
    assert_eq!(
        plan::<NemotronH>(&Config::new("M-M*-"), ROWS, &source).makes(),
        [
            "decoder.layers.0.mixer.in_proj.layer_norm_weight <- backbone.layers.0.norm.weight",
            "decoder.layers.1.mlp.linear_fc1.layer_norm_weight <- backbone.layers.1.norm.weight",
            "decoder.layers.2.mixer.in_proj.layer_norm_weight <- backbone.layers.2.norm.weight",
            "decoder.layers.3.self_attention.linear_qkv.layer_norm_weight <- backbone.layers.3.norm.weight",
            "decoder.layers.4.mlp.linear_fc1.layer_norm_weight <- backbone.layers.4.norm.weight",
        ]
    );
    // A symbol that the schema does not know makes no parameter, and so leaves the source over.
    let refused = plan::<NemotronH>(&Config::new("M-M*E"), ROWS, &source).refused();
    begin(&refused, &["unused-tensor backbone.layers.4.norm.weight"]);
}

param_schema! {
    /// Llama-Nemotron: some layers have no attention, some no MLP, and groups differ.
    Nas(c: Config) {
        axis layer = c.kinds.len();
        field num_query_groups(layer) = c.groups[layer];
        flag attention(layer) = !c.is(layer, b'm');
        flag mlp(layer) = !c.is(layer, b'a');
        "d.{layer}" {
            "qkv.weight": [(c.num_attention_heads + 2 * c.groups[layer]) * c.kv_channels, 8] if attention;
            "fc2.weight": [4] if mlp;
        }
    }
}

const NAS: Mapping = mapping! {
    "m.{layer}" => "d.{layer}" {
        ("q.weight", "k.weight", "v.weight") => "qkv.weight" via ops::merge_qkv,
        "down.weight" => "fc2.weight",
    }
};

fn nas(kinds: &str, groups: &[usize]) -> Config {
    let sizes = Config { num_attention_heads: 4, kv_channels: 2, ..Config::new(kinds) };
    Config { groups: groups.to_vec(), ..sizes }
}

#[test]
fn p09_layers_without_attention_or_mlp() {
    let config = nas("bma", &[2, 2, 2]);
    let source = [
        "m.0.q.weight: 8 8",
        "m.0.k.weight: 4 8",
        "m.0.v.weight: 4 8",
        "m.2.q.weight: 8 8",
        "m.2.k.weight: 4 8",
        "m.2.v.weight: 4 8",
        "m.{0..2}.down.weight: 4",
    ];
    assert_eq!(
        plan::<Nas>(&config, NAS, &source).makes(),
        [
            "d.0.fc2.weight <- m.0.down.weight",
            "d.0.qkv.weight <- m.0.q.weight, m.0.k.weight, m.0.v.weight",
            "d.1.fc2.weight <- m.1.down.weight",
            "d.2.qkv.weight <- m.2.q.weight, m.2.k.weight, m.2.v.weight",
        ]
    );
    // Of one layer, q, k and v are all there or none is.
    let partly = &[&source[..4], &source[5..], &["m.1.k.weight: 4 8"]].concat();
    begin(
        &plan::<Nas>(&config, NAS, partly).refused(),
        &[
            "unused-tensor m.1.k.weight",
            "missing-source d.2.qkv.weight: merge_qkv needs m.2.k.weight, which is not in the checkpoint",
        ],
    );
}

// The heads of a group are a number of the layer, which operations and functions ask for by name.
#[test]
fn p31_groups_differ_by_layer() {
    let source = [
        "m.{0..2}.q.weight: 8 8",
        "m.0.k.weight: 8 8",
        "m.0.v.weight: 8 8",
        "m.1.k.weight: 2 8",
        "m.1.v.weight: 2 8",
        "m.{0..2}.down.weight: 4",
    ];
    let planned = plan::<Nas>(&nas("bb", &[4, 1]), NAS, &source);
    let shape = |name: &str| {
        let output = planned.plan().outputs.iter().find(|output| output.name == name);
        output.and_then(|output| output.shape.clone()).unwrap()
    };
    assert_eq!((shape("d.0.qkv.weight"), shape("d.1.qkv.weight")), (vec![24, 8], vec![12, 8]));
    begin(
        &plan::<Nas>(&nas("bb", &[1, 4]), NAS, &source).refused(),
        &["shape d.0.qkv.weight: merge_qkv: ", "shape d.1.qkv.weight: merge_qkv: "],
    );
}

param_schema! {
    /// T5: the first block has the position bias of all.
    T5(c: Config) {
        axis layer = c.kinds.len();
        "encoder_relative_pos_emb.relative_attention_bias.weight": [2];
        "encoder.layers.{layer}.self_attention.linear_proj.weight": [4];
    }
}

#[test]
fn p22_a_key_of_the_first_layer_only() {
    const ROWS: Mapping = mapping! {
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
            => "encoder_relative_pos_emb.relative_attention_bias.weight",
        "encoder.block.{layer}.layer.0.SelfAttention.o.weight"
            => "encoder.layers.{layer}.self_attention.linear_proj.weight",
    };
    let bias = |layer: usize| {
        format!("encoder.block.{layer}.layer.0.SelfAttention.relative_attention_bias.weight: 2")
    };
    let projections = "encoder.block.{0..2}.layer.0.SelfAttention.o.weight: 4";
    let config = Config::new("TT");
    has(
        &plan::<T5>(&config, ROWS, &[&bias(0), projections]).makes(),
        &["encoder_relative_pos_emb.relative_attention_bias.weight <- \
         encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"],
    );
    let refused = plan::<T5>(&config, ROWS, &[&bias(0), &bias(1), projections]).refused();
    begin(
        &refused,
        &["unused-tensor encoder.block.1.layer.0.SelfAttention.relative_attention_bias"],
    );
}
