use super::flags::Flags;
use crate::Location;
use crate::key::{Condition, JoinError, Pattern, Truth};
use crate::mapping::{Mapping, Row, Rule};

/// A mapping with its blocks, includes and choices dissolved, in a constant: one entry for each key
/// of each row. `N` is its [`count`].
pub struct Flat<const N: usize> {
    /// What the conditions are over.
    pub(super) flags: Flags,
    pub(super) keys: [Key; N],
    pub(super) len: usize,
    /// The branches of all `one_of`; number 0 is where no choice has been made.
    pub(super) branches: [Branch; MAX_BRANCHES],
    pub(super) branch_count: usize,
}

/// The most branches that the `one_of` of one mapping may have together. Models in use have two or
/// three.
pub(super) const MAX_BRANCHES: usize = 32;

/// A key of a row, with the prefixes of the blocks around it.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub role: Role,
    pub pattern: Result<Pattern<'static>, JoinError<'static>>,
    /// The rule that has it.
    pub rule: Option<&'static Rule>,
    /// Whether the rule is that of a state transform which the mapping names.
    pub named: bool,
    /// Under which combinations of the flags the row applies.
    pub when: Truth,
    /// A flag in the row's condition that is none. Of a block's own condition, [`Role::Block`] has it.
    pub unknown: Option<&'static str>,
    /// Where the row is written.
    pub at: Location,
    /// Where it stands in the importer's own `mapping!`: the row itself, or the name of the included
    /// mapping or of the state transform.
    pub entry: Location,
    /// The innermost branch around the row.
    pub branch: usize,
    /// The first key of its rule.
    pub lead: usize,
}

/// What a key is to its row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The first thing that the rule makes; stands for the rule.
    FirstTarget,
    /// Another thing that the rule makes.
    Target,
    /// What a rule reads.
    Source,
    /// What `==` rows allow to be there, on the left.
    Allowed,
    /// What that must equal.
    Equal,
    /// What `ignore` rows leave behind.
    Ignored,
    /// The head of a block.
    Block,
}

/// A branch of a `one_of`.
#[derive(Clone, Copy)]
pub(super) struct Branch {
    /// The branch around the `one_of`.
    pub parent: usize,
    /// Which `one_of`.
    pub choice: usize,
    /// What it is called.
    pub name: &'static str,
    /// Whether it is the one that export writes.
    pub first: bool,
    /// Where the `one_of` is written.
    pub at: Location,
}

impl Role {
    pub const fn is_target(self) -> bool {
        matches!(self, Role::FirstTarget | Role::Target)
    }

    pub const fn is_source(self) -> bool {
        matches!(self, Role::Source | Role::Allowed | Role::Equal | Role::Ignored)
    }
}

const NOWHERE: Location = Location { file: "", line: 0, column: 0 };

const NO_KEY: Key = Key {
    role: Role::Block,
    pattern: Ok(Pattern::EMPTY),
    rule: None,
    named: false,
    when: Truth::NEVER,
    unknown: None,
    at: NOWHERE,
    entry: NOWHERE,
    branch: 0,
    lead: 0,
};

/// How many keys [`flatten`] will find.
pub const fn count(rows: &[Row]) -> usize {
    let (mut n, mut i) = (0, 0);
    while i < rows.len() {
        n += match &rows[i] {
            Row::Rule(rule) => keys_of(rule),
            Row::Rules(named) => {
                let (mut keys, mut r) = (0, 0);
                while r < named.rules.len() {
                    keys += keys_of(&named.rules[r]);
                    r += 1;
                }
                keys
            }
            Row::Block(block) => 1 + count(block.rows),
            Row::Include(include) => count(include.mapping.rows),
            Row::OneOf(one_of) => {
                let (mut keys, mut b) = (0, 0);
                while b < one_of.branches.len() {
                    keys += count(one_of.branches[b].rows);
                    b += 1;
                }
                keys
            }
            Row::Equal(_) => 2,
            Row::Ignore(_) => 1,
        };
        i += 1;
    }
    n
}

