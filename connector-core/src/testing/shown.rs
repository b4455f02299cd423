use crate::Location;
use std::fmt;

/// What [`prove_lossless`](super::prove_lossless) has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lossless {
    /// The connector.
    pub connector: String,
    /// How many source tensors were converted and came back.
    pub sources: usize,
    /// How many parameters they became.
    pub parameters: usize,
    /// How many elements the source tensors have together.
    pub elements: u64,
    /// Functions that compute instead of moving elements: of these only the way there and back is
    /// shown.
    pub computed: Vec<String>,
    /// What was not shown.
    pub exempt: Vec<Exempt>,
}

/// A part of a mapping about which [`prove_lossless`](super::prove_lossless) says nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Exempt {
    /// The keys, grouped.
    pub keys: String,
    /// Why nothing is shown.
    pub reason: String,
    /// The row.
    pub at: Location,
}

/// What was shown, and below it what was not.
impl fmt::Display for Lossless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lossless { connector, sources, parameters, elements, computed, exempt } = self;
        write!(f, "{connector}: {sources} tensors → {parameters} parameters → the same tensors, ")?;
        write!(f, "each of {elements} elements in its place")?;
        for name in computed {
            write!(f, "\n  computes, its inverse brings everything back: {name}")?;
        }
        for Exempt { keys, reason, at } in exempt {
            write!(f, "\n  not shown: {keys} {reason} ({at})")?;
        }
        Ok(())
    }
}
