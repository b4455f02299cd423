//! What tensors are: whether the operations of a row take what its sources are, and give what its
//! targets are.
//!
//! What a tensor is the words of the row say, or those of its schema, or else its name. Two tensors of
//! which nothing is known agree with anything, but may not be crossed.

mod say;

use super::finding::{Finding, Findings};
use super::fit::Fit;
use super::flat::{Flat, Role as Of};
use super::index::{Index, fit_parameter};
use super::same_place;
use crate::key::{Kind, Meaning, Name, Order, Role, same};
use crate::mapping::Rule;
use crate::schema::Schema;
use crate::transform::{Operation, Signature};

/// A row whose tensors are not what it takes them for.
#[derive(Clone, Copy)]
pub(super) enum Mistake {
    /// An operation takes something else; if it is the other way round, which operand it is.
    Operand { operation: &'static Operation, takes: Role<'static>, swapped: Option<usize> },
    /// An operation on rows takes what is stored with its rows elsewhere.
    Rows { operation: &'static Operation },
    /// The scales of another tensor.
    Scales { weight: usize },
    /// Tensors that an operation puts together do not belong together.
    Differ { operation: &'static Operation, other: usize },
    /// Only an embedding or a head has a vocabulary.
    Vocabulary { operation: &'static Operation },
    /// The target is something else than what the row gives.
    Target { gives: Role<'static> },
    /// The target's rows lie otherwise.
    Order { gives: Role<'static> },
    /// The target is stored otherwise.
    Transposed { gives: Role<'static> },
    /// The target is said to be something, and of its source nothing is known.
    Unsaid { source: usize },
    /// Another row crosses this one.
    Crossed { other: usize },
    /// A weight is made of other tensors than its bias, or otherwise.
    Beside { weight: usize, gives: Role<'static>, other: Role<'static> },
}

/// The most tensors on one side of a row that is examined.
const MOST: usize = 8;

/// What is known of the keys of a mapping.
pub(super) struct Roles<const N: usize> {
    pub names: [Name; N],
    /// How it is known.
    pub known: [From; N],
    /// What a rule gives, by its first key; none where it is not known.
    gives: [Option<Role<'static>>; N],
}

/// How it is known what a tensor is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Name,
    Row,
    Schema,
}

/// The tensors between two operations.
#[derive(Clone, Copy)]
struct Held {
    roles: [Role<'static>; MOST],
    len: usize,
}

impl<const N: usize> Roles<N> {
    /// Reads the names of all keys, and the words of rows and schemas.
    pub const fn of(flat: &Flat<N>, model: Option<&Schema>, format: Option<&Schema>) -> Self {
        let mut roles = Roles { names: [Name::EMPTY; N], known: [From::Name; N], gives: [None; N] };
        let mut key = 0;
        while key < flat.len {
            if let Ok(pattern) = &flat.keys[key].pattern {
                roles.names[key] = Name::of(pattern);
            }
            key += 1;
        }
        roles.hear(flat, model, true);
        roles.hear(flat, format, false);
        key = 0;
        while key < flat.len {
            let it = &flat.keys[key];
            if let Some(rule) = it.rule {
                let words = key - it.lead;
                if words < rule.said.len() {
                    roles.say(key, &rule.said[words], From::Row);
                }
            }
            key += 1;
        }
        roles
    }

    /// Takes over what the schema of a side says of its parameters.
    const fn hear(&mut self, flat: &Flat<N>, schema: Option<&Schema>, targets: bool) {
        let Some(schema) = schema else { return };
        let mut index = None;
        let mut p = 0;
        while p < schema.parameters.len() {
            let parameter = &schema.parameters[p];
            p += 1;
            if is_silent(&parameter.said) {
                continue;
            }
            if index.is_none() {
                index = Some(Index::new(flat, targets));
            }
            let Some(index) = &index else { continue };
            let mut spelling = 0;
            while spelling <= parameter.aka.len() {
                let name = match spelling {
                    0 => &parameter.pattern,
                    aka => &parameter.aka[aka - 1],
                };
                let mut candidates = index.candidates(name);
                while let Some(key) = index.next(&mut candidates) {
                    if !matches!(fit_parameter(&flat.keys[key], parameter), Fit::None) {
                        self.say(key, &parameter.said, From::Schema);
                    }
                }
                spelling += 1;
            }
        }
    }

    const fn say(&mut self, key: usize, words: &Role<'static>, from: From) {
        if !is_silent(words) {
            self.names[key].role = self.names[key].role.but(words);
            self.known[key] = from;
        }
    }

    /// Examines the rules of a mapping.
    pub const fn examine(&mut self, flat: &Flat<N>, findings: &mut Findings) {
        let mut key = 0;
        while key < flat.len {
            if let (Of::FirstTarget, Some(rule)) = (flat.keys[key].role, flat.keys[key].rule) {
                self.rule(flat, key, rule, findings);
                self.crossed(flat, key, rule, findings);
            }
            key += 1;
        }
        key = 0;
        while key < flat.len {
            if let Of::FirstTarget = flat.keys[key].role {
                self.beside(flat, key, findings);
            }
            key += 1;
        }
    }

    const fn rule(
        &mut self,
        flat: &Flat<N>,
        lead: usize,
        rule: &'static Rule,
        findings: &mut Findings,
    ) {
        let (targets, sources) = (rule.targets.len(), rule.sources.len());
        if targets > MOST || sources > MOST {
            return;
        }
        let first = lead + targets;
        let mut held = Held { roles: [Role::UNKNOWN; MOST], len: sources };
        let mut i = 0;
        while i < sources {
            held.roles[i] = self.names[first + i].role;
            i += 1;
        }
        let mut o = 0;
        while o < rule.operations.len() {
            let operation = &rule.operations[o];
            // Behind the first operation there are no keys: its first source stands for all.
            let operands = if o == 0 { sources } else { 1 };
            held = match self.apply_each(operation, held, first, operands, self.names[lead].role) {
                Ok(Some(held)) => held,
                Ok(None) => return,
                Err((operand, mistake)) => {
                    let key = if operand < operands { first + operand } else { first };
                    return add(flat, findings, key, mistake);
                }
            };
            o += 1;
        }
        if held.len != targets {
            return;
        }
        if targets == 1 {
            self.gives[lead] = Some(held.roles[0]);
        }
        i = 0;
        while i < targets {
            let (gives, is) = (held.roles[i], self.names[lead + i].role);
            let mistake = if !gives.agrees(&is) {
                Mistake::Target { gives }
            } else if !gives.lies_as(&is) {
                Mistake::Order { gives }
            } else if gives.transposed != is.transposed {
                Mistake::Transposed { gives }
            } else if !gives.meaning.is_known()
                && is.meaning.is_known()
                && !matches!(self.known[lead + i], From::Name)
            {
                Mistake::Unsaid { source: first }
            } else {
                i += 1;
                continue;
            };
            return add(flat, findings, lead + i, mistake);
        }
    }

    /// What an operation gives, of each group if it is applied to several.
    const fn apply_each(
        &self,
        operation: &'static Operation,
        held: Held,
        first: usize,
        operands: usize,
        target: Role<'static>,
    ) -> Result<Option<Held>, (usize, Mistake)> {
        let Operation { sources, targets, each, .. } = *operation;
        if !each || sources == 0 {
            return self.apply(operation, held, first, operands, target);
        }
        let mut all = Held { roles: [Role::UNKNOWN; MOST], len: 0 };
        let mut begin = 0;
        while begin + sources <= held.len && all.len + targets <= MOST {
            let mut group = Held { roles: [Role::UNKNOWN; MOST], len: sources };
            let mut i = 0;
            while i < sources {
                group.roles[i] = held.roles[begin + i];
                i += 1;
            }
            // Behind the first operation there are no keys.
            let (key, operands) =
                if operands == held.len { (first + begin, sources) } else { (first, operands) };
            let made = match self.apply(operation, group, key, operands, Role::UNKNOWN) {
                Ok(Some(made)) => made,
                Ok(None) => return Ok(None),
                Err((operand, mistake)) => return Err((key - first + operand, mistake)),
            };
            i = 0;
            while i < made.len {
                all.roles[all.len] = made.roles[i];
                all.len += 1;
                i += 1;
            }
            begin += sources;
        }
        Ok(Some(all))
    }

    /// What an operation gives; none if that is not known. Of a mistake, whose it is.
    const fn apply(
        &self,
        operation: &'static Operation,
        mut held: Held,
        first: usize,
        operands: usize,
        target: Role<'static>,
    ) -> Result<Option<Held>, (usize, Mistake)> {
        if held.len != operation.sources || operation.targets > MOST {
            return Ok(None);
        }
        let on_rows = match operation.signature {
            Signature::Unknown => return Ok(None),
            Signature::Keeps | Signature::Transposes | Signature::Dequantises => false,
            _ => true,
        };
        let mut i = 0;
        while on_rows && i < held.len {
            let (first_role, role) = (held.roles[0], held.roles[i]);
            if role.transposed {
                return Err((i, Mistake::Rows { operation }));
            }
            if !(first_role.kind.agrees(role.kind) && first_role.scope.agrees(role.scope)) {
                return Err((i, Mistake::Differ { operation, other: first }));
            }
            i += 1;
        }
        match operation.signature {
            Signature::Unknown => {}
            Signature::Keeps => {
                i = 1;
                while i < held.len {
                    if !held.roles[0].agrees(&held.roles[i]) {
                        return Err((i, Mistake::Differ { operation, other: first }));
                    }
                    i += 1;
                }
                i = 1;
                while i < operation.targets {
                    held.roles[i] = held.roles[0];
                    i += 1;
                }
            }
            Signature::OfVocabulary => {
                let vocabulary = Meaning::EMBEDDING.or(Meaning::HEAD);
                let [role, ..] = &held.roles;
                // Of one of the two it has to be known. If they disagree, the target's message says so.
                let both = role.meaning.and(target.meaning);
                if !both.is_nothing() && !both.is(vocabulary) {
                    return Err((0, Mistake::Vocabulary { operation }));
                }
            }
            Signature::Transposes => {
                held.roles[0].transposed = !held.roles[0].transposed;
            }
            Signature::Concatenates => held.roles[0] = concatenated(&held),
            Signature::Cuts => held.roles = cut(&held.roles[0], operation.targets),
            Signature::Dequantises => {
                let [weight, scales, ..] = &held.roles;
                let named = operands == 2
                    && matches!((weight.kind, scales.kind), (Kind::Weight, Kind::Scale));
                let beside = !named || self.names[first].is_beside(&self.names[first + 1]);
                let said = operands == 2 && !matches!(self.known[first + 1], From::Name);
                let agree = weight.meaning.and(scales.meaning).is_nothing();
                if agree || !beside && !said {
                    return Err((1, Mistake::Scales { weight: first }));
                }
                if matches!(weight.kind, Kind::Scale) {
                    return Err((0, Mistake::Scales { weight: first + 1 }));
                }
            }
            Signature::Makes { takes, gives } => {
                i = 0;
                while i < takes.len() {
                    let role = held.roles[i];
                    let interleaved = matches!(takes[i].order, Order::Interleaved);
                    if role.meaning.and(takes[i].meaning).is_nothing()
                        || !role.lies_as(&takes[i])
                        || interleaved && !matches!(role.order, Order::Interleaved)
                    {
                        let swapped = swapped(&held, takes, i);
                        let takes = takes[i];
                        return Err((i, Mistake::Operand { operation, takes, swapped }));
                    }
                    i += 1;
                }
                let whole = held.roles[0];
                i = 0;
                while i < gives.len() {
                    let Role { meaning, order, .. } = gives[i];
                    held.roles[i] = Role { order, ..whole };
                    if meaning.is_known() {
                        held.roles[i].meaning = meaning;
                    }
                    i += 1;
                }
            }
        }
        held.len = operation.targets;
        Ok(Some(held))
    }

    /// A row from `a` to `b` beside one from `b` to `a`, where nothing else tells what they are.
    const fn crossed(
        &self,
        flat: &Flat<N>,
        lead: usize,
        rule: &'static Rule,
        findings: &mut Findings,
    ) {
        if !self.is_plain(lead, rule) || self.names[lead].leaf == self.names[lead + 1].leaf {
            return;
        }
        let mut other = 0;
        while other < lead {
            if let (Of::FirstTarget, Some(rule2)) = (flat.keys[other].role, flat.keys[other].rule)
                && self.names[lead].leaf == self.names[other + 1].leaf
                && self.is_plain(other, rule2)
                && self.names[lead + 1].leaf == self.names[other].leaf
                && self.names[lead].role.kind as u8 == self.names[other].role.kind as u8
                && self.names[lead].stem == self.names[other].stem
                && self.names[lead + 1].stem == self.names[other + 1].stem
                && same(rule.operations[0].name, rule2.operations[0].name)
            {
                return add(flat, findings, lead, Mistake::Crossed { other });
            }
            other += 1;
        }
    }

    /// Whether it has one source and one target, of one of which nothing is known.
    const fn is_plain(&self, lead: usize, rule: &Rule) -> bool {
        rule.targets.len() == 1
            && rule.sources.len() == 1
            && rule.operations.len() == 1
            && !(self.names[lead].role.meaning.is_known()
                && self.names[lead + 1].role.meaning.is_known())
    }

    /// A bias whose rows are not those of its weight.
    const fn beside(&self, flat: &Flat<N>, bias: usize, findings: &mut Findings) {
        let Some(gives) = self.gives[bias] else { return };
        if !matches!(self.names[bias].role.kind, Kind::Bias) {
            return;
        }
        let mut weight = 0;
        while weight < flat.len {
            if let Some(other) = self.gives[weight]
                && matches!(self.names[weight].role.kind, Kind::Weight)
                && self.names[bias].is_beside(&self.names[weight])
                && may_meet(flat, bias, weight)
                && (gives.meaning.and(other.meaning).is_nothing() || !gives.lies_as(&other))
            {
                return add(flat, findings, bias, Mistake::Beside { weight, gives, other });
            }
            weight += 1;
        }
    }
}

/// Whether no choice of the mapping takes one row and not the other.
const fn may_meet<const N: usize>(flat: &Flat<N>, one: usize, other: usize) -> bool {
    let (a, b) = (flat.keys[one].branch, flat.keys[other].branch);
    flat.lies_in(a, b) || flat.lies_in(b, a)
}

/// Whether nothing is said.
const fn is_silent(said: &Role<'_>) -> bool {
    !said.meaning.is_known()
        && !said.transposed
        && said.scope as u8 == Role::UNKNOWN.scope as u8
        && said.kind as u8 == Role::UNKNOWN.kind as u8
        && said.order as u8 == Role::UNKNOWN.order as u8
}

/// Which operand is what operand number `wrong` should be, if that one is what it is.
const fn swapped(held: &Held, takes: &[Role<'_>], wrong: usize) -> Option<usize> {
    let mut i = 0;
    while i < takes.len() && held.roles[wrong].meaning.is_known() {
        if i != wrong
            && may_be(&held.roles[i], takes[wrong].meaning)
            && may_be(&held.roles[wrong], takes[i].meaning)
        {
            return Some(i);
        }
        i += 1;
    }
    None
}

/// Tensors one after the other.
const fn concatenated(held: &Held) -> Role<'static> {
    use Meaning as M;
    let whole = Role { order: Order::Concatenated, ..held.roles[0] };
    let Held { roles: [a, b, c, ..], len } = held;
    let mut i = 0;
    while i < held.len {
        if !held.roles[i].meaning.is_known() {
            return Role { meaning: M::UNKNOWN, ..whole };
        }
        i += 1;
    }
    let meaning = if *len == 2 && may_be(a, M::GATE) && may_be(b, M::UP) {
        M::GATE_UP
    } else if *len == 3 && may_be(a, M::Q) && may_be(b, M::K) && may_be(c, M::V) {
        M::QKV
    } else {
        let (mut both, mut i) = (a.meaning, 1);
        while i < held.len {
            both = both.and(held.roles[i].meaning);
            i += 1;
        }
        both
    };
    Role { meaning, ..whole }
}

/// The tensors of which one is made.
const fn cut(whole: &Role<'static>, parts: usize) -> [Role<'static>; MOST] {
    use Meaning as M;
    let one = Role { order: Order::Unknown, ..*whole };
    let mut roles = [Role { meaning: M::UNKNOWN, ..one }; MOST];
    if whole.meaning.is(M::GATE_UP) && parts == 2 {
        (roles[0].meaning, roles[1].meaning) = (M::GATE, M::UP);
    } else if whole.meaning.is(M::QKV) && parts == 3 && !matches!(whole.order, Order::Grouped) {
        (roles[0].meaning, roles[1].meaning, roles[2].meaning) = (M::Q, M::K, M::V);
    }
    roles
}

const fn may_be(role: &Role<'_>, meaning: Meaning) -> bool {
    !role.meaning.and(meaning).is_nothing()
}

/// Adds a mistake, the first one of each row.
const fn add<const N: usize>(
    flat: &Flat<N>,
    findings: &mut Findings,
    key: usize,
    mistake: Mistake,
) {
    let mut i = 0;
    while i < findings.all().len() {
        if let Some(other) = findings.all()[i].key()
            && same_place(flat.keys[other].at, flat.keys[key].at)
        {
            return;
        }
        i += 1;
    }
    findings.add(Finding::Role { key, mistake });
}
