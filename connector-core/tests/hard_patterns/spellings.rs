//! 26, 27, 28, 36: other spellings, and what may be absent.

use crate::support::{Free, begin, has, nothing, plan};
use connector_core::{Mapping, mapping, param_schema};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
    tied: bool,
    qk_norm: bool,
}

fn config() -> Config {
    Config { layers: 1, experts: 2, tied: false, qk_norm: false }
}

param_schema! {
    /// Names that differ between the layer specs of Megatron.
    Spelt(c: Config) {
        axis layer = c.layers;
        axis e = c.experts;
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [4] aka "input_layernorm.weight";
            "mlp.experts.linear_fc2.weight{e}": [4] aka "mlp.experts.local_experts.{e}.linear_fc2.weight";
        }
    }
}

// To Megatron, a row writes the spelling that it has.
#[test]
fn p26_spellings_of_targets() {
    const FUSED: Mapping = mapping! {
        "m.{layer}.norm" => "decoder.layers.{layer}.self_attention.linear_qkv.layer_norm_weight",
        "m.{layer}.{e}" => "decoder.layers.{layer}.mlp.experts.linear_fc2.weight{e}",
    };
    const LOCAL: Mapping = mapping! {
        "m.{layer}.norm" => "decoder.layers.{layer}.input_layernorm.weight",
        "m.{layer}.{e}" => "decoder.layers.{layer}.mlp.experts.local_experts.{e}.linear_fc2.weight",
    };
    let source = ["m.0.norm: 4", "m.0.{0..2}: 4"];
    has(
        &plan::<Spelt>(&config(), FUSED, &source).makes(),
        &[
            "decoder.layers.0.mlp.experts.linear_fc2.weight1 <- m.0.1",
            "decoder.layers.0.self_attention.linear_qkv.layer_norm_weight <- m.0.norm",
        ],
    );
    has(
        &plan::<Spelt>(&config(), LOCAL, &source).makes(),
        &[
            "decoder.layers.0.input_layernorm.weight <- m.0.norm",
            "decoder.layers.0.mlp.experts.local_experts.1.linear_fc2.weight <- m.0.1",
        ],
    );
    const BOTH: Mapping = mapping! { ..FUSED, ..LOCAL };
    begin(
        &plan::<Spelt>(&config(), BOTH, &source).refused(),
        &[
            "ambiguous decoder.layers.0.mlp.experts.linear_fc2.weight{0,1}: by the rule here",
            "ambiguous decoder.layers.0.self_attention.linear_qkv.layer_norm_weight: by the rule here",
        ],
    );
}

// From Megatron, exactly one spelling must be there.
#[test]
fn p26_spellings_of_sources() {
    const ROWS: Mapping = mapping! {
        one_of {
            grouped { "d.{l}.experts.linear_fc2.weight{e}" => "m.{l}.{e}.w2" }
            local { "d.{l}.experts.local_experts.{e}.linear_fc2.weight" => "m.{l}.{e}.w2" }
        }
    };
    let (grouped, local) = (
        "d.0.experts.linear_fc2.weight{0..2}: 4",
        "d.0.experts.local_experts.{0..2}.linear_fc2.weight: 4",
    );
    let plan = |source: &[&str]| plan::<Free>(&nothing(), ROWS, source);
    has(&plan(&[grouped]).makes(), &["m.0.1.w2 <- d.0.experts.linear_fc2.weight1"]);
    has(&plan(&[local]).makes(), &["m.0.1.w2 <- d.0.experts.local_experts.1.linear_fc2.weight"]);
    begin(
        &plan(&[grouped, local]).refused(),
        &["unused-tensor d.0.experts.local_experts.{0,1}.linear_fc2.weight: \
         d.{l}.experts.local_experts.{e}.linear_fc2.weight takes it, but the other keys are those of `grouped`"],
    );
}

param_schema! {
    /// What some configs have and others have not.
    Optional(c: Config) {
        axis layer = c.layers;
        flag tied = c.tied;
        flag qk_norm = c.qk_norm;
        "embed": [8, 4];
        "head": [8, 4] if !tied;
        "d.{layer}.q_norm": [4] if qk_norm;
    }
}

