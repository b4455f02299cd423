use crate::distance::same;

/// What a tensor is: what its name says, or the word of whoever wrote the mapping.
///
/// ```
/// use connector_key::{Kind, Meaning, Name, Pattern, Role};
///
/// let name = Name::of(&Pattern::new("model.layers.{layer}.mlp.gate_proj.weight"));
/// assert_eq!((name.role.meaning, name.role.kind), (Meaning::GATE, Kind::Weight));
/// assert_eq!(Role::new("transposed gate_up").meaning, Meaning::GATE_UP);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role<'a> {
    /// Its place in a layer, as far as it is known.
    pub meaning: Meaning,
    /// A word that is none of ours, where [`meaning`](Self::meaning) is [`Meaning::OTHER`].
    pub word: &'a str,
    /// What it is part of.
    pub scope: Scope,
    /// Whether it is a weight or goes with one.
    pub kind: Kind,
    /// How the tensors lie that it is made of.
    pub order: Order,
    /// Whether it is stored `[in, out]`. Without a word a tensor is stored `[out, in]`.
    pub transposed: bool,
}

/// What a name may mean: a set, because some names mean this in one model and that in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning(u64);

/// What a tensor is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// Nothing is known of it.
    Unknown,
    /// Attention of a token to others of its own text.
    Attention,
    /// Attention to what another model has read.
    Cross,
    /// The MLP of a layer.
    Mlp,
    /// A mixture of experts: its router, or the experts, or the one that sees every token.
    Mixture,
    /// One of the experts that a router chooses.
    Expert,
    /// The expert that sees every token.
    Shared,
}

/// Whether a tensor is a weight or goes with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing is known of it.
    Unknown,
    /// A weight.
    Weight,
    /// A bias.
    Bias,
    /// The scales of a quantised weight.
    Scale,
}

/// How the rows of several tensors lie in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Nothing is known of it, but that rows do not alternate.
    Unknown,
    /// One tensor after the other.
    Concatenated,
    /// By query group, as Megatron's `linear_qkv`.
    Grouped,
    /// Rows alternate.
    Interleaved,
}

/// Declares the meanings and what they are called.
macro_rules! meanings {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        #[repr(u8)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "numbers for the bits")]
        enum Bit { OTHER, $($name,)* COUNT }

        impl Meaning {
            $($(#[$doc])* pub const $name: Meaning = Meaning(1 << Bit::$name as u64);)*

            /// The words for them.
            pub const WORDS: &'static [(&'static str, Meaning)] = &[$(($word, Meaning::$name),)*];
        }
    };
}

meanings! {
    /// Queries.
    Q = "q",
    /// Keys.
    K = "k",
    /// Values.
    V = "v",
    /// Queries, keys and values in one.
    QKV = "qkv",
    /// What follows attention.
    O = "o",
    /// The first step to the queries of latent attention.
    Q_DOWN = "q_down",
    /// The second step to them.
    Q_UP = "q_up",
    /// The first step to the keys and values of latent attention.
    KV_DOWN = "kv_down",
    /// The second step to them.
    KV_UP = "kv_up",
    /// The norm of queries.
    Q_NORM = "q_norm",
    /// The norm of keys.
    K_NORM = "k_norm",
    /// The norm between the two steps to keys and values.
    KV_NORM = "kv_norm",
    /// What scores are compared with.
    SINKS = "sinks",
    /// The half of a gated MLP that the activation is for.
    GATE = "gate",
    /// The other half, or the first matrix of a plain MLP.
    UP = "up",
    /// Gate and up in one.
    GATE_UP = "gate_up",
    /// The last matrix of an MLP.
    DOWN = "down",
    /// What scores the experts.
    ROUTER = "router",
    /// What is added to the scores for the choice alone.
    ROUTER_BIAS = "router_bias",
    /// What weighs the expert that sees every token.
    SHARED_GATE = "shared_gate",
    /// The norm before attention.
    INPUT_NORM = "input_norm",
    /// The norm of what attention gives.
    POST_ATTENTION_NORM = "post_attention_norm",
    /// The norm before the MLP.
    PRE_MLP_NORM = "pre_mlp_norm",
    /// The norm of what the MLP gives.
    POST_MLP_NORM = "post_mlp_norm",
    /// The norm after all layers.
    FINAL_NORM = "final_norm",
    /// The vectors of the tokens.
    EMBEDDING = "embedding",
    /// The vectors of the positions.
    POSITIONS = "positions",
    /// What scores the tokens.
    HEAD = "head",
}

impl Meaning {
    /// A word that is none of ours.
    pub const OTHER: Meaning = Meaning(1 << Bit::OTHER as u64);
    /// It may be anything.
    pub const UNKNOWN: Meaning = Meaning((1 << Bit::COUNT as u64) - 1);
    /// It is none of all.
    pub const NOTHING: Meaning = Meaning(0);

    /// This or that.
    #[must_use]
    pub const fn or(self, other: Meaning) -> Meaning {
        Meaning(self.0 | other.0)
    }

    /// What both may be.
    #[must_use]
    pub const fn and(self, other: Meaning) -> Meaning {
        Meaning(self.0 & other.0)
    }

    /// Whether it may be no other than `other`.
    pub const fn is(self, other: Meaning) -> bool {
        self.0 != 0 && self.0 & !other.0 == 0
    }

    /// Whether it is nothing.
    pub const fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// Whether something is known of it.
    pub const fn is_known(self) -> bool {
        self.0 != Meaning::UNKNOWN.0
    }
}

