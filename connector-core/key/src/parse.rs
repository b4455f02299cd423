use crate::pattern::{MAX_PARTS, Offset, Part, Pattern};
use core::{error, fmt};

/// A malformed pattern: what is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    kind: SyntaxErrorKind,
    start: usize,
    len: usize,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxErrorKind {
    /// The pattern has no characters.
    Empty,
    /// Two dots in a row, or a dot at an end.
    EmptySegment,
    /// `***`, or `**` with text or a capture in its segment.
    PartialSegment,
    /// `{` without `}`.
    Unclosed,
    /// `}` without `{`.
    Unopened,
    /// A capture without a name, or one that is not an identifier.
    BadName,
    /// After the colon stands neither `word` nor a list of texts.
    UnknownType,
    /// A choice `{p:a|b}` where single patterns are wanted.
    UnexpandedChoice,
    /// A choice with an empty, repeated or unliteral text, or two lists for one name.
    BadChoice,
    /// A sum that is none of an index and a number or a field, or a number that is too large.
    BadOffset,
    /// Two captures with no text between them.
    Adjacent,
    /// A digit right behind an index.
    DigitAfterIndex,
    /// One name for two captures.
    RepeatedName,
    /// More parts than [`MAX_PARTS`].
    TooLong,
}

impl SyntaxErrorKind {
    /// One sentence that says what is wrong and how to write it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "a key pattern may not be empty",
            Self::EmptySegment => {
                "this segment is empty: write one dot between two segments, and none at the ends"
            }
            Self::PartialSegment => {
                "`**` must be a whole segment: write `a.**.b`, or `*` inside a segment"
            }
            Self::Unclosed => "this `{` is never closed",
            Self::Unopened => "this `}` closes nothing",
            Self::BadName => {
                "a capture's name is of letters, digits and `_` and begins with no digit, as in `{layer}`"
            }
            Self::UnknownType => {
                "behind the colon stands `word`, `field`, or a choice of two texts or more: `{p:weight|bias}`"
            }
            Self::UnexpandedChoice => {
                "a list of texts cannot stand here: write one pattern for each text"
            }
            Self::BadChoice => {
                "the texts of a choice must be literal, different, and the same wherever its name is repeated"
            }
            Self::BadOffset => {
                "an index is shown as it is or with an offset, as one of `{name}`, `{2 + name}`, `{name - 2}`, `{field + name}`, `{5 * name + 3}`"
            }
            Self::Adjacent => {
                "two captures need text between them, or nothing says where the first one ends"
            }
            Self::DigitAfterIndex => {
                "a digit behind an index is read as one of its digits: put other text between them"
            }
            Self::RepeatedName => "this name is captured twice: give each capture its own",
            Self::TooLong => "the key pattern has too many parts",
        }
    }

    /// What else to write, where that is not plain from [`text`](Self::text).
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::BadName => Some("one index alone is written without braces: `layers.0.weight`"),
            Self::UnknownType => Some(
                "one text alone is written without braces; an index is `{p}`, any text without a dot `{p:word}`, a field of the config `{p:field}`",
            ),
            Self::BadOffset => {
                Some("numbers are below 2^32, and a field is added and stands first")
            }
            _ => None,
        }
    }
}

impl SyntaxError {
    pub(crate) const fn new(kind: SyntaxErrorKind, start: usize, len: usize) -> Self {
        SyntaxError { kind, start, len }
    }

    /// What is wrong.
    pub const fn kind(&self) -> SyntaxErrorKind {
        self.kind
    }

    /// The bytes of the pattern that are wrong.
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at character {})", self.kind.text(), self.start + 1)
    }
}

impl error::Error for SyntaxError {}

/// Parses a pattern in one pass; each step takes one part.
pub(crate) const fn parse(text: &str) -> Result<Pattern<'_>, SyntaxError> {
    use SyntaxErrorKind as Kind;
    let bytes = text.as_bytes();
    let mut pattern = Pattern { parts: [Part::Text(""); MAX_PARTS], len: 0 };
    if bytes.is_empty() {
        return error(Kind::Empty, 0, 0);
    }
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let part = match bytes[at] {
            b'*' => {
                while at < bytes.len() && bytes[at] == b'*' {
                    at += 1;
                }
                let whole = (start == 0 || bytes[start - 1] == b'.')
                    && (at == bytes.len() || bytes[at] == b'.');
                match at - start {
                    1 => Part::Word { name: "" },
                    2 if whole => Part::Any,
                    len => return error(Kind::PartialSegment, start, len),
                }
            }
            b'{' => {
                while at < bytes.len() && bytes[at] != b'}' {
                    at += 1;
                }
                if at == bytes.len() {
                    return error(Kind::Unclosed, start, 1);
                }
                at += 1;
                match capture(slice(text, start + 1, at - 1)) {
                    Ok(part) => part,
                    Err(kind) => return error(kind, start, at - start),
                }
            }
            b'}' => return error(Kind::Unopened, start, 1),
            _ => {
                if bytes[at].is_ascii_digit() && ends_with_index(&pattern) {
                    return error(Kind::DigitAfterIndex, start, 1);
                }
                while at < bytes.len() && !matches!(bytes[at], b'*' | b'{' | b'}') {
                    let edge = at == 0 || at + 1 == bytes.len() || bytes[at - 1] == b'.';
                    if bytes[at] == b'.' && edge {
                        return error(Kind::EmptySegment, at, 1);
                    }
                    at += 1;
                }
                Part::Text(slice(text, start, at))
            }
        };
        let follows = pattern.len > 0 && !matches!(pattern.parts[pattern.len - 1], Part::Text(_));
        if follows && !matches!(part, Part::Text(_)) {
            return error(Kind::Adjacent, start, at - start);
        }
        if is_repeated(&pattern, &part) {
            return error(Kind::RepeatedName, start, at - start);
        }
        if pattern.len == MAX_PARTS {
            return error(Kind::TooLong, start, at - start);
        }
        pattern.parts[pattern.len] = part;
        pattern.len += 1;
    }
    Ok(pattern)
}