const fn keys_of(rule: &Rule) -> usize {
    rule.targets.len() + rule.sources.len() + rule.reads.len()
}

/// What the rows inside inherit from where they stand.
#[derive(Clone, Copy)]
struct Scope {
    source: Result<Pattern<'static>, JoinError<'static>>,
    target: Result<Pattern<'static>, JoinError<'static>>,
    when: Truth,
    entry: Option<Location>,
    named: bool,
    branch: usize,
}

/// Dissolves `mapping`; conditions are over `flags`.
///
/// # Panics
/// If there are more than 32 branches, or `N` is not the mapping's [`count`].
#[track_caller]
pub const fn flatten<const N: usize>(mapping: &'static Mapping, flags: Flags) -> Flat<N> {
    let nowhere = Branch { parent: 0, choice: 0, name: "", first: true, at: NOWHERE };
    let mut flat = Flat {
        flags,
        keys: [NO_KEY; N],
        len: 0,
        branches: [nowhere; MAX_BRANCHES],
        branch_count: 1,
    };
    let scope = Scope {
        source: Ok(Pattern::EMPTY),
        target: Ok(Pattern::EMPTY),
        when: Truth::ALWAYS,
        entry: None,
        named: false,
        branch: 0,
    };
    let mut choices = 0;
    add(&mut flat, mapping.rows, scope, &flags, &mut choices);
    flat
}

const fn add<const N: usize>(
    flat: &mut Flat<N>,
    rows: &'static [Row],
    scope: Scope,
    flags: &Flags,
    choices: &mut usize,
) {
    let mut i = 0;
    while i < rows.len() {
        match &rows[i] {
            Row::Rule(rule) => add_rule(flat, rule, scope, flags),
            Row::Rules(named) => {
                let scope = Scope { entry: scope.or(named.at), named: true, ..scope };
                let mut r = 0;
                while r < named.rules.len() {
                    add_rule(flat, &named.rules[r], scope, flags);
                    r += 1;
                }
            }
            Row::Block(block) => {
                let (when, unknown) = truth(&block.when, scope.when, flags);
                let (source, target) =
                    (join(scope.source, &block.source), join(scope.target, &block.target));
                let head = Scope { when, ..scope }.key(Role::Block, &Pattern::EMPTY, block.at);
                let pattern = if source.is_err() { source } else { target };
                flat.push(Key { pattern, unknown, ..head });
                let inside = Scope { source, target, when, ..scope };
                add(flat, block.rows, inside, flags, choices);
            }
            Row::Include(include) => {
                let scope = Scope { entry: scope.or(include.at), ..scope };
                add(flat, include.mapping.rows, scope, flags, choices);
            }
            Row::OneOf(one_of) => {
                *choices += 1;
                let choice = *choices;
                let mut b = 0;
                while b < one_of.branches.len() {
                    let branch = flat.branch_count;
                    assert!(branch < MAX_BRANCHES, "a mapping has too many branches of `one_of`");
                    flat.branches[branch] = Branch {
                        parent: scope.branch,
                        choice,
                        name: one_of.branches[b].name,
                        first: b == 0,
                        at: one_of.at,
                    };
                    flat.branch_count += 1;
                    let scope = Scope { branch, ..scope };
                    add(flat, one_of.branches[b].rows, scope, flags, choices);
                    b += 1;
                }
            }
            Row::Equal(equal) => {
                let (when, unknown) = truth(&equal.when, scope.when, flags);
                let scope = Scope { when, ..scope };
                let left = scope.key(Role::Allowed, &equal.left, equal.at);
                flat.push(Key { unknown, ..left });
                flat.push(scope.key(Role::Equal, &equal.right, equal.at));
            }
            Row::Ignore(ignore) => {
                let (when, unknown) = truth(&ignore.when, scope.when, flags);
                let key = Scope { when, ..scope }.key(Role::Ignored, &ignore.pattern, ignore.at);
                flat.push(Key { unknown, ..key });
            }
        }
        i += 1;
    }
}

