use super::Side;
use super::flat::Flat;
use super::roles::Mistake;
use crate::key::{Below, Truth};

/// A mistake in a mapping. Keys and parameters are numbers in their lists.
#[derive(Clone, Copy)]
pub(super) enum Finding {
    /// A key that cannot be formed.
    Unformed { key: usize },
    /// A condition that names no flag.
    UnknownFlag { key: usize, flag: &'static str },
    /// A key without the index that its row's condition compares.
    Unbound { key: usize, below: Below },
    /// A key that shows an index less a number where the index may be smaller.
    Negative { key: usize, axis: &'static str, least: u64 },
    /// A key that is no parameter of its side; which one may have been meant.
    Stranger { side: Side, key: usize, near: Option<usize> },
    /// A row whose condition never holds where its parameter exists.
    Idle { key: usize, parameter: usize },
    /// Two rows that make one parameter where `both` holds.
    Doubled { parameter: usize, first: usize, second: usize, both: Truth },
    /// A rule without inverse in an importer that exports.
    OneWay { key: usize },
    /// A capture that is called otherwise than the axis of the parameter.
    Misnamed { side: Side, key: usize, name: &'static str, axis: &'static str },
    /// A source whose indices come in another order than those of the target.
    Crossed { key: usize },
    /// Several `*` of which nothing says what they are.
    Stars { key: usize, parameter: usize },
    /// An index, of part number `part`, that counts from somewhere where no other row ends.
    Shifted { key: usize, part: usize },
    /// One axis that has two offsets behind the same words.
    TwoOffsets { key: usize, part: usize, other: usize },
    /// A flag that has a value for each index of an axis which the key does not have.
    NoLayer { key: usize, flag: &'static str, axis: &'static str },
    /// A target that is a name of two parameters that exist together.
    Ambiguous { key: usize, parameter: usize, other: usize },
    /// `**` in a target.
    AnyTarget { key: usize },
    /// Targets of one rule, of which one exists where the other does not.
    Unequal { key: usize, other: usize, when: Truth, others: Truth },
    /// A source that may be absent of a parameter that may not.
    Optional { key: usize, parameter: usize },
    /// An `ignore` that matches what another row reads.
    Swallowed { key: usize, by: usize },
    /// A source that two rules read.
    ReadTwice { key: usize, first: usize },
    /// Two branches of a choice that read the same keys; the first of them.
    Alike { key: usize, first: usize, second: usize },
    /// A tensor that is not what its row takes it for.
    Role { key: usize, mistake: Mistake },
    /// A parameter that exists where `gap` holds and that no row makes, or reads, there; a branch
    /// where it is missing, if others of the same choice have it.
    Missing { side: Side, parameter: usize, gap: Truth, differing: Option<usize> },
}

impl Finding {
    /// The key at whose row the mistake is reported; of a missing parameter there is none.
    pub const fn key(&self) -> Option<usize> {
        match *self {
            Finding::Unformed { key }
            | Finding::UnknownFlag { key, .. }
            | Finding::Unbound { key, .. }
            | Finding::Negative { key, .. }
            | Finding::Stranger { key, .. }
            | Finding::Idle { key, .. }
            | Finding::OneWay { key }
            | Finding::Misnamed { key, .. }
            | Finding::Crossed { key }
            | Finding::Stars { key, .. }
            | Finding::Shifted { key, .. }
            | Finding::TwoOffsets { key, .. }
            | Finding::NoLayer { key, .. }
            | Finding::Ambiguous { key, .. }
            | Finding::AnyTarget { key }
            | Finding::Unequal { key, .. }
            | Finding::Optional { key, .. }
            | Finding::Swallowed { key, .. }
            | Finding::ReadTwice { key, .. }
            | Finding::Alike { key, .. }
            | Finding::Role { key, .. }
            | Finding::Doubled { second: key, .. } => Some(key),
            Finding::Missing { .. } => None,
        }
    }
}

/// The most mistakes that are told apart; more are counted.
const MAX_FINDINGS: usize = 64;

/// The mistakes of one mapping.
#[derive(Clone, Copy)]
pub(super) struct Findings {
    list: [Finding; MAX_FINDINGS],
    len: usize,
    /// How many there are beyond those that are told apart.
    pub beyond: usize,
}

impl Findings {
    pub const NONE: Findings =
        Findings { list: [Finding::Unformed { key: 0 }; MAX_FINDINGS], len: 0, beyond: 0 };

    pub const fn add(&mut self, finding: Finding) {
        if self.len < MAX_FINDINGS {
            self.list[self.len] = finding;
            self.len += 1;
        } else {
            self.beyond += 1;
        }
    }

    pub const fn all(&self) -> &[Finding] {
        self.list.split_at(self.len).0
    }

    /// Whether one of the keys from `first` to `end` names its axes wrongly.
    pub const fn are_misnamed(&self, first: usize, end: usize) -> bool {
        let mut i = 0;
        while i < self.len {
            if let Finding::Misnamed { key, .. } = self.list[i]
                && key >= first
                && key < end
            {
                return true;
            }
            i += 1;
        }
        false
    }

    /// Whether two rules, by their first keys, make one parameter: their sources are the smaller mistake.
    pub const fn are_doubled<const N: usize>(&self, flat: &Flat<N>, a: usize, b: usize) -> bool {
        let mut i = 0;
        while i < self.len {
            if let Finding::Doubled { first, second, .. } = self.list[i] {
                let (first, second) = (flat.keys[first].lead, flat.keys[second].lead);
                if first == a && second == b || first == b && second == a {
                    return true;
                }
            }
            i += 1;
        }
        false
    }

    /// Whether a row was meant for this parameter and misspells it, or its condition: its own
    /// message says so.
    pub const fn is_meant(&self, side: Side, parameter: usize) -> bool {
        let mut i = 0;
        while i < self.len {
            let meant = match self.list[i] {
                Finding::Stranger { side: of, near: Some(near), .. } => {
                    near == parameter && of as u8 == side as u8
                }
                Finding::Idle { parameter: idle, .. } => {
                    idle == parameter && matches!(side, Side::Model)
                }
                _ => false,
            };
            if meant {
                return true;
            }
            i += 1;
        }
        false
    }
}
