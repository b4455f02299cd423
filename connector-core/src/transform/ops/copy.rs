//! Whole tensors: as they are, several times, or once for several that are the same.

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
    /// The tensor as it is. A row without `via` does this.
    rename: Bijective, 1 => 1, Keeps, back by rename
}

impl LayOut for rename {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        copies(exactly::<_, 1>(sources)?, 1)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        Ok(exactly::<_, 1>(sources)?.to_vec())
    }
}

/// The one source `times` times.
fn copies([shape]: &[Shape; 1], times: usize) -> Result<Moves, String> {
    let len = elements(shape)?;
    let copies = (0..times).map(|target| Move::run(0, target, 0, 0, len));
    Ok(moves(vec![shape.clone(); times], copies))
}

/// The first source, where all have one shape and shall have the same bytes.
fn same(sources: &[Shape]) -> Result<Moves, String> {
    let [first, others @ ..] = sources else { return Err("it takes tensors".into()) };
    if others.iter().any(|other| other != first) {
        return Err(format!("the tensors shall be the same, and are {sources:?}"));
    }
    let first = copies(std::array::from_ref(first), 1)?;
    Ok(Moves { equal: (1..sources.len()).collect(), ..first })
}

/// The first tensor, if all hold the same bytes. Not a comparison of numbers: NaN is the same as
/// NaN, and -0 is not 0.
#[cfg(feature = "candle")]
fn same_bytes<const N: usize>(tensors: [&Tensor; N]) -> CandleResult<Tensor> {
    same(&dims::shapes(tensors)).map_err(dims::refused)?;
    let bytes = |tensor: &Tensor| {
        let mut bytes = Vec::new();
        tensor.write_bytes(&mut bytes).map(|()| (tensor.dtype(), bytes))
    };
    let first = bytes(tensors[0])?;
    for other in &tensors[1..] {
        if bytes(other)? != first {
            return Err(dims::refused("the tensors differ, and one cannot stand for all".into()));
        }
    }
    Ok(tensors[0].clone())
}

