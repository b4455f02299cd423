use super::rope::RopeScaling;
use crate::checkpoint::Fields;
use serde::{Deserialize, Serialize};

/// The config of a decoder-only model, with Megatron-core's names as NeMo 2 writes them into
/// `model.yaml`.
///
/// Sizes count elements. [`check`](GptConfig::check) bounds them, so that shapes computed from
/// them cannot overflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GptConfig {
    /// The number of transformer layers.
    pub num_layers: usize,
    /// The width of the residual stream.
    pub hidden_size: usize,
    /// The inner width of the MLP.
    pub ffn_hidden_size: usize,
    /// The number of query heads.
    pub num_attention_heads: usize,
    /// The number of key/value heads: each serves one group of query heads.
    pub num_query_groups: usize,
    /// The size of a head.
    pub kv_channels: usize,
    /// The longest sequence the model is for (`max_position_embeddings`).
    pub seq_length: usize,
    /// The number of tokens in the vocabulary, without padding.
    pub vocab_size: usize,
    /// The vocabulary's rows are padded to a multiple of this.
    pub make_vocab_size_divisible_by: usize,
    /// Whether the output layer is the embedding (`tie_word_embeddings`).
    pub share_embeddings_and_output_weights: bool,
    /// Whether the four projections of attention have biases (`attention_bias`).
    pub attention_bias: bool,
    /// Whether the projections of the MLP have biases (`mlp_bias`).
    pub mlp_bias: bool,
    /// The `eps` of the norms.
    pub layernorm_epsilon: f64,
    /// The norm: `RMSNorm`.
    pub normalization: String,
    /// Whether norms multiply by 1 + weight. The weights are the same on both sides.
    #[serde(default, skip_serializing_if = "is_false")]
    pub layernorm_zero_centered_gamma: bool,
    /// Whether the embedding is multiplied by the square root of `hidden_size` when the model runs.
    /// NeMo 1's name; NeMo 2 does it for Gemma without saying so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub apply_embedding_scaling: bool,
    /// The MLP's activation, the first factor of a gated linear unit, as PyTorch and transformers
    /// call it: `silu`, `gelu`, `gelu_pytorch_tanh`.
    pub activation_func: String,
    /// Whether the MLP is a gated linear unit.
    pub gated_linear_unit: bool,
    /// How positions are told: `rope`.
    pub position_embedding_type: String,
    /// The base of the rotary embedding's frequencies (`rope_theta`).
    pub rotary_base: f64,
    /// How the rotary frequencies are stretched for long sequences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// How many tokens before and after its own each token sees; absent if it sees all before it.
    /// `sliding_window` counts the token itself: n is `(n - 1, 0)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_size: Option<(usize, usize)>,
    /// The number of experts in the MLP of each layer (`num_local_experts`); absent for a dense
    /// model, as are the other fields of experts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_moe_experts: Option<usize>,
    /// The inner width of an expert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_ffn_hidden_size: Option<usize>,
    /// How many experts see a token (`num_experts_per_tok`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_router_topk: Option<usize>,
    /// Whether the router's softmax is over all experts, not over those chosen. Softmax over all,
    /// then scaling the chosen ones to a sum of 1, is the same as softmax over the chosen: `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_router_pre_softmax: Option<bool>,
    /// How experts are kept equally busy in training: `aux_loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_router_load_balancing_type: Option<String>,
    /// The weight of that loss (`router_aux_loss_coef`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_aux_loss_coeff: Option<f64>,
    /// In training the experts' inputs are multiplied by noise from 1 - eps to 1 + eps
    /// (`router_jitter_noise`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_input_jitter_eps: Option<f64>,
    /// Whether experts are named as Megatron-core's grouped ones, `mlp.experts.linear_fc1.weight3`,
    /// and not `mlp.experts.local_experts.3.linear_fc1.weight`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moe_grouped_gemm: Option<bool>,
    /// The standard deviation with which weights are initialised.
    pub init_method_std: f64,
    /// The type of the weights as the source names it, `bfloat16`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_dtype: Option<String>,
}

/// The largest size that a config may name. Products of three of them fit in 64 bits twice over.
const LARGEST: usize = 1 << 20;
/// The most layers. Each is planned, so that a hostile number costs time and memory; the deepest
/// models have about 130.
const MOST_LAYERS: usize = 1 << 12;

/// The most experts. The largest mixtures have some hundreds.
const MOST_EXPERTS: usize = 1 << 12;

/// The longest sequence that a config may name.
pub(super) const LONGEST: usize = 1 << 31;

/// For serde: what is off is not written.
fn is_false(on: &bool) -> bool {
    !on
}

