//! What each layer computes, as the config and the layer's number say: the one place where fields of
//! the config become parts of a layer.

use crate::gpt::{GptConfig, RopeScaling, Temperature};

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LayerSpec {
    pub norm: NormSpec,
    /// Where its norms are.
    pub places: Places,
    pub attention: AttentionSpec,
    pub mlp: MlpSpec,
    /// What either gives is multiplied by before it is added.
    pub residual: f64,
}

/// A norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct NormSpec {
    pub kind: NormKind,
    pub epsilon: f64,
    /// Whether it multiplies by 1 + weight.
    pub zero_centered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NormKind {
    /// Over the root mean square.
    Rms,
    /// Over the standard deviation, with the mean off and a bias.
    Layer,
}

/// Where norms are, of what attention and the MLP take, of what they give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub before: bool,
    pub after: bool,
}

/// Attention.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttentionSpec {
    pub shape: Heads,
    pub qkv_bias: bool,
    pub proj_bias: bool,
    pub qk_norm: QkNorm,
    /// Which keys a query sees.
    pub reach: Reach,
    /// How positions are told; `None` if they are not.
    pub rotary: Option<RotarySpec>,
    /// What products of queries and keys are multiplied by.
    pub scale: f64,
    /// What they are kept below.
    pub soft_cap: Option<f64>,
    /// Whether each head has a sink.
    pub sinks: bool,
    /// How queries grow with their position.
    pub temperature: Option<Temperature>,
}

/// Heads, in groups that share a key and a value head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heads {
    pub groups: usize,
    /// Query heads in each.
    pub queries: usize,
    pub size: usize,
}

/// The norms of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QkNorm {
    None,
    /// Of each head, before it is rotated.
    Head,
    /// Of all heads together, before they are rotated.
    Width,
    /// Of each head, after it is rotated, without a weight.
    AfterRotation,
}

/// Which of the keys before it, and its own, a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    /// So many before its own.
    Window(usize),
    /// Those in its own chunk of so many.
    Chunk(usize),
}

/// Rotary embeddings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RotarySpec {
    /// How much of a head is rotated.
    pub size: usize,
    pub base: f64,
    pub scaling: Option<RopeScaling>,
    /// Whether neighbours are a pair.
    pub interleaved: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum MlpSpec {
    Dense(UnitSpec),
    Experts(ExpertsSpec),
}

/// One MLP.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct UnitSpec {
    pub activation: Activation,
    pub gate: Option<GateSpec>,
    pub bias: bool,
}

/// A gated linear unit: `activation(gate) · (up + offset)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GateSpec {
    pub offset: f64,
    /// The largest gate, and size of up.
    pub clamp: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Silu,
    /// The approximation with tanh.
    GeluTanh,
    /// With the error function.
    Gelu,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// The square of what is above 0.
    SquaredRelu,
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExpertsSpec {
    pub expert: UnitSpec,
    pub count: usize,
    pub router: RouterSpec,
    /// Whether the input of an expert is multiplied by its share, not its output.
    pub share_input: bool,
    /// Whether there is an expert that sees every token, and whether that has a gate.
    pub shared: Option<bool>,
}

/// Who chooses experts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RouterSpec {
    pub top_k: usize,
    pub score: Score,
    pub linear_bias: bool,
    /// Whether each expert has a bias that only counts for the choice.
    pub choice_bias: bool,
    /// Of how many groups, of how many, experts are chosen.
    pub groups: Option<(usize, usize)>,
    /// What shares are multiplied by.
    pub scale: Option<f64>,
}

/// What makes shares of scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Score {
    /// The softmax over all experts.
    SoftmaxOfAll,
    /// The softmax over those chosen.
    SoftmaxOfChosen,
    /// The sigmoid; of several that are chosen, over its sum.
    Sigmoid,
}

impl Activation {
    /// Each with the name that PyTorch and transformers give it.
    pub const NAMED: [(&'static str, Activation); 6] = [
        ("silu", Activation::Silu),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("gelu", Activation::Gelu),
        ("quick_gelu", Activation::QuickGelu),
        ("relu2", Activation::SquaredRelu),
        ("swish", Activation::Silu),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, activation)| *activation)
    }
}

/// Whether a list of 0 and 1 for layers has a 1 for this one.
fn listed(list: Option<&Vec<usize>>, layer: usize) -> Option<bool> {
    Some(*list?.get(layer)? == 1)
}

