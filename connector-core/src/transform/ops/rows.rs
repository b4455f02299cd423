//! Rows in another order, more of them, or fewer.

use super::dims::{elements, exactly, moves, rows_of, with_rows};
use crate::transform::{LayOut, Move, Moves, Numbers, Shape};

#[cfg(feature = "candle")]
use {
    super::dims,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

/// The moves from [a; b] to a0, b0, a1, b1, …
fn interleaving(shape: &Shape) -> Result<Vec<Move>, String> {
    let (rows, row) = rows_of(shape)?;
    if !rows.is_multiple_of(2) {
        return Err(format!("{shape:?} has an odd number of rows"));
    }
    if elements(shape)? == 0 {
        return Ok(Vec::new());
    }
    let (half, width) = (rows as u64 / 2, elements(row)?);
    let part = |part| {
        Move::run(0, 0, part * half * width, part * width, width).repeated(half, width, 2 * width)
    };
    Ok(vec![part(0), part(1)])
}

operation! {
    /// `[2·n, …]` → `[2·n, …]`: of two halves [a; b], the rows a0, b0, a1, b1, …
    ///
    /// Refuses an odd number of rows. It is what GPT-OSS's exporter in NeMo 2 does to each
    /// expert's gate and up.
    interleave_rows: Bijective, ["concatenated"] => ["interleaved"], back by deinterleave_rows
}

impl LayOut for interleave_rows {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        Ok(moves(vec![shape.clone()], interleaving(shape)?))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![interleave_rows(x)?])
    }
}

/// `[2·n, …]` → `[2·n, …]`: of two halves [a; b], the rows a0, b0, a1, b1, …
///
/// ```
/// use candle_core::Device;
/// use connector_core::{Tensor, ops};
///
/// let x = Tensor::new(&[1u8, 2, 11, 12], &Device::Cpu)?;
/// assert_eq!(ops::interleave_rows(&x)?.to_vec1::<u8>()?, [1, 11, 2, 12]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the number of rows is odd, and candle's.
#[cfg(feature = "candle")]
pub fn interleave_rows(x: &Tensor) -> CandleResult<Tensor> {
    interleaving(&x.dims().to_vec()).map_err(dims::refused)?;
    let (rows, row) = rows_of(x.dims()).map_err(dims::refused)?;
    x.reshape([&[2, rows / 2], row].concat())?.transpose(0, 1)?.reshape(x.shape())
}

operation! {
    /// `[2·n, …]` → `[2·n, …]`: the even rows, then the odd ones. The way back from
    /// [`interleave_rows`](struct@interleave_rows).
    ///
    /// Refuses an odd number of rows. It is what GPT-OSS's importer in NeMo 2 does to each
    /// expert's gate and up, which alternate: `[x[0::2]; x[1::2]]`.
    deinterleave_rows: Bijective, ["interleaved"] => ["concatenated"], back by interleave_rows
}

impl LayOut for deinterleave_rows {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let back = interleaving(shape)?.into_iter().map(Move::reversed);
        Ok(moves(vec![shape.clone()], back))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![deinterleave_rows(x)?])
    }
}

/// `[2·n, …]` → `[2·n, …]`: the even rows, then the odd ones.
///
/// # Errors
/// If the number of rows is odd, and candle's.
#[cfg(feature = "candle")]
pub fn deinterleave_rows(x: &Tensor) -> CandleResult<Tensor> {
    interleaving(&x.dims().to_vec()).map_err(dims::refused)?;
    let (rows, row) = rows_of(x.dims()).map_err(dims::refused)?;
    x.reshape([&[rows / 2, 2], row].concat())?.transpose(0, 1)?.reshape(x.shape())
}

/// How many rows the target has, by its schema.
pub(super) fn wanted_rows(wanted: Option<&[Shape]>) -> Result<usize, String> {
    let wanted = wanted.ok_or("how many rows the target has is stated by no schema")?;
    let [shape] = exactly(wanted)?;
    rows_of(shape).map(|(rows, _)| rows)
}

/// The shape with `rows` rows, of which the first `kept` are those of the source.
fn first_rows(shape: &Shape, rows: usize, kept: usize) -> Result<Moves, String> {
    let (_, row) = rows_of(shape)?;
    elements(shape)?;
    let target = with_rows(rows, row);
    elements(&target)?;
    let len = elements(&with_rows(kept, row))?;
    Ok(moves(vec![target], [Move::run(0, 0, 0, 0, len)]))
}

pub(super) fn padded(shape: &Shape, rows: usize) -> Result<Moves, String> {
    let (n, _) = rows_of(shape)?;
    if n > rows {
        return Err(format!("{shape:?} has more rows than the {rows} it would be padded to"));
    }
    first_rows(shape, rows, n)
}

pub(super) fn pruned(shape: &Shape, rows: usize) -> Result<Moves, String> {
    let (n, _) = rows_of(shape)?;
    if n < rows {
        return Err(format!("{shape:?} has fewer rows than the {rows} it would be pruned to"));
    }
    first_rows(shape, rows, rows)
}

