//! The `connector` command line, with the importers of this crate.

fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
