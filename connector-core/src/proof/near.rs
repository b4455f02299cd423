use super::Unmade;
use super::fit::{Fit, fit};
use super::flat::Key;
use super::message::Message;
use crate::key::{Pattern, similar};
use crate::schema::Schema;

/// The parameter that a key may be a slip for; of equally near ones, one that no row makes.
///
/// How near is told by what is left of two names without their common beginning and end: an upper
/// bound of their edit distance, and cheap enough for hundreds of parameters. Only of the nearest
/// ones the distance itself is asked.
pub(super) const fn nearest(
    schema: &Schema,
    key: &Pattern<'static>,
    unmade: &Unmade,
) -> Option<usize> {
    let key = Message::EMPTY.pattern(key);
    let mut best = None;
    let mut least = usize::MAX;
    let mut p = 0;
    while p < schema.parameters.len() {
        let name = Message::EMPTY.pattern(&schema.parameters[p].pattern);
        let made = !unmade.has(p);
        let far = 2 * differing(key.as_str(), name.as_str()) + made as usize;
        if far < least && similar(key.as_str(), name.as_str()) {
            least = far;
            best = Some(p);
        }
        p += 1;
    }
    best
}

/// The parameter that a key names by itself, though with the prefix of a block before it it does not.
pub(super) const fn whole(schema: &Schema, key: &Key, number: usize) -> Option<usize> {
    let Some(own) = key.own(number) else { return None };
    let mut p = 0;
    while p < schema.parameters.len() {
        if !matches!(fit(own, &schema.parameters[p].pattern), Fit::None) {
            return Some(p);
        }
        p += 1;
    }
    None
}

/// How long the longer of two texts is without what both begin and end with.
const fn differing(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let shorter = if a.len() < b.len() { a.len() } else { b.len() };
    let longer = a.len() + b.len() - shorter;
    let mut front = 0;
    while front < shorter && a[front] == b[front] {
        front += 1;
    }
    let mut back = 0;
    while back < shorter - front && a[a.len() - 1 - back] == b[b.len() - 1 - back] {
        back += 1;
    }
    longer - front - back
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_stands_in_the_middle() {
        for (a, b, want) in [
            ("", "", 0),
            ("a.fc1.weight", "a.fc2.weight", 1),
            ("a.fc1.weight", "a.fc1.weights", 1),
            ("encoder.fc1", "decoder.fc1", 2),
            ("aa", "aaa", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(differing(a, b), want, "{a} {b}");
            assert_eq!(differing(b, a), want, "{b} {a}");
        }
    }
}
