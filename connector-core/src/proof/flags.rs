use crate::key::{Condition, MAX_FLAGS, Truth, same};
use crate::schema::{Exclusive, Schema};

/// The flags that conditions are compared over: those of the model and, if the other side has a
/// schema too, those that only it has. A flag of both is one flag.
#[derive(Clone, Copy)]
pub struct Flags {
    names: [&'static str; MAX_FLAGS],
    len: usize,
    /// What holds of them under every config.
    facts: [Truth; MAX_FACTS],
    fact_count: usize,
}

/// The most lists of flags that exclude each other.
const MAX_FACTS: usize = 8;

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
            facts: [Truth::ALWAYS; MAX_FACTS],
            fact_count: 0,
        };
        all.add(model);
        all.add(format);
        all.learn(model);
        all.learn(format);
        all
    }

    #[track_caller]
    const fn learn(&mut self, schema: Option<Schema>) {
        let Some(schema) = schema else { return };
        let mut i = 0;
        while i < schema.one_of.len() {
            assert!(self.fact_count < MAX_FACTS, "a schema has at most 8 `one of`");
            self.facts[self.fact_count] = self.exclude(&schema.one_of[i]);
            self.fact_count += 1;
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

    /// `truth` where it is possible, as far as the flags `met` and its own say.
    pub(super) const fn possible(&self, mut truth: Truth, met: u16) -> Truth {
        let (mut met, mut learnt, mut i) = (met | truth.flags(), 0u8, 0);
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
