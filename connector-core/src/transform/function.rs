use super::{BoxError, TransformCtx};
use std::fmt;

#[cfg(feature = "candle")]
pub use candle_core::Tensor;

/// Stands in for candle's tensor where the feature `candle` is off, so that annotated functions
/// still type-check. There is no way to make one; it is not an empty enum only because the compiler
/// would call what comes after one in those functions unreachable.
#[cfg(not(feature = "candle"))]
#[derive(Clone, Debug)]
pub struct Tensor(());

/// The number of targets of a function that returns `Vec<Tensor>`: it decides itself.
pub const SPREAD: usize = usize::MAX;

/// A user's function on tensors, behind one signature.
#[derive(Clone, Copy)]
pub struct Function {
    /// Calls it. `sources` are as many tensors as the operation takes, then the group's.
    pub call: fn(&TransformCtx<'_>, Vec<Tensor>) -> Result<Vec<Tensor>, BoxError>,
    /// Whether it takes a group, `&[Tensor]`, after the tensors that [`Operation::sources`] counts.
    ///
    /// [`Operation::sources`]: super::Operation::sources
    pub group: bool,
    /// A hash of the function's text and its crate's version: an edited function is another one.
    pub fingerprint: u64,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({:016x})", self.fingerprint)
    }
}

/// An argument of a state transform that takes one tensor.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a `#[state_transform]` function",
    label = "not a transform argument",
    note = "each argument after the optional `&TransformCtx` is a `Tensor`, one per source key; a last `&[Tensor]` takes a group"
)]
pub trait TransformArg {
    /// Takes the tensor.
    fn take(tensor: Tensor) -> Self;
}

impl TransformArg for Tensor {
    fn take(tensor: Tensor) -> Self {
        tensor
    }
}

/// A result of a state transform with `N` target keys: tensors, or a `Result` of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a `#[state_transform]` with {N} target key(s)",
    label = "not a transform result",
    note = "return `Tensor` for one target key, `(Tensor, Tensor)` or `[Tensor; N]` for several, `Vec<Tensor>` for an axis; each may be in a `Result`"
)]
pub trait TransformOutput<const N: usize> {
    /// The tensors, in the order of the target keys.
    ///
    /// # Errors
    /// The function's own.
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError>;
}

impl TransformOutput<1> for Tensor {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(vec![self])
    }
}

impl TransformOutput<SPREAD> for Vec<Tensor> {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(self)
    }
}

impl<const N: usize> TransformOutput<N> for [Tensor; N] {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(self.into())
    }
}

impl<const N: usize, T: TransformOutput<N>, E: Into<BoxError>> TransformOutput<N> for Result<T, E> {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        self.map_err(Into::into)?.into_tensors()
    }
}

macro_rules! tuple_output {
    ($n:literal: $($t:ident $i:tt),+) => {
        impl TransformOutput<$n> for ($($t),+,) {
            fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
                Ok(vec![$(self.$i),+])
            }
        }
    };
}

tuple_output!(2: Tensor 0, Tensor 1);
tuple_output!(3: Tensor 0, Tensor 1, Tensor 2);
tuple_output!(4: Tensor 0, Tensor 1, Tensor 2, Tensor 3);
tuple_output!(5: Tensor 0, Tensor 1, Tensor 2, Tensor 3, Tensor 4);
tuple_output!(6: Tensor 0, Tensor 1, Tensor 2, Tensor 3, Tensor 4, Tensor 5);

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of a plan takes this text, and the cache's key takes that hash.
    #[test]
    fn an_edited_function_shows_as_another_one() {
        let function = |fingerprint| Function { call: |_, x| Ok(x), group: false, fingerprint };
        assert_eq!(format!("{:?}", function(1)), format!("{:?}", function(1)));
        assert_ne!(format!("{:?}", function(1)), format!("{:?}", function(2)));
    }
}