impl NormSpec {
    pub fn of(config: &GptConfig) -> Self {
        NormSpec {
            kind: match config.normalization == "LayerNorm" {
                true => NormKind::Layer,
                false => NormKind::Rms,
            },
            epsilon: config.layernorm_epsilon,
            zero_centered: config.layernorm_zero_centered_gamma,
        }
    }
}

impl LayerSpec {
    /// The layer of this number. The activation is the config's.
    pub fn of(config: &GptConfig, activation: Activation, layer: usize) -> Self {
        let position = config.layernorm_position.as_deref();
        LayerSpec {
            norm: NormSpec::of(config),
            places: Places { before: position != Some("after"), after: position.is_some() },
            attention: AttentionSpec::of(config, layer),
            mlp: MlpSpec::of(config, activation, layer),
            residual: config.residual_multiplier.unwrap_or(1.0),
        }
    }
}

impl AttentionSpec {
    fn of(config: &GptConfig, layer: usize) -> Self {
        let (groups, size) = (config.num_query_groups, config.kv_channels);
        let rotates = listed(config.no_rope_freq.as_ref(), layer) != Some(true);
        let is_local = listed(config.window_attn_skip_freq.as_ref(), layer) != Some(false);
        let window = config.window_size.filter(|_| is_local);
        let reach = match (window, config.attention_chunk_size) {
            (Some((before, _)), _) => Reach::Window(before),
            (None, Some(chunk)) if rotates => Reach::Chunk(chunk),
            (None, _) => Reach::All,
        };
        let own_base = config.rotary_base_local.filter(|_| window.is_some());
        let rotary = RotarySpec {
            size: (size as f64 * config.rotary_percent.unwrap_or(1.0)) as usize,
            base: own_base.unwrap_or(config.rotary_base),
            scaling: config.rope_scaling.clone().filter(|_| own_base.is_none()),
            interleaved: config.rotary_interleaved,
        };
        let qk_norm = match (config.qk_layernorm, config.qk_layernorm_full_width) {
            (true, true) => QkNorm::Width,
            (true, false) => QkNorm::Head,
            (false, _) if config.qk_l2_norm && rotates => QkNorm::AfterRotation,
            (false, _) => QkNorm::None,
        };
        AttentionSpec {
            shape: Heads { groups, queries: config.num_attention_heads / groups, size },
            qkv_bias: config.attention_bias || config.add_qkv_bias,
            proj_bias: config.attention_bias,
            qk_norm,
            reach,
            rotary: rotates.then_some(rotary),
            scale: config.softmax_scale.unwrap_or(1.0 / (size as f64).sqrt()),
            soft_cap: config.attn_logit_softcapping,
            sinks: config.softmax_type.as_deref() == Some("learnable"),
            temperature: config.attention_temperature.filter(|t| t.everywhere || !rotates),
        }
    }
}

