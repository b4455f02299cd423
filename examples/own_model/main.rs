//! A model of your own with a command line of your own.
//!
//! `cargo run -p connector-examples --example own_model -- list` shows the importer of `model.rs`
//! beside the built-in ones; `… -- import examples/own_model/checkpoint --output sparrow` runs it.

pub mod model;

/// The whole command line, with whatever importers are linked into this program.
pub fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
