use crate::key::{Condition, MAX_FLAGS, Truth, same};
use crate::schema::Schema;

/// The flags that conditions are compared over: those of the model and, if the other side has a
/// schema too, those that only it has. A flag of both is one flag.
#[derive(Clone, Copy)]
pub struct Flags {
    names: [&'static str; MAX_FLAGS],
    len: usize,
}

impl Flags {
    /// The flags of one or two schemas.
    ///
    /// # Panics
    /// If there are more than [`MAX_FLAGS`].
    #[track_caller]
    pub const fn of(model: Option<Schema>, format: Option<Schema>) -> Self {
        let mut all = Flags { names: [""; MAX_FLAGS], len: 0 };
        all.add(model);
        all.add(format);
        all
    }

    #[track_caller]
    const fn add(&mut self, schema: Option<Schema>) {
        let Some(schema) = schema else { return };
        let mut i = 0;
        while i < schema.flags.len() {
            if !self.has(schema.flags[i]) {
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

    const fn has(&self, name: &str) -> bool {
        let mut i = 0;
        while i < self.len {
            if same(self.names[i], name) {
                return true;
            }
            i += 1;
        }
        false
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
