use crate::distance::same;

/// The most flags that a schema may declare.
pub const MAX_FLAGS: usize = 16;

/// The most flags that conditions may depend on that meet, at one parameter as a rule: a [`Truth`]
/// is a table of 2^8 entries.
pub const MAX_MET: usize = 8;

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
    /// Whether an index is below a bound.
    Below(Below),
    /// Negates the last value.
    Not,
    /// Joins the last two values.
    And,
    /// Joins the last two values.
    Or,
}

/// `axis < number`, `axis < field + number`: what all comparisons of an index are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below {
    /// As it is written, which tells it from others.
    pub text: &'static str,
    /// The axis.
    pub axis: &'static str,
    /// A field of the schema; empty for none.
    pub field: &'static str,
    /// What is added to the field.
    pub plus: u64,
}

impl Condition {
    /// Holds always.
    pub const ALWAYS: Condition = Condition(&[]);

    /// Whether it holds where its terms have these values; `None` if one has none.
    ///
    /// # Panics
    /// As [`truth`](Condition::truth).
    pub fn holds(&self, value: impl Fn(&Term) -> Option<bool>) -> Option<bool> {
        let (mut stack, mut top) = ([true; 16], 0);
        for term in self.0 {
            match term {
                Term::Flag(_) | Term::Below(_) => {
                    stack[top] = value(term)?;
                    top += 1;
                }
                Term::Not => stack[top - 1] = !stack[top - 1],
                Term::And | Term::Or => {
                    top -= 1;
                    stack[top - 1] = match term {
                        Term::And => stack[top - 1] && stack[top],
                        _ => stack[top - 1] || stack[top],
                    };
                }
            }
        }
        Some(stack[0])
    }

