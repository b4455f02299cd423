//! Arithmetic on shapes and counts. They come from files and configs, where any number may stand:
//! all of it is checked.

use crate::transform::{Move, Moves, Numbers, Shape};

/// The sources, as many as the operation takes.
pub(super) fn exactly<T, const N: usize>(sources: &[T]) -> Result<&[T; N], String> {
    let plural = if N == 1 { "" } else { "s" };
    sources.try_into().map_err(|_| format!("it takes {N} tensor{plural}, not {}", sources.len()))
}

/// A number of the model that must be there, and not 0.
pub(super) fn number(numbers: &Numbers<'_>, field: &str) -> Result<usize, String> {
    match numbers.get(field) {
        Some(0) => Err(format!("`{field}` is 0")),
        Some(number) => Ok(number),
        None => Err(format!(
            "it needs the whole number `{field}`, which is neither a field of the model's schema \
             nor in the model's config"
        )),
    }
}

/// How many elements a tensor has. Where it is not 0, the product of some of the dimensions is
/// not more, so that offsets computed from them need no check of their own.
pub(super) fn elements(shape: &[usize]) -> Result<u64, String> {
    let product = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64));
    product.ok_or_else(|| format!("{shape:?} has more elements than can be counted"))
}

/// The number of rows, and the dimensions of one.
pub(super) fn rows_of(shape: &[usize]) -> Result<(usize, &[usize]), String> {
    match shape {
        [rows, row @ ..] => Ok((*rows, row)),
        [] => Err("a tensor without dimensions has no rows".into()),
    }
}

/// `rows` rows of the dimensions `row`.
pub(super) fn with_rows(rows: usize, row: &[usize]) -> Shape {
    [&[rows], row].concat()
}

/// The moves that move something, with the shapes of the targets.
pub(super) fn moves(shapes: Vec<Shape>, moves: impl IntoIterator<Item = Move>) -> Moves {
    // Filtered afterwards: a vector that does not know how long it will be takes room for four.
    let mut moves: Vec<Move> = moves.into_iter().collect();
    moves.retain(|m| m.elements() > 0);
    Moves { shapes, moves, equal: Vec::new() }
}

/// The shapes of tensors, for the checks that [`LayOut`](crate::transform::LayOut) makes.
#[cfg(feature = "candle")]
pub(super) fn shapes<const N: usize>(tensors: [&crate::Tensor; N]) -> [Shape; N] {
    tensors.map(|tensor| tensor.dims().to_vec())
}

/// A sentence of [`LayOut`](crate::transform::LayOut) as candle's error.
#[cfg(feature = "candle")]
pub(super) fn refused(sentence: String) -> candle_core::Error {
    candle_core::Error::Msg(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_cannot_be_counted_are_refused() {
        let half = usize::MAX / 2 + 1;
        assert_eq!(elements(&[half, 1]), Ok(half as u64));
        assert!(elements(&[half, 2]).unwrap_err().contains("more elements than can be counted"));
        assert_eq!(elements(&[]), Ok(1));
        assert_eq!(elements(&[3, 0]), Ok(0));
    }

    #[test]
    fn the_number_of_sources_is_checked() {
        assert_eq!(exactly::<u8, 1>(&[]).unwrap_err(), "it takes 1 tensor, not 0");
        assert_eq!(exactly::<u8, 3>(&[1, 2]).unwrap_err(), "it takes 3 tensors, not 2");
        assert_eq!(exactly::<u8, 2>(&[1, 2]), Ok(&[1, 2]));
    }
}
