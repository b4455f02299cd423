use super::{Block, Equal, Fold, Ignore, Mapping, Row, Rule};
use crate::Location;
use crate::key::{Condition, Pattern};

/// A mapping with its blocks and includes dissolved: every row has its whole keys.
#[derive(Clone, Debug, Default)]
pub struct FlatMapping {
    /// The rules.
    pub rules: Vec<FlatRule>,
    /// The `a == b` rows.
    pub equal: Vec<FlatEqual>,
    /// The `ignore` rows.
    pub ignore: Vec<FlatIgnore>,
}

/// A [`Rule`] with its whole keys.
#[derive(Clone, Debug)]
pub struct FlatRule {
    /// The rule as it is written.
    pub rule: &'static Rule,
    /// The whole source keys.
    pub sources: Vec<Pattern<'static>>,
    /// The whole target keys.
    pub targets: Vec<Pattern<'static>>,
    /// The whole keys of other tensors it may read.
    pub reads: Vec<Pattern<'static>>,
    /// All of these must hold.
    pub when: Vec<Condition>,
    /// The alternatives it stands in, from the outermost `one_of` to the innermost.
    pub branches: Vec<BranchId>,
}

/// An [`Equal`] with its whole keys.
#[derive(Clone, Debug)]
pub struct FlatEqual {
    /// The tensor that may be there.
    pub left: Pattern<'static>,
    /// The tensor whose bytes it must have.
    pub right: Pattern<'static>,
    /// All of these must hold.
    pub when: Vec<Condition>,
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
    /// The number of the `one_of` within the mapping.
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
}

impl Scope {
    fn and(&self, when: Condition) -> Vec<Condition> {
        let mut all = self.when.clone();
        if when != Condition::ALWAYS {
            all.push(when);
        }
        all
    }

    fn inside(&self, block: &Block) -> Scope {
        Scope {
            source: self.source.join(&block.source),
            target: self.target.join(&block.target),
            when: self.and(block.when),
            branches: self.branches.clone(),
        }
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
        };
        let mut choices = 0;
        flat.add(mapping.rows, &top, &mut choices);
        for rules in transforms {
            flat.add_rules(rules, &top);
        }
        flat
    }

    fn add(&mut self, rows: &'static [Row], scope: &Scope, choices: &mut usize) {
        for row in rows {
            match row {
                Row::Rule(rule) => self.add_rules(std::slice::from_ref(rule), scope),
                Row::Rules(named) => self.add_rules(named.rules, scope),
                Row::Block(block) => self.add(block.rows, &scope.inside(block), choices),
                Row::Include(include) => self.add(include.mapping.rows, scope, choices),
                Row::OneOf(one_of) => {
                    let choice = *choices;
                    *choices += 1;
                    for (branch, alternative) in one_of.branches.iter().enumerate() {
                        let name = alternative.name;
                        let mut scope = scope.clone();
                        scope.branches.push(BranchId { choice, branch, name });
                        self.add(alternative.rows, &scope, choices);
                    }
                }
                Row::Equal(Equal { left, right, when, at }) => self.equal.push(FlatEqual {
                    left: scope.source.join(left),
                    right: scope.source.join(right),
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
            sources: join(scope.source, rule.sources),
            targets: join(scope.target, rule.targets),
            reads: join(scope.source, rule.reads),
            when: scope.and(rule.when),
            branches: scope.branches.clone(),
        }));
    }
}

impl FlatRule {
    /// Whether the operation is called for each index of an axis and the results are stacked.
    pub fn is_stacked(&self) -> bool {
        matches!(self.rule.fold, Fold::Stack(_))
    }
}
