use super::{Block, Direction, Equal, Fold, Ignore, Mapping, Row, Rule};
use crate::Location;
use crate::key::{Condition, Pattern};
use crate::transform::{Kernel, Operation};

/// A mapping with its blocks and includes dissolved: every row has its whole keys.
#[derive(Clone, Debug, Default)]
pub struct FlatMapping {
    /// The rules.
    pub rules: Vec<FlatRule>,
    /// The `a == b` rows.
    pub equal: Vec<FlatEqual>,
    /// The `ignore` rows.
    pub ignore: Vec<FlatIgnore>,
    /// Which side the sources of the rules are on.
    pub direction: Direction,
}

/// A [`Rule`] with its whole keys, as it is or reversed for export.
#[derive(Clone, Debug)]
pub struct FlatRule {
    /// The rule as it is written.
    pub rule: &'static Rule,
    /// What happens to the numbers, step by step: the rule's operations. In a reversed rule, their
    /// inverses, from the last to the first.
    pub operations: Vec<Operation>,
    /// The axis that only one side has. In a reversed rule it is the other side.
    pub fold: Fold,
    /// Whether the rule can be applied. A reversed rule cannot if one of its operations has no inverse;
    /// `operations` then lists those without.
    pub possible: bool,
    /// The whole source keys.
    pub sources: Vec<Pattern<'static>>,
    /// The whole target keys.
    pub targets: Vec<Pattern<'static>>,
    /// The whole keys of other tensors it may read.
    pub reads: Vec<Pattern<'static>>,
    /// Whether the sources may be absent; then the targets are not produced.
    pub optional: bool,
    /// The optional blocks it stands in, from the outermost to the innermost.
    pub together: Vec<Together>,
    /// All of these must hold.
    pub when: Vec<Condition>,
    /// The alternatives it stands in, from the outermost `one_of` to the innermost.
    pub branches: Vec<BranchId>,
}

/// An optional block: at each index of its head the sources of all its rules are there, or none is.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// A number that tells it from others of the mapping.
    pub block: usize,
    /// Its whole head.
    pub head: Pattern<'static>,
    /// Where it is written.
    pub at: Location,
}

/// An [`Equal`] with its whole keys.
#[derive(Clone, Debug)]
pub struct FlatEqual {
    /// The tensor that may be there.
    pub left: Pattern<'static>,
    /// The tensor whose bytes it must have.
    pub right: Pattern<'static>,
    /// Whether export writes it.
    pub copy: bool,
    /// All of these must hold.
    pub when: Vec<Condition>,
    /// The alternatives it stands in, from the outermost `one_of` to the innermost.
    pub branches: Vec<BranchId>,
    /// Where the row is written.
    pub at: Location,
}

/// An [`Ignore`] with its whole key.
#[derive(Clone, Debug)]
pub struct FlatIgnore {
    /// The keys.
    pub pattern: Pattern<'static>,
    /// All of these must hold.
    pub when: Vec<Condition>,
    /// Where the row is written.
    pub at: Location,
}

/// A branch of a `one_of`: which choice of the mapping, and which branch of the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BranchId {
    /// A number that tells the `one_of` from others of the mapping.
    pub choice: usize,
    /// The number of the branch within the `one_of`.
    pub branch: usize,
    /// The branch's name.
    pub name: &'static str,
}

/// What the rows inside inherit from where they stand.
#[derive(Clone)]
struct Scope {
    source: Pattern<'static>,
    target: Pattern<'static>,
    when: Vec<Condition>,
    branches: Vec<BranchId>,
    together: Vec<Together>,
    repeat: Option<&'static str>,
}

impl Scope {
    fn and(&self, when: Condition) -> Vec<Condition> {
        let mut all = self.when.clone();
        if when != Condition::ALWAYS {
            all.push(when);
        }
        all
    }

