//! Which branch of each `one_of` the source is written in.

use super::build::Builder;
use crate::key::Pattern;
use crate::mapping::{BranchId, FlatRule};
use std::cmp::Reverse;
use std::collections::HashMap;

/// The branch that each `one_of` of a mapping takes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Branches(HashMap<usize, BranchId>);

impl Branches {
    /// Whether all branches in which `rule` stands are taken.
    pub fn take(&self, rule: &FlatRule) -> bool {
        self.instead_of(rule).is_none()
    }

    /// The branch that is taken instead of one in which `rule` stands.
    pub fn instead_of(&self, rule: &FlatRule) -> Option<&'static str> {
        let taken = rule.branches.iter().map(|branch| (self.0.get(&branch.choice), branch.branch));
        let mut others = taken.filter_map(|(taken, branch)| taken.filter(|t| t.branch != branch));
        others.next().map(|taken| taken.name)
    }
}

/// How many source patterns of a branch have keys in the source, and how many there are.
#[derive(Clone, Copy, Default)]
struct Hits {
    found: usize,
    all: usize,
}

impl Builder<'_> {
    /// For each `one_of` the branch most of whose source patterns have keys in the source. Only
    /// the rules that `counts` says count: a branch may have rows for more than this model has.
    ///
    /// The share decides, so that a branch of one fused tensor can win over one of three; of equal
    /// shares the one that explains more of the source; of equal ones the first.
    pub fn choose_branches(&mut self, counts: impl Fn(usize) -> bool) {
        let mut hits: HashMap<usize, HashMap<usize, (BranchId, Hits)>> = HashMap::new();
        let rules = self.request.mapping.rules.iter().enumerate();
        for (_, rule) in rules.filter(|(number, _)| counts(*number)) {
            if rule.branches.is_empty() {
                continue;
            }
            let is_there =
                |source: &&Pattern<'_>| self.by_name.keys().any(|key| source.matches(key));
            let found = rule.sources.iter().filter(is_there).count();
            for branch in &rule.branches {
                let branches = hits.entry(branch.choice).or_default();
                let (_, hits) = branches.entry(branch.branch).or_insert((*branch, Hits::default()));
                hits.found += found;
                hits.all += rule.sources.len();
            }
        }
        let taken = hits.into_iter().filter_map(|(choice, branches)| {
            // In thousandths: what is to be compared are small fractions of small numbers.
            let share = |hits: &Hits| hits.found * 1000 / hits.all.max(1);
            let rank = |(branch, hits): &(BranchId, Hits)| {
                (share(hits), hits.found, Reverse(branch.branch))
            };
            branches.into_values().max_by_key(rank).map(|(branch, _)| (choice, branch))
        });
        self.branches = Branches(taken.collect());
    }
}
