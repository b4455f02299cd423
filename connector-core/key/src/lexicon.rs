use crate::pattern::{Part, Pattern};
use crate::role::{Kind, Meaning, Order, Role, Scope};

/// What the name of a tensor says, by the words that transformers and Megatron-core use.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// What the tensor is.
    pub role: Role<'static>,
    /// A hash of the name without its last word, and without `weight`, `bias` and the like behind it.
    pub stem: u64,
    /// A hash of that last word.
    pub leaf: u64,
}

impl Name {
    /// Of nothing.
    pub const EMPTY: Name = Name { role: Role::UNKNOWN, stem: START, leaf: START };

    /// Reads a pattern.
    pub const fn of(pattern: &Pattern<'_>) -> Self {
        let mut reader = Reader { name: Name::EMPTY, indexed: false };
        let (mut number, mut glued) = (0, false);
        while let Some(part) = pattern.part(number) {
            match part {
                Part::Text(text) => {
                    let bytes = text.as_bytes();
                    let (mut from, mut to) = (0, 0);
                    while to <= bytes.len() {
                        if to == bytes.len() || bytes[to] == b'.' {
                            if to > from {
                                reader.segment(bytes.split_at(to).0.split_at(from).1);
                            }
                            from = to + 1;
                        }
                        to += 1;
                    }
                    glued = !bytes.is_empty() && bytes[bytes.len() - 1] != b'.';
                }
                Part::Index { name, .. } | Part::Field { name } => reader.index(name.as_bytes()),
                // It stands for words, but for an index behind one.
                Part::Word { name } if glued => reader.index(name.as_bytes()),
                Part::Word { .. } | Part::Any => reader.any(),
            }
            number += 1;
        }
        reader.name
    }

    /// The same tensor for this and `other`, but for `weight`, `bias` and the like.
    pub const fn is_beside(&self, other: &Name) -> bool {
        self.stem == other.stem && self.leaf == other.leaf
    }
}

/// FNV-1a.
const START: u64 = 0xcbf2_9ce4_8422_2325;

const fn hash(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}

struct Reader {
    name: Name,
    /// Whether an index stands before, as that of a layer.
    indexed: bool,
}

/// What stands behind the name of a weight, or alone in a segment, from the longest.
const KINDS: [(&[u8], Kind); 8] = [
    (b"weight_scale_inv", Kind::Scale),
    (b"weight_scale", Kind::Scale),
    (b"scale_inv", Kind::Scale),
    (b"scales", Kind::Scale),
    (b"scale", Kind::Scale),
    (b"weight", Kind::Weight),
    (b"blocks", Kind::Weight),
    (b"bias", Kind::Bias),
];

impl Reader {
    const fn index(&mut self, name: &[u8]) {
        self.indexed = true;
        let Name { stem, leaf, .. } = self.name;
        self.name.stem = hash(hash(stem, &leaf.to_ne_bytes()), b"{");
        self.name.leaf = hash(START, name);
    }

    const fn any(&mut self) {
        self.index(b"*");
        self.name.role.meaning = Meaning::UNKNOWN;
    }

    const fn segment(&mut self, segment: &[u8]) {
        let (base, kind) = split_kind(segment);
        if let Some(role) = whole(segment) {
            self.word(segment, role);
            return;
        }
        if !matches!(kind, Kind::Unknown) {
            self.name.role.kind = kind;
        }
        if !base.is_empty() {
            let role = self.read(base);
            self.word(base, role);
            self.name.role.kind = match kind {
                // What is a matrix by its name is a weight, until a segment says otherwise.
                Kind::Unknown if role.meaning.is_known() => Kind::Weight,
                kind => kind,
            };
        }
    }

    const fn word(&mut self, base: &[u8], role: Role<'static>) {
        let Name { stem, leaf, .. } = self.name;
        self.name.stem = hash(hash(stem, &leaf.to_ne_bytes()), b".");
        self.name.leaf = hash(START, base);
        let scope = match (self.name.role.scope, role.scope) {
            (scope, Scope::Unknown) => scope,
            // An expert has an MLP of its own.
            (scope @ (Scope::Expert | Scope::Shared), Scope::Mlp | Scope::Mixture) => scope,
            (_, scope) => scope,
        };
        self.name.role = Role { scope, ..role };
    }