    /// The inside of a block; `number` is its own.
    fn inside(&self, block: &Block, number: usize) -> Scope {
        let mut inside = Scope {
            source: self.source.join(&block.source),
            target: self.target.join(&block.target),
            when: self.and(block.when),
            repeat: block.repeat.or(self.repeat),
            ..self.clone()
        };
        if block.optional {
            let (head, at) = (inside.source, block.at);
            inside.together.push(Together { block: number, head, at });
        }
        inside
    }
}

impl FlatMapping {
    /// Dissolves `mapping` and adds the rules of `transforms`, which state whole keys.
    pub fn new(mapping: &Mapping, transforms: &[&'static [Rule]]) -> Self {
        let mut flat = FlatMapping::default();
        let top = Scope {
            source: Pattern::EMPTY,
            target: Pattern::EMPTY,
            when: Vec::new(),
            branches: Vec::new(),
            together: Vec::new(),
            repeat: None,
        };
        flat.add(mapping.rows, &top, &mut 0);
        for rules in transforms {
            flat.add_rules(rules, &top);
        }
        flat
    }

    /// The mapping in reverse, for export: every rule goes from its targets to its sources, with the
    /// inverses of its operations. Of a `one_of` the first branch is written; `a == b` without `copy` and
    /// `ignore` rows name tensors that are not.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let first = |branches: &[BranchId]| branches.iter().all(|branch| branch.branch == 0);
        let rules = self.rules.iter().filter(|rule| first(&rule.branches));
        let copies = self.equal.iter().filter(|row| row.copy && first(&row.branches));
        FlatMapping {
            rules: rules.map(FlatRule::reversed).collect(),
            equal: copies.cloned().collect(),
            ignore: Vec::new(),
            direction: Direction::Export,
        }
    }

    /// The mapping of a source that has the keys of these branches, by the number of the choice and
    /// the branch; where a choice is not named, those of the first.
    #[cfg(feature = "candle")]
    pub(crate) fn taking(&self, branches: &[(usize, usize)]) -> Self {
        let is_taken = |of: &[BranchId]| {
            of.iter().all(|at| {
                let named = branches.iter().find(|(choice, _)| *choice == at.choice);
                at.branch == named.map_or(0, |(_, branch)| *branch)
            })
        };
        let mut taken = self.clone();
        taken.rules.retain(|rule| is_taken(&rule.branches));
        taken.rules.iter_mut().for_each(|rule| rule.branches.clear());
        taken.equal.retain(|row| is_taken(&row.branches));
        taken.equal.iter_mut().for_each(|row| row.branches.clear());
        taken
    }

    /// `numbers` is how many blocks and choices have one.
    fn add(&mut self, rows: &'static [Row], scope: &Scope, numbers: &mut usize) {
        for row in rows {
            match row {
                Row::Rule(rule) => self.add_rules(std::slice::from_ref(rule), scope),
                Row::Rules(named) => self.add_rules(named.rules, scope),
                Row::Block(block) => {
                    *numbers += 1;
                    self.add(block.rows, &scope.inside(block, *numbers), numbers);
                }
                Row::Include(include) => self.add(include.mapping.rows, scope, numbers),
                Row::OneOf(one_of) => {
                    *numbers += 1;
                    let choice = *numbers;
                    for (branch, alternative) in one_of.branches.iter().enumerate() {
                        let name = alternative.name;
                        let mut scope = scope.clone();
                        scope.branches.push(BranchId { choice, branch, name });
                        self.add(alternative.rows, &scope, numbers);
                    }
                }
                Row::Equal(Equal { left, right, copy, when, at }) => self.equal.push(FlatEqual {
                    left: scope.source.join(left),
                    right: scope.source.join(right),
                    copy: *copy,
                    branches: scope.branches.clone(),
                    when: scope.and(*when),
                    at: *at,
                }),
                Row::Ignore(Ignore { pattern, when, at }) => self.ignore.push(FlatIgnore {
                    pattern: scope.source.join(pattern),
                    when: scope.and(*when),
                    at: *at,
                }),
            }
        }
    }

