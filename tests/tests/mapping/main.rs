//! What rows of a mapping can say, from import to export and back.

mod chains;
mod copies;
mod optional;
mod types;
