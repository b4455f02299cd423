//! The imported models compute what the originals compute.

#![allow(clippy::print_stdout, reason = "with --nocapture, how close they are")]

mod cli;
mod fixtures;
mod gradients;
mod hostile;
mod naive;
mod shapes;
mod support;
