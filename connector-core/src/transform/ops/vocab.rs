//! The rows of a vocabulary, padded as Megatron wants them.

use super::dims::{exactly, number, rows_of};
use super::rows::{padded, pruned, wanted_rows};
use crate::transform::{LayOut, Moves, Numbers, Shape};

#[cfg(feature = "candle")]
use {
    super::{dims, rows},
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

const VOCABULARY: &str = "vocab_size";

/// Refuses a tensor that is not as long as the vocabulary: padding must not hide missing rows.
fn check_rows(numbers: &Numbers<'_>, shape: &Shape) -> Result<(), String> {
    let (vocabulary, (rows, _)) = (number(numbers, VOCABULARY)?, rows_of(shape)?);
    if rows == vocabulary {
        return Ok(());
    }
    Err(format!("{shape:?} has {rows} rows and the vocabulary {vocabulary} tokens"))
}

/// The rows of the target: its schema's; a target without one is not padded.
fn target_rows(shape: &Shape, wanted: Option<&[Shape]>) -> Result<usize, String> {
    match wanted {
        Some(_) => wanted_rows(wanted),
        None => rows_of(shape).map(|(rows, _)| rows),
    }
}

operation! {
    /// `[vocab_size, …]` → `[m, …]`, m ≥ vocab_size: the rows, then rows of zeros.
    ///
    /// m is the target's by its schema, `vocab_size` without one. Refuses a source that has not exactly `vocab_size` rows,
    /// so that an embedding that lost some is not filled up. Without padding it is a copy.
    pad_vocab: Copy, 1 => 1, OfVocabulary, back by prune_vocab
}

impl LayOut for pad_vocab {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        wanted: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        check_rows(numbers, shape)?;
        padded(shape, target_rows(shape, wanted)?)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        wanted: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![pad_vocab(ctx, x, target_rows(&x.dims().to_vec(), wanted)?)?])
    }
}

/// `[vocab_size, …]` → `[rows, …]`: the rows, then rows of zeros.
///
/// # Errors
/// If there are not exactly `vocab_size` rows, or more than `rows`, and candle's.
#[cfg(feature = "candle")]
pub fn pad_vocab(ctx: &TransformCtx<'_>, x: &Tensor, rows: usize) -> CandleResult<Tensor> {
    check_rows(ctx.numbers(), &x.dims().to_vec()).map_err(dims::refused)?;
    rows::pad_rows(x, rows)
}

operation! {
    /// `[m, …]` → `[vocab_size, …]`, m ≥ vocab_size: the rows without the padding. NeMo 2's
    /// `TransformFns.prune_padding`. The way back holds if the rows that are dropped are zero.
    #[doc(alias = "prune_padding")]
    prune_vocab: Copy, 1 => 1, OfVocabulary, back by pad_vocab
}

impl LayOut for prune_vocab {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        pruned(shape, number(numbers, VOCABULARY)?)
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [x] = exactly(sources)?;
        Ok(vec![prune_vocab(ctx, x)?])
    }
}

/// `[m, …]` → `[vocab_size, …]`, m ≥ vocab_size: the rows without the padding.
///
/// # Errors
/// If there are fewer than `vocab_size` rows, and candle's.
#[cfg(feature = "candle")]
pub fn prune_vocab(ctx: &TransformCtx<'_>, x: &Tensor) -> CandleResult<Tensor> {
    let rows = number(ctx.numbers(), VOCABULARY).map_err(dims::refused)?;
    rows::prune_rows(x, rows)
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{check, ctx, refusal, run};
    use super::*;
    use crate::transform::Transform;

    #[test]
    fn padding_is_zeros_behind_the_vocabulary() {
        let ctx = ctx(&[("vocab_size", 3)]);
        let wanted = [vec![4]];
        assert_eq!(run(pad_vocab::OPERATION, &ctx, &[vec![3]], Some(&wanted)), [[0, 1, 2, 0]]);
        assert_eq!(run(prune_vocab::OPERATION, &ctx, &[vec![4]], None), [[0, 1, 2]]);
        check(pad_vocab::OPERATION, &ctx, &[vec![3, 2]], Some(&[vec![8, 2]]), None);
        check(pad_vocab::OPERATION, &ctx, &[vec![3, 2]], Some(&[vec![3, 2]]), None);
    }

    #[test]
    fn missing_rows_are_not_filled_up() {
        let ctx = ctx(&[("vocab_size", 3)]);
        let text = refusal(pad_vocab::OPERATION, &ctx, &[vec![2]], Some(&[vec![4]]));
        assert_eq!(text, "[2] has 2 rows and the vocabulary 3 tokens");
    }
}
