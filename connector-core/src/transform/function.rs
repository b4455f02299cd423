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
    /// Whether it has keys of its own, with which it is a row by itself.
    pub keyed: bool,
    /// A hash of the function's text and its crate's version: an edited function is another one.
    pub fingerprint: u64,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({:016x})", self.fingerprint)
    }
}

/// The first parameter of a state transform, if it takes the context.
#[diagnostic::on_unimplemented(
    message = "the context of a `#[state_transform]` function is `&TransformCtx`, not `{Self}`",
    label = "not the context",
    note = "a first parameter that is a reference takes the context; tensors are taken as `Tensor`"
)]
pub trait TransformContext<'c, 'd> {
    /// Takes the context.
    fn take(ctx: &'c TransformCtx<'d>) -> Self;
}

#[diagnostic::do_not_recommend]
impl<'c, 'd> TransformContext<'c, 'd> for &'c TransformCtx<'d> {
    fn take(ctx: &'c TransformCtx<'d>) -> Self {
        ctx
    }
}

/// A parameter of a state transform that takes one tensor.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a `#[state_transform]` function",
    label = "not a tensor",
    note = "each parameter behind the context, `&TransformCtx`, is a `Tensor`, one for each source key; a last `&[Tensor]` takes a group"
)]
pub trait TransformArg {
    /// Takes the tensor.
    fn take(tensor: Tensor) -> Self;
}

#[diagnostic::do_not_recommend]
impl TransformArg for Tensor {
    fn take(tensor: Tensor) -> Self {
        tensor
    }
}

/// A result of a state transform with `N` target keys: tensors, or a `Result` of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of this `#[state_transform]` function",
    label = "not as many tensors as there are target keys",
    note = "return `Tensor` for one target key, a tuple or `[Tensor; N]` for several, `Vec<Tensor>` for an axis; each may be in a `Result`",
    note = "or write as many target keys as tensors are returned"
)]
pub trait TransformOutput<const N: usize> {
    /// The tensors, in the order of the target keys.
    ///
    /// # Errors
    /// The function's own.
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError>;
}

#[diagnostic::do_not_recommend]
impl TransformOutput<1> for Tensor {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(vec![self])
    }
}

#[diagnostic::do_not_recommend]
impl TransformOutput<SPREAD> for Vec<Tensor> {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(self)
    }
}

#[diagnostic::do_not_recommend]
impl<const N: usize> TransformOutput<N> for [Tensor; N] {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        Ok(self.into())
    }
}

#[diagnostic::do_not_recommend]
impl<const N: usize, T: TransformOutput<N>, E: Into<BoxError>> TransformOutput<N> for Result<T, E> {
    fn into_tensors(self) -> Result<Vec<Tensor>, BoxError> {
        self.map_err(Into::into)?.into_tensors()
    }
}

macro_rules! tuple_output {
    ($n:literal: $($t:ident $i:tt),+) => {
        #[diagnostic::do_not_recommend]
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
        let function =
            |fingerprint| Function { call: |_, x| Ok(x), group: false, keyed: false, fingerprint };
        assert_eq!(format!("{:?}", function(1)), format!("{:?}", function(1)));
        assert_ne!(format!("{:?}", function(1)), format!("{:?}", function(2)));
    }
}