/// What stands between `{` and `}`.
const fn capture(text: &str) -> Result<Part<'_>, SyntaxErrorKind> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && !matches!(bytes[at], b':' | b'+' | b'-') {
        at += 1;
    }
    if at == bytes.len() {
        return match product(text) {
            Some((scale, name)) => Ok(Part::Index { name, offset: Offset::None, scale }),
            None => Err(SyntaxErrorKind::BadName),
        };
    }
    let (left, right) = (slice(text, 0, at), slice(text, at + 1, bytes.len()));
    if bytes[at] == b':' {
        return match right.as_bytes() {
            b"word" if is_name(left.as_bytes()) => Ok(Part::Word { name: left }),
            b"field" if is_name(left.as_bytes()) => Ok(Part::Field { name: left }),
            b"word" | b"field" => Err(SyntaxErrorKind::BadName),
            kind if contains(kind, b'|') => Err(SyntaxErrorKind::UnexpandedChoice),
            _ => Err(SyntaxErrorKind::UnknownType),
        };
    }
    let (left, right) = (trim(left), trim(right));
    let (numbers, products) =
        ([number(left.as_bytes()), number(right.as_bytes())], [product(left), product(right)]);
    let (offset, product) = match (bytes[at], numbers, products) {
        (b'-', [_, Some(n)], [Some(product), _]) => (Offset::Minus(n), product),
        (b'-', ..) => return Err(SyntaxErrorKind::BadOffset),
        (_, [Some(n), _], [_, Some(product)]) | (_, [_, Some(n)], [Some(product), _]) => {
            (Offset::Constant(n), product)
        }
        (_, [None, None], [_, Some(product)]) if is_name(left.as_bytes()) => {
            (Offset::Field(left), product)
        }
        (_, [_, Some(_)], _) => return Err(SyntaxErrorKind::BadOffset),
        (_, _, [_, None]) => return Err(SyntaxErrorKind::BadName),
        _ => return Err(SyntaxErrorKind::BadOffset),
    };
    let offset = match offset {
        Offset::Constant(0) | Offset::Minus(0) => Offset::None,
        offset => offset,
    };
    Ok(Part::Index { name: product.1, offset, scale: product.0 })
}

/// `name` or `5 * name`.
const fn product(text: &str) -> Option<(u64, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'*' {
        at += 1;
    }
    if at == bytes.len() {
        return if is_name(bytes) { Some((1, text)) } else { None };
    }
    let name = trim(slice(text, at + 1, bytes.len()));
    match number(trim(slice(text, 0, at)).as_bytes()) {
        Some(scale) if scale > 0 && is_name(name.as_bytes()) => Some((scale, name)),
        _ => None,
    }
}

/// Whether `part` captures under a name that the pattern has.
pub(crate) const fn is_repeated(pattern: &Pattern<'_>, part: &Part<'_>) -> bool {
    let Some(name) = part.name() else { return false };
    let mut i = 0;
    while i < pattern.len && !name.is_empty() {
        if let Some(other) = pattern.parts[i].name()
            && crate::distance::same(name, other)
        {
            return true;
        }
        i += 1;
    }
    false
}

const fn ends_with_index(pattern: &Pattern<'_>) -> bool {
    pattern.len > 0
        && matches!(pattern.parts[pattern.len - 1], Part::Index { .. } | Part::Field { .. })
}

pub(crate) const fn is_name(bytes: &[u8]) -> bool {
    let mut i = 0;
    while i < bytes.len() {
        if !(bytes[i].is_ascii_alphabetic()
            || bytes[i] == b'_'
            || i > 0 && bytes[i].is_ascii_digit())
        {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty()
}

/// A decimal number that fits in 32 bits, so that sums with an index cannot overflow.
const fn number(bytes: &[u8]) -> Option<u64> {
    let mut n = 0;
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii_digit() {
            return None;
        }
        n = n * 10 + (bytes[i] - b'0') as u64;
        if n > u32::MAX as u64 {
            return None;
        }
        i += 1;
    }
    if bytes.is_empty() { None } else { Some(n) }
}

const fn contains(bytes: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

const fn trim(text: &str) -> &str {
    match core::str::from_utf8(text.as_bytes().trim_ascii()) {
        Ok(trimmed) => trimmed,
        Err(_) => text,
    }
}

/// `text[from..to]` in a constant; `from` and `to` stand beside ASCII characters.
const fn slice(text: &str, from: usize, to: usize) -> &str {
    text.split_at(to).0.split_at(from).1
}

const fn error<'a>(
    kind: SyntaxErrorKind,
    start: usize,
    len: usize,
) -> Result<Pattern<'a>, SyntaxError> {
    Err(SyntaxError::new(kind, start, len))
}
