//! Tensors on top of each other: concatenation along the rows, and cuts.

use super::dims::{elements, exactly, moves, rows_of, with_rows};
use crate::transform::{LayOut, Move, Moves, Numbers, Shape};

#[cfg(feature = "candle")]
use {
    super::dims,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

/// The whole that the parts make, and one move for each.
fn stacked(parts: &[Shape]) -> Result<(Shape, Vec<Move>), String> {
    let [first, ..] = parts else { return Err("it takes tensors".into()) };
    let (_, row) = rows_of(first)?;
    let mut rows = 0usize;
    let mut moves = Vec::with_capacity(parts.len());
    for (source, part) in parts.iter().enumerate() {
        let (n, of) = rows_of(part)?;
        if of != row {
            return Err(format!("the parts {parts:?} differ in more than their number of rows"));
        }
        let to = elements(&with_rows(rows, row))?;
        moves.push(Move::run(source, 0, 0, to, elements(part)?));
        let sum = rows.checked_add(n);
        rows = sum.ok_or_else(|| format!("the parts {parts:?} have too many rows"))?;
    }
    let whole = with_rows(rows, row);
    elements(&whole)?;
    Ok((whole, moves))
}

/// The moves that cut `whole` into `parts`.
fn cut(whole: &Shape, parts: Vec<Shape>) -> Result<Moves, String> {
    let (sum, stacking) = stacked(&parts)?;
    if sum != *whole {
        return Err(format!("{whole:?} does not cut into {parts:?}"));
    }
    Ok(moves(parts, stacking.into_iter().map(Move::reversed)))
}

/// Two equal parts.
fn equal_halves(whole: &Shape) -> Result<[Shape; 2], String> {
    let (rows, row) = rows_of(whole)?;
    if !rows.is_multiple_of(2) {
        return Err(format!("{whole:?} does not cut into 2 equal parts"));
    }
    Ok([(); 2].map(|()| with_rows(rows / 2, row)))
}

/// The parts as the schema has them. Without one nothing says where to cut, and equal parts would
/// be a guess that shapes may not contradict.
fn parts<const N: usize>(wanted: Option<&[Shape]>) -> Result<[Shape; N], String> {
    let wanted = wanted.ok_or("where to cut is stated by no schema")?;
    wanted
        .to_vec()
        .try_into()
        .map_err(|wanted: Vec<_>| format!("it gives {N} tensors, not {}", wanted.len()))
}

/// Gate and up, which have one shape.
fn halves(parts: &[Shape; 2]) -> Result<Moves, String> {
    let [gate, up] = parts;
    if gate != up {
        return Err(format!("gate is {gate:?} and up is {up:?}, which shall be the same"));
    }
    let (whole, stacking) = stacked(parts)?;
    Ok(moves(vec![whole], stacking))
}

#[cfg(feature = "candle")]
fn concat<const N: usize>(parts: [&Tensor; N]) -> CandleResult<Tensor> {
    stacked(&dims::shapes(parts)).map_err(dims::refused)?;
    Tensor::cat(&parts, 0)
}

#[cfg(feature = "candle")]
fn split<const N: usize>(whole: &Tensor, rows: [usize; N]) -> CandleResult<[Tensor; N]> {
    let (_, row) = rows_of(whole.dims()).map_err(dims::refused)?;
    let parts = rows.map(|rows| with_rows(rows, row)).to_vec();
    cut(&whole.dims().to_vec(), parts).map_err(dims::refused)?;
    let mut at = 0;
    let parts = rows.map(|rows| {
        let part = whole.narrow(0, at, rows);
        at += rows;
        part
    });
    collect(parts)
}

/// An array of results as the result of an array.
#[cfg(feature = "candle")]
fn collect<const N: usize>(parts: [CandleResult<Tensor>; N]) -> CandleResult<[Tensor; N]> {
    let parts = parts.into_iter().collect::<CandleResult<Vec<_>>>()?;
    parts.try_into().map_err(|_| dims::refused(format!("it gives {N} tensors")))
}

operation! {
    /// (gate `[f, h]`, up `[f, h]`) → `[2·f, h]`: [gate; up]. Biases `[f]` alike.
    ///
    /// Refuses tensors of different shapes. NeMo 2's `TransformFns.merge_fc1`.
    merge_fc1: Bijective, ["gate", "up"] => ["concatenated gate_up"], back by split_fc1
}

impl LayOut for merge_fc1 {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        halves(exactly(sources)?)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [gate, up] = exactly(sources)?;
        Ok(vec![merge_fc1(gate, up)?])
    }
}

