//! The `connector` command line with failpoints, for tests that kill it.

fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
