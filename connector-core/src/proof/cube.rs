use crate::key::{MAX_FLAGS, Truth};

/// Flags with their values, `tied && !bias`: it holds wherever they have those.
#[derive(Clone, Copy)]
pub(super) struct Cube {
    /// The flags that it names.
    pub named: u16,
    /// Their values.
    pub bits: u16,
}

impl Cube {
    /// A cube inside of `truth` around the combination `bits`, with as few flags as it gets.
    pub const fn around(truth: Truth, bits: u16) -> Self {
        let mut named = truth.flags();
        let mut flag = 0;
        while flag < MAX_FLAGS {
            let wider = Cube { named: named & !(1 << flag), bits };
            if wider.named != named && wider.truth().implies(truth) {
                named = wider.named;
            }
            flag += 1;
        }
        Cube { named, bits }
    }

    /// Under which combinations it holds.
    pub const fn truth(self) -> Truth {
        let (mut truth, mut flag) = (Truth::ALWAYS, 0);
        while flag < MAX_FLAGS {
            if self.named >> flag & 1 == 1 {
                let value = Truth::flag(flag);
                truth = truth.and(if self.bits >> flag & 1 == 1 { value } else { value.not() });
            }
            flag += 1;
        }
        truth
    }
}
