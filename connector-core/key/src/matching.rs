//! Keys against patterns.

use crate::pattern::Shown;
use crate::{Capture, Captures, Part, Pattern};
use alloc::string::{String, ToString};
use alloc::{vec, vec::Vec};

/// Looks up a field of the config.
type Field<'f> = dyn Fn(&str) -> Option<u64> + 'f;

impl<'a> Pattern<'a> {
    /// Whether `key` matches; offsets that name a field of the config are taken as 0.
    pub fn matches(&self, key: &str) -> bool {
        self.captures(key).is_some()
    }

    /// The captured values of `key`, or `None` if it does not match. Offsets that name a field of
    /// the config are taken as 0; [`Pattern::captures_with`] resolves them.
    pub fn captures(&self, key: &str) -> Option<Captures<'a>> {
        self.captures_with(key, &|_| Some(0))
    }

    /// The captured values of `key`, or `None` if it does not match. `field` gives the value of a
    /// config field that is an offset; a key whose index is below the offset does not match.
    ///
    /// Where a key can be read in several ways, `*` and `**` take as much as they can, the first
    /// one before the others. The time grows with the length of the key times that of the pattern,
    /// whatever the key: keys come from files that nobody has checked.
    pub fn captures_with(
        &self,
        key: &str,
        field: &dyn Fn(&str) -> Option<u64>,
    ) -> Option<Captures<'a>> {
        // Most keys fail on the first or the last literal; this keeps a scan of many rows cheap.
        let (first, last) = (self.parts().first(), self.parts().last());
        if matches!(first, Some(Part::Text(text)) if !key.starts_with(text))
            || matches!(last, Some(Part::Text(text)) if !key.ends_with(text))
        {
            return None;
        }
        if self.is_read_one_way() {
            return self.read(key, field);
        }
        let fits = Fits::new(self, key, field);
        if !fits.get(0, 0) {
            return None;
        }
        let mut captures = Captures::new();
        let mut at = 0;
        for (number, part) in self.parts().iter().enumerate() {
            let rest = &key[at..];
            let longest = match part {
                Part::Text(text) => text.len(),
                Part::Word { .. } => rest.find('.').unwrap_or(rest.len()),
                Part::Any => rest.len(),
                Part::Index { .. } | Part::Field { .. } => digits(rest),
            };
            let len = (0..=longest).rev().find(|len| fits.get(number + 1, at + len))?;
            let text = &rest[..len];
            match part {
                Part::Text(_) | Part::Field { .. } => {}
                Part::Word { name } => captures.push(Capture::word(name, text)),
                Part::Any => captures.push(Capture::word("", text)),
                Part::Index { name, offset, scale } => {
                    let shown = Shown::new(*scale, *offset, field)?;
                    captures.push(Capture::index(name, index(text, &shown)?));
                }
            }
            at += len;
        }
        Some(captures)
    }
}

/// The patterns that nearly all mappings have: every capture ends where a segment ends or its digits
/// do, so that a key can be read in one way only. A plan of 100,000 tensors asks them a million
/// times.
impl<'a> Pattern<'a> {
    fn is_read_one_way(&self) -> bool {
        let parts = self.parts();
        parts.iter().enumerate().all(|(number, part)| match part {
            Part::Text(_) | Part::Index { .. } | Part::Field { .. } => true,
            Part::Word { .. } => match parts.get(number + 1) {
                None => true,
                Some(Part::Text(text)) => text.starts_with('.'),
                Some(_) => false,
            },
            Part::Any => false,
        })
    }

