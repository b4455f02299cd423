//! Query, key and value in one tensor, interleaved by query group as Megatron has them.
//!
//! H query heads and G groups make R = H / G query heads per group; a head is D rows. The merged
//! tensor holds, group after group, the R query heads of the group, its key head and its value
//! head: `[(H + 2·G)·D, …]`. NeMo 2 has the formulas in `TransformFns`
//! (`nemo/lightning/io/state.py`).

use super::dims::{elements, exactly, moves, number, rows_of, with_rows};
use crate::transform::{LayOut, Move, Moves, Numbers, Shape};

#[cfg(feature = "candle")]
use {
    super::dims,
    crate::Tensor,
    crate::transform::{BoxError, TransformCtx},
    candle_core::Result as CandleResult,
};

const GROUPS: &str = "num_query_groups";
const HEADS: &str = "num_attention_heads";

/// How the rows are dealt to the groups.
struct Groups {
    groups: usize,
    /// Rows of query in a group.
    q: usize,
    /// Rows of key in a group, and as many of value.
    k: usize,
    /// The dimensions of a row.
    row: Shape,
}

impl Groups {
    /// For query, key and value apart.
    fn of_parts(numbers: &Numbers<'_>, [q, k, v]: &[Shape; 3]) -> Result<Self, String> {
        let groups = number(numbers, GROUPS)?;
        let ((q_rows, row), (k_rows, k_row)) = (rows_of(q)?, rows_of(k)?);
        if k != v {
            return Err(format!("k is {k:?} and v is {v:?}, which shall be the same"));
        }
        if row != k_row {
            return Err(format!("q is {q:?} and k is {k:?}, which differ in more than their rows"));
        }
        for (name, rows) in [("q", q_rows), ("k", k_rows)] {
            if !rows.is_multiple_of(groups) {
                return Err(format!(
                    "{name} has {rows} rows, not a multiple of {GROUPS} = {groups}"
                ));
            }
        }
        if !q_rows.is_multiple_of(k_rows) {
            return Err(format!("q has {q_rows} rows, not a multiple of the {k_rows} of k"));
        }
        // Not needed to merge, but the way back counts on it.
        if let Some(heads) = numbers.get(HEADS)
            && (k_rows / groups).checked_mul(heads) != Some(q_rows)
        {
            return Err(format!(
                "q has {q_rows} rows and k has {k_rows}, which does not fit {HEADS} = {heads} and \
                 {GROUPS} = {groups}"
            ));
        }
        Groups { groups, q: q_rows / groups, k: k_rows / groups, row: row.to_vec() }.countable()
    }

    /// For the tensor that holds all three.
    fn of_whole(numbers: &Numbers<'_>, shape: &Shape) -> Result<Self, String> {
        let (groups, heads) = (number(numbers, GROUPS)?, number(numbers, HEADS)?);
        let (rows, row) = rows_of(shape)?;
        if !heads.is_multiple_of(groups) {
            return Err(format!("{HEADS} = {heads} is not a multiple of {GROUPS} = {groups}"));
        }
        let per_group = (heads / groups).checked_add(2);
        let all_heads = per_group.and_then(|n| n.checked_mul(groups));
        let Some(all_heads) = all_heads.filter(|&n| rows.is_multiple_of(n)) else {
            return Err(format!(
                "{shape:?} does not hold {HEADS} = {heads} heads of q and {GROUPS} = {groups} of \
                 each k and v: its rows are not a multiple of {heads} + 2·{groups}"
            ));
        };
        let k = rows / all_heads;
        Groups { groups, q: heads / groups * k, k, row: row.to_vec() }.countable()
    }

    /// Refuses what has too many elements.
    fn countable(self) -> Result<Self, String> {
        let block = self.k.checked_mul(2).and_then(|kv| kv.checked_add(self.q));
        let Some(rows) = block.and_then(|block| block.checked_mul(self.groups)) else {
            return Err("q, k and v have too many rows".into());
        };
        elements(&self.row)?;
        elements(&with_rows(rows, &self.row))?;
        Ok(self)
    }

    /// `[(H + 2·G)·D, …]`
    fn whole(&self) -> Shape {
        with_rows(self.groups * self.block(), &self.row)
    }

