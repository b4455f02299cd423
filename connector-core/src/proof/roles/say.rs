//! What the compiler says of a tensor that is not what its row takes it for.

use super::{From, Mistake, Roles};
use crate::key::{Kind, Meaning, Order, Role, Scope};
use crate::mapping::Rule;
use crate::proof::Proof;
use crate::proof::message::Message;
use crate::proof::report::LINE;
use crate::transform::{Operation, Signature};

impl<const N: usize> Proof<'_, N> {
    /// What is wrong with key number `key`, and what to do.
    pub(in crate::proof) const fn mistaken(
        &self,
        text: Message,
        key: usize,
        mistake: Mistake,
    ) -> Message {
        let roles = &Roles::of(self.flat, self.model.as_ref(), self.format.as_ref());
        let is = &roles.names[key].role;
        match mistake {
            Mistake::Operand { operation, takes, swapped } => {
                let text = self.known(text, roles, key, &takes).text(", but `");
                let text = text.text(operation.name).text("` takes ");
                let text = if matches!(takes.order, Order::Interleaved) {
                    text.text("one in which rows alternate")
                } else {
                    is_what(text, &takes, is)
                };
                let text = match swapped {
                    Some(_) => text.text(" here").text(LINE),
                    None => text.text(LINE),
                };
                match swapped {
                    Some(other) => {
                        let rule = self.flat.keys[key].lead;
                        let targets = match self.flat.keys[key].rule {
                            Some(rule) => rule.targets.len(),
                            None => 0,
                        };
                        let text = text.text("let it change places with ");
                        self.key(text, rule + targets + other)
                    }
                    None if matches!(takes.order, Order::Interleaved) => {
                        let text = text.text("say so if its rows alternate, ");
                        self.as_word(text, key, "interleaved").text(", or drop the operation")
                    }
                    None => self.otherwise(text, key, &takes),
                }
            }
            Mistake::Rows { .. } if !is.transposed => self.not_transposed(text, key),
            Mistake::Rows { operation } => {
                let text = self.key(text, key).text(" is stored `[in, out]`, and `");
                let text = text.text(operation.name).text("` works on rows of `[out, in]`");
                text.text(LINE)
                    .text("transpose it first: `via (ops::transpose, ops::")
                    .text(operation.name)
                    .text(")`")
            }
            Mistake::Scales { weight } => {
                let text = self.key(text, key).text(" does not hold the scales of ");
                let text = self.key(text, weight).text(LINE);
                let text = text.text("pair each weight with its own, or say what it is: ");
                self.as_word(text, key, "… scale")
            }
            Mistake::Differ { operation, other } => {
                let other_role = &roles.names[other].role;
                let text = self.known(text, roles, key, other_role).text(", but ");
                let text = self.known(text, roles, other, is).text(", and `");
                let text = text.text(operation.name).text("` takes them together");
                self.otherwise(text.text(LINE), key, other_role)
            }
            Mistake::Vocabulary { operation } => {
                let text =
                    text.text("`").text(operation.name).text("` is for embeddings and heads, and ");
                let text = self.known(text, roles, key, &Role::of(Meaning::EMBEDDING));
                let text = text.text(LINE).text("use another operation, or say so if it is one: ");
                self.as_word(text, key, "embedding")
            }
            Mistake::Target { gives } => {
                let text = self.gives(text, roles, key, &gives);
                let text = self.known(text.text(", but "), roles, key, &gives).text(LINE);
                match self.lone_source_of(key) {
                    Some(source) => self.otherwise(text, source, is),
                    None => self.otherwise(text, key, &gives),
                }
            }
            Mistake::Order { gives } => {
                let text = self.gives(text, roles, key, &gives);
                let text = self.known(text.text(", but "), roles, key, &gives).text(LINE);
                let text = match (gives.order, is.order) {
                    (Order::Concatenated, Order::Grouped) => text.text(
                        "lay it out with `ops::merge_qkv`, or with `ops::merge_qkv_concat` if q, k and v are one \
                         tensor; ",
                    ),
                    (Order::Interleaved, _) => {
                        text.text("lay it out with `ops::deinterleave_rows`; ")
                    }
                    _ => text.text("correct the row; "),
                };
                let text = text.text("if it is meant so, say it: ");
                match self.lone_source_of(key) {
                    Some(source) => self.as_word(text, source, order_word(is.order)),
                    None => self.as_word(text, key, order_word(gives.order)),
                }
            }
            Mistake::Transposed { gives } => {
                let source = self.source_of(key);
                if gives.transposed && !roles.names[source].role.transposed {
                    return self.not_transposed(text, source);
                }
                let text = self.key(text, source);
                if roles.names[source].role.transposed {
                    let text = text.text(" is stored `[in, out]`, but ");
                    let text = self.key(text, key).text(" is `[out, in]`").text(LINE);
                    text.text("transpose it once: `via ops::transpose`")
                } else {
                    let text = text.text(" is stored `[out, in]`, but ");
                    let text = self.key(text, key).text(" is `[in, out]`").text(LINE);
                    text.text("transpose it: `via ops::transpose`")
                }
            }
            Mistake::Unsaid { source } => {
                let text = self.known(text, roles, key, is).text(", and nothing says what ");
                let text = self.key(text, source).text(" is").text(LINE);
                self.otherwise(text, source, is)
            }
            Mistake::Crossed { other } => {
                let text = self.key(text, self.source_of(key)).text(" becomes ");
                let text = self.key(text, key).text(", and ");
                let text = self.key(text, self.source_of(other)).text(" becomes ");
                let text = self.key(text, other).text(", at ").place(self.flat.keys[other].at);
                let text =
                    text.text(LINE).text("let the targets change places, or say what each is: ");
                self.as_word(text, key, "…")
            }
            Mistake::Beside { weight, gives, other } => {
                let text = is_what(text.text("the bias is "), &gives, &other);
                let text = is_what(text.text(", but its weight is "), &other, &gives).text(", at ");
                let text = text.place(self.flat.keys[weight].at).text(LINE);
                text.text("make both by the same operation from tensors of the same names")
            }
        }
    }

    const fn not_transposed(&self, text: Message, source: usize) -> Message {
        let text = self.key(text, source).text(" is transposed here, but nothing says that it is ");
        let text = text.text("stored `[in, out]`").text(LINE).text("say so if it is, ");
        self.as_word(text, source, "transposed").text(", or drop the operation")
    }

    const fn key(&self, text: Message, key: usize) -> Message {
        match &self.flat.keys[key].pattern {
            Ok(pattern) => text.text("`").pattern(pattern).text("`"),
            Err(_) => text,
        }
    }

    /// The first source of the rule that makes a target.
    const fn source_of(&self, target: usize) -> usize {
        let lead = self.flat.keys[target].lead;
        match self.flat.keys[target].rule {
            Some(rule) => lead + rule.targets.len(),
            None => lead,
        }
    }

    /// What a key is, and from what that is known.
    const fn known(
        &self,
        text: Message,
        roles: &Roles<N>,
        key: usize,
        other: &Role<'_>,
    ) -> Message {
        let text = self.key(text, key).text(" is ");
        let text = is_what(text, &roles.names[key].role, other);
        match roles.known[key] {
            From::Name => text.text(" by its name"),
            From::Row => text.text(" as this row says"),
            From::Schema => text.text(" as its schema says"),
        }
    }

    /// What a row gives, or, if it gives its one source, what that is.
    const fn gives(
        &self,
        text: Message,
        roles: &Roles<N>,
        target: usize,
        gives: &Role<'_>,
    ) -> Message {
        match self.lone_source_of(target) {
            Some(source) => self.known(text, roles, source, &roles.names[target].role),
            None => is_what(text.text("this row gives "), gives, &roles.names[target].role),
        }
    }

    /// The source of a rule that leaves it what it is.
    const fn lone_source_of(&self, target: usize) -> Option<usize> {
        match self.flat.keys[target].rule {
            Some(Rule {
                sources: [_],
                operations:
                    [Operation { signature: Signature::Keeps | Signature::OfVocabulary, .. }],
                ..
            }) => Some(self.source_of(target)),
            _ => None,
        }
    }

    /// The ways out of a disagreement.
    const fn otherwise(&self, text: Message, key: usize, as_what: &Role<'_>) -> Message {
        let text = text.text(
            "correct the row, or, if a name means something else in this model, say so after it: ",
        );
        let (mut words, mut w) = ("…", 0);
        while w < Meaning::WORDS.len() {
            if !as_what.meaning.is_known() {
                break;
            }
            if as_what.meaning.is(Meaning::WORDS[w].1) {
                words = Meaning::WORDS[w].0;
            }
            w += 1;
        }
        if as_what.meaning.is(Meaning::OTHER) {
            words = as_what.word;
        }
        let scope = match as_what.scope {
            Scope::Expert => "expert ",
            Scope::Shared => "shared ",
            _ => "",
        };
        self.as_words(text, key, scope, words)
    }

    /// A key as the row has it, with a word behind it.
    const fn as_word(&self, text: Message, key: usize, words: &str) -> Message {
        self.as_words(text, key, "", words)
    }

    const fn as_words(&self, text: Message, key: usize, scope: &str, word: &str) -> Message {
        let text = text.text("`\"");
        let text = match self.flat.keys[key].own(key) {
            Some(own) => text.pattern(own),
            None => text,
        };
        text.text("\" as ").text(scope).text(word).text("`")
    }
}

