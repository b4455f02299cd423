use super::fit::Fit;
use super::flat::{Flat, MAX_BRANCHES, Role};
use super::index::{Index, fit_parameter};
use crate::key::Truth;
use crate::schema::Parameter;

/// The most keys that are told apart for one parameter: more than a few are a mistake already,
/// unless they stand in branches.
const MAX_PRODUCERS: usize = MAX_BRANCHES;

/// Keys that name one parameter, and when.
pub(super) struct Producers {
    list: [Producer; MAX_PRODUCERS],
    len: usize,
}

/// A key that names a parameter.
#[derive(Clone, Copy)]
struct Producer {
    /// Its number.
    key: usize,
    /// When its row applies.
    when: Truth,
    /// When it is certain to apply: not every branch of a choice may.
    certain: Truth,
    /// Whether it names the parameter at every index. One that does not counts in conflicts only.
    whole: bool,
    branch: usize,
}

const NOBODY: Producer =
    Producer { key: 0, when: Truth::NEVER, certain: Truth::NEVER, whole: false, branch: 0 };

/// No parameter.
pub(super) const NOTHING: usize = usize::MAX;

/// What is known of the keys of one side.
pub(super) struct Keys<const N: usize> {
    /// When each applies.
    pub when: [Truth; N],
    pub known: [Known; N],
    /// When a rule applies to a parameter that exists, by the rule's first key.
    pub live: [Truth; N],
    /// The first parameter that each names, or [`NOTHING`].
    pub parameter: [usize; N],
    /// Another one that each names where both exist, or [`NOTHING`].
    pub other: [usize; N],
    /// When a parameter exists that it names.
    pub exists: [Truth; N],
}

impl<const N: usize> Keys<N> {
    /// Of the targets: they apply when their rows do.
    pub const fn of_model(flat: &Flat<N>) -> Self {
        let mut when = [Truth::NEVER; N];
        let mut key = 0;
        while key < flat.len {
            when[key] = flat.keys[key].when;
            key += 1;
        }
        let (parameter, never) = ([NOTHING; N], [Truth::NEVER; N]);
        let known = [Known::No; N];
        Keys { when, known, live: never, parameter, other: parameter, exists: never }
    }

    /// Of the sources: a rule reads where a target of its exists.
    pub const fn of_format(flat: &Flat<N>, model: &Keys<N>) -> Self {
        let mut keys = Keys::of_model(flat);
        let mut key = 0;
        while key < flat.len {
            if let Role::Source = flat.keys[key].role {
                keys.when[key] = model.live[flat.keys[key].lead];
            }
            key += 1;
        }
        keys
    }
}

/// What is known of a key.
#[derive(Clone, Copy)]
pub(super) enum Known {
    /// It names no parameter.
    No,
    /// It names this one, but its row never applies where that exists.
    Idle(usize),
    /// It names one.
    Applies,
}

/// What keys do together for one parameter.
#[derive(Clone, Copy)]
pub(super) struct Made {
    /// When it is made, whichever branches are taken.
    pub certain: Truth,
    /// When it is made if some branches are taken.
    pub possible: Truth,
    /// Two keys that name it where it exists, and where they do.
    pub conflict: Option<(usize, usize, Truth)>,
    /// A branch whose `one_of` makes it in other branches only.
    pub differing: Option<usize>,
}

impl Producers {
    /// The keys that name parameter number `number`, in the order of the rows. What that says of
    /// them is entered in `keys`.
    pub const fn find<const N: usize>(
        flat: &Flat<N>,
        index: &Index<N>,
        number: usize,
        parameter: &Parameter,
        exists: Truth,
        keys: &mut Keys<N>,
    ) -> Producers {
        let mut found = Producers { list: [NOBODY; MAX_PRODUCERS], len: 0 };
        let mut spelling = 0;
        while spelling <= parameter.aka.len() {
            let name = match spelling {
                0 => &parameter.pattern,
                aka => &parameter.aka[aka - 1],
            };
            let mut candidates = index.candidates(name);
            while let Some(candidate) = index.next(&mut candidates) {
                let key = &flat.keys[candidate];
                let whole = match fit_parameter(key, parameter) {
                    Fit::None => continue,
                    Fit::Whole => true,
                    Fit::Part => false,
                };
                let (when, branch) = (keys.when[candidate], key.branch);
                let applies = exists.and(when);
                if keys.parameter[candidate] == NOTHING {
                    keys.parameter[candidate] = number;
                } else if keys.parameter[candidate] != number
                    && !keys.exists[candidate].and(applies).is_never()
                {
                    keys.other[candidate] = number;
                }
                keys.exists[candidate] = keys.exists[candidate].or(exists);
                keys.live[key.lead] = keys.live[key.lead].or(applies);
                // A parameter that never exists makes no row idle.
                if !applies.is_never() || exists.is_never() {
                    keys.known[candidate] = Known::Applies;
                } else if matches!(keys.known[candidate], Known::No) {
                    keys.known[candidate] = Known::Idle(number);
                }
                found.insert(Producer { key: candidate, when, certain: when, whole, branch });
            }
            spelling += 1;
        }
        found
    }