operation! {
    /// `[n, …]` → `[m, …]`, m ≥ n: the rows, then rows of zeros.
    ///
    /// m is stated by the target's schema. Refuses a source
    /// with more rows than that. The way back always holds: what
    /// [`prune_rows`](struct@prune_rows) drops was filled in here. NeMo 2's Mixtral importer
    /// leaves random numbers in the rows that are filled in; here the same input gives the same
    /// bytes.
    pad_rows: Copy, 1 => 1, Keeps, back by prune_rows
}

impl LayOut for pad_rows {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        wanted: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        padded(shape, wanted_rows(wanted)?)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        wanted: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![pad_rows(x, wanted_rows(wanted)?)?])
    }
}

/// `[n, …]` → `[rows, …]`: the rows, then rows of zeros.
///
/// # Errors
/// If there are more than `rows` rows, and candle's.
#[cfg(feature = "candle")]
pub fn pad_rows(x: &Tensor, rows: usize) -> CandleResult<Tensor> {
    padded(&x.dims().to_vec(), rows).map_err(dims::refused)?;
    x.pad_with_zeros(0, 0, rows - x.dim(0)?)
}

operation! {
    /// `[n, …]` → `[m, …]`, m ≤ n: the first m rows.
    ///
    /// m is stated by the target's schema. Refuses a source with fewer rows than that. The way back
    /// holds if the rows that are dropped are zero, as [`pad_rows`](struct@pad_rows) fills them
    /// in; whatever else they hold is lost.
    prune_rows: Copy, 1 => 1, Keeps, back by pad_rows
}

impl LayOut for prune_rows {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        wanted: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        pruned(shape, wanted_rows(wanted)?)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        wanted: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![prune_rows(x, wanted_rows(wanted)?)?])
    }
}

/// `[n, …]` → `[rows, …]`: the first `rows` rows.
///
/// # Errors
/// If there are fewer than `rows` rows, and candle's.
#[cfg(feature = "candle")]
pub fn prune_rows(x: &Tensor, rows: usize) -> CandleResult<Tensor> {
    pruned(&x.dims().to_vec(), rows).map_err(dims::refused)?;
    x.narrow(0, 0, rows)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, lay_out, refusal, run};
    use super::*;
    use crate::transform::Transform;
    use proptest::prelude::*;

    const HUGE: usize = usize::MAX - 1;

    #[test]
    fn rows_alternate() {
        let ctx = ctx(&[]);
        let run = |op, shape: &[usize]| run(op, &ctx, &[shape.to_vec()], None);
        assert_eq!(run(interleave_rows::OPERATION, &[6]), [[0, 3, 1, 4, 2, 5]]);
        assert_eq!(run(interleave_rows::OPERATION, &[4, 2]), [[0, 1, 4, 5, 2, 3, 6, 7]]);
        assert_eq!(run(deinterleave_rows::OPERATION, &[6]), [[0, 2, 4, 1, 3, 5]]);
        assert_eq!(run(deinterleave_rows::OPERATION, &[4, 2]), [[0, 1, 4, 5, 2, 3, 6, 7]]);
        assert_eq!(run(deinterleave_rows::OPERATION, &[0, HUGE]), [[0; 0]]);
    }

    #[test]
    fn zeros_after_the_rows() {
        let ctx = ctx(&[]);
        let moves = lay_out(pad_rows::OPERATION, &ctx, &[vec![2, 2]], Some(&[vec![4, 2]])).unwrap();
        assert_eq!(moves.shapes, [[4, 2]]);
        assert_eq!(moves.moves, [Move::run(0, 0, 0, 0, 4)]);
        let pruned = run(prune_rows::OPERATION, &ctx, &[vec![3, 2]], Some(&[vec![2, 2]]));
        assert_eq!(pruned, [[0, 1, 2, 3]]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let ctx = ctx(&[]);
        for (op, source, wanted, says) in [
            (interleave_rows::OPERATION, vec![3, 2], None, "odd number of rows"),
            (deinterleave_rows::OPERATION, vec![3], None, "odd number of rows"),
            (interleave_rows::OPERATION, vec![], None, "without dimensions"),
            (interleave_rows::OPERATION, vec![HUGE, 2], None, "more elements"),
            (pad_rows::OPERATION, vec![3], Some(vec![2]), "more rows than the 2"),
            (pad_rows::OPERATION, vec![3, 3], Some(vec![HUGE, 3]), "more elements"),
            (prune_rows::OPERATION, vec![3], Some(vec![4]), "fewer rows than the 4"),
            (prune_rows::OPERATION, vec![3], Some(vec![]), "without dimensions"),
            (
                prune_rows::OPERATION,
                vec![3],
                None,
                "how many rows the target has is stated by no schema",
            ),
        ] {
            let wanted = wanted.map(|shape| [shape]);
            let refusal = refusal(op, &ctx, &[source], wanted.as_ref().map(|w| &w[..]));
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_element_lands(
            (half, more) in (1usize..5, 0usize..4),
            row in prop::collection::vec(1usize..4, 0..3),
        ) {
            let (ctx, shape) = (ctx(&[]), [with_rows(2 * half, &row)]);
            check(interleave_rows::OPERATION, &ctx, &shape, None, None);
            check(deinterleave_rows::OPERATION, &ctx, &shape, None, None);
            let padded = [with_rows(2 * half + more, &row)];
            check(pad_rows::OPERATION, &ctx, &shape, Some(&padded), Some(&shape));
        }
    }
}
