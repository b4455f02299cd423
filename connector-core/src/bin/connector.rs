//! The `connector` command line, with the importers of this crate.

/// Plans of large models are made of millions of small allocations, and functions on tensors of a
/// few large ones that come and go: both take half the time of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