impl GptConfig {
    /// A model without any layers, to be filled in: dense, with RMS norms, a gated linear unit and
    /// rotary positions.
    pub(super) fn empty() -> Self {
        GptConfig {
            num_layers: 0,
            hidden_size: 0,
            ffn_hidden_size: 0,
            num_attention_heads: 0,
            num_query_groups: 0,
            kv_channels: 0,
            seq_length: 0,
            vocab_size: 0,
            make_vocab_size_divisible_by: 1,
            share_embeddings_and_output_weights: false,
            attention_bias: false,
            mlp_bias: false,
            layernorm_epsilon: 0.0,
            normalization: "RMSNorm".into(),
            layernorm_zero_centered_gamma: false,
            apply_embedding_scaling: false,
            activation_func: String::new(),
            gated_linear_unit: true,
            position_embedding_type: "rope".into(),
            rotary_base: 0.0,
            rope_scaling: None,
            window_size: None,
            num_moe_experts: None,
            moe_ffn_hidden_size: None,
            moe_router_topk: None,
            moe_router_pre_softmax: None,
            moe_router_load_balancing_type: None,
            moe_aux_loss_coeff: None,
            moe_input_jitter_eps: None,
            moe_grouped_gemm: None,
            init_method_std: 0.0,
            params_dtype: None,
        }
    }

    /// The number of experts; 0 for a dense model.
    pub fn experts(&self) -> usize {
        self.num_moe_experts.unwrap_or(0)
    }

    /// The inner width of an expert: that of a dense MLP, unless the config gives another.
    pub fn expert_width(&self) -> usize {
        self.moe_ffn_hidden_size.unwrap_or(self.ffn_hidden_size)
    }

    /// The rows of the embedding: the vocabulary, padded.
    pub fn vocab_rows(&self) -> usize {
        self.vocab_size.next_multiple_of(self.make_vocab_size_divisible_by.max(1))
    }

    /// The rows of `linear_qkv`: for each group its query heads, its key head, its value head.
    pub fn qkv_rows(&self) -> usize {
        (self.num_attention_heads + 2 * self.num_query_groups) * self.kv_channels
    }

    /// The columns of `linear_proj`: all query heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.kv_channels
    }

    /// Records what makes no model: sizes of zero or beyond reason, heads that groups cannot
    /// share. The names are those of the HF config.
    pub fn check(&self, fields: &Fields<'_>) {
        let nothing = self.hidden_size == 0 || self.num_attention_heads == 0;
        for Misfit { format_field, problem, .. } in self.misfits() {
            // Where an absent field follows from others, their being zero is the news.
            if !nothing || fields.raw(format_field).is_some() {
                fields.malformed(format_field, problem);
            }
        }
    }

    /// What makes no model.
    pub(crate) fn misfits(&self) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        let mut misfit = |field, format_field, problem: String| {
            misfits.push(Misfit { field, format_field, problem: format!("is {problem}") });
        };
        for (field, format_field, size, largest) in [
            ("num_layers", "num_hidden_layers", self.num_layers, MOST_LAYERS),
            ("hidden_size", "hidden_size", self.hidden_size, LARGEST),
            ("ffn_hidden_size", "intermediate_size", self.ffn_hidden_size, LARGEST),
            ("num_attention_heads", "num_attention_heads", self.num_attention_heads, LARGEST),
            ("num_query_groups", "num_key_value_heads", self.num_query_groups, LARGEST),
            ("kv_channels", "head_dim", self.kv_channels, LARGEST),
            ("vocab_size", "vocab_size", self.vocab_size, LARGEST),
            ("seq_length", "max_position_embeddings", self.seq_length, LONGEST),
        ] {
            if size == 0 || size > largest {
                let problem = format!("{size}; it should be from 1 to {largest}");
                misfit(field, format_field, problem);
            }
        }
        let epsilon = self.layernorm_epsilon;
        if !(0.0..1.0).contains(&epsilon) {
            let problem = format!("{epsilon}; it should be from 0 to 1");
            misfit("layernorm_epsilon", "rms_norm_eps", problem);
        }
        if let Some(experts) = self.num_moe_experts {
            if !(1..=MOST_EXPERTS).contains(&experts) {
                let problem = format!("{experts}; it should be from 1 to {MOST_EXPERTS}");
                misfit("num_moe_experts", "num_local_experts", problem);
            }
            let topk = self.moe_router_topk.unwrap_or(1);
            if !(1..=experts.max(1)).contains(&topk) {
                let problem = format!("{topk}; there are {experts} experts");
                misfit("moe_router_topk", "num_experts_per_tok", problem);
            }
        }
        let (heads, groups) = (self.num_attention_heads, self.num_query_groups);
        if groups != 0 && heads % groups != 0 {
            let problem = format!("{groups}, which does not divide num_attention_heads, {heads}");
            misfit("num_query_groups", "num_key_value_heads", problem);
        }
        misfits
    }
}

/// A number of a config that makes no model.
pub(crate) struct Misfit {
    /// Its name in [`GptConfig`].
    #[cfg_attr(not(feature = "candle"), allow(dead_code, reason = "no model is computed"))]
    pub field: &'static str,
    /// Its name in an HF config.
    pub format_field: &'static str,
    pub problem: String,
}

/// The largest power of two up to 128 that divides the vocabulary, so that no rows are added: what
/// NeMo's importers choose.
pub fn vocab_divisor(vocab_size: usize) -> usize {
    1 << vocab_size.trailing_zeros().min(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_not_padded_by_default() {
        for (vocab, want) in [(32000, 128), (97, 1), (128256, 128), (32002, 2), (160, 32)] {
            assert_eq!(vocab_divisor(vocab), want, "{vocab}");
        }
    }
}
