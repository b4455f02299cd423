use crate::parse::{SyntaxError, is_repeated, parse};
use core::fmt;

/// The most parts a pattern can have. The longest in use are those that a mapping joins from a
/// block's head and a row (`model.layers.{l}` and `mlp.experts.{e}.w1.weight` make 6).
pub const MAX_PARTS: usize = 16;

/// A key with captures. See the [crate documentation](crate#syntax) for the grammar.
///
/// `Copy` and of fixed size, so that patterns can be parsed, joined and compared in constants.
#[derive(Clone, Copy)]
pub struct Pattern<'a> {
    pub(crate) parts: [Part<'a>; MAX_PARTS],
    pub(crate) len: usize,
}

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part<'a> {
    /// Text that stands in the key as it is, dots included.
    Text(&'a str),
    /// `*`, or `{name:word}`: one or more characters without a dot.
    Word {
        /// Empty for `*`.
        name: &'a str,
    },
    /// `**`: one or more characters, dots allowed.
    Any,
    /// `{name}`, `{2 + name}`, `{field + name}`, `{5 * name + 3}`: a decimal index.
    Index {
        /// The axis that the index runs over.
        name: &'a str,
        /// What the key shows above the captured value, or its multiple.
        offset: Offset<'a>,
        /// Which multiple of the captured value the key shows.
        scale: u64,
    },
    /// `{name:field}`: a field of the config, in decimal digits. It captures nothing.
    Field {
        /// The field.
        name: &'a str,
    },
}

/// How far an index in a key stands above the captured value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Offset<'a> {
    /// The key shows the captured value.
    None,
    /// The key shows the captured value plus a constant.
    Constant(u64),
    /// The key shows the captured value less a constant.
    Minus(u64),
    /// The key shows the captured value plus a field of the model's config.
    Field(&'a str),
}

/// Why two patterns cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinError<'a> {
    /// The result would have more than [`MAX_PARTS`] parts.
    TooLong,
    /// Both sides capture this name.
    Repeated {
        /// The name.
        name: &'a str,
    },
}

impl<'a> Part<'a> {
    /// Whether the part captures something.
    pub const fn is_capture(&self) -> bool {
        self.name().is_some()
    }

    /// The name of what the part captures: empty for `*` and `**`, `None` for text and fields.
    pub const fn name(&self) -> Option<&'a str> {
        match self {
            Part::Text(_) | Part::Field { .. } => None,
            Part::Any => Some(""),
            Part::Word { name } | Part::Index { name, .. } => Some(name),
        }
    }
}

/// What a key shows of an index: `scale * index + plus - minus`.
pub(crate) struct Shown {
    scale: u64,
    plus: u64,
    minus: u64,
}

impl Shown {
    /// `field` gives the fields of the config.
    pub fn new(
        scale: u64,
        offset: Offset<'_>,
        field: &dyn Fn(&str) -> Option<u64>,
    ) -> Option<Self> {
        let (plus, minus) = match offset {
            Offset::None => (0, 0),
            Offset::Constant(n) => (n, 0),
            Offset::Minus(n) => (0, n),
            Offset::Field(name) => (field(name)?, 0),
        };
        Some(Shown { scale, plus, minus })
    }

    /// What the key shows of the captured value; `None` if that is negative or beyond 64 bits.
    pub fn of(&self, index: u64) -> Option<u64> {
        index.checked_mul(self.scale)?.checked_add(self.plus)?.checked_sub(self.minus)
    }

    /// The captured value of which the key shows this, if there is one.
    pub fn index(&self, shown: u64) -> Option<u64> {
        let multiple = shown.checked_add(self.minus)?.checked_sub(self.plus)?;
        multiple.is_multiple_of(self.scale).then(|| multiple / self.scale)
    }
}

impl<'a> Pattern<'a> {
    /// The pattern without parts: what a block's prefix is at top level.
    pub const EMPTY: Pattern<'static> = Pattern { parts: [Part::Text(""); MAX_PARTS], len: 0 };

    /// Parses a pattern that may come from a user.
    ///
    /// # Errors
    /// The first mistake, with its place in `text`. Choices (`{p:weight|bias}`) are a mistake
    /// here: [`expand`](crate::expand) them first.
    pub const fn parse(text: &'a str) -> Result<Self, SyntaxError> {
        parse(text)
    }

    /// Parses a pattern in a constant; a malformed one does not compile.
    ///
    /// # Panics
    /// If `text` is malformed. At run time use [`Pattern::parse`].
    #[track_caller]
    pub const fn new(text: &'a str) -> Self {
        match parse(text) {
            Ok(pattern) => pattern,
            Err(error) => panic!("{}", error.kind().text()),
        }
    }

    /// The parts, in order.
    pub const fn parts(&self) -> &[Part<'a>] {
        self.parts.split_at(self.len).0
    }

