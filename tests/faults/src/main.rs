//! The slow suite: every fault at every call of every case.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod command;

fn main() -> std::process::ExitCode {
    #[cfg(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    return command::main();
    #[cfg(not(all(
        target_os = "linux",
        target_env = "gnu",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        eprintln!("there is no tracer for this system");
        std::process::ExitCode::from(2)
    }
}
