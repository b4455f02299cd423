//! The imported models compute what the originals compute.

mod cli;
mod fixtures;
mod gradients;
mod hostile;
mod naive;
mod shapes;
mod support;
