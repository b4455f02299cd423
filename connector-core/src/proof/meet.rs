use super::fit::{Place, Symbol, next};
use crate::key::{Offset, Part, Pattern, same};

/// Whether some key matches both patterns, as far as they tell: where an index begins that a field or a
/// multiple says, only a config knows, and it meets no other.
pub(super) const fn meet(a: &Pattern<'static>, b: &Pattern<'static>) -> bool {
    ends_meet(a, b) && walk(a, START, b, START)
}

/// Where a walk through a pattern stands.
#[derive(Clone, Copy)]
struct At {
    place: Place,
    /// Whether the capture there has taken a character, so that it may end.
    open: bool,
}

const START: At = At { place: Place { part: 0, byte: 0 }, open: false };

/// Whether the texts that two patterns end with agree, which spares most walks.
const fn ends_meet(a: &Pattern<'static>, b: &Pattern<'static>) -> bool {
    let (Some(Part::Text(a)), Some(Part::Text(b))) = (last(a), last(b)) else { return true };
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 1;
    while i <= a.len() && i <= b.len() {
        if a[a.len() - i] != b[b.len() - i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn last(pattern: &Pattern<'static>) -> Option<Part<'static>> {
    match pattern.parts().len() {
        0 => None,
        len => pattern.part(len - 1),
    }
}

const fn walk(a: &Pattern<'static>, mut at: At, b: &Pattern<'static>, mut bt: At) -> bool {
    loop {
        let (x, behind_x) = next(a, at.place);
        let (y, behind_y) = next(b, bt.place);
        let (ended_x, ended_y) =
            (At { place: behind_x, open: false }, At { place: behind_y, open: false });
        if at.open && walk(a, ended_x, b, bt) || bt.open && walk(a, at, b, ended_y) {
            return true;
        }
        match (x, y) {
            (Symbol::End, Symbol::End) => return true,
            (Symbol::End, _) | (_, Symbol::End) => return false,
            (Symbol::Byte(one), Symbol::Byte(other)) => {
                if one != other {
                    return false;
                }
                (at, bt) = (ended_x, ended_y);
            }
            (Symbol::Capture(capture), Symbol::Byte(byte)) => {
                if !takes(capture, byte, at.open) {
                    return false;
                }
                (at.open, bt) = (true, ended_y);
            }
            (Symbol::Byte(byte), Symbol::Capture(capture)) => {
                if !takes(capture, byte, bt.open) {
                    return false;
                }
                (at, bt.open) = (ended_x, true);
            }
            // An index is followed by no digit, so that two end together.
            (
                Symbol::Capture(one @ (Part::Index { .. } | Part::Field { .. })),
                Symbol::Capture(other @ (Part::Index { .. } | Part::Field { .. })),
            ) => {
                if !(is_plain(one) && is_plain(other) || same_place(one, other)) {
                    return false;
                }
                (at, bt) = (ended_x, ended_y);
            }
            // What one character of both shows, any number would.
            (Symbol::Capture(_), Symbol::Capture(_)) => {
                if at.open && bt.open {
                    return false;
                }
                (at.open, bt.open) = (true, true);
            }
        }
    }
}

/// Whether a capture takes a character; `open` says that it is not its first.
const fn takes(capture: Part<'static>, byte: u8, open: bool) -> bool {
    match capture {
        Part::Index { offset: Offset::None, scale: 1, .. } => byte.is_ascii_digit(),
        Part::Index { offset: Offset::Constant(_), scale: 1, .. } => {
            byte.is_ascii_digit() && (open || byte != b'0')
        }
        Part::Index { .. } | Part::Field { .. } => false,
        Part::Any => true,
        _ => byte != b'.',
    }
}

/// Whether an index runs over a number and all above.
const fn is_plain(index: Part<'_>) -> bool {
    matches!(index, Part::Index { offset: Offset::None | Offset::Constant(_), scale: 1, .. })
}

/// Whether two indices begin at one place and take the same steps.
const fn same_place(a: Part<'_>, b: Part<'_>) -> bool {
    match (a, b) {
        (Part::Field { name: a }, Part::Field { name: b }) => same(a, b),
        (
            Part::Index { offset: a, scale: one, .. },
            Part::Index { offset: b, scale: other, .. },
        ) => one == other && same_offset(a, b),
        _ => false,
    }
}

pub(super) const fn same_offset(a: Offset<'_>, b: Offset<'_>) -> bool {
    match (a, b) {
        (Offset::None, Offset::None) => true,
        (Offset::Constant(a), Offset::Constant(b)) | (Offset::Minus(a), Offset::Minus(b)) => a == b,
        (Offset::Field(a), Offset::Field(b)) => same(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_where_a_key_matches_both() {
        for (a, b, want) in [
            ("m.w", "m.w", true),
            ("m.w", "m.v", false),
            ("m.{l}.w", "m.{layer}.w", true),
            ("m.{l}.w", "m.3.w", true),
            ("m.{l}.w", "m.x.w", false),
            ("m.{1 + l}.w", "m.0.w", false),
            ("m.{1 + l}.w", "m.10.w", true),
            ("m.{1 + l}.w", "m.{l}.w", true),
            ("m.{5 * x + 3}.w", "m.{l}.w", false),
            ("m.{5 * x + 3}.w", "m.{5 * y + 3}.w", true),
            ("m.{n:field}.w", "m.{l}.w", false),
            ("m.{n + x}.w", "m.{l}.w", false),
            ("m.{n + x}.w", "m.{n + y}.w", true),
            ("m.{n + x}.w", "m.3.w", false),
            ("w{e}", "w1{e}", true),
            ("w{e}", "w1{e}x", false),
            ("m.*", "m.{l}", true),
            ("m.*", "m.a.b", false),
            ("m.**", "m.a.b", true),
            ("**", "m.{l}.w", true),
            ("m.*_norm", "m.input_norm", true),
            ("m.*_norm", "m.norm", false),
            ("*x", "y*", true),
            ("a*.b", "*c.b", true),
            ("**.a", "b.**", true),
            ("**.a.*.b", "{l}.a.c.{m}", false),
        ] {
            let [one, other] = [a, b].map(Pattern::new);
            assert_eq!(meet(&one, &other), want, "{a} and {b}");
            assert_eq!(meet(&other, &one), want, "{b} and {a}");
        }
    }
}