/// (gate `[f, h]`, up `[f, h]`) → `[2·f, h]`: [gate; up].
///
/// ```
/// use candle_core::Device;
/// use connector_core::{Tensor, ops};
///
/// let gate = Tensor::new(&[[1u8, 2]], &Device::Cpu)?;
/// let up = Tensor::new(&[[3u8, 4]], &Device::Cpu)?;
/// assert_eq!(ops::merge_fc1(&gate, &up)?.to_vec2::<u8>()?, [[1, 2], [3, 4]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// If the shapes differ, and candle's.
#[cfg(feature = "candle")]
pub fn merge_fc1(gate: &Tensor, up: &Tensor) -> CandleResult<Tensor> {
    halves(&dims::shapes([gate, up])).map_err(dims::refused)?;
    concat([gate, up])
}

operation! {
    /// `[2·f, h]` → (gate `[f, h]`, up `[f, h]`): the way back from
    /// [`merge_fc1`](struct@merge_fc1), two equal halves.
    ///
    /// Refuses an odd number of rows. NeMo 2's `TransformFns.split_fc1`.
    split_fc1: Bijective, ["concatenated gate_up"] => ["gate", "up"], back by merge_fc1
}

impl LayOut for split_fc1 {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [whole] = exactly(sources)?;
        cut(whole, equal_halves(whole)?.to_vec())
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [whole] = exactly(sources)?;
        Ok(split_fc1(whole)?.into())
    }
}

/// `[2·f, h]` → (gate `[f, h]`, up `[f, h]`), two equal halves.
///
/// # Errors
/// If the number of rows is odd, and candle's.
#[cfg(feature = "candle")]
pub fn split_fc1(whole: &Tensor) -> CandleResult<[Tensor; 2]> {
    let parts = equal_halves(&whole.dims().to_vec()).map_err(dims::refused)?;
    split(whole, parts.map(|part: Shape| part[0]))
}

