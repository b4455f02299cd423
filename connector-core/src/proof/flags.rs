use super::include::{captures, has};
use crate::key::{Below, Condition, MAX_FLAGS, Pattern, Term, Truth, same};
use crate::mapping::Row;
use crate::schema::{Exclusive, Schema};

/// The flags that conditions are compared over: those of the model and, if the other side has a
/// schema too, those that only it has. A flag of both is one flag.
#[derive(Clone, Copy)]
pub struct Flags {
    names: [&'static str; MAX_FLAGS],
    len: usize,
    /// Behind those that are declared, comparisons of an index.
    below: [Option<Below>; MAX_FLAGS],
    below_count: usize,
    /// What holds of them under every config.
    facts: [Truth; MAX_FACTS],
    fact_count: usize,
}

/// The most that is known of flags: that some exclude each other, and which comparisons imply which.
const MAX_FACTS: usize = 32;

impl Flags {
    /// The flags of one or two schemas.
    ///
    /// # Panics
    /// If there are more than [`MAX_FLAGS`].
    #[track_caller]
    pub const fn of(model: Option<Schema>, format: Option<Schema>) -> Self {
        let mut all = Flags {
            names: [""; MAX_FLAGS],
            len: 0,
            below: [None; MAX_FLAGS],
            below_count: 0,
            facts: [Truth::ALWAYS; MAX_FACTS],
            fact_count: 0,
        };
        all.add(model);
        all.add(format);
        all.learn(model);
        all.learn(format);
        all
    }

    /// The same with the comparisons in the conditions of rows.
    #[track_caller]
    #[must_use]
    pub const fn comparing(mut self, rows: &[Row], model: Option<Schema>) -> Self {
        if let Some(schema) = model {
            self.compare_rows(rows, &schema);
        }
        self
    }

    #[track_caller]
    const fn compare_rows(&mut self, rows: &[Row], schema: &Schema) {
        let mut i = 0;
        while i < rows.len() {
            match &rows[i] {
                Row::Rule(rule) => self.compare(&rule.when, schema),
                Row::Rules(named) => {
                    let mut r = 0;
                    while r < named.rules.len() {
                        self.compare(&named.rules[r].when, schema);
                        r += 1;
                    }
                }
                Row::Block(block) => {
                    self.compare(&block.when, schema);
                    self.compare_rows(block.rows, schema);
                }
                Row::Include(include) => self.compare_rows(include.mapping.rows, schema),
                Row::OneOf(one_of) => {
                    let mut b = 0;
                    while b < one_of.branches.len() {
                        self.compare_rows(one_of.branches[b].rows, schema);
                        b += 1;
                    }
                }
                Row::Equal(equal) => self.compare(&equal.when, schema),
                Row::Ignore(ignore) => self.compare(&ignore.when, schema),
            }
            i += 1;
        }
    }

    /// Adds the comparisons of a condition, but those of what is no axis or no field.
    #[track_caller]
    const fn compare(&mut self, when: &Condition, schema: &Schema) {
        let mut i = 0;
        while i < when.0.len() {
            if let Term::Below(below) = when.0[i]
                && self.position(below.text).is_none()
                && has(schema.axes, below.axis)
                && (below.field.is_empty() || has(schema.fields, below.field))
            {
                assert!(
                    self.len < MAX_FLAGS,
                    "the flags of an importer's schemas and the comparisons of indices in its \
                     conditions are at most 16 together"
                );
                self.names[self.len] = below.text;
                self.below[self.len] = Some(below);
                self.below_count += 1;
                let mut f = 0;
                while f < self.len {
                    if let Some(other) = self.below[f]
                        && same(other.axis, below.axis)
                        && same(other.field, below.field)
                    {
                        let (low, high) =
                            if other.plus < below.plus { (f, self.len) } else { (self.len, f) };
                        self.learn_that(Truth::flag(low).not().or(Truth::flag(high)));
                    }
                    f += 1;
                }
                self.len += 1;
            }
            i += 1;
        }
    }

    #[track_caller]
    const fn learn_that(&mut self, fact: Truth) {
        assert!(self.fact_count < MAX_FACTS, "too much is known of the flags of an importer");
        self.facts[self.fact_count] = fact;
        self.fact_count += 1;
    }

