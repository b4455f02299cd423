//! The slow suite: every fault at every call of every case, and power cuts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

#[cfg(has_tracer)]
mod command;

#[cfg(has_tracer)]
fn main() -> std::process::ExitCode {
    command::main()
}

#[cfg(not(has_tracer))]
fn main() -> std::process::ExitCode {
    eprintln!("there is no tracer for this system");
    std::process::ExitCode::from(2)
}
