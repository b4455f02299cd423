//! Which keys can fit a parameter, without comparing each with each: a mapping of 300 rows for 300
//! parameters is proven whenever the crate is checked, and the compiler interprets slowly.

use super::fit::{Fit, fit};
use super::flat::{Flat, Key};
use crate::key::{Part, Pattern};
use crate::schema::Parameter;

const BUCKETS: usize = 256;
/// The bucket of keys that have no [`tail`].
const ODD: usize = BUCKETS;
/// The end of a chain.
const NONE: usize = usize::MAX;

/// The keys of one side, by their [`tail`].
pub(super) struct Index<const N: usize> {
    heads: [usize; BUCKETS + 1],
    next: [usize; N],
}

impl<const N: usize> Index<N> {
    /// The targets, or the sources, of `flat`.
    pub const fn new(flat: &Flat<N>, targets: bool) -> Self {
        let mut index = Index { heads: [NONE; BUCKETS + 1], next: [NONE; N] };
        // From the last to the first, so that a chain is in the order of the rows.
        let mut i = flat.len;
        while i > 0 {
            i -= 1;
            let key = &flat.keys[i];
            let wanted = if targets { key.role.is_target() } else { key.role.is_source() };
            if let (true, Ok(pattern)) = (wanted, &key.pattern) {
                let bucket = tail(pattern);
                index.next[i] = index.heads[bucket];
                index.heads[bucket] = i;
            }
        }
        index
    }

    /// The keys that may fit a name, in chains.
    pub const fn candidates(&self, name: &Pattern<'static>) -> Candidates {
        let bucket = tail(name);
        // Any key may fit a name without a tail, and one without a tail any name.
        let (first, last) = if bucket == ODD { (0, BUCKETS) } else { (bucket, bucket) };
        Candidates { bucket: first, last, at: self.heads[first], odd: bucket != ODD }
    }

    /// The next candidate.
    pub const fn next(&self, candidates: &mut Candidates) -> Option<usize> {
        while candidates.at == NONE {
            if candidates.bucket < candidates.last {
                candidates.bucket += 1;
            } else if candidates.odd {
                candidates.odd = false;
                candidates.bucket = ODD;
                candidates.last = ODD;
            } else {
                return None;
            }
            candidates.at = self.heads[candidates.bucket];
        }
        let found = candidates.at;
        candidates.at = self.next[found];
        Some(found)
    }
}

/// Where a walk through an [`Index`] stands.
pub(super) struct Candidates {
    bucket: usize,
    last: usize,
    at: usize,
    odd: bool,
}

/// The bucket of a pattern: a hash of its last two segments, in which it and what fits it agree;
/// [`ODD`] if they capture something.
const fn tail(pattern: &Pattern<'static>) -> usize {
    // FNV-1a, from the end.
    let mut hash: u32 = 0x811c_9dc5;
    let mut dots = 0;
    let mut part = pattern.parts().len();
    while part > 0 {
        part -= 1;
        let Part::Text(text) = pattern.parts()[part] else { return ODD };
        let bytes = text.as_bytes();
        let mut i = bytes.len();
        while i > 0 {
            i -= 1;
            if bytes[i] == b'.' {
                dots += 1;
                if dots == 2 {
                    return fold(hash);
                }
            }
            hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        }
    }
    fold(hash)
}

const fn fold(hash: u32) -> usize {
    ((hash ^ hash >> 8 ^ hash >> 16) & 0xff) as usize
}

/// How a key fits the best of a parameter's spellings.
pub(super) const fn fit_parameter(key: &Key, parameter: &Parameter) -> Fit {
    let Ok(pattern) = &key.pattern else { return Fit::None };
    let mut best = fit(pattern, &parameter.pattern);
    let mut a = 0;
    while a < parameter.aka.len() && !matches!(best, Fit::Whole) {
        match fit(pattern, &parameter.aka[a]) {
            Fit::None => {}
            other => best = other,
        }
        a += 1;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_shares_a_bucket_or_has_none() {
        for (key, name, shared) in [
            ("a.{l}.mlp.fc1.weight", "a.{layer}.mlp.fc1.weight", true),
            ("mlp.fc1.weight", "a.{layer}.mlp.fc1.weight", true),
            ("a.mlp.fc2.weight", "a.mlp.fc1.weight", false),
            ("weight", "weight", true),
            ("weight", "a.weight", false),
        ] {
            let [key, name] = [key, name].map(|text| tail(&Pattern::new(text)));
            assert_eq!(key == name, shared);
            assert!(key != ODD && name != ODD);
        }
        for odd in ["a.{l}.weight", "a.weight{e}", "*.x", "a.**", "{e}"] {
            assert_eq!(tail(&Pattern::new(odd)), ODD, "{odd}");
        }
        // A block's prefix and a row are joined by a part of its own.
        let joined = Pattern::new("a.{l}.mlp").join(&Pattern::new("weight"));
        assert_eq!(tail(&joined), tail(&Pattern::new("mlp.weight")));
    }
}
