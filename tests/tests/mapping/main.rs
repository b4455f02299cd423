//! What rows of a mapping can say, from import to export and back.

mod chains;
mod completeness;
mod copies;
mod optional;
mod types;