    /// What a word means behind those before it. This is the table.
    const fn read(&self, word: &[u8]) -> Role<'static> {
        use Meaning as M;
        let scope = self.name.role.scope;
        let before = self.name.role.meaning;
        let attention = matches!(scope, Scope::Attention | Scope::Cross);
        let meaning = match word {
            // What tensors are part of.
            b"self_attn" | b"self_attention" | b"attention" | b"attn" | b"SelfAttention" => {
                return Role { scope: Scope::Attention, ..Role::UNKNOWN };
            }
            b"cross_attn" | b"cross_attention" | b"encoder_attn" | b"EncDecAttention" => {
                return Role { scope: Scope::Cross, ..Role::UNKNOWN };
            }
            b"mlp" | b"feed_forward" | b"ffn" | b"DenseReluDense" => {
                return Role { scope: Scope::Mlp, ..Role::UNKNOWN };
            }
            b"block_sparse_moe" | b"moe" => {
                return Role { scope: Scope::Mixture, ..Role::UNKNOWN };
            }
            b"experts" | b"local_experts" => {
                return Role { scope: Scope::Expert, ..Role::UNKNOWN };
            }
            b"shared_expert" | b"shared_experts" | b"share_expert" | b"shared_mlp" => {
                return Role { scope: Scope::Shared, ..Role::UNKNOWN };
            }
            // Attention.
            b"q_proj" | b"wq" | b"q" | b"query" | b"linear_q" => M::Q,
            b"k_proj" | b"wk" | b"k" | b"key" => M::K,
            b"v_proj" | b"wv" | b"v" | b"value" => M::V,
            b"qkv_proj" | b"Wqkv" => {
                return Role { order: Order::Concatenated, ..Role::of(M::QKV) };
            }
            b"linear_qkv" => return Role { order: Order::Grouped, ..Role::of(M::QKV) },
            b"qkv" | b"wqkv" | b"c_attn" | b"query_key_value" => M::QKV,
            b"o_proj" | b"linear_proj" => M::O,
            b"wo" if !matches!(scope, Scope::Mlp) => M::O,
            b"dense" | b"c_proj" | b"out_proj" | b"o" if attention => M::O,
            b"q_a_proj" | b"linear_q_down_proj" => M::Q_DOWN,
            b"q_b_proj" | b"linear_q_up_proj" => M::Q_UP,
            b"kv_a_proj_with_mqa" | b"linear_kv_down_proj" => M::KV_DOWN,
            b"kv_b_proj" | b"linear_kv_up_proj" => M::KV_UP,
            b"sinks" | b"softmax_offset" | b"attention_sink" | b"attn_sink" => M::SINKS,
            // The MLP.
            b"gate_proj" | b"w1" | b"wi_0" => M::GATE,
            b"up_proj" | b"w3" | b"wi_1" | b"up" | b"c_fc" => M::UP,
            b"gate_up_proj" | b"gate_and_up_proj" => {
                return Role { order: Order::Concatenated, ..Role::of(M::GATE_UP) };
            }
            b"gate_up" => M::GATE_UP,
            b"linear_fc1" | b"fc1" => {
                return Role { order: Order::Concatenated, ..Role::of(M::UP.or(M::GATE_UP)) };
            }
            b"down_proj" | b"w2" | b"linear_fc2" | b"fc2" | b"down" => M::DOWN,
            b"c_proj" | b"wo" if matches!(scope, Scope::Mlp) => M::DOWN,
            b"gate" => match scope {
                Scope::Mixture => M::ROUTER,
                Scope::Expert => M::GATE,
                Scope::Shared => M::GATE.or(M::SHARED_GATE),
                _ => M::GATE.or(M::ROUTER),
            },
            b"router" => M::ROUTER,
            b"shared_expert_gate" => {
                return Role { scope: Scope::Shared, ..Role::of(M::SHARED_GATE) };
            }
            // Norms.
            b"input_layernorm" | b"input_norm" | b"attention_norm" | b"ln_1" => M::INPUT_NORM,
            b"post_attention_layernorm"
            | b"pre_feedforward_layernorm"
            | b"pre_mlp_layernorm"
            | b"ffn_norm"
            | b"ln_2" => M::PRE_MLP_NORM,
            b"post_self_attn_layernorm" | b"post_attention_norm" => M::POST_ATTENTION_NORM,
            b"post_feedforward_layernorm" | b"post_mlp_layernorm" => M::POST_MLP_NORM,
            // Transformer Engine's layers have the norm before them.
            b"layer_norm" if before.is(M::QKV.or(M::Q)) => M::INPUT_NORM,
            b"layer_norm" if before.is(M::UP.or(M::GATE_UP)) => M::PRE_MLP_NORM,
            b"layer_norm" if before.is(M::Q_UP) => M::Q_NORM,
            b"layer_norm" if before.is(M::KV_UP) => M::KV_NORM,
            b"post_layernorm" if before.is(M::O) => M::POST_ATTENTION_NORM,
            b"post_layernorm" if before.is(M::DOWN) => M::POST_MLP_NORM,
            b"q_norm" | b"q_layernorm" | b"query_layernorm" | b"query_norm" | b"q_a_layernorm" => {
                M::Q_NORM
            }
            b"k_norm" | b"k_layernorm" | b"key_layernorm" | b"key_norm" => M::K_NORM,
            b"kv_norm" | b"kv_layernorm" | b"kv_a_layernorm" => M::KV_NORM,
            b"final_layernorm" | b"final_norm" | b"norm_f" | b"ln_f" => M::FINAL_NORM,
            b"norm" if !self.indexed && matches!(scope, Scope::Unknown) => M::FINAL_NORM,
            // The ends.
            b"embed_tokens" | b"word_embeddings" | b"tok_embeddings" | b"wte" | b"embed_in"
            | b"embedding" => M::EMBEDDING,
            b"position_embeddings" | b"embed_positions" | b"wpe" => M::POSITIONS,
            b"lm_head" | b"output_layer" | b"embed_out" => M::HEAD,
            _ => M::UNKNOWN,
        };
        Role::of(meaning)
    }
}