impl<'a> Role<'a> {
    /// Nothing is known.
    pub const UNKNOWN: Role<'static> = Role {
        meaning: Meaning::UNKNOWN,
        word: "",
        scope: Scope::Unknown,
        kind: Kind::Unknown,
        order: Order::Unknown,
        transposed: false,
    };

    /// The tensor that is `meaning`, of which nothing else is known.
    pub const fn of(meaning: Meaning) -> Self {
        Role { meaning, ..Role::UNKNOWN }
    }

    /// A role in words, in a constant.
    ///
    /// # Panics
    /// If there are two words of one kind. At run time use [`Role::parse`].
    #[track_caller]
    pub const fn new(words: &'a str) -> Self {
        match Role::parse(words) {
            Some(role) => role,
            None => panic!("a role has one word of each kind"),
        }
    }

    /// A role in words, as after `as`: `transposed interleaved gate_up`, `shared gate`, `scale`. None if
    /// there are two of one kind.
    pub const fn parse(words: &'a str) -> Option<Self> {
        let (mut role, mut rest) = (Role::UNKNOWN, words);
        loop {
            let (word, after) = first_word(rest);
            if word.is_empty() {
                return Some(role);
            }
            let before = role;
            let fresh = match word.as_bytes() {
                b"transposed" => {
                    role.transposed = true;
                    !before.transposed
                }
                b"concatenated" | b"grouped" | b"interleaved" => {
                    role.order = match word.as_bytes() {
                        b"concatenated" => Order::Concatenated,
                        b"grouped" => Order::Grouped,
                        _ => Order::Interleaved,
                    };
                    matches!(before.order, Order::Unknown)
                }
                b"expert" | b"shared" => {
                    let shared = matches!(word.as_bytes(), b"shared");
                    role.scope = if shared { Scope::Shared } else { Scope::Expert };
                    matches!(before.scope, Scope::Unknown)
                }
                b"weight" | b"bias" | b"scale" => {
                    role.kind = match word.as_bytes() {
                        b"weight" => Kind::Weight,
                        b"bias" => Kind::Bias,
                        _ => Kind::Scale,
                    };
                    matches!(before.kind, Kind::Unknown)
                }
                _ => {
                    (role.meaning, role.word) = (Meaning::OTHER, word);
                    let mut w = 0;
                    while w < Meaning::WORDS.len() {
                        if same(Meaning::WORDS[w].0, word) {
                            role.meaning = Meaning::WORDS[w].1;
                        }
                        w += 1;
                    }
                    !before.meaning.is_known()
                }
            };
            if !fresh {
                return None;
            }
            rest = after;
        }
    }

    /// This, where `words` say nothing else.
    #[must_use]
    pub const fn but(mut self, words: &Role<'a>) -> Self {
        if words.meaning.is_known() {
            (self.meaning, self.word) = (words.meaning, words.word);
        }
        if !matches!(words.scope, Scope::Unknown) {
            self.scope = words.scope;
        }
        if !matches!(words.kind, Kind::Unknown) {
            self.kind = words.kind;
        }
        if !matches!(words.order, Order::Unknown) {
            self.order = words.order;
        }
        self.transposed |= words.transposed;
        self
    }

    /// Whether both may be one tensor: all but how it lies.
    pub const fn agrees(&self, other: &Role<'_>) -> bool {
        let both = self.meaning.and(other.meaning);
        let other_word = both.is(Meaning::OTHER)
            && !self.word.is_empty()
            && !other.word.is_empty()
            && !same(self.word, other.word);
        !both.is_nothing()
            && !other_word
            && self.scope.agrees(other.scope)
            && self.kind.agrees(other.kind)
    }

    /// Whether rows of one lie as those of the other.
    pub const fn lies_as(&self, other: &Role<'_>) -> bool {
        use Order::{Concatenated, Grouped, Interleaved, Unknown};
        !matches!(
            (self.order, other.order),
            (Interleaved, Unknown | Concatenated | Grouped)
                | (Unknown | Concatenated | Grouped, Interleaved)
                | (Concatenated, Grouped)
                | (Grouped, Concatenated)
        )
    }
}

/// The first word of a text, and what follows.
const fn first_word(text: &str) -> (&str, &str) {
    let (mut from, bytes) = (0, text.as_bytes());
    while from < bytes.len() && bytes[from] == b' ' {
        from += 1;
    }
    let mut to = from;
    while to < bytes.len() && bytes[to] != b' ' {
        to += 1;
    }
    let (before, after) = text.split_at(to);
    (before.split_at(from).1, after)
}

impl Scope {
    /// Whether one tensor may be part of both.
    pub const fn agrees(self, other: Scope) -> bool {
        use Scope::{Attention, Cross, Expert, Mlp, Shared};
        !matches!(
            (self, other),
            (Mlp, Expert | Shared)
                | (Expert, Mlp | Shared)
                | (Shared, Mlp | Expert)
                | (Attention, Cross)
                | (Cross, Attention)
        )
    }
}

impl Kind {
    /// Whether one tensor may be both.
    pub const fn agrees(self, other: Kind) -> bool {
        match (self, other) {
            (Kind::Unknown, _) | (_, Kind::Unknown) => true,
            (one, other) => one as u8 == other as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_a_role() {
        let said = Role::new;
        let gate_up = said("transposed interleaved gate_up");
        assert_eq!(gate_up.meaning, Meaning::GATE_UP);
        assert!(gate_up.transposed && gate_up.order == Order::Interleaved);
        assert_eq!(said("shared gate").scope, Scope::Shared);
        assert_eq!(said("scale").kind, Kind::Scale);
        let other = said("codebook");
        assert_eq!((other.meaning, other.word), (Meaning::OTHER, "codebook"));
        assert!(!other.agrees(&said("patches")) && other.agrees(&Role::UNKNOWN));
        for twice in ["gate up", "grouped concatenated qkv", "bias scale", "transposed transposed"]
        {
            assert_eq!(Role::parse(twice), None, "{twice}");
        }
    }
}
