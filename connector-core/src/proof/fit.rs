use crate::key::{Part, Pattern, same};

/// How a row's target fits a parameter's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// No key of the parameter matches.
    None,
    /// Some keys match: the row has a literal index where the parameter has an axis.
    Part,
    /// Every key matches.
    Whole,
}

/// Compares a target with a parameter's name: as the keys would match, with each axis of the
/// parameter as one symbol that stands for all its indices.
pub(super) const fn fit(target: &Pattern<'static>, parameter: &Pattern<'static>) -> Fit {
    let start = Place { part: 0, byte: 0 };
    if matches(target, start, parameter, start, false) {
        Fit::Whole
    } else if matches(target, start, parameter, start, true) {
        Fit::Part
    } else {
        Fit::None
    }
}

/// A place between two symbols of a pattern; a symbol is a byte of text or a capture.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub part: usize,
    pub byte: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Symbol<'a> {
    End,
    Byte(u8),
    Capture(Part<'a>),
}

/// The symbol behind a place, and the place behind it.
pub(super) const fn next<'a>(pattern: &Pattern<'a>, mut at: Place) -> (Symbol<'a>, Place) {
    loop {
        match pattern.part(at.part) {
            None => return (Symbol::End, at),
            Some(Part::Text(text)) => {
                let bytes = text.as_bytes();
                if at.byte < bytes.len() {
                    let behind = Place { part: at.part, byte: at.byte + 1 };
                    return (Symbol::Byte(bytes[at.byte]), behind);
                }
                at = Place { part: at.part + 1, byte: 0 };
            }
            Some(part) => return (Symbol::Capture(part), Place { part: at.part + 1, byte: 0 }),
        }
    }
}

/// Whether the rest of the target matches the rest of the parameter. `partly` lets digits of the
/// target stand for one index of an axis.
const fn matches(
    target: &Pattern<'static>,
    mut t: Place,
    parameter: &Pattern<'static>,
    mut p: Place,
    partly: bool,
) -> bool {
    loop {
        let (want, t_next) = next(target, t);
        let (have, p_next) = next(parameter, p);
        match (want, have) {
            (Symbol::End, Symbol::End) => return true,
            (Symbol::End, _) | (_, Symbol::End) => return false,
            (Symbol::Byte(a), Symbol::Byte(b)) => {
                if a != b {
                    return false;
                }
            }
            (Symbol::Byte(a), Symbol::Capture(_)) => {
                if !partly || !a.is_ascii_digit() {
                    return false;
                }
                t = skip_digits(target, t);
                p = p_next;
                continue;
            }
            (Symbol::Capture(Part::Field { name }), Symbol::Capture(part)) => {
                // One of the indices of an axis.
                let alike = matches!(part, Part::Field { name: other } if same(name, other));
                if !alike && !partly {
                    return false;
                }
            }
            (Symbol::Capture(Part::Field { .. }), Symbol::Byte(_)) => return false,
            (Symbol::Capture(Part::Index { .. }), Symbol::Capture(_)) => {}
            (Symbol::Capture(Part::Index { .. }), Symbol::Byte(b)) => {
                if !b.is_ascii_digit() {
                    return false;
                }
                t = t_next;
                p = skip_digits(parameter, p);
                continue;
            }
            (Symbol::Capture(capture), _) => {
                // `*` and `**` take as many symbols as lead to a match.
                let dots = matches!(capture, Part::Any);
                let mut end = p;
                loop {
                    let (taken, behind) = next(parameter, end);
                    match taken {
                        Symbol::End => return false,
                        Symbol::Byte(b'.') if !dots => return false,
                        _ => end = behind,
                    }
                    if matches(target, t_next, parameter, end, partly) {
                        return true;
                    }
                }
            }
        }
        t = t_next;
        p = p_next;
    }
}

const fn skip_digits(pattern: &Pattern<'static>, mut at: Place) -> Place {
    loop {
        let (symbol, behind) = next(pattern, at);
        match symbol {
            Symbol::Byte(b) if b.is_ascii_digit() => at = behind,
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_fit_parameters() {
        for (target, parameter, want) in [
            ("a.{layer}.b", "a.{layer}.b", "whole"),
            ("a.{l}.b", "a.{layer}.b", "whole"),
            ("a.*.b", "a.{layer}.b", "whole"),
            ("**.b", "a.{layer}.b", "whole"),
            ("a.**", "a.{layer}.b", "whole"),
            ("a.3.b", "a.{layer}.b", "part"),
            ("a.{layer}.c", "a.{layer}.b", "none"),
            ("a.{layer}", "a.{layer}.b", "none"),
            ("a.{layer}.b.c", "a.{layer}.b", "none"),
            ("a.weight{e}", "a.weight{expert}", "whole"),
            ("a.weight*", "a.weight{expert}", "whole"),
            ("a.weight*", "a.weight", "none"),
            ("a.*", "a.b.c", "none"),
            ("*.b", "a.b", "whole"),
            ("a.{i}.b", "a.0.b", "whole"),
            ("a.{i}.b", "a.x.b", "none"),
            ("a.{n:field}.b", "a.{layer}.b", "part"),
            ("a.{n:field}.b", "a.{n:field}.b", "whole"),
            ("a.{n:field}.b", "a.0.b", "none"),
        ] {
            let fit = fit(&Pattern::new(target), &Pattern::new(parameter));
            let got = match fit {
                Fit::None => "none",
                Fit::Part => "part",
                Fit::Whole => "whole",
            };
            assert_eq!(got, want, "{target} against {parameter}");
        }
    }
}