    /// Part number `number`, in a constant.
    pub const fn part(&self, number: usize) -> Option<Part<'a>> {
        if number < self.len { Some(self.parts[number]) } else { None }
    }

    /// Whether this is [`Pattern::EMPTY`].
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `prefix.pattern`, as a block makes it from its head and a row inside.
    ///
    /// # Panics
    /// Where [`try_join`](Self::try_join) is an error.
    #[track_caller]
    pub const fn join(&self, inner: &Pattern<'a>) -> Self {
        match self.try_join(inner) {
            Ok(joined) => joined,
            Err(JoinError::TooLong) => panic!("the joined key pattern has too many parts"),
            Err(JoinError::Repeated { .. }) => {
                panic!("the joined key pattern captures one name twice")
            }
        }
    }

    /// `prefix.pattern`, as a block makes it from its head and a row inside.
    ///
    /// # Errors
    /// If the result has more than [`MAX_PARTS`] parts, or both sides capture one name: which of
    /// the two values counts, nothing would say.
    pub const fn try_join(&self, inner: &Pattern<'a>) -> Result<Self, JoinError<'a>> {
        if self.len == 0 {
            return Ok(*inner);
        }
        if inner.len == 0 {
            return Ok(*self);
        }
        let mut out = *self;
        if out.len + 1 + inner.len > MAX_PARTS {
            return Err(JoinError::TooLong);
        }
        out.parts[out.len] = Part::Text(".");
        out.len += 1;
        let mut i = 0;
        while i < inner.len {
            let part = inner.parts[i];
            if let Some(name) = part.name()
                && is_repeated(self, &part)
            {
                return Err(JoinError::Repeated { name });
            }
            out.parts[out.len] = part;
            out.len += 1;
            i += 1;
        }
        Ok(out)
    }

    /// The names of the captures in order; `*` and `**` have the empty name.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.parts().iter().filter_map(Part::name)
    }

    /// Whether the pattern has a capture called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }

    /// The parts with text cut into its characters: a joined pattern has other parts than one that
    /// is parsed whole, and the same of these.
    fn atoms(&self) -> impl Iterator<Item = Part<'a>> + '_ {
        self.parts().iter().flat_map(|part| {
            let (text, capture) = match part {
                Part::Text(text) => (*text, None),
                capture => ("", Some(*capture)),
            };
            text.split_inclusive(|_| true).map(Part::Text).chain(capture)
        })
    }
}

/// The pattern as it is written; parsing it gives the pattern again.
impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts() {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Word { name: "" } => f.write_str("*")?,
                Part::Word { name } => write!(f, "{{{name}:word}}")?,
                Part::Any => f.write_str("**")?,
                Part::Field { name } => write!(f, "{{{name}:field}}")?,
                Part::Index { name, offset, scale } => {
                    f.write_str("{")?;
                    match (offset, scale) {
                        (Offset::Constant(n), 1) => write!(f, "{n} + ")?,
                        (Offset::Field(field), _) => write!(f, "{field} + ")?,
                        _ => {}
                    }
                    match scale {
                        1 => f.write_str(name)?,
                        scale => write!(f, "{scale} * {name}")?,
                    }
                    match (offset, scale) {
                        (Offset::Constant(n), 2..) => write!(f, " + {n}")?,
                        (Offset::Minus(n), _) => write!(f, " - {n}")?,
                        _ => {}
                    }
                    f.write_str("}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

impl PartialEq for Pattern<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.atoms().eq(other.atoms())
    }
}

impl Eq for Pattern<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn joined_patterns_are_those_that_are_written_whole() {
        for (head, inner, want) in [
            ("a", "b", "a.b"),
            ("model.layers.{layer}", "mlp.fc1.weight{e}", "model.layers.{layer}.mlp.fc1.weight{e}"),
            ("**", "*", "**.*"),
            ("{2 + l}", "{n + e}.x", "{2 + l}.{n + e}.x"),
            ("{n:field}", "{5 * l + 3}.{e - 1}", "{n:field}.{5 * l + 3}.{e - 1}"),
        ] {
            let joined = Pattern::new(head).join(&Pattern::new(inner));
            assert_eq!(joined, Pattern::new(want));
            assert_eq!(joined.to_string(), want);
        }
        let pattern = Pattern::new("a.{l}");
        assert_eq!(Pattern::EMPTY.join(&pattern), pattern);
        assert_eq!(pattern.join(&Pattern::EMPTY), pattern);
        assert!(Pattern::EMPTY.join(&Pattern::EMPTY).is_empty());
    }

    #[test]
    fn different_patterns_are_not_equal() {
        for (a, b) in [
            ("a.b", "a.c"),
            ("a.b", "a.b.c"),
            ("a.{l}", "a.{m}"),
            ("a.{l}", "a.{l:word}"),
            ("a.{l}", "a.{2 + l}"),
            ("a.{n + l}", "a.{m + l}"),
            ("a.{l}", "a.{2 * l}"),
            ("a.{l}", "a.{l:field}"),
            ("a.*", "a.**"),
            ("{l}", "l"),
        ] {
            assert_ne!(Pattern::new(a), Pattern::new(b));
        }
    }

    #[test]
    #[should_panic(expected = "captures one name twice")]
    fn a_row_may_not_repeat_the_capture_of_its_block() {
        let _ = Pattern::new("layers.{layer}").join(&Pattern::new("experts.{2 + layer}"));
    }

    #[test]
    #[should_panic(expected = "too many parts")]
    fn a_joined_pattern_has_a_largest_size() {
        let _ = Pattern::new("*.*.*.*.*").join(&Pattern::new("*.*.*.*"));
    }

    #[test]
    fn names_and_lookups() {
        let pattern = Pattern::new("**.{layer}.*.{w:word}.{2 + e}");
        assert!(pattern.names().eq(["", "layer", "", "w", "e"]));
        assert!(pattern.has("w") && pattern.has("e") && !pattern.has("x"));
    }
}
