use super::*;
use crate::store::Dtype;
use serde_json::json;

/// What becomes of tensors, given as `key [8, 4]`; `{0..2}` in a key is 0 and 1.
fn recognised(tensors: &[&str]) -> Vec<String> {
    let json = json!({
        "num_hidden_layers": 3, "hidden_size": 12, "intermediate_size": 20, "vocab_size": 50,
        "num_attention_heads": 6, "num_key_value_heads": 3, "num_local_experts": 2,
    });
    let config = Config::new(&json);
    let mut all = Vec::new();
    for line in tensors {
        let (key, shape) = line.split_once(" [").unwrap();
        let shape: Vec<usize> =
            shape.trim_end_matches(']').split(", ").map(|n| n.parse().unwrap()).collect();
        for name in expand(key) {
            all.push(TensorInfo::whole(name, shape.clone(), Dtype::F32, 0, 0));
        }
    }
    let keys = Keys::new(&all, &config);
    let found = recognise(&keys, &all, &config, &idioms(0), &[]);
    let ignored = found.ignored.iter().map(|(_, text)| format!("ignore {text}"));
    found.entries.iter().map(shown).chain(ignored).collect()
}

fn expand(text: &str) -> Vec<String> {
    let Some((before, rest)) = text.split_once('{') else { return vec![text.into()] };
    let (range, after) = rest.split_once('}').unwrap();
    let (from, to) = range.split_once("..").unwrap();
    let range = from.parse::<u64>().unwrap()..to.parse().unwrap();
    range.flat_map(|i| expand(&format!("{before}{i}{after}"))).collect()
}

/// `a + b => c via op [shape] in {1, 2}`
fn shown(entry: &Entry) -> String {
    let shape: Vec<String> = entry
        .shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Formula { text, .. } => text.replace("c.", ""),
            Dimension::Undecided(_) => "?".into(),
        })
        .collect();
    let (sources, target, via) = (entry.sources.join(" + "), &entry.target, &entry.via);
    let arrow = if entry.known == Known::Yes { "=>" } else { "=?" };
    let via = if via.is_empty() { String::new() } else { format!(" via {via}") };
    let layers = entry.layers.as_ref().map_or(String::new(), |layers| format!(" in {layers:?}"));
    format!("{sources} {arrow} {target}{via} [{}]{layers}", shape.join(", "))
}