/// Segments that are not a word and the kind of tensor.
const fn whole(segment: &[u8]) -> Option<Role<'static>> {
    let (meaning, kind) = match segment {
        b"e_score_correction_bias" | b"expert_bias" => (Meaning::ROUTER_BIAS, Kind::Bias),
        // Megatron-core's, of the expert that sees every token.
        b"gate_weight" => (Meaning::SHARED_GATE, Kind::Weight),
        _ => return None,
    };
    Some(Role { kind, ..Role::of(meaning) })
}

/// A segment without the kind of tensor behind it.
const fn split_kind(segment: &[u8]) -> (&[u8], Kind) {
    let mut k = 0;
    while k < KINDS.len() {
        let (suffix, kind) = KINDS[k];
        if ends_with(segment, suffix) {
            let rest = segment.len() - suffix.len();
            if rest == 0 {
                return (&[], kind);
            }
            if segment[rest - 1] == b'_' {
                return (segment.split_at(rest - 1).0, kind);
            }
        }
        k += 1;
    }
    (segment, Kind::Unknown)
}

const fn ends_with(text: &[u8], end: &[u8]) -> bool {
    if text.len() < end.len() {
        return false;
    }
    let mut i = 0;
    while i < end.len() {
        if text[text.len() - end.len() + i] != end[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use core::fmt::Write;

    /// A role in words.
    fn read(key: &str) -> String {
        let Role { meaning, scope, kind, order, .. } = Name::of(&Pattern::new(key)).role;
        let mut out = String::new();
        for (word, one) in Meaning::WORDS {
            if meaning.is_known() && !meaning.and(*one).is_nothing() {
                write!(out, "{word} ").unwrap();
            }
        }
        if kind != Kind::Unknown {
            write!(out, "{kind:?} ").unwrap();
        }
        if order != Order::Unknown {
            write!(out, "{order:?} ").unwrap();
        }
        if scope != Scope::Unknown {
            write!(out, "of {scope:?}").unwrap();
        }
        out.trim_end().into()
    }

    #[test]
    fn names_say_what_tensors_are() {
        for (key, want) in [
            ("model.embed_tokens.weight", "embedding Weight"),
            ("embedding.position_embeddings.weight", "positions Weight"),
            ("embeddings.LayerNorm.weight", "Weight"),
            ("model.norm.weight", "final_norm Weight"),
            ("backbone.layers.{l}.norm.weight", "Weight"),
            ("model.layers.{l}.self_attn.q_proj.weight", "q Weight of Attention"),
            ("l.{l}.self_attn.qkv_proj.bias", "qkv Bias Concatenated of Attention"),
            ("l.{l}.self_attention.linear_qkv.weight", "qkv Weight Grouped of Attention"),
            ("l.{l}.self_attention.linear_qkv.layer_norm_bias", "input_norm Bias of Attention"),
            (
                "l.{l}.self_attention.linear_proj.post_layernorm.weight",
                "post_attention_norm Weight of Attention",
            ),
            ("l.{l}.self_attn.sinks", "sinks Weight of Attention"),
            ("l.{l}.attn.c_proj.weight", "o Weight of Attention"),
            ("l.{l}.mlp.c_proj.weight", "down Weight of Mlp"),
            ("l.{l}.mlp.gate.weight", "gate router Weight of Mlp"),
            ("l.{l}.mlp.gate.e_score_correction_bias", "router_bias Bias of Mlp"),
            ("l.{l}.block_sparse_moe.gate.weight", "router Weight of Mixture"),
            ("l.{l}.block_sparse_moe.experts.{e}.w1.weight", "gate Weight of Expert"),
            ("l.{l}.mlp.experts.{e}.mlp.up_proj.weight", "up Weight of Expert"),
            ("l.{l}.mlp.experts.linear_fc1.weight{e}", "up gate_up Weight Concatenated of Expert"),
            ("l.{l}.mlp.experts.gate_up_proj_bias", "gate_up Bias Concatenated of Expert"),
            ("l.{l}.mlp.experts.down_proj_scales", "down Scale of Expert"),
            ("l.{l}.mlp.shared_experts.gate_weight", "shared_gate Weight of Shared"),
            ("l.*.mlp.down_proj.weight_scale_inv", "down Scale of Mlp"),
            ("l.{l}.mlp.*.weight", "Weight of Mlp"),
            ("l.{l}.self_attn.q_proj.lora_A.weight", "Weight of Attention"),
            ("lang.**", ""),
        ] {
            assert_eq!(read(key), want, "{key}");
        }
    }

    #[test]
    fn a_weight_and_its_bias_are_beside_each_other() {
        let name = |key| Name::of(&Pattern::new(key));
        for (one, other, want) in [
            ("a.{l}.q.weight", "a.{l}.q.bias", true),
            ("a.q", "a.q_bias", true),
            ("a.q.weight", "a.q.weight_scale_inv", true),
            ("a.q_blocks", "a.q_scales", true),
            ("a.q.weight", "a.k.bias", false),
            ("a.{l}.q.weight", "a.{m}.q.bias", false),
            ("a.q.weight", "b.q.bias", false),
        ] {
            assert_eq!(name(one).is_beside(&name(other)), want, "{one} {other}");
        }
        let (one, other) = (name("a.{l}.norm"), name("a.{l}.skip"));
        assert!(one.stem == other.stem && one.leaf != other.leaf);
        let joined = Pattern::new("a.{l}").join(&Pattern::new("q.weight"));
        assert!(Name::of(&joined).is_beside(&name("a.{l}.q.weight")));
    }
}