impl MlpSpec {
    fn of(config: &GptConfig, activation: Activation, layer: usize) -> Self {
        let gate = GateSpec {
            offset: config.glu_linear_offset.unwrap_or(0.0),
            clamp: config.activation_func_clamp_value,
        };
        let gate = config.gated_linear_unit.then_some(gate);
        let unit = UnitSpec { activation, gate, bias: config.mlp_bias };
        if !config.has_experts(layer) {
            return MlpSpec::Dense(unit);
        }
        let is = |field: Option<bool>| field == Some(true);
        let sigmoid = config.moe_router_score_function.as_deref() == Some("sigmoid");
        let chosen = config.moe_router_group_topk.unwrap_or(1);
        MlpSpec::Experts(ExpertsSpec {
            expert: unit,
            count: config.experts(),
            router: RouterSpec {
                top_k: config.moe_router_topk.unwrap_or(1),
                score: match (sigmoid, is(config.moe_router_pre_softmax)) {
                    (true, _) => Score::Sigmoid,
                    (false, true) => Score::SoftmaxOfAll,
                    (false, false) => Score::SoftmaxOfChosen,
                },
                linear_bias: config.mlp_bias,
                choice_bias: is(config.moe_router_enable_expert_bias),
                groups: config.moe_router_num_groups.map(|groups| (chosen, groups)),
                scale: config.moe_router_topk_scaling_factor,
            },
            share_input: is(config.moe_apply_probs_on_input),
            shared: (config.shared_width() > 0).then_some(is(config.moe_shared_expert_gate)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn layer(change: Value, number: usize) -> LayerSpec {
        let mut config = json!({
            "num_layers": 2, "hidden_size": 48, "ffn_hidden_size": 80, "num_attention_heads": 6,
            "num_query_groups": 2, "kv_channels": 16, "seq_length": 256, "vocab_size": 97,
            "make_vocab_size_divisible_by": 1, "share_embeddings_and_output_weights": false,
            "layernorm_epsilon": 1e-5, "normalization": "RMSNorm", "gated_linear_unit": true,
            "rotary_base": 1e4, "position_embedding_type": "rope", "init_method_std": 0.02,
            "activation_func": "silu",
        });
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let config = serde_json::from_value(config).unwrap();
        LayerSpec::of(&config, Activation::Silu, number)
    }

    /// What the fields say of the first layer and of the second.
    #[test]
    fn fields_say_it_of_layers() {
        type Part = fn(&LayerSpec) -> String;
        let reach: Part = |layer| format!("{:?}", layer.attention.reach);
        let base: Part = |layer| format!("{:?}", layer.attention.rotary.as_ref().map(|r| r.base));
        let scaled: Part =
            |layer| format!("{:?}", layer.attention.rotary.as_ref().map(|r| r.scaling.is_some()));
        let size: Part = |layer| format!("{:?}", layer.attention.rotary.as_ref().map(|r| r.size));
        let qk_norm: Part = |layer| format!("{:?}", layer.attention.qk_norm);
        let warm: Part = |layer| layer.attention.temperature.is_some().to_string();
        let residual: Part = |layer| layer.residual.to_string();
        let places: Part = |l| format!("{} {}", l.places.before, l.places.after);
        let mlp: Part = |layer| match &layer.mlp {
            MlpSpec::Dense(_) => "dense".into(),
            MlpSpec::Experts(experts) => {
                format!("{:?} {:?}", experts.router.score, experts.shared)
            }
        };
        let window = json!({"window_size": [3, 0], "window_attn_skip_freq": [1, 0]});
        let two = json!({
            "window_size": [3, 0], "window_attn_skip_freq": [1, 0], "rotary_base_local": 10.0,
            "rope_scaling": {"rope_type": "linear", "scale_factor": 8.0},
        });
        let ropeless = json!({
            "no_rope_freq": [0, 1], "attention_chunk_size": 4, "qk_l2_norm": true,
            "attention_temperature": {"scale": 0.1, "floor": 8.0},
        });
        let warm_everywhere = json!({
            "attention_temperature": {"scale": 0.1, "floor": 8.0, "everywhere": true},
        });
        let wide = json!({"qk_layernorm": true, "qk_layernorm_full_width": true});
        let experts = json!({
            "num_moe_experts": 4, "moe_layer_freq": [0, 1], "moe_router_score_function": "sigmoid",
            "moe_shared_expert_intermediate_size": 8,
        });
        for (change, part, want) in [
            (&json!({}), reach, ["All", "All"]),
            (&json!({"window_size": [3, 0]}), reach, ["Window(3)", "Window(3)"]),
            (&window, reach, ["Window(3)", "All"]),
            (&two, base, ["Some(10.0)", "Some(10000.0)"]),
            (&two, scaled, ["Some(false)", "Some(true)"]),
            (&ropeless, reach, ["Chunk(4)", "All"]),
            (&ropeless, base, ["Some(10000.0)", "None"]),
            (&ropeless, qk_norm, ["AfterRotation", "None"]),
            (&ropeless, warm, ["false", "true"]),
            (&warm_everywhere, warm, ["true", "true"]),
            (&json!({"residual_multiplier": 0.5}), residual, ["0.5", "0.5"]),
            (&json!({"rotary_percent": 0.5}), size, ["Some(8)", "Some(8)"]),
            (&json!({"qk_layernorm": true}), qk_norm, ["Head", "Head"]),
            (&wide, qk_norm, ["Width", "Width"]),
            (&json!({}), places, ["true false", "true false"]),
            (&json!({"layernorm_position": "after"}), places, ["false true", "false true"]),
            (&json!({"layernorm_position": "both"}), places, ["true true", "true true"]),
            (&experts, mlp, ["dense", "Sigmoid Some(false)"]),
        ] {
            let got = [0, 1].map(|number| part(&layer(change.clone(), number)));
            assert_eq!(got, want, "{change}");
        }
    }
}
