//! The imported models compute what the originals compute.

mod fixtures;
mod gradients;
mod support;
