//! Kestrel, finished.
//!
//! The crate of docs/tutorial.md.

pub mod model;

/// The whole command line, with Kestrel in it.
pub fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