    fn add_rules(&mut self, rules: &'static [Rule], scope: &Scope) {
        let join = |prefix: Pattern<'static>, all: &'static [Pattern<'static>]| {
            all.iter().map(|pattern| prefix.join(pattern)).collect()
        };
        self.rules.extend(rules.iter().map(|rule| FlatRule {
            rule,
            operations: rule.operations.to_vec(),
            fold: match (rule.fold, scope.repeat) {
                (Fold::None, Some(axis)) => Fold::Repeat(axis),
                (fold, _) => fold,
            },
            possible: true,
            sources: join(scope.source, rule.sources),
            targets: join(scope.target, rule.targets),
            reads: join(scope.source, rule.reads),
            optional: rule.optional || !scope.together.is_empty(),
            together: scope.together.clone(),
            when: scope.and(rule.when),
            branches: scope.branches.clone(),
        }));
    }
}

impl FlatRule {
    /// Whether the operation is called for each index of an axis and the results are stacked.
    pub fn is_stacked(&self) -> bool {
        matches!(self.fold, Fold::Stack(_))
    }

    /// The names of its operations.
    pub fn name(&self) -> String {
        self.operations.iter().map(|operation| operation.name).collect::<Vec<_>>().join(", ")
    }

    /// Whether it calls a user's function.
    pub(crate) fn calls_function(&self) -> bool {
        self.operations.iter().any(|operation| matches!(operation.kernel, Kernel::Function(_)))
    }

    /// The rule from its targets to its sources.
    fn reversed(&self) -> Self {
        let (back, one_way): (Vec<Operation>, Vec<Operation>) =
            self.operations.iter().rev().partition(|operation| operation.inverse.is_some());
        let possible = one_way.is_empty();
        let inverses = back.iter().filter_map(Operation::back);
        FlatRule {
            rule: self.rule,
            operations: if possible { inverses.collect() } else { one_way },
            fold: self.fold.reversed(),
            possible,
            sources: self.targets.clone(),
            targets: self.sources.clone(),
            // They are on the side that is written now.
            reads: Vec::new(),
            optional: self.optional,
            together: self.together.clone(),
            when: self.when.clone(),
            branches: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mapping, ops};

    #[test]
    fn reversed_rules_go_from_targets_to_sources() {
        const MAPPING: Mapping = mapping! {
            "a.{i}" => "b.{i}" {
                ("gate", "up") => "fc1" via ops::merge_fc1,
                "e.{e}.down" => "experts" stack e,
                "all" => "one.{e}" unstack e,
                "table" => "rows" via (ops::transpose, ops::deinterleave_rows),
            },
            one_of {
                new { "x" => "y", }
                old { "z" => "y", }
            }
            "c" == "x",
            copy "m.{i}" == "x",
            ignore "d",
        };
        let line = |rule: &FlatRule| {
            let list = |all: &[Pattern<'_>]| all.iter().map(Pattern::to_string).collect::<Vec<_>>();
            let (from, to) = (list(&rule.sources).join(", "), list(&rule.targets).join(", "));
            format!("{from} => {to} via {} {:?}", rule.name(), rule.fold)
        };
        let reversed = FlatMapping::new(&MAPPING, &[]).reversed();
        let lines: Vec<String> = reversed.rules.iter().map(line).collect();
        let want = [
            "b.{i}.fc1 => a.{i}.gate, a.{i}.up via split_fc1 None",
            "b.{i}.experts => a.{i}.e.{e}.down via rename Unstack(\"e\")",
            "b.{i}.one.{e} => a.{i}.all via rename Stack(\"e\")",
            "b.{i}.rows => a.{i}.table via interleave_rows, transpose None",
            "y => x via rename None",
        ];
        assert_eq!(lines, want);
        let copies: Vec<String> = reversed.equal.iter().map(|row| row.left.to_string()).collect();
        assert!(copies == ["m.{i}"] && reversed.ignore.is_empty());
        assert_eq!(reversed.direction, Direction::Export);
    }
}