    /// The rows of a group.
    fn block(&self) -> usize {
        self.q + 2 * self.k
    }

    /// `[H·D, …]`, `[G·D, …]`, `[G·D, …]`
    fn parts(&self) -> [Shape; 3] {
        [self.q, self.k, self.k].map(|rows| with_rows(self.groups * rows, &self.row))
    }

    /// From three tensors to the merged one, or from one that holds the three on top of each
    /// other. One move for each of q, k and v.
    fn merging(&self, apart: bool) -> [Move; 3] {
        let width = self.row.iter().map(|&dim| dim as u64).product::<u64>();
        let groups = self.groups as u64;
        let [q, k, block] = [self.q, self.k, self.block()].map(|rows| rows as u64 * width);
        [(0, 0, q), (1, q, k), (2, q + k, k)].map(|(part, to, len)| {
            let (source, from) = if apart { (part, 0) } else { (0, groups * to) };
            Move::run(source, 0, from, to, len).repeated(groups, len, block)
        })
    }
}

#[cfg(feature = "candle")]
impl Groups {
    fn merge(&self, [q, k, v]: [&Tensor; 3]) -> CandleResult<Tensor> {
        let by_group = |x: &Tensor, rows| x.reshape([&[self.groups, rows], &self.row[..]].concat());
        let parts = [by_group(q, self.q)?, by_group(k, self.k)?, by_group(v, self.k)?];
        Tensor::cat(&parts, 1)?.flatten(0, 1)
    }

    fn split(&self, whole: &Tensor) -> CandleResult<[Tensor; 3]> {
        let whole = whole.reshape([&[self.groups, self.block()], &self.row[..]].concat())?;
        let part = |at, rows| whole.narrow(1, at, rows)?.flatten(0, 1);
        Ok([part(0, self.q)?, part(self.q, self.k)?, part(self.q + self.k, self.k)?])
    }
}

operation! {
    /// (q `[H·D, …]`, k `[G·D, …]`, v `[G·D, …]`) → `[(H + 2·G)·D, …]`, weights and biases alike.
    ///
    /// In blocks of D rows: block g·(R + 2) + j of the result is query head g·R + j for j < R,
    /// then key head g, then value head g. G is `num_query_groups`. Refuses shapes that do not
    /// deal out to G groups, and those that do not fit `num_attention_heads` where the config
    /// has it. NeMo 2's `TransformFns.merge_qkv` and `merge_qkv_bias`.
    #[doc(alias = "merge_qkv_bias")]
    merge_qkv: Bijective, ["q", "k", "v"] => ["grouped qkv"], back by split_qkv
}

impl LayOut for merge_qkv {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let groups = Groups::of_parts(numbers, exactly(sources)?)?;
        Ok(moves(vec![groups.whole()], groups.merging(true)))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [q, k, v] = exactly(sources)?;
        Ok(vec![merge_qkv(ctx, q, k, v)?])
    }
}

/// (q `[H·D, …]`, k `[G·D, …]`, v `[G·D, …]`) → `[(H + 2·G)·D, …]`, interleaved by query group.
///
/// # Errors
/// If the shapes do not deal out to `num_query_groups` groups, and candle's.
#[cfg(feature = "candle")]
pub fn merge_qkv(
    ctx: &TransformCtx<'_>,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> CandleResult<Tensor> {
    let groups =
        Groups::of_parts(ctx.numbers(), &dims::shapes([q, k, v])).map_err(dims::refused)?;
    groups.merge([q, k, v])
}

operation! {
    /// `[(H + 2·G)·D, …]` → (q `[H·D, …]`, k `[G·D, …]`, v `[G·D, …]`): the way back from
    /// [`merge_qkv`](struct@merge_qkv).
    ///
    /// H is `num_attention_heads`, G is `num_query_groups`; D and the other dimensions are the
    /// tensor's own, so it serves biases and the B matrix `[(H + 2·G)·D, rank]` of a LoRA adapter.
    /// Refuses rows that are not a multiple of H + 2·G. NeMo 2's `TransformFns.split_qkv` and
    /// `split_qkv_bias`.
    #[doc(alias = "split_qkv_bias")]
    split_qkv: Bijective, ["grouped qkv"] => ["q", "k", "v"], back by merge_qkv
}