    const fn insert(&mut self, producer: Producer) {
        let mut at = self.len;
        while at > 0 && self.list[at - 1].key >= producer.key {
            if self.list[at - 1].key == producer.key {
                // Found by another spelling already.
                return;
            }
            at -= 1;
        }
        if self.len == MAX_PRODUCERS {
            return;
        }
        let mut i = self.len;
        while i > at {
            self.list[i] = self.list[i - 1];
            i -= 1;
        }
        self.list[at] = producer;
        self.len += 1;
    }

    /// The flags that their rows depend on.
    pub const fn flags(&self) -> u16 {
        let (mut flags, mut i) = (0, 0);
        while i < self.len {
            flags |= self.list[i].when.flags();
            i += 1;
        }
        flags
    }

    /// What they do together for a parameter that exists where `exists` holds.
    pub const fn made<const N: usize>(&self, flat: &Flat<N>, exists: Truth) -> Made {
        self.settle(flat, exists, 0)
    }

    /// The same of those in a branch.
    const fn settle<const N: usize>(&self, flat: &Flat<N>, exists: Truth, branch: usize) -> Made {
        let mut made =
            Made { certain: Truth::NEVER, possible: Truth::NEVER, conflict: None, differing: None };
        // The keys of this branch, and each choice in it as one.
        let mut here = [NOBODY; MAX_PRODUCERS];
        let mut len = 0;
        let mut settled = 0;
        let mut i = 0;
        while i < self.len {
            let producer = self.list[i];
            i += 1;
            if producer.branch == branch {
                here[len] = producer;
                len += 1;
                continue;
            }
            let Some(inside) = child(flat, producer.branch, branch) else { continue };
            let choice = flat.branches[inside].choice;
            if choice <= settled {
                // Choices are numbered in the order of the rows.
                continue;
            }
            settled = choice;
            let mut whole = NOBODY;
            (whole.key, whole.whole, whole.certain) = (producer.key, true, Truth::ALWAYS);
            let mut b = 1;
            while b < flat.branch_count {
                if flat.branches[b].choice == choice {
                    let one = self.settle(flat, exists, b);
                    whole.when = whole.when.or(one.possible);
                    whole.certain = whole.certain.and(one.certain);
                    if one.conflict.is_some() {
                        made.conflict = one.conflict;
                    }
                    if one.differing.is_some() {
                        made.differing = one.differing;
                    }
                }
                b += 1;
            }
            if !whole.when.and(exists).implies(whole.certain) {
                made.differing = Some(inside);
            }
            here[len] = whole;
            len += 1;
        }
        i = 0;
        while i < len {
            let a = here[i];
            if a.whole {
                made.certain = made.certain.or(a.certain);
                made.possible = made.possible.or(a.when);
            }
            let mut j = i + 1;
            while j < len {
                let b = here[j];
                let both = exists.and(a.when).and(b.when);
                // Rows for single indices may be for different ones; the plan sees which.
                if !both.is_never() && (a.whole || b.whole) && made.conflict.is_none() {
                    made.conflict = Some((a.key, b.key, both));
                }
                j += 1;
            }
            i += 1;
        }
        made
    }
}

/// The branch directly inside `outer` in which `branch` lies.
const fn child<const N: usize>(flat: &Flat<N>, mut branch: usize, outer: usize) -> Option<usize> {
    while branch != 0 {
        let parent = flat.branches[branch].parent;
        if parent == outer {
            return Some(branch);
        }
        branch = parent;
    }
    None
}
