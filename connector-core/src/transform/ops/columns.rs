//! Columns that alternate become rows that do not, and back.

use super::dims::{elements, exactly, moves};
use crate::transform::{LayOut, Move, Moves, Numbers, Repeat, Shape};

#[cfg(feature = "candle")]
use {
    super::matrix,
    super::rows,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

/// The moves from `[rows, a0 b0 a1 b1 …]` to the rows a0, a1, …, b0, b1, …; or, `back`, from those.
fn alternation(shape: &Shape, back: bool) -> Result<(Shape, Vec<Move>), String> {
    let [first, second] = shape[..] else {
        return Err(format!("{shape:?} is no matrix"));
    };
    let (rows, columns) = if back { (second, first) } else { (first, second) };
    if !columns.is_multiple_of(2) {
        let what = if back { "rows" } else { "columns" };
        return Err(format!("{shape:?} has an odd number of {what}"));
    }
    elements(shape)?;
    let (r, half) = (rows as u64, columns as u64 / 2);
    if r == 0 || half == 0 {
        return Ok((vec![second, first], Vec::new()));
    }
    let part = |part: u64| {
        let (there, here) = (part, part * half * r);
        let steps = [(r, 2 * half, 1), (half, 2, r)];
        match back {
            false => Move {
                repeat: steps.map(|(count, from, to)| Repeat { count, from, to }),
                ..Move::run(0, 0, there, here, 1)
            },
            true => Move {
                repeat: steps.map(|(count, to, from)| Repeat { count, from, to }),
                ..Move::run(0, 0, here, there, 1)
            },
        }
    };
    Ok((vec![second, first], vec![part(0), part(1)]))
}

operation! {
    /// `[r, 2·n]` → `[2·n, r]`: the even columns as rows, then the odd ones.
    ///
    /// Refuses an odd number of columns. It is how GPT-OSS in bf16 has each expert's gate and up:
    /// transposed, and alternating.
    deinterleave_columns: Bijective, 1 => 1, back by interleave_columns
}

impl LayOut for deinterleave_columns {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let (target, alternation) = alternation(shape, false)?;
        Ok(moves(vec![target], alternation))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![deinterleave_columns(x)?])
    }
}

/// `[r, 2·n]` → `[2·n, r]`: the even columns as rows, then the odd ones.
///
/// ```
/// use candle_core::Device;
/// use connector_core::{Tensor, ops};
///
/// let x = Tensor::new(&[[1u8, 11, 2, 12], [3, 13, 4, 14]], &Device::Cpu)?;
/// let rows = ops::deinterleave_columns(&x)?.to_vec2::<u8>()?;
/// assert_eq!(rows, [[1, 3], [2, 4], [11, 13], [12, 14]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If it is no matrix, or the number of columns is odd, and candle's.
#[cfg(feature = "candle")]
pub fn deinterleave_columns(x: &Tensor) -> CandleResult<Tensor> {
    alternation(&x.dims().to_vec(), false).map_err(super::dims::refused)?;
    rows::deinterleave_rows(&matrix::transpose(x)?)
}

operation! {
    /// `[2·n, r]` → `[r, 2·n]`: the rows of the first half as even columns, those of the second as odd
    /// ones. The way back from [`deinterleave_columns`](struct@deinterleave_columns).
    ///
    /// Refuses an odd number of rows.
    interleave_columns: Bijective, 1 => 1, back by deinterleave_columns
}

impl LayOut for interleave_columns {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let (target, alternation) = alternation(shape, true)?;
        Ok(moves(vec![target], alternation))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![interleave_columns(x)?])
    }
}

/// `[2·n, r]` → `[r, 2·n]`: the rows of the first half as even columns, those of the second as odd
/// ones.
///
/// # Errors
/// If it is no matrix, or the number of rows is odd, and candle's.
#[cfg(feature = "candle")]
pub fn interleave_columns(x: &Tensor) -> CandleResult<Tensor> {
    alternation(&x.dims().to_vec(), true).map_err(super::dims::refused)?;
    matrix::transpose(&rows::interleave_rows(x)?)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, refusal, run};
    use super::*;
    use crate::transform::Transform;
    use proptest::prelude::*;

    #[test]
    fn columns_that_alternate_become_rows() {
        let run = |op, shape: &[usize]| run(op, &ctx(&[]), &[shape.to_vec()], None);
        assert_eq!(run(deinterleave_columns::OPERATION, &[2, 4]), [[0, 4, 2, 6, 1, 5, 3, 7]]);
        assert_eq!(run(interleave_columns::OPERATION, &[4, 2]), [[0, 4, 2, 6, 1, 5, 3, 7]]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        for (op, shape, says) in [
            (deinterleave_columns::OPERATION, vec![2, 3], "odd number of columns"),
            (interleave_columns::OPERATION, vec![3, 2], "odd number of rows"),
            (deinterleave_columns::OPERATION, vec![4], "no matrix"),
            (interleave_columns::OPERATION, vec![2, 2, 2], "no matrix"),
        ] {
            let refusal = refusal(op, &ctx(&[]), &[shape], None);
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_element_lands(rows in 1usize..6, half in 1usize..6) {
            let shape = vec![rows, 2 * half];
            check(deinterleave_columns::OPERATION, &ctx(&[]), &[shape], None, None);
            let shape = vec![2 * half, rows];
            check(interleave_columns::OPERATION, &ctx(&[]), &[shape], None, None);
        }
    }
}
