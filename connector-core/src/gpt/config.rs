use super::rope::RopeScaling;
use crate::config::{Args, ConfigFields, Field, FieldType, Kind, Misfit, Scalar};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Declares [`GptConfig`] and the table of its fields: for each, besides its type and what it means,
/// Megatron-core's default and what Megatron-LM's command line calls it.
macro_rules! table {
    (
        $(#[$attribute:meta])* pub struct $Config:ident;
        required { $( $(#[$r_doc:meta])* $r:ident: $r_type:ty, $r_args:expr; )* }
        optional { $( $(#[$o_doc:meta])* $o:ident: $o_type:ty = $o_core:expr, $o_args:expr; )* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub struct $Config {
            $( $(#[$r_doc])* pub $r: $r_type, )*
            $(
                $(#[$o_doc])*
                #[serde(default, skip_serializing_if = "is_default")]
                pub $o: $o_type,
            )*
        }

        impl ConfigFields for $Config {
            const FIELDS: &'static [Field] = &[
                $( Field {
                    name: stringify!($r),
                    kind: <$r_type as FieldType>::KIND,
                    core: None,
                    args: $r_args,
                }, )*
                $( Field {
                    name: stringify!($o),
                    kind: <$o_type as FieldType>::KIND,
                    core: Some($o_core),
                    args: $o_args,
                }, )*
            ];

            fn misfits(config: &Value) -> Vec<Misfit> {
                // What is missing or of another type is known already.
                Self::deserialize(config).map(|config| config.misfits()).unwrap_or_default()
            }
        }
    };
}

const NULL: Scalar = Scalar::Null;
const OFF: Scalar = Scalar::Bool(false);

table! {
/// The config of a decoder-only model, with Megatron-core's names as NeMo 2 writes them into
/// `model.yaml`.
///
/// Sizes count elements. They are bounded, so that shapes computed from them cannot overflow. A
/// field that is left out is off, or absent: what Megatron-core then does.
pub struct GptConfig;

required {
    /// The number of transformer layers.
    num_layers: usize, Args::Same;
    /// The width of the residual stream.
    hidden_size: usize, Args::Same;
    /// The inner width of the MLP.
    ffn_hidden_size: usize, Args::Same;
    /// The number of query heads.
    num_attention_heads: usize, Args::Same;
    /// The number of key/value heads: each serves one group of query heads.
    num_query_groups: usize, Args::Made;
    /// The size of a head.
    kv_channels: usize, Args::Same;
    /// The longest sequence the model is for (`max_position_embeddings`).
    seq_length: usize, Args::Same;
    /// The number of tokens in the vocabulary, without padding.
    vocab_size: usize, Args::Same;
    /// The vocabulary's rows are padded to a multiple of this.
    make_vocab_size_divisible_by: usize, Args::Same;
    /// Whether the output layer is the embedding (`tie_word_embeddings`).
    share_embeddings_and_output_weights: bool, Args::Not("untie_embeddings_and_output_weights");
    /// The `eps` of the norms.
    layernorm_epsilon: f64, Args::As("norm_epsilon");
    /// The norm: `RMSNorm`, or `LayerNorm`, which takes the mean off and adds a bias.
    normalization: String, Args::Same;
    /// The MLP's activation, the first factor of a gated linear unit, as PyTorch and transformers
    /// call it: `silu`, `gelu`, `gelu_pytorch_tanh`, `relu2`, `quick_gelu`.
    activation_func: String, Args::Made;
    /// Whether the MLP is a gated linear unit.
    gated_linear_unit: bool, Args::Made;
    /// How positions are told: `rope`.
    position_embedding_type: String, Args::Same;
    /// The base of the rotary embedding's frequencies (`rope_theta`).
    rotary_base: f64, Args::Same;
    /// The standard deviation with which weights are initialised.
    init_method_std: f64, Args::Same;
}

optional {
    /// Whether the four projections of attention have biases (`attention_bias`).
    attention_bias: bool = OFF, Args::Made;
    /// Whether the projections of queries, keys and values have biases, and the one after attention
    /// has none.
    add_qkv_bias: bool = OFF, Args::Same;
    /// Whether the projections of the MLP have biases (`mlp_bias`).
    mlp_bias: bool = OFF, Args::Made;
    /// Whether each head's queries and keys are normed before they are rotated.
    qk_layernorm: bool = OFF, Args::Same;
    /// Whether these norms are over all heads together, not over each. A matter of the layer's spec
    /// in Megatron-core, not of its config.
    qk_layernorm_full_width: bool = OFF,
        Args::Unsaid("the norms of queries and keys, whose weights have other shapes there");
    /// Whether queries and keys are divided by their root mean square after they are rotated, in
    /// layers that rotate them (Llama 4).
    qk_l2_norm: bool = OFF, Args::Same;
    /// Where the norms of attention and the MLP are, if not before each: `after`, or `both`. A
    /// matter of the layer's spec in Megatron-core.
    layernorm_position: Option<String> = NULL,
        Args::Unsaid("where the norms of every layer are, and which weights it has");
    /// Whether norms multiply by 1 + weight. The weights are the same on both sides.
    layernorm_zero_centered_gamma: bool = OFF, Args::As("apply_layernorm_1p");
    /// Whether the embedding is multiplied by the square root of `hidden_size` when the model runs.
    /// NeMo 1's name; NeMo 2 does it for Gemma without saying so.
    apply_embedding_scaling: bool = OFF,
        Args::Unsaid("the input of the first layer");
    /// What the embedding is multiplied by; absent for 1.
    embedding_multiplier: Option<f64> = NULL, Args::Unsaid("the input of the first layer");
    /// What attention and the MLP give is multiplied by this before it is added; absent for 1.
    residual_multiplier: Option<f64> = NULL, Args::Unsaid("what every layer adds");
    /// What logits are divided by; absent for 1.
    logits_scaling: Option<f64> = NULL,
        Args::Unsaid("the logits, though not their order");
    /// How the rotary frequencies are stretched for long sequences.
    rope_scaling: Option<RopeScaling> = NULL, Args::Made;
    /// The share of a head that is rotated, from its first element on (`partial_rotary_factor`);
    /// absent if all of it is.
    rotary_percent: Option<f64> = Scalar::Float(1.0), Args::Same;
    /// Whether a pair that is rotated is of neighbours, not of two elements half a head apart.
    rotary_interleaved: bool = OFF, Args::Same;
    /// The base in layers with a window, whose frequencies are not stretched
    /// (`rope_local_base_freq`); absent if all layers have one.
    rotary_base_local: Option<f64> = NULL,
        Args::Unsaid("the rotary frequencies of layers with a window");
    /// Which layers do not rotate, 1; absent if all do.
    no_rope_freq: Option<Vec<usize>> = NULL, Args::Same;
    /// What the products of queries and keys are multiplied by; absent for the root of the head's
    /// size, inverted.
    softmax_scale: Option<f64> = NULL, Args::Same;
    /// The softmax of attention: `learnable` if each head has a number more to share its attention
    /// with, which is then dropped; absent for a plain one.
    softmax_type: Option<String> = Scalar::Text("vanilla"), Args::Same;
    /// The products of queries and keys are kept below this, by a tanh.
    attn_logit_softcapping: Option<f64> = NULL,
        Args::Unsaid("the scores of attention");
    /// So are the logits.
    final_logit_softcapping: Option<f64> = NULL,
        Args::Unsaid("the logits, though not their order");
    /// Layers that rotate see only tokens of their own's chunk, of so many (Llama 4).
    attention_chunk_size: Option<usize> = NULL,
        Args::Unsaid("what tokens see in sequences longer than a chunk");
    /// How queries grow with their position.
    attention_temperature: Option<Temperature> = NULL,
        Args::Unsaid("the scores of attention, far into a sequence");
    /// The largest gate, and the largest size of the other factor, of a gated linear unit.
    activation_func_clamp_value: Option<f64> = NULL, Args::Same;
    /// What is added to the other factor of a gated linear unit.
    glu_linear_offset: Option<f64> = Scalar::Float(0.0), Args::Same;
    /// How many tokens before and after its own each token sees; absent if it sees all before it.
    /// `sliding_window` counts the token itself: n is `(n - 1, 0)`.
    window_size: Option<(usize, usize)> = NULL, Args::Same;
    /// Which layers have that window, 1, and which see all before them, 0; absent if all have it.
    window_attn_skip_freq: Option<Vec<usize>> = NULL, Args::Same;
    /// The number of experts in the MLP of each layer (`num_local_experts`); absent for a dense
    /// model, as are the other fields of experts.
    num_moe_experts: Option<usize> = NULL, Args::As("num_experts");
    /// The inner width of an expert.
    moe_ffn_hidden_size: Option<usize> = NULL, Args::Same;
    /// Which layers have experts, 1, and which a dense MLP, 0; absent if all have experts.
    moe_layer_freq: Option<Vec<usize>> = Scalar::Int(1), Args::Same;
    /// How many experts see a token (`num_experts_per_tok`).
    moe_router_topk: Option<usize> = Scalar::Int(2), Args::Same;
    /// Whether the router's softmax is over all experts, not over those chosen. Softmax over all,
    /// then scaling the chosen ones to a sum of 1, is the same as softmax over the chosen: `false`.
    moe_router_pre_softmax: Option<bool> = OFF, Args::Same;
    /// What makes shares of a router's scores: `sigmoid`, by itself; absent for a softmax.
    moe_router_score_function: Option<String> = Scalar::Text("softmax"), Args::Same;
    /// Whether a bias of each expert is added to its share to choose, and only to choose.
    moe_router_enable_expert_bias: Option<bool> = OFF, Args::Same;
    /// Experts are chosen from some of so many groups; absent if from all experts.
    moe_router_num_groups: Option<usize> = NULL, Args::Same;
    /// Of how many groups.
    moe_router_group_topk: Option<usize> = NULL, Args::Same;
    /// What shares are multiplied by (`routed_scaling_factor`).
    moe_router_topk_scaling_factor: Option<f64> = NULL, Args::Same;
    /// Whether the input of an expert is multiplied by its share, not its output.
    moe_apply_probs_on_input: Option<bool> = OFF, Args::Same;
    /// The inner width of the expert that sees every token; absent if there is none.
    moe_shared_expert_intermediate_size: Option<usize> = NULL, Args::Same;
    /// Whether a gate of its own multiplies what that expert gives.
    moe_shared_expert_gate: Option<bool> = OFF, Args::Same;
    /// How experts are kept equally busy in training: `aux_loss`.
    moe_router_load_balancing_type: Option<String> = Scalar::Text("aux_loss"), Args::Same;
    /// The weight of that loss (`router_aux_loss_coef`).
    moe_aux_loss_coeff: Option<f64> = Scalar::Float(0.0), Args::Same;
    /// In training the experts' inputs are multiplied by noise from 1 - eps to 1 + eps
    /// (`router_jitter_noise`); absent, and never 0, for no noise.
    #[serde(deserialize_with = "noise")]
    moe_input_jitter_eps: Option<f64> = NULL, Args::Same;
    /// Whether experts are named as Megatron-core's grouped ones, `mlp.experts.linear_fc1.weight3`,
    /// and not `mlp.experts.local_experts.3.linear_fc1.weight`.
    moe_grouped_gemm: Option<bool> = OFF, Args::Same;
    /// The type of the weights as the source names it, `bfloat16`.
    params_dtype: Option<String> = NULL, Args::Made;
}
}

impl FieldType for RopeScaling {
    const KIND: Kind = Kind::Other;
}

/// How queries grow with their position: times `1 + scale · ln(1 + ⌊(position + 1) / floor⌋)` in
/// layers that do not rotate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Temperature {
    /// By how much (`attn_scale`).
    pub scale: f64,
    /// After how many tokens they first do (`floor_scale`).
    pub floor: f64,
    /// Whether they do in all layers, and by the position itself, as in Ministral 3.
    #[serde(default, skip_serializing_if = "is_default")]
    pub everywhere: bool,
}

impl FieldType for Temperature {
    const KIND: Kind = Kind::Other;
}

/// Whether a field says something of a model with experts alone.
pub(crate) fn is_of_experts(field: &str) -> bool {
    field.starts_with("moe_")
}

/// Fields of Megatron-core's config that change what a model computes and that [`GptConfig`] does not
/// have, with the values of a model that has no use of them. Megatron-core's defaults, all of them.
pub(crate) const ELSEWHERE: [(&str, Scalar); 9] = [
    ("apply_residual_connection_post_layernorm", OFF),
    ("attention_output_gate", OFF),
    ("experimental_attention_variant", NULL),
    ("heterogeneous_block_specs", OFF),
    ("is_hybrid_model", OFF),
    ("linear_attention_freq", NULL),
    ("moe_latent_size", NULL),
    ("mtp_num_layers", NULL),
    ("multi_latent_attention", OFF),
];

/// The most layers. Each is planned, so that a hostile number costs time and memory; the deepest
/// models have about 130.
pub const MOST_LAYERS: usize = 1 << 12;

/// The most experts. The largest mixtures have some hundreds.
pub(super) const MOST_EXPERTS: usize = 1 << 12;

/// For serde: noise of the width 0 is no noise, and Megatron-core's sampling refuses it.
fn noise<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let eps = Option::deserialize(deserializer)?;
    Ok(eps.filter(|eps| *eps != 0.0))
}

/// For serde: what is off or absent is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl GptConfig {
    /// The number of experts; 0 for a dense model.
    pub fn experts(&self) -> usize {
        self.num_moe_experts.unwrap_or(0)
    }

    /// Whether the MLP of a layer is a mixture of experts.
    pub fn has_experts(&self, layer: usize) -> bool {
        let listed = self.moe_layer_freq.as_ref().and_then(|layers| layers.get(layer));
        self.experts() > 0 && listed != Some(&0)
    }

    /// The inner width of an expert: that of a dense MLP, unless the config gives another.
    pub fn expert_width(&self) -> usize {
        self.moe_ffn_hidden_size.unwrap_or(self.ffn_hidden_size)
    }

    /// The inner width of the expert that sees every token; 0 if there is none.
    pub fn shared_width(&self) -> usize {
        self.moe_shared_expert_intermediate_size.unwrap_or(0)
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

    /// All key heads, of which there are as many value heads.
    pub fn key_width(&self) -> usize {
        self.num_query_groups * self.kv_channels
    }
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
