use super::Shape;
use crate::base::Dtype;
use std::fmt;

/// A tensor's type and dimensions.
pub type Kind = (Dtype, Shape);

/// A built-in operation that computes: its sources may be of different types, its one target is of
/// a type of its own. It runs on whole tensors in memory.
pub trait Compute: Sync + fmt::Debug {
    /// The type and shape of the target.
    ///
    /// # Errors
    /// A sentence that says which source does not fit.
    fn target(&self, sources: &[Kind]) -> Result<Kind, String>;

    /// The target's bytes, row-major and little-endian, from those of the sources, for which
    /// [`Compute::target`] has passed.
    fn run(&self, sources: &[Kind], bytes: &[&[u8]]) -> Vec<u8>;

    /// The same on tensors, on whatever device they are.
    ///
    /// # Errors
    /// As [`Compute::target`], and those of candle.
    #[cfg(feature = "candle")]
    fn apply(&self, sources: &[super::Tensor]) -> Result<super::Tensor, super::BoxError>;
}
