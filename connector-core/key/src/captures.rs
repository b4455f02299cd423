use alloc::{string::String, vec::Vec};
use core::fmt;

/// What a pattern captured from a key: a name (empty for `*` and `**`) and a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capture<'a> {
    name: &'a str,
    value: Value,
}

/// Ordered so that indices sort as numbers: layer 2 before layer 10.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Index(u64),
    Word(String),
}

impl<'a> Capture<'a> {
    /// A captured index.
    pub fn index(name: &'a str, value: u64) -> Self {
        Capture { name, value: Value::Index(value) }
    }

    /// A captured word. One that reads as an index is an index, so that `*` and `{layer}` that
    /// capture the same text capture the same value.
    pub fn word(name: &'a str, value: &str) -> Self {
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let canonical = digits && (value == "0" || !value.starts_with('0'));
        let value = match value.parse() {
            Ok(index) if canonical => Value::Index(index),
            _ => Value::Word(value.into()),
        };
        Capture { name, value }
    }

    /// The capture's name; empty for `*` and `**`.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The value, if it is an index.
    pub fn as_index(&self) -> Option<u64> {
        match self.value {
            Value::Index(index) => Some(index),
            Value::Word(_) => None,
        }
    }

    /// Whether both captured the same value, under whatever names.
    pub fn same_value(&self, other: &Capture<'_>) -> bool {
        self.value == other.value
    }
}

/// The value as it stands in a key.
impl fmt::Display for Capture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Index(index) => write!(f, "{index}"),
            Value::Word(word) => f.write_str(word),
        }
    }
}

/// What a pattern captured from a key, in the order of the pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Captures<'a>(Vec<Capture<'a>>);

impl<'a> Captures<'a> {
    /// No captures.
    pub fn new() -> Self {
        Captures(Vec::new())
    }

    /// The same, with room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Captures(Vec::with_capacity(count))
    }

    /// Adds a capture at the end.
    pub fn push(&mut self, capture: Capture<'a>) {
        self.0.push(capture);
    }

    /// The captures in order.
    pub fn iter(&self) -> core::slice::Iter<'_, Capture<'a>> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The capture called `name`.
    pub fn get(&self, name: &str) -> Option<&Capture<'a>> {
        self.iter().find(|capture| capture.name() == name)
    }

    /// The index called `name`.
    pub fn index(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_index()
    }

    /// The captures without the one called `name`.
    pub fn without(&self, name: &str) -> Self {
        Captures(self.iter().filter(|capture| capture.name() != name).cloned().collect())
    }

    /// The captures with `capture` in place of the one of that name, or added at the end.
    pub fn with(&self, capture: Capture<'a>) -> Self {
        let mut out = Captures::with_capacity(self.len() + 1);
        out.0.extend_from_slice(&self.0);
        match out.0.iter_mut().find(|c| c.name() == capture.name() && !c.name().is_empty()) {
            Some(slot) => *slot = capture,
            None => out.0.push(capture),
        }
        out
    }
}

/// `{layer} = 3, {e} = 1`; captures without a name show as `* = 3`.
impl fmt::Display for Captures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, capture) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match capture.name() {
                "" => write!(f, "{comma}* = {capture}")?,
                name => write!(f, "{comma}{{{name}}} = {capture}")?,
            }
        }
        Ok(())
    }
}
