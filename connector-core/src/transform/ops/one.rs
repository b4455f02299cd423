//! A first dimension of 1 goes, or comes.

use super::dims::{elements, exactly, moves};
use crate::transform::{LayOut, Move, Moves, Numbers, Shape};

#[cfg(feature = "candle")]
use {
    super::dims,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

operation! {
    /// `[1, …]` → `[…]`: the first dimension goes. Refuses one that is not 1.
    ///
    /// ERNIE's biases of experts come this way.
    squeeze: Bijective, 1 => 1, Keeps, back by unsqueeze
}

operation! {
    /// `[…]` → `[1, …]`: the inverse of [`squeeze`](struct@squeeze).
    unsqueeze: Bijective, 1 => 1, Keeps, back by squeeze
}

fn squeezed(shape: &Shape) -> Result<Shape, String> {
    match &shape[..] {
        [1, rest @ ..] => Ok(rest.to_vec()),
        _ => Err(format!("{shape:?} does not begin with a dimension of 1")),
    }
}

fn unsqueezed(shape: &Shape) -> Result<Shape, String> {
    Ok([&[1], &shape[..]].concat())
}

macro_rules! lay_out {
    ($name:ident, $shape:ident) => {
        impl LayOut for $name {
            fn lay_out(
                &self,
                _: &Numbers<'_>,
                sources: &[Shape],
                _: Option<&[Shape]>,
            ) -> Result<Moves, String> {
                let [shape] = exactly(sources)?;
                Ok(moves(vec![$shape(shape)?], [Move::run(0, 0, 0, 0, elements(shape)?)]))
            }

            #[cfg(feature = "candle")]
            fn apply(
                &self,
                _: &TransformCtx<'_>,
                sources: &[Tensor],
                _: Option<&[Shape]>,
            ) -> Result<Vec<Tensor>, BoxError> {
                let [x] = exactly(sources)?;
                Ok(vec![$name(x)?])
            }
        }
    };
}

lay_out!(squeeze, squeezed);
lay_out!(unsqueeze, unsqueezed);

/// `[1, …]` → `[…]`.
///
/// # Errors
/// If the first dimension is not 1.
#[cfg(feature = "candle")]
pub fn squeeze(x: &Tensor) -> CandleResult<Tensor> {
    x.reshape(squeezed(&x.dims().to_vec()).map_err(dims::refused)?)
}

/// `[…]` → `[1, …]`.
///
/// # Errors
/// candle's.
#[cfg(feature = "candle")]
pub fn unsqueeze(x: &Tensor) -> CandleResult<Tensor> {
    x.unsqueeze(0)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, refusal};
    use super::*;
    use crate::transform::Transform;

    #[test]
    fn every_element_stays_in_its_place() {
        for shape in [&[1, 6][..], &[1], &[1, 2, 3]] {
            check(squeeze::OPERATION, &ctx(&[]), &[shape.to_vec()], None, None);
            check(unsqueeze::OPERATION, &ctx(&[]), &[shape.to_vec()], None, None);
        }
    }

    #[test]
    fn another_first_dimension_is_refused() {
        for shape in [vec![], vec![2, 3]] {
            let refusal = refusal(squeeze::OPERATION, &ctx(&[]), &[shape], None);
            assert!(refusal.contains("does not begin with a dimension of 1"), "{refusal}");
        }
    }
}