#[test]
fn each_idiom_becomes_its_parameter() {
    const NORM: &str = "m.layers.{0..3}.input_layernorm.weight [12]";
    const NORMED: &str = "input_layernorm.weight => self_attention.linear_qkv.layer_norm_weight \
                          [hidden_size]";
    for (tensors, want) in [
        (
            &[
                "m.layers.{0..3}.self_attn.q_proj.weight [12, 12]",
                "m.layers.{0..3}.self_attn.k_proj.weight [6, 12]",
                "m.layers.{0..3}.self_attn.v_proj.weight [6, 12]",
            ][..],
            &["self_attn.q_proj.weight + self_attn.k_proj.weight + self_attn.v_proj.weight => \
               self_attention.linear_qkv.weight via ops::merge_qkv [qkv_rows(), hidden_size]"][..],
        ),
        // A part of what is merged is not merged.
        (
            &[NORM, "m.layers.{0..3}.self_attn.q_proj.weight [12, 12]"],
            &[
                NORMED,
                "self_attn.q_proj.weight =? self_attn.q_proj.weight [hidden_size, hidden_size]",
            ],
        ),
        (
            &[
                "m.layers.{0..3}.mlp.gate_proj.weight [20, 12]",
                "m.layers.{0..3}.mlp.up_proj.weight [20, 12]",
            ],
            &["mlp.gate_proj.weight + mlp.up_proj.weight => mlp.linear_fc1.weight via \
               ops::merge_fc1 [2 * ffn_hidden_size, hidden_size]"],
        ),
        // Without a gate it is another model.
        (
            &["m.layers.{0..3}.mlp.up_proj.weight [20, 12]"],
            &["mlp.up_proj.weight => mlp.linear_fc1.weight [ffn_hidden_size, hidden_size]"],
        ),
        // The norm before the MLP, before experts, and after attention.
        (
            &[NORM, "m.layers.{0..3}.post_attention_layernorm.weight [12]"],
            &[
                NORMED,
                "post_attention_layernorm.weight => mlp.linear_fc1.layer_norm_weight [hidden_size]",
            ],
        ),
        (
            &[
                "m.layers.{0..3}.post_attention_layernorm.weight [12]",
                "m.layers.{0..3}.mlp.gate.weight [2, 12]",
            ],
            &[
                "post_attention_layernorm.weight => pre_mlp_layernorm.weight [hidden_size]",
                "mlp.gate.weight => mlp.router.weight [num_moe_experts, hidden_size]",
            ],
        ),
        (
            &[
                "m.layers.{0..3}.post_attention_layernorm.weight [12]",
                "m.layers.{0..3}.pre_feedforward_layernorm.weight [12]",
            ],
            &[
                "post_attention_layernorm.weight => self_attention.linear_proj.post_layernorm.weight [hidden_size]",
                "pre_feedforward_layernorm.weight => mlp.linear_fc1.layer_norm_weight [hidden_size]",
            ],
        ),
        // Dense and sparse layers in one model.
        (
            &[
                "m.layers.{0..3}.post_attention_layernorm.weight [12]",
                "m.layers.{1..3}.mlp.gate.weight [2, 12]",
            ],
            &[
                "post_attention_layernorm.weight => pre_mlp_layernorm.weight [hidden_size] in {1, 2}",
                "post_attention_layernorm.weight => mlp.linear_fc1.layer_norm_weight [hidden_size] in {0}",
                "mlp.gate.weight => mlp.router.weight [num_moe_experts, hidden_size] in {1, 2}",
            ],
        ),
        (
            &["m.layers.{0..3}.mlp.experts.{0..2}.down_proj.weight [12, 20]"],
            &["mlp.experts.{expert}.down_proj.weight => mlp.experts.linear_fc2.weight{expert} \
               [hidden_size, ffn_hidden_size]"],
        ),
        // A bias has the first dimension; the norm of a bias is spelt with an underscore.
        (
            &[
                "m.layers.{0..3}.input_layernorm.bias [12]",
                "m.layers.{0..3}.mlp.down_proj.bias [12]",
            ],
            &[
                "input_layernorm.bias => self_attention.linear_qkv.layer_norm_bias [hidden_size]",
                "mlp.down_proj.bias => mlp.linear_fc2.bias [hidden_size]",
            ],
        ),
        // What stands around the layers, whatever they are in.
        (
            &[
                "a.b.layers.{0..3}.mlp.down_proj.weight [12, 20]",
                "a.b.embed_tokens.weight [50, 12]",
                "a.lm_head.weight [50, 12]",
                "a.b.norm.weight [12]",
                "z.norm.weight [12]",
            ],
            &[
                "a.b.embed_tokens.weight => embedding.word_embeddings.weight [vocab_size, hidden_size]",
                "a.b.norm.weight => decoder.final_layernorm.weight [hidden_size]",
                "a.lm_head.weight => output_layer.weight [vocab_size, hidden_size]",
                "mlp.down_proj.weight => mlp.linear_fc2.weight [hidden_size, ffn_hidden_size]",
                "z.norm.weight =? z.norm.weight [hidden_size]",
            ],
        ),
        (
            &[NORM, "m.layers.{0..3}.self_attn.rotary_emb.inv_freq [1]"],
            &[NORMED, "ignore self_attn.rotary_emb.inv_freq"],
        ),
        // Layers of something else keep their names.
        (
            &[NORM, "vision.layers.{0..9}.mlp.fc1.weight [7, 7]"],
            &[
                NORMED,
                "vision.layers.{layer_2}.mlp.fc1.weight =? vision.layers.{layer_2}.mlp.fc1.weight [?, ?]",
            ],
        ),
        // A second candidate for one parameter is something else.
        (
            &[
                "m.layers.{0..3}.mlp.down_proj.weight [12, 20]",
                "m.layers.{0..3}.mlp.c_proj.weight [12, 20]",
            ],
            &[
                "mlp.down_proj.weight => mlp.linear_fc2.weight [hidden_size, ffn_hidden_size]",
                "mlp.c_proj.weight =? mlp.c_proj.weight [hidden_size, ffn_hidden_size]",
            ],
        ),
    ] {
        assert_eq!(recognised(tensors), want, "{tensors:?}");
    }
}

#[test]
fn tensors_of_different_shapes_leave_their_dimension_undecided() {
    let tensors = [
        "m.layers.0.mlp.down_proj.weight [12, 20]",
        "m.layers.{1..3}.mlp.down_proj.weight [12, 24]",
        "odd.0.weight [12]",
    ];
    let want = "mlp.down_proj.weight => mlp.linear_fc2.weight [hidden_size, ?]";
    assert_eq!(recognised(&tensors)[0], want);
}

#[test]
fn every_idiom_has_its_shape_and_its_operation() {
    for rule in idioms(0) {
        let known = ["", "ops::merge_qkv", "ops::merge_qkv_concat", "ops::merge_fc1"];
        assert!(known.contains(&rule.via.as_str()), "{}", rule.target);
        assert!(!rule.shape.is_empty(), "{}", rule.target);
        let sources: Vec<Sizes> =
            rule.sources.iter().map(|_| Sizes(vec![Some(2); rule.shape.len()])).collect();
        let made = made(&rule.via, &sources).map(|sizes| sizes.0.len());
        assert_eq!(made, Ok(rule.shape.len()), "{}", rule.target);
        assert!(!format!("{:?} {}", rule.sources, rule.target).contains("{p}"), "{}", rule.target);
    }
}

#[test]
fn shapes_follow_through_a_chain() {
    let sizes = || [Sizes(vec![Some(2), Some(3)]), Sizes(vec![Some(4), Some(3)])];
    let through = |via: &str| made(via, &sizes()).map(|sizes| sizes.0);
    assert_eq!(through("(ops::concat2, ops::transpose)"), Ok(vec![Some(3), Some(6)]));
    assert_eq!(through("ops::concat2"), Ok(vec![Some(6), Some(3)]));
    assert_eq!(through("(ops::concat2, flip, ops::transpose)"), Err("flip".into()));
}
