//! A model's config and a format's config, in one declaration that is read in both directions.
//!
//! [`config_map!`](crate::config_map) makes a [`ConfigMap`]: rows that say which field of
//! `config.json` is which field of the model's config, what an absent field means, what the model is
//! without a field that says so, and which fields have no effect on what is computed. Import reads
//! the rows from left to right, export from right to left. A field that no row knows is refused.
//!
//! The attribute [`model_importer`](crate::model_importer) proves the map of a connector: each field
//! that the model needs is made once, and no field of the format is read twice.

mod codec;
mod field;
mod proof;
mod read;
mod scalar;
mod write;

pub use codec::{Codec, NOT};
pub use field::{Args, ConfigFields, Field, FieldType, Kind, Misfit};
pub(crate) use field::{LARGEST, LONGEST};
pub use proof::{check_carried, check_config, check_field, check_only};
pub use read::Reading;
pub use scalar::Scalar;
pub use write::{Spelling, Writing};

use crate::base::Location;
use serde_json::{Map, Value};

/// How a format's config says what a model's config says. Made by
/// [`config_map!`](crate::config_map), usable in constants.
#[derive(Clone, Copy, Debug)]
pub struct ConfigMap {
    /// Every field that the model's config has.
    pub fields: &'static [Field],
    /// What in a model's config makes no model.
    pub misfits: fn(&Value) -> Vec<Misfit>,
    /// The rows.
    pub rows: &'static [Row],
}

/// One row of a [`ConfigMap`].
#[derive(Clone, Copy, Debug)]
pub enum Row {
    /// The rows of another map.
    Include(&'static [Row]),
    /// A field of the format that is one of the model.
    Field(FieldRow),
    /// A field of the model for which the format has none.
    Only {
        /// The field.
        model: &'static str,
        /// What it is.
        value: Absent,
        /// Where the row is written.
        at: Location,
    },
    /// A field of the format that has this value or is absent, and is written.
    Constant {
        /// The field.
        name: &'static str,
        /// Its value.
        value: Scalar,
    },
    /// What an absent field means, in place of what its row says.
    Absent {
        /// The field.
        name: &'static str,
        /// The value that stands for it, as the format would have it.
        value: Scalar,
        /// Where the row is written.
        at: Location,
    },
    /// Fields without effect on what the model computes.
    Carry(&'static [&'static str]),
    /// A field that has no effect as long as it has one of these values.
    Neutral {
        /// The field.
        name: &'static str,
        /// Its values, beside null.
        values: &'static [Scalar],
    },
    /// Fields that only together say something.
    Part(Part),
}

/// A field of the format that is one of the model.
#[derive(Clone, Copy, Debug)]
pub struct FieldRow {
    /// Its spellings, that of older readers first: without an original export writes it.
    pub names: &'static [&'static str],
    /// The model's field.
    pub model: &'static str,
    /// What it means if it is absent or null.
    pub absent: Absent,
    /// How values are translated; `None` leaves them as they are.
    pub via: Option<Codec>,
    /// Where the row is written.
    pub at: Location,
}

/// What stands for a field that a config does not have.
#[derive(Clone, Copy, Debug)]
pub enum Absent {
    /// Nothing does: it must be there.
    Required,
    /// A value, as the format would have it.
    Is(Scalar),
    /// The same as another field of the model.
    Like(&'static str),
    /// What follows from the fields of the model that were read before.
    By(fn(&Map<String, Value>) -> Value),
}

/// Fields that only together say something, translated by functions.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The fields of the format that it reads.
    pub names: &'static [&'static str],
    /// The fields of the model that it makes.
    pub model: &'static [&'static str],
    /// Reads them; each field of the format is settled through [`Reading::fields`].
    pub read: fn(&mut Reading<'_>),
    /// Writes them.
    pub write: fn(&mut Writing<'_>),
}

impl ConfigMap {
    /// Every row, those of included maps in their place.
    fn flat(&self) -> Vec<&'static Row> {
        fn add(rows: &'static [Row], out: &mut Vec<&'static Row>) {
            for row in rows {
                match row {
                    Row::Include(rows) => add(rows, out),
                    row => out.push(row),
                }
            }
        }
        let mut out = Vec::new();
        add(self.rows, &mut out);
        out
    }

    /// Sets the fields of `model` that in every such model are the same as another: what a framework's
    /// file says of them has no effect.
    pub(crate) fn follow(&self, model: &mut Map<String, Value>) {
        for row in self.flat() {
            if let Row::Only { model: field, value: Absent::Like(other), .. } = row
                && let Some(value) = model.get(*other).cloned()
            {
                model.insert((*field).into(), value);
            }
        }
    }

    /// The value that a field of the format has in every file.
    pub(crate) fn constant(&self, name: &str) -> Option<Value> {
        self.flat().into_iter().find_map(|row| match row {
            Row::Constant { name: field, value } if *field == name => Some(value.value()),
            _ => None,
        })
    }

    /// Whether a row knows the field `name` of the format, and, of a neutral one, its values.
    pub(crate) fn knows(&self, name: &str, value: &Value) -> bool {
        self.flat().into_iter().any(|row| match row {
            Row::Field(FieldRow { names, .. }) | Row::Part(Part { names, .. }) => {
                names.contains(&name)
            }
            Row::Constant { name: field, .. } => *field == name,
            Row::Carry(names) => names.contains(&name),
            Row::Neutral { name: field, values } => {
                *field == name && values.iter().any(|known| known.is(value))
            }
            _ => false,
        })
    }

    /// The format's name for a field of the model: its first spelling.
    pub(crate) fn format_name(&self, model: &str) -> Option<&'static str> {
        self.flat().into_iter().find_map(|row| match row {
            Row::Field(row) if row.model == model => row.names.first().copied(),
            Row::Part(part) if part.model.contains(&model) => part.names.first().copied(),
            _ => None,
        })
    }
}
