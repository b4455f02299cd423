//! What in a config makes no model.

use super::config::{MOST_EXPERTS, MOST_LAYERS};
use super::{GptConfig, RopeScaling};
use crate::config::{LARGEST, LONGEST, Misfit};

type Text = fn(&GptConfig) -> Option<&str>;
type Number = fn(&GptConfig) -> Option<f64>;
type List = fn(&GptConfig) -> Option<&Vec<usize>>;

/// The values of a field that is a choice.
const CHOICES: [(&str, Text, &[&str]); 4] = [
    ("normalization", |c| Some(&c.normalization), &["RMSNorm", "LayerNorm"]),
    ("layernorm_position", |c| c.layernorm_position.as_deref(), &["after", "both"]),
    ("softmax_type", |c| c.softmax_type.as_deref(), &["vanilla", "learnable"]),
    (
        "moe_router_score_function",
        |c| c.moe_router_score_function.as_deref(),
        &["softmax", "sigmoid"],
    ),
];

/// Numbers that are above 0 where they are there.
const POSITIVE: [(&str, Number); 12] = [
    ("embedding_multiplier", |c| c.embedding_multiplier),
    ("residual_multiplier", |c| c.residual_multiplier),
    ("logits_scaling", |c| c.logits_scaling),
    ("softmax_scale", |c| c.softmax_scale),
    ("attn_logit_softcapping", |c| c.attn_logit_softcapping),
    ("final_logit_softcapping", |c| c.final_logit_softcapping),
    ("activation_func_clamp_value", |c| c.activation_func_clamp_value),
    ("rotary_base_local", |c| c.rotary_base_local),
    ("moe_router_topk_scaling_factor", |c| c.moe_router_topk_scaling_factor),
    ("attention_temperature", |c| c.attention_temperature.map(|t| t.floor)),
    ("rotary_percent", |c| c.rotary_percent),
    ("rope_scaling", |c| match &c.rope_scaling {
        Some(RopeScaling::Yarn(yarn)) => Some(yarn.scale_factor),
        Some(RopeScaling::Longrope(long)) => long.attention_factor,
        _ => None,
    }),
];

/// Fields with a 0 or 1 for each layer, and what 0 and 1 mean.
const LISTS: [(&str, List, &str); 3] = [
    ("moe_layer_freq", |c| c.moe_layer_freq.as_ref(), "0, dense, or 1, experts"),
    ("window_attn_skip_freq", |c| c.window_attn_skip_freq.as_ref(), "0, no window, or 1, a window"),
    ("no_rope_freq", |c| c.no_rope_freq.as_ref(), "0, rotated, or 1, not"),
];

impl GptConfig {
    /// What makes no model.
    pub(crate) fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut misfit = |field, problem: String| {
            misfits.push(Misfit { field, problem: format!("is {problem}") });
        };
        for (field, size, largest) in [
            ("num_layers", self.num_layers, MOST_LAYERS),
            ("hidden_size", self.hidden_size, LARGEST),
            ("ffn_hidden_size", self.ffn_hidden_size, LARGEST),
            ("moe_ffn_hidden_size", self.moe_ffn_hidden_size.unwrap_or(1), LARGEST),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("num_query_groups", self.num_query_groups, LARGEST),
            ("kv_channels", self.kv_channels, LARGEST),
            ("vocab_size", self.vocab_size, LARGEST),
            (
                "moe_shared_expert_intermediate_size",
                self.moe_shared_expert_intermediate_size.unwrap_or(1),
                LARGEST,
            ),
            ("attention_chunk_size", self.attention_chunk_size.unwrap_or(1), LONGEST),
            ("seq_length", self.seq_length, LONGEST),
        ] {
            if size == 0 || size > largest {
                misfit(field, format!("{size}; it should be from 1 to {largest}"));
            }
        }
        let epsilon = self.layernorm_epsilon;
        if !(0.0..1.0).contains(&epsilon) {
            let problem = format!("{epsilon}; it should be from 0 to 1");
            misfit("layernorm_epsilon", problem);
        }
        if let Some(experts) = self.num_moe_experts {
            if !(1..=MOST_EXPERTS).contains(&experts) {
                let problem = format!("{experts}; it should be from 1 to {MOST_EXPERTS}");
                misfit("num_moe_experts", problem);
            }
            let topk = self.moe_router_topk.unwrap_or(1);
            if !(1..=experts.max(1)).contains(&topk) {
                let problem = format!("{topk}; there are {experts} experts");
                misfit("moe_router_topk", problem);
            }
        }
        for (field, list, meaning) in LISTS {
            let Some(layers) = list(self) else { continue };
            if layers.len() != self.num_layers {
                let problem = format!("for {} layers; there are {}", layers.len(), self.num_layers);
                misfit(field, problem);
            }
            if let Some(other) = layers.iter().find(|kind| **kind > 1) {
                misfit(field, format!("{other} for a layer; it should be {meaning}"));
            }
        }
        for (field, value, known) in CHOICES {
            if let Some(other) = value(self).filter(|value| !known.contains(value)) {
                misfit(field, format!("\"{other}\"; it should be \"{}\"", known.join("\" or \"")));
            }
        }
        for (field, value) in POSITIVE {
            if let Some(other) = value(self).filter(|value| !(*value > 0.0 && value.is_finite())) {
                misfit(field, format!("{other}; it should be above 0"));
            }
        }
        if let Some(share) = self.rotary_percent.filter(|share| *share > 1.0) {
            misfit("rotary_percent", format!("{share}; it should be 1 or less"));
        }
        if let Some(RopeScaling::Longrope(long)) = &self.rope_scaling {
            let rotated = self.kv_channels as f64 * self.rotary_percent.unwrap_or(1.0);
            let pairs = rotated as usize / 2;
            for (name, list) in
                [("short_factor", &long.short_factor), ("long_factor", &long.long_factor)]
            {
                if list.len() != pairs || list.iter().any(|n| !(*n > 0.0 && n.is_finite())) {
                    let problem = format!(
                        "with a \"{name}\" of {} numbers; it should be {pairs}, all above 0",
                        list.len()
                    );
                    misfit("rope_scaling", problem);
                }
            }
        }
        self.misfits_of_routing(&mut misfit);
        let (heads, groups) = (self.num_attention_heads, self.num_query_groups);
        if groups != 0 && heads % groups != 0 {
            let problem = format!("{groups}, which does not divide num_attention_heads, {heads}");
            misfit("num_query_groups", problem);
        }
        misfits
    }

    fn misfits_of_routing(&self, misfit: &mut impl FnMut(&'static str, String)) {
        let (experts, topk) = (self.experts(), self.moe_router_topk.unwrap_or(1));
        let (groups, chosen) = match (self.moe_router_num_groups, self.moe_router_group_topk) {
            (None, None) => return,
            (groups, chosen) => (groups.unwrap_or(1), chosen.unwrap_or(1)),
        };
        if groups == 0 || !experts.is_multiple_of(groups) {
            let problem = format!("{groups}, which does not divide num_moe_experts, {experts}");
            return misfit("moe_router_num_groups", problem);
        }
        if !(1..=groups).contains(&chosen) || chosen * (experts / groups) < topk {
            let problem = format!("{chosen} of {groups} groups, from which {topk} are chosen");
            misfit("moe_router_group_topk", problem);
        }
    }
}