    fn read(&self, key: &str, field: &Field<'_>) -> Option<Captures<'a>> {
        let mut captures = Captures::with_capacity(self.names().count());
        let mut rest = key;
        for part in self.parts() {
            let len = match part {
                Part::Text(text) => {
                    rest = rest.strip_prefix(text)?;
                    continue;
                }
                Part::Index { .. } | Part::Field { .. } => digits(rest),
                _ => rest.find('.').unwrap_or(rest.len()),
            };
            let text;
            (text, rest) = rest.split_at(len);
            match part {
                Part::Index { name, offset, scale } => {
                    let shown = Shown::new(*scale, *offset, field)?;
                    captures.push(Capture::index(name, index(text, &shown)?));
                }
                Part::Field { name } if field_text(name, field)? == text => {}
                Part::Word { name } if !text.is_empty() => captures.push(Capture::word(name, text)),
                _ => return None,
            }
        }
        rest.is_empty().then_some(captures)
    }
}

/// For each part of a pattern and each place in a key, whether the rest of the pattern matches the
/// rest of the key.
///
/// Filled from the end, each entry from its neighbours: a search that tries and goes back would
/// take exponential time for some keys. A place inside a character never fits, since what follows
/// a capture is text, which begins with a whole character, or the end.
struct Fits {
    places: usize,
    table: Vec<bool>,
}

impl Fits {
    fn new(pattern: &Pattern<'_>, key: &str, field: &Field<'_>) -> Self {
        let (parts, places) = (pattern.parts(), key.len() + 1);
        let mut this = Fits { places, table: vec![false; (parts.len() + 1) * places] };
        this.set(parts.len(), key.len(), true);
        for (number, part) in parts.iter().enumerate().rev() {
            let next = number + 1;
            match part {
                Part::Text(text) => {
                    for at in (0..places).rev() {
                        let fits = key.as_bytes()[at..].starts_with(text.as_bytes())
                            && this.get(next, at + text.len());
                        this.set(number, at, fits);
                    }
                }
                // One more character, and then the next part or more of this one.
                Part::Word { .. } | Part::Any => {
                    for (at, byte) in key.bytes().enumerate().rev() {
                        let fits = (byte != b'.' || *part == Part::Any)
                            && (this.get(next, at + 1) || this.get(number, at + 1));
                        this.set(number, at, fits);
                    }
                }
                // An index takes all the digits there are: `1` of `12` is not an index.
                Part::Field { name } => {
                    let Some(text) = field_text(name, field) else { continue };
                    for at in 0..places {
                        let fits = digits(&key.as_bytes()[at..]) == text.len()
                            && key.as_bytes()[at..].starts_with(text.as_bytes())
                            && this.get(next, at + text.len());
                        this.set(number, at, fits);
                    }
                }
                Part::Index { offset, scale, .. } => {
                    let Some(shown) = Shown::new(*scale, *offset, field) else { continue };
                    let mut end = key.len();
                    for (at, byte) in key.bytes().enumerate().rev() {
                        if !byte.is_ascii_digit() {
                            end = at;
                            continue;
                        }
                        let fits = this.get(next, end) && index(&key[at..end], &shown).is_some();
                        this.set(number, at, fits);
                    }
                }
            }
        }
        this
    }

    fn get(&self, part: usize, at: usize) -> bool {
        self.table[part * self.places + at]
    }

    fn set(&mut self, part: usize, at: usize, fits: bool) {
        self.table[part * self.places + at] = fits;
    }
}

/// How many digits `text` begins with.
fn digits(text: impl AsRef<[u8]>) -> usize {
    text.as_ref().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// How a key shows a field of the config.
fn field_text(name: &str, field: &Field<'_>) -> Option<String> {
    field(name).map(|value| value.to_string())
}

/// The captured value of an index that a key shows as `text`: without leading zeros, not below the
/// offset, and of 64 bits.
fn index(text: &str, shown: &Shown) -> Option<u64> {
    // The longest 64-bit number has 20 digits; a key may have millions.
    if text.len() > 20 || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    shown.index(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The short way and the general one say the same of every key.
        #[test]
        fn both_ways_agree(
            parts in prop::collection::vec("\\*|\\{[ab]\\}|\\{2 \\+ c\\}|\\{2 \\* d - 1\\}|\\{n:field\\}|\\{w:word\\}|[xy]|[xy][.][xy0-9]", 1..5),
            key in "[xy.0-9]{0,12}",
        ) {
            let text = parts.join(".");
            let Ok(pattern) = Pattern::parse(&text) else { return Ok(()) };
            prop_assume!(pattern.is_read_one_way());
            let fits = Fits::new(&pattern, &key, &|_| Some(0)).get(0, 0);
            prop_assert_eq!(pattern.read(&key, &|_| Some(0)).is_some(), fits, "{} {}", text, key);
        }
    }
}
