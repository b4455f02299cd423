//! Captured values into patterns.

use crate::pattern::Shown;
use crate::{Capture, Captures, Part, Pattern};
use alloc::string::String;
use core::fmt;

impl Pattern<'_> {
    /// Fills captured values in: the key that this pattern stands for. `field` gives the value of
    /// a config field that is an offset.
    ///
    /// Named captures are looked up by name, `*` and `**` by position among the unnamed. If all
    /// captures are of the other sort, and as many as the pattern has, they are taken by position.
    ///
    /// `None` if a value is missing or no index, a field unknown, or an index overflows.
    pub fn key(
        &self,
        captures: &Captures<'_>,
        field: impl Fn(&str) -> Option<u64>,
    ) -> Option<String> {
        // Few indices have more digits: the key is then written without moving.
        let len = |part: &Part<'_>| if let Part::Text(text) = part { text.len() } else { 4 };
        let mut out = String::with_capacity(self.parts().iter().map(len).sum());
        let (mut position, mut unnamed) = (0, 0);
        for part in self.parts() {
            let Some(name) = part.name() else {
                match part {
                    Part::Field { name } => push_index(&mut out, field(name)?),
                    Part::Text(text) => out.push_str(text),
                    _ => {}
                }
                continue;
            };
            let found = match name {
                "" => captures.iter().filter(|capture| capture.name().is_empty()).nth(unnamed),
                name => captures.get(name),
            };
            let value = found.or_else(|| self.by_position(captures, name.is_empty(), position))?;
            match part {
                Part::Index { offset, scale, .. } => {
                    let shown = Shown::new(*scale, *offset, &field)?;
                    push_index(&mut out, shown.of(value.as_index()?)?);
                }
                _ => fmt::write(&mut out, format_args!("{value}")).ok()?,
            }
            position += 1;
            unnamed += usize::from(name.is_empty());
        }
        Some(out)
    }

    /// The capture at `position`, if all captures are of the other sort than the part that wants
    /// one, and there is one for each part.
    fn by_position<'c, 'n>(
        &self,
        captures: &'c Captures<'n>,
        wants_unnamed: bool,
        position: usize,
    ) -> Option<&'c Capture<'n>> {
        let other_sort = captures.iter().all(|capture| capture.name().is_empty() != wants_unnamed);
        let one_each = captures.len() == self.names().count();
        if other_sort && one_each { captures.iter().nth(position) } else { None }
    }
}

/// Writes an index. A plan writes half a million of them, and formatting takes several times as long.
fn push_index(out: &mut String, index: u64) {
    // The longest 64-bit number has 20 digits.
    let mut digits = ['0'; 20];
    let (mut first, mut rest) = (digits.len(), index);
    loop {
        first -= 1;
        digits[first] = char::from(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn indices_are_written_in_decimal() {
        for index in [0, 7, 10, 4096, u64::MAX] {
            let mut written = String::new();
            push_index(&mut written, index);
            assert_eq!(written, index.to_string());
        }
    }

    /// What `to` becomes with the captures that `from` takes from `key`.
    fn carried(from: &'static str, key: &str, to: &str) -> Option<String> {
        let fields = |name: &str| (name == "n").then_some(61);
        let captures = Pattern::new(from).captures_with(key, &fields)?;
        Pattern::new(to).key(&captures, fields)
    }

    #[test]
    fn values_go_by_name_or_else_by_position() {
        for (from, key, to, want) in [
            ("a.{l}.{e}", "a.1.2", "b.{e}.{l}", Some("b.2.1")),
            ("a.*.*", "a.1.x", "b.*.*", Some("b.1.x")),
            ("**.x.*", "a.b.x.c", "**.y.*", Some("a.b.y.c")),
            ("a.{l}", "a.1", "b.c", Some("b.c")),
            ("a.{w:word}", "a.q", "b.{w:word}", Some("b.q")),
            ("a.{w:word}", "a.7", "b.{w}", Some("b.7")),
            // All of the other sort.
            ("a.*.*", "a.1.2", "b.{l}.{e}", Some("b.1.2")),
            ("a.{l}.{e}", "a.1.2", "b.*.*", Some("b.1.2")),
            // Mixed: unnamed ones count among themselves.
            ("*.{a}.{b}", "x.1.2", "{a}.{b}.*", Some("1.2.x")),
            ("*.{a}.*", "x.1.y", "*.*.{a}", Some("x.y.1")),
            // Offsets.
            ("m.{n + i}", "m.61", "mtp.{i}", Some("mtp.0")),
            ("mtp.{i}", "mtp.1", "m.{n + i}", Some("m.62")),
            ("a.{2 + i}", "a.5", "b.{i}", Some("b.3")),
            ("a.{i - 2}", "a.5", "b.{i}", Some("b.7")),
            ("a.{i}", "a.5", "b.{i - 5}", Some("b.0")),
            ("a.{i}", "a.5", "b.{i - 6}", None),
            ("a.{5 * i + 3}", "a.13", "b.{i}", Some("b.2")),
            ("a.{i}", "a.2", "b.{n + 2 * i}", Some("b.65")),
            ("a", "a", "b.{n:field}", Some("b.61")),
            ("b.{n:field}.{i}", "b.61.4", "a.{i}", Some("a.4")),
            // What is missing is not made up from another name or another position.
            ("a.{l}", "a.1", "b.{e}", None),
            ("a.{l}.{x}", "a.1.2", "b.{l}.{e}", None),
            ("a.{l}.{x}", "a.1.2", "b.*", None),
            ("a.*", "a.1", "b.*.*", None),
            ("a.*.{l}", "a.x.1", "b.{e}.{l}", None),
            ("a.{w:word}", "a.q", "b.{w}", None),
            ("a.*", "a.x", "b.{l}", None),
            ("a.{l}", "a.1", "b.{unknown + l}", None),
            ("a.{l}", "a.18446744073709551615", "b.{1 + l}", None),
        ] {
            assert_eq!(carried(from, key, to).as_deref(), want, "{from} {key} {to}");
        }
    }
}