const OPTIONAL: Mapping = mapping! {
    "embed_tokens" => "embed",
    "lm_head" => "head",
    "lm_head" == "embed_tokens" when tied,
    "m.{layer}.q_norm" => "d.{layer}.q_norm",
    ignore "m.{layer}.rotary_emb.inv_freq",
    ignore "m.{layer}.attn.masked_bias",
};

#[test]
fn p27_what_the_config_decides() {
    let plan = |tied, qk_norm, source: &[&str]| {
        plan::<Optional>(&Config { tied, qk_norm, ..config() }, OPTIONAL, source)
    };
    let embed = "embed_tokens: 8 4";
    assert_eq!(plan(true, false, &[embed]).makes(), ["embed <- embed_tokens"]);
    let old = plan(true, false, &[embed, "lm_head: 8 4", "m.0.rotary_emb.inv_freq: 2"]);
    assert_eq!(old.compared(), ["lm_head == embed_tokens"]);
    assert_eq!(old.ignored(), ["m.0.rotary_emb.inv_freq"]);
    has(
        &plan(false, true, &[embed, "lm_head: 8 4", "m.0.q_norm: 4"]).makes(),
        &["head <- lm_head"],
    );
    begin(&plan(false, false, &[embed]).refused(), &["missing-source head"]);
    begin(&plan(true, false, &[embed, "m.0.q_norm: 4"]).refused(), &["unused-tensor m.0.q_norm"]);
}

// Without a schema nothing decides; the row says it.
#[test]
fn p27_optional_rows() {
    const ROWS: Mapping = mapping! { "a" => "a", "b" => "b" optional };
    assert_eq!(plan::<Free>(&nothing(), ROWS, &["a: 4"]).makes(), ["a <- a"]);
    assert_eq!(plan::<Free>(&nothing(), ROWS, &["a: 4", "b: 4"]).makes(), ["a <- a", "b <- b"]);
}

#[test]
fn p28_prefixes() {
    const BODY: Mapping =
        mapping! { "embed" => "embedding", "layers.{l}.w" => "layers.{l}.weight" };
    const ROWS: Mapping = mapping! {
        one_of {
            v5 { "model.language_model" => "decoder" { ..BODY } }
            v4 { "language_model.model" => "decoder" { ..BODY } }
            bare { "" => "decoder" { ..BODY } }
        }
    };
    for prefix in ["model.language_model.", "language_model.model.", ""] {
        let source = [format!("{prefix}embed: 4"), format!("{prefix}layers.{{0..2}}.w: 4")];
        let source: Vec<&str> = source.iter().map(String::as_str).collect();
        has(
            &plan::<Free>(&nothing(), ROWS, &source).makes(),
            &[
                &format!("decoder.embedding <- {prefix}embed"),
                &format!("decoder.layers.1.weight <- {prefix}layers.1.w"),
            ],
        );
    }
}

#[test]
fn p36_what_is_no_parameter() {
    const ROWS: Mapping = mapping! {
        "d.{l}.weight" => "m.{l}.w",
        ignore "**._extra_state",
        ignore "**.rotary_emb.inv_freq",
    };
    let source =
        ["d.{0..2}.weight: 4", "d.{0..2}._extra_state: 1 u8", "d.0.rotary_emb.inv_freq: 2"];
    let planned = plan::<Free>(&nothing(), ROWS, &source);
    assert_eq!(
        planned.ignored(),
        ["d.0._extra_state", "d.1._extra_state", "d.0.rotary_emb.inv_freq"]
    );
    // They count: who is ignored, and by which row, is in the summary.
    let summary = planned.plan().summary(&planned.tensors);
    let ignored: Vec<&str> = summary.ignored.iter().map(|(keys, _)| keys.as_str()).collect();
    assert_eq!(ignored, ["d.{0,1}._extra_state", "d.0.rotary_emb.inv_freq"]);
    // An option of the user does the same, and names what it leaves behind.
    begin(
        &plan::<Free>(&nothing(), ROWS, &["d.0.weight: 4", "d.0.extra_state: 1"]).refused(),
        &["unused-tensor d.0.extra_state"],
    );
}