macro_rules! duplicate {
    (
        $n:literal:
        $(#[$doc:meta])* $duplicate:ident,
        $(#[$same_doc:meta])* $same:ident($($x:ident),+)
    ) => {
        operation! {
            $(#[$doc])*
            ///
            /// NeMo 2's `TransformFns` has it under this name.
            $duplicate: Copy, 1 => $n, Keeps, back by $same
        }

        operation! {
            $(#[$same_doc])*
            ///
            /// Refuses tensors of different shapes, and of different bytes.
            $same: Copy, $n => 1, Keeps, back by $duplicate
        }

        impl LayOut for $duplicate {
            fn lay_out(
                &self,
                _: &Numbers<'_>,
                sources: &[Shape],
                _: Option<&[Shape]>,
            ) -> Result<Moves, String> {
                copies(exactly(sources)?, $n)
            }

            #[cfg(feature = "candle")]
            fn apply(
                &self,
                _: &TransformCtx<'_>,
                sources: &[Tensor],
                _: Option<&[Shape]>,
            ) -> Result<Vec<Tensor>, BoxError> {
                let [x] = exactly(sources)?;
                Ok($duplicate(x)?.into())
            }
        }

        impl LayOut for $same {
            fn lay_out(
                &self,
                _: &Numbers<'_>,
                sources: &[Shape],
                _: Option<&[Shape]>,
            ) -> Result<Moves, String> {
                same(exactly::<_, $n>(sources)?)
            }

            #[cfg(feature = "candle")]
            fn apply(
                &self,
                _: &TransformCtx<'_>,
                sources: &[Tensor],
                _: Option<&[Shape]>,
            ) -> Result<Vec<Tensor>, BoxError> {
                let [$($x),+] = exactly(sources)?;
                Ok(vec![$same($($x),+)?])
            }
        }

        $(#[$doc])*
        ///
        /// # Errors
        /// None of its own.
        #[cfg(feature = "candle")]
        pub fn $duplicate(x: &Tensor) -> CandleResult<[Tensor; $n]> {
            Ok(std::array::from_fn(|_| x.clone()))
        }

        $(#[$same_doc])*
        ///
        /// # Errors
        /// If they differ in shape, dtype or bytes.
        #[cfg(feature = "candle")]
        pub fn $same($($x: &Tensor),+) -> CandleResult<Tensor> {
            same_bytes([$($x),+])
        }
    };
}

duplicate! {
    2:
    /// x → (x, x): the A matrix of a LoRA adapter on fused gate and up.
    duplicate2,
    /// (x, x) → x: the way back from [`duplicate2`](struct@duplicate2).
    same2(a, b)
}

duplicate! {
    3:
    /// x → (x, x, x): the A matrix of a LoRA adapter on fused query, key and value.
    duplicate3,
    /// (x, x, x) → x: the way back from [`duplicate3`](struct@duplicate3).
    same3(a, b, c)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, lay_out, refusal, run};
    use super::*;
    use crate::transform::Transform;
    use proptest::prelude::*;

    #[test]
    fn one_move_per_tensor() {
        let ctx = ctx(&[]);
        let moves = |op, sources: &[Shape]| lay_out(op, &ctx, sources, None).unwrap().moves;
        assert_eq!(moves(rename::OPERATION, &[vec![2, 3]]), [Move::run(0, 0, 0, 0, 6)]);
        let twice = [Move::run(0, 0, 0, 0, 6), Move::run(0, 1, 0, 0, 6)];
        assert_eq!(moves(duplicate2::OPERATION, &[vec![2, 3]]), twice);
        assert_eq!(moves(same2::OPERATION, &[vec![2, 3], vec![2, 3]]), twice[..1]);
        assert_eq!(moves(rename::OPERATION, &[vec![0, 3]]), []);
    }

    #[test]
    fn duplicates() {
        let ctx = ctx(&[]);
        assert_eq!(run(duplicate2::OPERATION, &ctx, &[vec![2]], None), [[0, 1], [0, 1]]);
        assert_eq!(run(duplicate3::OPERATION, &ctx, &[vec![2]], None), [[0, 1]; 3]);
    }

    #[test]
    fn the_same_is_asked_of_all() {
        let same = lay_out(same3::OPERATION, &ctx(&[]), &[vec![2], vec![2], vec![2]], None);
        assert_eq!(same.unwrap().equal, [1, 2]);
        let differ = refusal(same2::OPERATION, &ctx(&[]), &[vec![2], vec![3]], None);
        assert_eq!(differ, "the tensors shall be the same, and are [[2], [3]]");
    }

    #[test]
    fn overflow_is_refused() {
        let huge = vec![usize::MAX, 2];
        let refusal = refusal(rename::OPERATION, &ctx(&[]), &[huge], None);
        assert!(refusal.contains("more elements than can be counted"), "{refusal}");
    }

    #[cfg(feature = "candle")]
    #[test]
    fn same_compares_bytes() {
        let tensor = |x: [f32; 2]| Tensor::new(&x, &candle_core::Device::Cpu).unwrap();
        let (zero, nan) = (tensor([0.0, 1.0]), tensor([f32::NAN, 1.0]));
        assert!(same2(&nan, &nan.copy().unwrap()).is_ok());
        assert!(same2(&zero, &tensor([-0.0, 1.0])).is_err());
        assert!(same3(&zero, &zero, &nan).is_err());
        let other_type = zero.to_dtype(candle_core::DType::F64).unwrap();
        assert!(same2(&zero, &other_type).is_err());
    }

    proptest! {
        #[test]
        fn every_element_lands(shape in prop::collection::vec(1usize..5, 0..4)) {
            let ctx = ctx(&[]);
            for op in [rename::OPERATION, duplicate2::OPERATION, duplicate3::OPERATION] {
                check(op, &ctx, std::slice::from_ref(&shape), None, None);
            }
        }
    }
}
