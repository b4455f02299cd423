//! Rows become columns.

use super::dims::{elements, exactly, moves};
use crate::transform::{LayOut, Move, Moves, Numbers, Repeat, Shape};

#[cfg(feature = "candle")]
use {
    super::dims,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

operation! {
    /// `[…, r, c]` → `[…, c, r]`: the last two dimensions change places. Its own inverse.
    ///
    /// Refuses a tensor of fewer than two dimensions. In NeMo 2, Llama 4's experts and the
    /// projector of Gemma 3 come this way.
    transpose: Bijective, 1 => 1, Transposes, back by transpose
}

/// The shape of the result, and the moves: as many as the shortest of r, c and the product of the
/// leading dimensions. A move repeats in two ways, and so covers the other two.
fn transposition(shape: &Shape) -> Result<(Shape, Vec<Move>), String> {
    let [leading @ .., rows, columns] = &shape[..] else {
        return Err(format!("{shape:?} has no two dimensions to transpose"));
    };
    let target = [leading, &[*columns, *rows]].concat();
    if elements(shape)? == 0 {
        return Ok((target, Vec::new()));
    }
    let (r, c, matrices) = (*rows as u64, *columns as u64, elements(leading)?);
    let rows = Repeat { count: r, from: c, to: 1 };
    let columns = Repeat { count: c, from: 1, to: r };
    let matrices = Repeat { count: matrices, from: r * c, to: r * c };
    let (repeat, written_out) = if matrices.count <= r.min(c) {
        ([rows, columns], matrices)
    } else if c <= r {
        ([rows, matrices], columns)
    } else {
        ([columns, matrices], rows)
    };
    let nth = |n| Move { repeat, ..Move::run(0, 0, n * written_out.from, n * written_out.to, 1) };
    Ok((target, (0..written_out.count).map(nth).collect()))
}

impl LayOut for transpose {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let (target, transposition) = transposition(shape)?;
        Ok(moves(vec![target], transposition))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![transpose(x)?])
    }
}

/// `[…, r, c]` → `[…, c, r]`: the last two dimensions change places, in memory too.
///
/// ```
/// use candle_core::Device;
/// use connector_core::{Tensor, ops};
///
/// let x = Tensor::new(&[[1u8, 2, 3], [4, 5, 6]], &Device::Cpu)?;
/// assert_eq!(ops::transpose(&x)?.to_vec2::<u8>()?, [[1, 4], [2, 5], [3, 6]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the tensor has fewer than two dimensions, and candle's.
#[cfg(feature = "candle")]
pub fn transpose(x: &Tensor) -> CandleResult<Tensor> {
    transposition(&x.dims().to_vec()).map_err(dims::refused)?;
    x.t()?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, lay_out, refusal, run};
    use super::*;
    use crate::transform::Transform;
    use proptest::prelude::*;

    fn transposed(shape: &[usize]) -> Moves {
        lay_out(transpose::OPERATION, &ctx(&[]), &[shape.to_vec()], None).unwrap()
    }

    #[test]
    fn rows_become_columns() {
        let run = |shape: &[usize]| run(transpose::OPERATION, &ctx(&[]), &[shape.to_vec()], None);
        assert_eq!(run(&[2, 3]), [[0, 3, 1, 4, 2, 5]]);
        assert_eq!(run(&[2, 2, 2]), [[0, 2, 1, 3, 4, 6, 5, 7]]);
        assert_eq!(transposed(&[5, 2, 3]).shapes, [[5, 3, 2]]);
    }

    #[test]
    fn few_moves() {
        let count = |shape: &[usize]| transposed(shape).moves.len();
        assert_eq!(count(&[4096, 1024]), 1);
        assert_eq!(count(&[16, 4096, 1024]), 16);
        assert_eq!(count(&[1 << 20, 3, 2]), 2);
        assert_eq!(count(&[1 << 20, 2, 3]), 2);
        assert_eq!(count(&[0, usize::MAX, usize::MAX]), 0);
    }

    #[test]
    fn a_column_is_one_run() {
        for shape in [&[1, 6][..], &[6, 1], &[9, 1, 6], &[9, 6, 1]] {
            let moves = transposed(shape).moves;
            let elements = shape.iter().product::<usize>() as u64;
            let runs: Vec<_> = moves.iter().flat_map(Move::runs).collect();
            assert_eq!(runs, [(0, 0, elements)], "{shape:?}");
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        for (shape, says) in [
            (vec![], "no two dimensions"),
            (vec![3], "no two dimensions"),
            (vec![usize::MAX, 1, 2], "more elements"),
        ] {
            let refusal = refusal(transpose::OPERATION, &ctx(&[]), &[shape], None);
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_element_lands(shape in prop::collection::vec(1usize..6, 2..5)) {
            check(transpose::OPERATION, &ctx(&[]), &[shape], None, None);
        }
    }
}
