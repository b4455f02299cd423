//! Kestrel with everything decided and one function missing.
//!
//! The crate of docs/tutorial.md, before its plan is refused.

pub mod model;

/// The whole command line, with Kestrel in it.
pub fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
