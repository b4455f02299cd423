use super::Side;
use super::roles::Mistake;
use crate::key::Truth;

/// A mistake in a mapping. Keys and parameters are numbers in their lists.
#[derive(Clone, Copy)]
pub(super) enum Finding {
    /// A key that cannot be formed.
    Unformed { key: usize },
    /// A condition that names no flag.
    UnknownFlag { key: usize, flag: &'static str },
    /// A key that is no parameter of its side; which one may have been meant.
    Stranger { side: Side, key: usize, near: Option<usize> },
    /// A row whose condition never holds where its parameter exists.
    Idle { key: usize, parameter: usize },
    /// Two rows that make one parameter where `both` holds.
    Doubled { parameter: usize, first: usize, second: usize, both: Truth },
    /// A rule without inverse in an importer that exports.
    OneWay { key: usize },
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
            | Finding::Stranger { key, .. }
            | Finding::Idle { key, .. }
            | Finding::OneWay { key }
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
