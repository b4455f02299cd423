//! The imported models compute what the originals compute.

mod fixtures;
mod gradients;
mod naive;
mod shapes;
mod support;