    /// The truth table over `flags`, or the name of the first flag that is not among them. A comparison
    /// is a flag called as it is written.
    ///
    /// # Panics
    /// If the terms are not a well-formed postfix expression of at most 16 levels, there are more than
    /// [`MAX_FLAGS`] flags, or it depends on more than [`MAX_MET`] of them; the macros write well-formed
    /// ones.
    pub const fn truth(&self, flags: &[&'static str]) -> Result<Truth, &'static str> {
        assert!(flags.len() <= MAX_FLAGS, "a schema may declare at most 16 flags");
        if self.0.is_empty() {
            return Ok(Truth::ALWAYS);
        }
        let mut stack = [Truth::ALWAYS; 16];
        let mut top = 0;
        let mut i = 0;
        while i < self.0.len() {
            match self.0[i] {
                Term::Flag(name) | Term::Below(Below { text: name, .. }) => {
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

/// Under which combinations of flags something holds.
///
/// It is a table over at most [`MAX_MET`] flags: a table over [`MAX_FLAGS`] would have 2^16 entries,
/// which the compiler would interpret for each condition of each mapping.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// Bit `b` is set if it holds where the flags at `places` are the bits of `b`.
    table: [u64; 4],
    places: Places,
}

/// Which flag each bit of a table's entries stands for.
#[derive(Clone, Copy, Debug)]
struct Places([u8; MAX_MET]);

/// A bit of entries that stands for no flag: the table does not depend on it.
const FREE: u8 = u8::MAX;

/// The first flags, each at its own bit. Tables over none but these have it, so that they are
/// combined as they are.
const FIRST: Places = Places([0, 1, 2, 3, 4, 5, 6, 7]);

/// Counting up, bit `n` of a number changes every 2^n numbers.
const ODD: [[u64; 4]; MAX_MET] = [
    [0xaaaa_aaaa_aaaa_aaaa; 4],
    [0xcccc_cccc_cccc_cccc; 4],
    [0xf0f0_f0f0_f0f0_f0f0; 4],
    [0xff00_ff00_ff00_ff00; 4],
    [0xffff_0000_ffff_0000; 4],
    [0xffff_ffff_0000_0000; 4],
    [0, u64::MAX, 0, u64::MAX],
    [0, 0, u64::MAX, u64::MAX],
];

impl Places {
    /// Whether these are the same.
    const fn are(self, other: Places) -> bool {
        u64::from_ne_bytes(self.0) == u64::from_ne_bytes(other.0)
    }

    /// Those of a table that depends on `flags`.
    const fn of(flags: u16) -> Places {
        if flags < 1 << MAX_MET {
            return FIRST;
        }
        assert!(
            flags.count_ones() as usize <= MAX_MET,
            "the conditions that meet at one parameter depend on more than 8 flags; make one flag \
             of some that stand together"
        );
        let (mut places, mut bit, mut flag) = (Places([FREE; MAX_MET]), 0, 0);
        while flag < MAX_FLAGS {
            if flags >> flag & 1 == 1 {
                places.0[bit] = flag as u8;
                bit += 1;
            }
            flag += 1;
        }
        places
    }

    /// The flags of entry number `entry`.
    const fn flags(self, entry: u8) -> u16 {
        let (mut flags, mut bit) = (0, 0);
        while bit < MAX_MET {
            if self.0[bit] != FREE && entry >> bit & 1 == 1 {
                flags |= 1 << self.0[bit];
            }
            bit += 1;
        }
        flags
    }

    /// The entry of these flags.
    const fn entry(self, flags: u16) -> u8 {
        let (mut entry, mut bit) = (0, 0);
        while bit < MAX_MET {
            if self.0[bit] != FREE && flags >> self.0[bit] & 1 == 1 {
                entry |= 1 << bit;
            }
            bit += 1;
        }
        entry
    }
}

impl Truth {
    /// Holds always.
    pub const ALWAYS: Truth = Truth { table: [u64::MAX; 4], places: FIRST };
    /// Holds never.
    pub const NEVER: Truth = Truth { table: [0; 4], places: FIRST };

    /// Holds where flag number `flag` is set.
    ///
    /// # Panics
    /// If there is no such flag: there are [`MAX_FLAGS`].
    pub const fn flag(flag: usize) -> Truth {
        assert!(flag < MAX_FLAGS, "there is no such flag");
        let places = Places::of(1 << flag);
        Truth { table: ODD[if flag < MAX_MET { flag } else { 0 }], places }
    }

    /// Holds where this does not.
    pub const fn not(self) -> Truth {
        let [a, b, c, d] = self.table;
        Truth { table: [!a, !b, !c, !d], ..self }
    }

    /// Holds where both do.
    ///
    /// # Panics
    /// If they depend on more than [`MAX_MET`] flags together, as [`or`](Truth::or).
    pub const fn and(self, other: Truth) -> Truth {
        if !self.places.are(other.places) {
            let places = Places::of(self.flags() | other.flags());
            let both = self.over(places).and(other.over(places));
            return both.over(Places::of(both.flags()));
        }
        let ([a, b, c, d], [e, f, g, h]) = (self.table, other.table);
        Truth { table: [a & e, b & f, c & g, d & h], ..self }
    }

    /// Holds where one of the two does.
    pub const fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
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
        matches!(self.table, [0, 0, 0, 0])
    }

    /// Whether it holds where the flags are the bits of `flags`.
    pub const fn holds(self, flags: u16) -> bool {
        let entry = self.places.entry(flags);
        self.table[entry as usize / 64] >> (entry % 64) & 1 == 1
    }

    /// The first combination of flags for which it holds, the others unset.
    pub const fn first(self) -> Option<u16> {
        let mut word = 0;
        while word < self.table.len() {
            if self.table[word] != 0 {
                let entry = 64 * word as u8 + self.table[word].trailing_zeros() as u8;
                return Some(self.places.flags(entry));
            }
            word += 1;
        }
        None
    }

    /// The flags that it depends on.
    pub const fn flags(self) -> u16 {
        let (mut flags, mut bit) = (0, 0);
        while bit < MAX_MET {
            let [a, b, c, d] = self.table;
            let half = 1 << bit;
            let [one, other] = match bit {
                6 => [[a, c, 0, 0], [b, d, 0, 0]],
                7 => [[a, b, 0, 0], [c, d, 0, 0]],
                _ => {
                    let [odd, ..] = ODD[bit];
                    [
                        [a & !odd, b & !odd, c & !odd, d & !odd],
                        [
                            (a & odd) >> half,
                            (b & odd) >> half,
                            (c & odd) >> half,
                            (d & odd) >> half,
                        ],
                    ]
                }
            };
            let same = one[0] == other[0]
                && one[1] == other[1]
                && one[2] == other[2]
                && one[3] == other[3];
            if !same {
                flags |= 1 << self.places.0[bit];
            }
            bit += 1;
        }
        flags
    }

    /// The same as a table over other flags, which are all that it depends on and maybe more.
    const fn over(self, places: Places) -> Truth {
        if self.places.are(places) {
            return self;
        }
        let (mut table, mut entry) = ([0; 4], 0u8);
        loop {
            if self.holds(places.flags(entry)) {
                table[entry as usize / 64] |= 1 << (entry % 64);
            }
            if entry == u8::MAX {
                return Truth { table, places };
            }
            entry += 1;
        }
    }
}

impl PartialEq for Truth {
    fn eq(&self, other: &Truth) -> bool {
        self.implies(*other) && other.implies(*self)
    }
}

impl Eq for Truth {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Combinations of all flags: each by itself, all but each, and many between.
    fn combinations() -> impl Iterator<Item = u16> {
        let one = (0..MAX_FLAGS).map(|flag| 1u16 << flag);
        one.clone().chain(one.map(|bits| !bits)).chain((0..=u16::MAX).step_by(1021))
    }

    #[test]
    fn truth_tables_follow_the_connectives() {
        for flag in 0..MAX_FLAGS {
            let table = Truth::flag(flag);
            assert_eq!((table.flags(), table.first()), (1 << flag, Some(1 << flag)));
            assert!((0..=u16::MAX).all(|bits| table.holds(bits) == (bits >> flag & 1 == 1)));
        }
        for one in 0..MAX_FLAGS {
            for other in 0..MAX_FLAGS {
                let (a, b) = (Truth::flag(one), Truth::flag(other));
                for bits in combinations() {
                    let (x, y) = (bits >> one & 1 == 1, bits >> other & 1 == 1);
                    assert_eq!(a.and(b).holds(bits), x && y);
                    assert_eq!(a.or(b).holds(bits), x || y);
                    assert_eq!(a.not().holds(bits), !x);
                }
                assert!(a.and(b).implies(a) && a.implies(a.or(b)));
                assert_eq!(a.implies(b), one == other);
                assert_eq!(a.is_disjoint(b.not()), one == other);
                assert_eq!(a.and(b).or(a.and(b.not())), a);
            }
            let a = Truth::flag(one);
            assert!(Truth::NEVER.implies(a) && a.implies(Truth::ALWAYS));
            assert_eq!((a.and(a.not()), a.or(a.not())), (Truth::NEVER, Truth::ALWAYS));
        }
    }

    /// Conditions of pseudorandom shape over as many flags as may meet, taken from all.
    #[test]
    fn conditions_over_any_flags_hold_as_they_read() {
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..200 {
            let met = [(); MAX_MET].map(|()| random(MAX_FLAGS));
            let steps = [(); 12].map(|()| (met[random(MAX_MET)], random(4)));
            let truth = steps.iter().fold(Truth::NEVER, |truth, &(flag, step)| match step {
                0 => truth.and(Truth::flag(flag)),
                1 => truth.and(Truth::flag(flag).not()),
                2 => truth.or(Truth::flag(flag)),
                _ => truth.not().or(Truth::flag(flag)),
            });
            let holds = |bits: u16| {
                steps.iter().fold(false, |holds, &(flag, step)| {
                    let value = bits >> flag & 1 == 1;
                    match step {
                        0 => holds && value,
                        1 => holds && !value,
                        2 => holds || value,
                        _ => !holds || value,
                    }
                })
            };
            assert!(combinations().all(|bits| truth.holds(bits) == holds(bits)), "{steps:?}");
            assert!(truth.first().is_none_or(holds));
            let of = |flag: usize| truth.flags() >> flag & 1 == 1;
            for flag in (0..MAX_FLAGS).filter(|flag| !of(*flag)) {
                assert!(combinations().all(|bits| holds(bits) == holds(bits ^ 1 << flag)));
            }
        }
    }

    #[test]
    #[should_panic(expected = "depend on more than 8 flags")]
    fn more_flags_than_a_table_has_do_not_meet() {
        let _ = (0..=MAX_MET).fold(Truth::ALWAYS, |truth, flag| truth.and(Truth::flag(flag)));
    }

    #[test]
    fn a_condition_holds_where_its_terms_do() {
        const BELOW: Below = Below { text: "layer < 1", axis: "layer", field: "", plus: 1 };
        const CONDITION: Condition =
            Condition(&[Term::Flag("a"), Term::Below(BELOW), Term::Not, Term::And]);
        for (a, first) in [(false, false), (false, true), (true, false), (true, true)] {
            let value = |term: &Term| match term {
                Term::Flag("a") => Some(a),
                Term::Below(other) if *other == BELOW => Some(first),
                _ => None,
            };
            assert_eq!(CONDITION.holds(value), Some(a && !first));
            let truth = CONDITION.truth(&["a", "layer < 1"]).unwrap();
            assert_eq!(truth.holds(u16::from(a) | u16::from(first) << 1), a && !first);
        }
        assert_eq!(CONDITION.holds(|_| None), None);
        assert_eq!(Condition::ALWAYS.holds(|_| None), Some(true));
        assert_eq!(CONDITION.truth(&["a"]), Err("layer < 1"));
    }

    #[test]
    fn an_unknown_flag_is_named() {
        assert_eq!(Condition(&[Term::Flag("tide")]).truth(&["tied"]), Err("tide"));
        assert_eq!(Condition::ALWAYS.truth(&[]), Ok(Truth::ALWAYS));
    }
}