const fn add_rule<const N: usize>(
    flat: &mut Flat<N>,
    rule: &'static Rule,
    scope: Scope,
    flags: &Flags,
) {
    let (when, unknown) = truth(&rule.when, scope.when, flags);
    let scope = Scope { when, ..scope };
    let lead = flat.len;
    let mut i = 0;
    while i < rule.targets.len() {
        let role = if i == 0 { Role::FirstTarget } else { Role::Target };
        let key = scope.key(role, &rule.targets[i], rule.at);
        let unknown = if i == 0 { unknown } else { None };
        flat.push(Key { rule: Some(rule), unknown, lead, ..key });
        i += 1;
    }
    i = 0;
    while i < rule.sources.len() + rule.reads.len() {
        let pattern = if i < rule.sources.len() {
            &rule.sources[i]
        } else {
            &rule.reads[i - rule.sources.len()]
        };
        let key = scope.key(Role::Source, pattern, rule.at);
        flat.push(Key { rule: Some(rule), lead, ..key });
        i += 1;
    }
}

impl Key {
    /// The key as its rule has it, without the prefixes of blocks, if it is number `number`.
    pub const fn own(&self, number: usize) -> Option<&'static Pattern<'static>> {
        let Some(rule) = self.rule else { return None };
        let at = number - self.lead;
        let (targets, sources) = (rule.targets.len(), rule.sources.len());
        if at < targets {
            Some(&rule.targets[at])
        } else if at < targets + sources {
            Some(&rule.sources[at - targets])
        } else {
            Some(&rule.reads[at - targets - sources])
        }
    }
}

impl<const N: usize> Flat<N> {
    /// Whether `branch` is `outer` or lies inside of it.
    pub const fn lies_in(&self, mut branch: usize, outer: usize) -> bool {
        while branch != outer && branch != 0 {
            branch = self.branches[branch].parent;
        }
        branch == outer
    }

    /// Whether two branches lie in different branches of one choice, of which one is taken.
    pub const fn are_apart(&self, one: usize, other: usize) -> bool {
        let mut a = one;
        while a != 0 {
            let mut b = other;
            while b != 0 {
                if a != b && self.branches[a].choice == self.branches[b].choice {
                    return true;
                }
                b = self.branches[b].parent;
            }
            a = self.branches[a].parent;
        }
        false
    }

    const fn push(&mut self, key: Key) {
        self.keys[self.len] = key;
        self.len += 1;
    }
}

impl Scope {
    const fn or(&self, at: Location) -> Option<Location> {
        match self.entry {
            None => Some(at),
            entry => entry,
        }
    }

    const fn key(&self, role: Role, pattern: &Pattern<'static>, at: Location) -> Key {
        let prefix = if role.is_source() { self.source } else { self.target };
        let entry = match self.entry {
            Some(entry) => entry,
            None => at,
        };
        let Scope { when, named, branch, .. } = *self;
        Key { role, pattern: join(prefix, pattern), when, named, at, entry, branch, ..NO_KEY }
    }
}

const fn join(
    prefix: Result<Pattern<'static>, JoinError<'static>>,
    inner: &Pattern<'static>,
) -> Result<Pattern<'static>, JoinError<'static>> {
    match prefix {
        Ok(prefix) => prefix.try_join(inner),
        // The block's own key says it.
        Err(_) => Ok(Pattern::EMPTY),
    }
}

/// `when` and `inherited` together; the name in `when` that is no flag.
const fn truth(when: &Condition, inherited: Truth, flags: &Flags) -> (Truth, Option<&'static str>) {
    match when.truth(flags.names()) {
        Ok(truth) => (truth.and(inherited), None),
        Err(unknown) => (inherited, Some(unknown)),
    }
}
