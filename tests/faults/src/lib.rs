//! Faults of the disk, kills and power cuts, each at every system call of a command.
//!
//! What decides is the kernel's own view of a run: see [`trace`]. It knows Linux on
//! two architectures (`build.rs`); elsewhere this crate is empty.
//!
//! ```text
//! cargo run -p connector-faults --release -- --all          every fault at every call of every case
//! cargo run -p connector-faults --release -- --power-cut    the power goes, at every moment
//! cargo run -p connector-faults --release -- --writers      several commands on one output, in every order
//! cargo test -p connector-faults                            a sample of all three
//! ```

#![cfg(has_tracer)]

pub mod cases;
pub mod explore;
pub mod inject;
mod judge;
pub mod powercut;
pub mod report;
pub mod scene;
pub mod suite;
pub mod trace;
mod tree;