macro_rules! concat_and_split {
    (
        $n:literal:
        $(#[$doc:meta])* $concat:ident($($x:ident),+),
        $(#[$split_doc:meta])* $split:ident
    ) => {
        operation! {
            $(#[$doc])*
            ///
            /// Refuses parts that differ in more than their number of rows. Parts with different
            /// numbers of rows come back only where their shapes are known, see
            #[doc = concat!("[`", stringify!($split), "`](struct@", stringify!($split), ").")]
            $concat: Bijective, $n => 1, Concatenates, back by $split
        }

        operation! {
            $(#[$split_doc])*
            ///
            /// The parts have the shapes that the targets' schema states. Refuses parts that do
            /// not make up the whole, and targets without a schema.
            $split: Bijective, 1 => $n, Cuts, back by $concat
        }

        impl LayOut for $concat {
            fn lay_out(
                &self,
                _: &Numbers<'_>,
                sources: &[Shape],
                _: Option<&[Shape]>,
            ) -> Result<Moves, String> {
                let (whole, stacking) = stacked(exactly::<_, $n>(sources)?)?;
                Ok(moves(vec![whole], stacking))
            }

            #[cfg(feature = "candle")]
            fn apply(
                &self,
                _: &TransformCtx<'_>,
                sources: &[Tensor],
                _: Option<&[Shape]>,
            ) -> Result<Vec<Tensor>, BoxError> {
                let [$($x),+] = exactly(sources)?;
                Ok(vec![$concat($($x),+)?])
            }
        }

        impl LayOut for $split {
            fn lay_out(
                &self,
                _: &Numbers<'_>,
                sources: &[Shape],
                wanted: Option<&[Shape]>,
            ) -> Result<Moves, String> {
                let [whole] = exactly(sources)?;
                cut(whole, parts::<$n>(wanted)?.to_vec())
            }

            #[cfg(feature = "candle")]
            fn apply(
                &self,
                _: &TransformCtx<'_>,
                sources: &[Tensor],
                wanted: Option<&[Shape]>,
            ) -> Result<Vec<Tensor>, BoxError> {
                let [whole] = exactly(sources)?;
                let parts = parts::<$n>(wanted)?;
                cut(&whole.dims().to_vec(), parts.to_vec())?;
                Ok($split(whole, parts.map(|part| part[0]))?.into())
            }
        }

        $(#[$doc])*
        ///
        /// # Errors
        /// If the parts differ in more than their number of rows, and candle's.
        #[cfg(feature = "candle")]
        pub fn $concat($($x: &Tensor),+) -> CandleResult<Tensor> {
            concat([$($x),+])
        }

        $(#[$split_doc])*
        ///
        /// # Errors
        /// If the rows do not add up to those of the whole, and candle's.
        #[cfg(feature = "candle")]
        pub fn $split(whole: &Tensor, rows: [usize; $n]) -> CandleResult<[Tensor; $n]> {
            split(whole, rows)
        }
    };
}

concat_and_split! {
    2:
    /// `[m, …]`, `[n, …]` → `[m + n, …]`: two tensors on top of each other.
    concat2(a, b),
    /// `[m + n, …]` → `[m, …]`, `[n, …]`: the way back from [`concat2`](struct@concat2).
    split2
}

concat_and_split! {
    3:
    /// `[m, …]`, `[n, …]`, `[o, …]` → `[m + n + o, …]`: three tensors on top of each other.
    concat3(a, b, c),
    /// `[m + n + o, …]` → `[m, …]`, `[n, …]`, `[o, …]`: the way back from
    /// [`concat3`](struct@concat3).
    split3
}

concat_and_split! {
    4:
    /// `[m, …]`, `[n, …]`, `[o, …]`, `[p, …]` → `[m + n + o + p, …]`: four tensors on top of
    /// each other.
    concat4(a, b, c, d),
    /// `[m + n + o + p, …]` → `[m, …]`, `[n, …]`, `[o, …]`, `[p, …]`: the way back from
    /// [`concat4`](struct@concat4).
    split4
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, lay_out, refusal, run};
    use super::*;
    use crate::transform::Transform;
    use proptest::prelude::*;

    #[test]
    fn gate_over_up() {
        let (ctx, f) = (ctx(&[]), vec![2, 2]);
        let merged = run(merge_fc1::OPERATION, &ctx, &[f.clone(), f.clone()], None);
        assert_eq!(merged, [[0, 1, 2, 3, 100, 101, 102, 103]]);
        let merged = lay_out(merge_fc1::OPERATION, &ctx, &[f.clone(), f], None).unwrap();
        assert_eq!(merged.shapes, [[4, 2]]);
        assert_eq!(merged.moves, [Move::run(0, 0, 0, 0, 4), Move::run(1, 0, 0, 4, 4)]);
        assert_eq!(run(split_fc1::OPERATION, &ctx, &[vec![4]], None), [[0, 1], [2, 3]]);
    }

    #[test]
    fn parts_are_those_of_the_schema() {
        let (ctx, whole) = (ctx(&[]), [vec![4, 1]]);
        let wanted = [vec![1, 1], vec![3, 1]];
        assert_eq!(run(split2::OPERATION, &ctx, &whole, Some(&wanted)), [vec![0], vec![1, 2, 3]]);
        let wanted = vec![vec![1, 1]; 4];
        assert_eq!(run(split4::OPERATION, &ctx, &whole, Some(&wanted)), [[0], [1], [2], [3]]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let ctx = ctx(&[]);
        for (op, sources, wanted, says) in [
            (merge_fc1::OPERATION, vec![vec![2, 3], vec![3, 3]], None, "which shall be the same"),
            (split_fc1::OPERATION, vec![vec![3, 2]], None, "does not cut into 2 equal parts"),
            (split3::OPERATION, vec![vec![6, 2]], None, "where to cut is stated by no schema"),
            (concat2::OPERATION, vec![vec![2, 3], vec![2, 4]], None, "differ in more than"),
            (concat2::OPERATION, vec![vec![2, 3], vec![2]], None, "differ in more than"),
            (concat2::OPERATION, vec![vec![], vec![]], None, "without dimensions"),
            (concat2::OPERATION, vec![vec![2]], None, "it takes 2 tensors, not 1"),
            (concat2::OPERATION, vec![vec![usize::MAX], vec![1]], None, "too many rows"),
            (
                concat2::OPERATION,
                vec![vec![usize::MAX / 2 + 1, 1, 1], vec![usize::MAX / 2 + 1, 1, 1]],
                None,
                "too many rows",
            ),
            (concat2::OPERATION, vec![vec![1 << 62, 2], vec![1 << 62, 2]], None, "more elements"),
            (split2::OPERATION, vec![vec![4]], Some(vec![vec![1], vec![2]]), "does not cut into"),
            (split2::OPERATION, vec![vec![4]], Some(vec![vec![4]]), "it gives 2 tensors, not 1"),
            (split2::OPERATION, vec![vec![2, 2]], Some(vec![vec![1, 1, 2]; 2]), "does not cut"),
        ] {
            let refusal = refusal(op, &ctx, &sources, wanted.as_deref());
            assert!(refusal.contains(says), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn every_element_lands(
            rows in [1usize..5, 1..5, 1..5, 1..5],
            row in prop::collection::vec(1usize..4, 0..3),
        ) {
            let ctx = ctx(&[]);
            let parts = rows.map(|rows| with_rows(rows, &row));
            let equal = vec![parts[0].clone(); 4];
            for (n, op) in
                [(2, concat2::OPERATION), (3, concat3::OPERATION), (4, concat4::OPERATION)]
            {
                check(op, &ctx, &parts[..n], None, Some(&parts[..n]));
                check(op, &ctx, &equal[..n], None, Some(&equal[..n]));
            }
            check(merge_fc1::OPERATION, &ctx, &equal[..2], None, None);
        }
    }
}
