use crate::distance::same;

/// The most flags that a schema may declare: a truth table has 2^8 entries.
pub const MAX_FLAGS: usize = 8;

/// A condition as it is written: flags of a schema by name, in postfix order.
///
/// The mapping names flags before it is known which schema they belong to; [`Condition::truth`]
/// looks them up.
///
/// ```
/// use connector_key::{Condition, Term, Truth};
///
/// const CONDITION: Condition = Condition(&[Term::Flag("tied"), Term::Not, Term::Flag("bias"), Term::And]);
/// const TRUTH: Truth = match CONDITION.truth(&["tied", "bias"]) {
///     Ok(truth) => truth,
///     Err(_) => panic!("unknown flag"),
/// };
/// assert!(TRUTH.holds(0b10)); // not tied, with bias
/// assert!(!TRUTH.holds(0b11));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition(pub &'static [Term]);

/// One step of a [`Condition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// The value of a flag.
    Flag(&'static str),
    /// Negates the last value.
    Not,
    /// Joins the last two values.
    And,
    /// Joins the last two values.
    Or,
}

impl Condition {
    /// Holds always.
    pub const ALWAYS: Condition = Condition(&[]);

    /// The truth table over `flags`, or the name of the first flag that is not among them.
    ///
    /// # Panics
    /// If the terms are not a well-formed postfix expression of at most 16 levels, or there are
    /// more than [`MAX_FLAGS`] flags; the macros write well-formed ones.
    pub const fn truth(&self, flags: &[&'static str]) -> Result<Truth, &'static str> {
        assert!(flags.len() <= MAX_FLAGS, "a schema may declare at most 8 flags");
        if self.0.is_empty() {
            return Ok(Truth::ALWAYS);
        }
        let mut stack = [Truth::ALWAYS; 16];
        let mut top = 0;
        let mut i = 0;
        while i < self.0.len() {
            match self.0[i] {
                Term::Flag(name) => {
                    let mut f = 0;
                    while f < flags.len() && !same(flags[f], name) {
                        f += 1;
                    }
                    if f == flags.len() {
                        return Err(name);
                    }
                    stack[top] = Truth::flag(f);
                    top += 1;
                }
                Term::Not => stack[top - 1] = stack[top - 1].not(),
                Term::And => {
                    top -= 1;
                    stack[top - 1] = stack[top - 1].and(stack[top]);
                }
                Term::Or => {
                    top -= 1;
                    stack[top - 1] = stack[top - 1].or(stack[top]);
                }
            }
            i += 1;
        }
        Ok(stack[0])
    }
}

/// Under which combinations of flags something holds: bit `b` is set if it holds where the flags
/// are the bits of `b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truth([u64; 4]);

impl Truth {
    /// Holds always.
    pub const ALWAYS: Truth = Truth([u64::MAX; 4]);
    /// Holds never.
    pub const NEVER: Truth = Truth([0; 4]);

    /// Holds where flag number `flag` is set.
    ///
    /// # Panics
    /// If there is no such flag: there are [`MAX_FLAGS`].
    pub const fn flag(flag: usize) -> Truth {
        // Counting up, bit `flag` of a number changes every 2^flag numbers.
        const ODD: [u64; 6] = [
            0xaaaa_aaaa_aaaa_aaaa,
            0xcccc_cccc_cccc_cccc,
            0xf0f0_f0f0_f0f0_f0f0,
            0xff00_ff00_ff00_ff00,
            0xffff_0000_ffff_0000,
            0xffff_ffff_0000_0000,
        ];
        match flag {
            6 => Truth([0, u64::MAX, 0, u64::MAX]),
            7 => Truth([0, 0, u64::MAX, u64::MAX]),
            flag => Truth([ODD[flag]; 4]),
        }
    }

    /// Holds where this does not.
    pub const fn not(self) -> Truth {
        let Truth([a, b, c, d]) = self;
        Truth([!a, !b, !c, !d])
    }

    /// Holds where both do.
    pub const fn and(self, other: Truth) -> Truth {
        let (Truth([a, b, c, d]), Truth([e, f, g, h])) = (self, other);
        Truth([a & e, b & f, c & g, d & h])
    }

    /// Holds where one of the two does.
    pub const fn or(self, other: Truth) -> Truth {
        let (Truth([a, b, c, d]), Truth([e, f, g, h])) = (self, other);
        Truth([a | e, b | f, c | g, d | h])
    }

    /// Whether `other` holds wherever this does.
    pub const fn implies(self, other: Truth) -> bool {
        self.and(other.not()).is_never()
    }

    /// Whether this and `other` never hold together.
    pub const fn is_disjoint(self, other: Truth) -> bool {
        self.and(other).is_never()
    }

    /// Whether it holds nowhere.
    pub const fn is_never(self) -> bool {
        matches!(self, Truth([0, 0, 0, 0]))
    }

    /// Whether it holds where the flags are the bits of `flags`.
    pub const fn holds(self, flags: u8) -> bool {
        self.0[flags as usize / 64] >> (flags % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_tables_follow_the_connectives() {
        for flag in 0..MAX_FLAGS {
            let table = Truth::flag(flag);
            assert!((0..=255u8).all(|bits| table.holds(bits) == (bits >> flag & 1 == 1)));
        }
        let (a, b) = (Truth::flag(0), Truth::flag(7));
        for bits in 0..=255u8 {
            let (x, y) = (bits & 1 == 1, bits >> 7 == 1);
            assert_eq!(a.and(b).holds(bits), x && y);
            assert_eq!(a.or(b).holds(bits), x || y);
            assert_eq!(a.not().holds(bits), !x);
        }
        assert!(a.and(b).implies(a) && !a.implies(b));
        assert!(a.is_disjoint(a.not()) && !a.is_disjoint(b));
        assert!(Truth::NEVER.implies(a) && a.implies(Truth::ALWAYS));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        assert_eq!(Condition(&[Term::Flag("tide")]).truth(&["tied"]), Err("tide"));
        assert_eq!(Condition::ALWAYS.truth(&[]), Ok(Truth::ALWAYS));
    }
}