/// A role in words, as far as it is another than `other`.
const fn is_what(mut text: Message, role: &Role<'_>, other: &Role<'_>) -> Message {
    if role.transposed && !other.transposed {
        text = text.text("transposed ");
    }
    if !role.lies_as(other) {
        text = text.text(order_word(role.order));
        text = if matches!(role.order, Order::Unknown) { text } else { text.text(" ") };
    }
    text = meaning(text, role);
    if !role.scope.agrees(other.scope) {
        text = match role.scope {
            Scope::Attention => text.text(" of self-attention"),
            Scope::Cross => text.text(" of cross-attention"),
            Scope::Expert => text.text(" of an expert"),
            Scope::Shared => text.text(" of the shared expert"),
            _ => text.text(" of the dense MLP"),
        };
    }
    if !role.kind.agrees(other.kind) {
        text = match role.kind {
            Kind::Bias => text.text(" (a bias)"),
            Kind::Scale => text.text(" (scales)"),
            _ => text.text(" (a weight)"),
        };
    }
    text
}

const fn order_word(order: Order) -> &'static str {
    match order {
        Order::Concatenated => "concatenated",
        Order::Grouped => "grouped",
        Order::Interleaved => "interleaved",
        _ => "",
    }
}

const fn meaning(mut text: Message, role: &Role<'_>) -> Message {
    if !role.meaning.is_known() {
        return text.text("a tensor");
    }
    if role.meaning.is_nothing() {
        return text.text("no one tensor");
    }
    if role.meaning.is(Meaning::OTHER) {
        return text.text("`").text(role.word).text("`");
    }
    let (mut w, mut begun) = (0, false);
    while w < Meaning::WORDS.len() {
        let (word, one) = Meaning::WORDS[w];
        if !role.meaning.and(one).is_nothing() {
            text = if begun { text.text(" or ") } else { text };
            text = text.text("`").text(word).text("`");
            begun = true;
        }
        w += 1;
    }
    text
}