    /// The axis of a comparison that `truth` depends on and that `pattern` does not capture.
    pub(super) const fn unbound(&self, truth: Truth, pattern: &Pattern<'_>) -> Option<Below> {
        if self.below_count == 0 {
            return None;
        }
        let (flags, mut f) = (truth.flags(), 0);
        while f < self.len {
            if let Some(below) = self.below[f]
                && flags >> f & 1 == 1
                && !captures(pattern, below.axis)
            {
                return Some(below);
            }
            f += 1;
        }
        None
    }

    /// Whether an index is `least` or more wherever `truth` holds.
    pub(super) const fn is_from(&self, truth: Truth, axis: &str, least: u64) -> bool {
        let mut f = 0;
        while f < self.len {
            if let Some(below) = self.below[f]
                && same(below.axis, axis)
                && below.field.is_empty()
                && below.plus >= least
                && truth.implies(Truth::flag(f).not())
            {
                return true;
            }
            f += 1;
        }
        false
    }

    #[track_caller]
    const fn learn(&mut self, schema: Option<Schema>) {
        let Some(schema) = schema else { return };
        let mut i = 0;
        while i < schema.one_of.len() {
            self.learn_that(self.exclude(&schema.one_of[i]));
            i += 1;
        }
    }

    /// Where as many of the flags hold as may. The schema's macro has checked that they are declared.
    const fn exclude(&self, of: &Exclusive) -> Truth {
        let (mut none, mut one, mut i) = (Truth::ALWAYS, Truth::NEVER, 0);
        while i < of.flags.len() {
            let Some(flag) = self.position(of.flags[i]) else { return Truth::ALWAYS };
            let flag = Truth::flag(flag);
            one = one.and(flag.not()).or(none.and(flag));
            none = none.and(flag.not());
            i += 1;
        }
        if of.exhaustive { one } else { one.or(none) }
    }

    /// Whether anything is known of the flags beside their names.
    pub(super) const fn know_more(&self) -> bool {
        self.fact_count > 0
    }

    /// `truth` where it is possible, as far as the flags `met` and its own say.
    pub(super) const fn possible(&self, mut truth: Truth, met: u16) -> Truth {
        if self.fact_count == 0 {
            return truth;
        }
        let (mut met, mut learnt, mut i) = (met | truth.flags(), 0u32, 0);
        while i < self.fact_count {
            let of = self.facts[i].flags();
            if learnt >> i & 1 == 0 && of & met != 0 {
                truth = truth.and(self.facts[i]);
                met |= of;
                learnt |= 1 << i;
                // What was passed over may share a flag with this one.
                i = 0;
            } else {
                i += 1;
            }
        }
        truth
    }

    /// What is as good as `truth` and shorter to write: it holds also where nothing can.
    pub(super) const fn loosest(&self, truth: Truth) -> Truth {
        truth.or(self.possible(Truth::ALWAYS, truth.flags()).not())
    }

    #[track_caller]
    const fn add(&mut self, schema: Option<Schema>) {
        let Some(schema) = schema else { return };
        let mut i = 0;
        while i < schema.flags.len() {
            if self.position(schema.flags[i]).is_none() {
                assert!(
                    self.len < MAX_FLAGS,
                    "the two schemas of an importer may declare 16 different flags together"
                );
                self.names[self.len] = schema.flags[i];
                self.len += 1;
            }
            i += 1;
        }
        i = 0;
        while i < schema.parameters.len() {
            self.compare(&schema.parameters[i].when, &schema);
            i += 1;
        }
    }

    const fn position(&self, name: &str) -> Option<usize> {
        let mut i = 0;
        while i < self.len {
            if same(self.names[i], name) {
                return Some(i);
            }
            i += 1;
        }
        None
    }

    /// The names, in the order of their bits.
    pub const fn names(&self) -> &[&'static str] {
        self.names.split_at(self.len).0
    }

    /// When a parameter exists. The schema's macro has checked its flags.
    pub(super) const fn truth(&self, when: &Condition) -> Truth {
        match when.truth(self.names()) {
            Ok(truth) => truth,
            Err(_) => Truth::ALWAYS,
        }
    }
}
