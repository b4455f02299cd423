//! Faults of the disk, kills and power cuts, each at every system call of a command.
//!
//! What decides is the kernel's own view of a run: see [`trace`]. There are Linux and two
//! architectures; elsewhere this crate is empty.

#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

pub mod trace;
