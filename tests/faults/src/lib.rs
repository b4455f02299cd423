//! Faults of the disk, kills and power cuts, each at every system call of a command.
//!
//! What decides is the kernel's own view of a run: see [`trace`]. There are Linux and two
//! architectures; elsewhere this crate is empty.
//!
//! ```text
//! cargo run -p connector-faults --release -- --all    every fault at every call of every case
//! cargo test -p connector-faults                      a sample of them
//! ```

#![cfg(all(
    target_os = "linux",
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

pub mod cases;
pub mod inject;
mod judge;
pub mod report;
pub mod scene;
pub mod suite;
pub mod trace;
mod tree;
