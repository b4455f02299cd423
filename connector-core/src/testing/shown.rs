use crate::Location;
use std::fmt;
use std::path::PathBuf;

/// What [`prove_lossless`](super::prove_lossless) has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lossless {
    /// The connector.
    pub connector: String,
    /// What says what the source tensors are.
    pub origin: Origin,
    /// How many source tensors were converted and came back.
    pub sources: usize,
    /// How many parameters they became.
    pub parameters: usize,
    /// How many elements these have together.
    pub elements: u64,
    /// Functions that compute instead of moving elements: of these only the way there and back is
    /// shown.
    pub computed: Vec<String>,
    /// Rules whose operation puts elements in several places, and says so.
    pub copying: Vec<String>,
    /// What was not shown.
    pub exempt: Vec<Exempt>,
}

/// What says what the source tensors are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The export of the same importer: nothing is known of what else a source has.
    #[default]
    Export,
    /// The importer's `source_schema`, of this name.
    Schema(String),
    /// The checkpoint at this place.
    Checkpoint(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Export => f.write_str("those that the export writes, and no others"),
            Origin::Schema(name) => write!(f, "those that {name} declares"),
            Origin::Checkpoint(path) => write!(f, "those of {}", path.display()),
        }
    }
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
        let Lossless { connector, origin, sources, parameters, elements, .. } = self;
        write!(f, "{connector}: {sources} tensors → {parameters} parameters → the same tensors, ")?;
        write!(f, "each of {elements} elements in its place")?;
        write!(f, "\n  the source tensors are {origin}")?;
        for name in &self.copying {
            write!(f, "\n  copies, as its operation says: {name}")?;
        }
        for name in &self.computed {
            write!(f, "\n  computes, its inverse brings everything back: {name}")?;
        }
        for Exempt { keys, reason, at } in &self.exempt {
            write!(f, "\n  not shown: {keys} {reason} ({at})")?;
        }
        Ok(())
    }
}
