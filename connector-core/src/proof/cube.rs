use crate::key::Truth;

/// Flags with their values, `tied && !bias`: it holds wherever they have those.
#[derive(Clone, Copy)]
pub(super) struct Cube {
    /// The flags that it names.
    pub named: u8,
    /// Their values.
    pub bits: u8,
}

impl Cube {
    /// A cube inside of `truth` around the combination `bits`, with as few of the `flags` first
    /// flags as it gets.
    pub const fn around(truth: Truth, bits: u8, flags: usize) -> Self {
        let mut named = ((1u16 << flags) - 1) as u8;
        let mut flag = 0;
        while flag < flags {
            let wider = Cube { named: named & !(1 << flag), bits };
            if wider.truth().implies(truth) {
                named = wider.named;
            }
            flag += 1;
        }
        Cube { named, bits }
    }

    /// Under which combinations it holds.
    pub const fn truth(self) -> Truth {
        let (mut truth, mut flag) = (Truth::ALWAYS, 0);
        while flag < 8 {
            if self.named >> flag & 1 == 1 {
                let value = Truth::flag(flag);
                truth = truth.and(if self.bits >> flag & 1 == 1 { value } else { value.not() });
            }
            flag += 1;
        }
        truth
    }
}

/// The first combination for which `truth` holds.
///
/// # Panics
/// If it never holds.
pub(super) const fn first(truth: Truth) -> u8 {
    let mut bits = 0u8;
    while !truth.holds(bits) {
        bits += 1;
    }
    bits
}