impl LayOut for split_qkv {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [whole] = exactly(sources)?;
        let groups = Groups::of_whole(numbers, whole)?;
        Ok(moves(groups.parts().to_vec(), groups.merging(true).map(Move::reversed)))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [whole] = exactly(sources)?;
        Ok(split_qkv(ctx, whole)?.into())
    }
}

/// `[(H + 2·G)·D, …]`, interleaved by query group → (q `[H·D, …]`, k `[G·D, …]`, v `[G·D, …]`).
///
/// # Errors
/// If the rows are not a multiple of `num_attention_heads` + 2 `num_query_groups`, and candle's.
#[cfg(feature = "candle")]
pub fn split_qkv(ctx: &TransformCtx<'_>, whole: &Tensor) -> CandleResult<[Tensor; 3]> {
    let groups = Groups::of_whole(ctx.numbers(), &whole.dims().to_vec()).map_err(dims::refused)?;
    groups.split(whole)
}

operation! {
    /// [q; k; v] `[(H + 2·G)·D, …]` → the same rows interleaved by query group, as of
    /// [`merge_qkv`](struct@merge_qkv).
    ///
    /// The source is cut at rows H·D and (H + G)·D. Phi 3, ChatGLM and GPT-OSS have this layout.
    /// H is `num_attention_heads`, G is `num_query_groups`. Refuses rows that are not a multiple
    /// of H + 2·G. NeMo 2's `TransformFns.merge_qkv_concat` and `merge_qkv_bias_concat`.
    #[doc(alias = "merge_qkv_bias_concat")]
    merge_qkv_concat: Bijective, ["concatenated qkv"] => ["grouped qkv"], back by split_qkv_concat
}

impl LayOut for merge_qkv_concat {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let groups = Groups::of_whole(numbers, shape)?;
        Ok(moves(vec![groups.whole()], groups.merging(false)))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [qkv] = exactly(sources)?;
        Ok(vec![merge_qkv_concat(ctx, qkv)?])
    }
}

/// [q; k; v] `[(H + 2·G)·D, …]` → the same rows interleaved by query group.
///
/// # Errors
/// If the rows are not a multiple of `num_attention_heads` + 2 `num_query_groups`, and candle's.
#[cfg(feature = "candle")]
pub fn merge_qkv_concat(ctx: &TransformCtx<'_>, qkv: &Tensor) -> CandleResult<Tensor> {
    let groups = Groups::of_whole(ctx.numbers(), &qkv.dims().to_vec()).map_err(dims::refused)?;
    let [q, k, _] = groups.parts().map(|part| part[0]);
    groups.merge([&qkv.narrow(0, 0, q)?, &qkv.narrow(0, q, k)?, &qkv.narrow(0, q + k, k)?])
}

operation! {
    /// Rows interleaved by query group `[(H + 2·G)·D, …]` → [q; k; v]: the way back from
    /// [`merge_qkv_concat`](struct@merge_qkv_concat).
    ///
    /// H is `num_attention_heads`, G is `num_query_groups`. Refuses rows that are not a multiple
    /// of H + 2·G.
    split_qkv_concat: Bijective, ["grouped qkv"] => ["concatenated qkv"], back by merge_qkv_concat
}

impl LayOut for split_qkv_concat {
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let [shape] = exactly(sources)?;
        let groups = Groups::of_whole(numbers, shape)?;
        Ok(moves(vec![groups.whole()], groups.merging(false).map(Move::reversed)))
    }

    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        let [whole] = exactly(sources)?;
        Ok(vec![split_qkv_concat(ctx, whole)?])
    }
}

/// Rows interleaved by query group `[(H + 2·G)·D, …]` → [q; k; v].
///
/// # Errors
/// If the rows are not a multiple of `num_attention_heads` + 2 `num_query_groups`, and candle's.
#[cfg(feature = "candle")]
pub fn split_qkv_concat(ctx: &TransformCtx<'_>, whole: &Tensor) -> CandleResult<Tensor> {
    Tensor::cat(&split_qkv(ctx, whole)?, 0)
}

#[cfg(test)]
mod tests;
