use super::super::test_support::{check, ctx, lay_out, refusal, run};
use super::*;
use crate::transform::{Transform, TransformCtx};
use proptest::prelude::*;

fn config(heads: u64, groups: u64) -> TransformCtx<'static> {
    ctx(&[(HEADS, heads), (GROUPS, groups)])
}

// In what follows, element i of q is i, of k 100 + i, of v 200 + i.

#[test]
fn grouped_queries() {
    let ctx = config(4, 2);
    let sources = [vec![4, 1], vec![2, 1], vec![2, 1]];
    let merged = run(merge_qkv::OPERATION, &ctx, &sources, None);
    assert_eq!(merged, [[0, 1, 100, 200, 2, 3, 101, 201]]);
    let split = run(split_qkv::OPERATION, &ctx, &[vec![8, 1]], None);
    assert_eq!(split, [vec![0, 1, 4, 5], vec![2, 6], vec![3, 7]]);
}

#[test]
fn heads_of_two_rows_and_two_columns() {
    let sources = [vec![4, 2], vec![2, 2], vec![2, 2]];
    let merged = run(merge_qkv::OPERATION, &config(2, 1), &sources, None);
    let q = [0, 1, 2, 3, 4, 5, 6, 7];
    assert_eq!(merged[0], [&q[..], &[100, 101, 102, 103], &[200, 201, 202, 203]].concat());

    let sources = [vec![4, 2], vec![4, 2], vec![4, 2]];
    let merged = run(merge_qkv::OPERATION, &config(2, 2), &sources, None);
    let first = [0, 1, 2, 3, 100, 101, 102, 103, 200, 201, 202, 203];
    let second = [4, 5, 6, 7, 104, 105, 106, 107, 204, 205, 206, 207];
    assert_eq!(merged[0], [first, second].concat());
}

#[test]
fn one_group_for_all_heads() {
    let merged = run(merge_qkv::OPERATION, &config(3, 1), &[vec![3], vec![1], vec![1]], None);
    assert_eq!(merged, [[0, 1, 2, 100, 200]]);
}

#[test]
fn a_group_for_every_head() {
    let merged = run(merge_qkv::OPERATION, &config(3, 3), &[vec![3], vec![3], vec![3]], None);
    assert_eq!(merged, [[0, 100, 200, 1, 101, 201, 2, 102, 202]]);
}

#[test]
fn a_bias_goes_like_the_rows_of_a_weight() {
    let merged = run(merge_qkv::OPERATION, &config(4, 2), &[vec![8], vec![4], vec![4]], None);
    assert_eq!(merged, [[0, 1, 2, 3, 100, 101, 200, 201, 4, 5, 6, 7, 102, 103, 202, 203]]);
}

#[test]
fn on_top_of_each_other() {
    let ctx = config(4, 2);
    let merged = run(merge_qkv_concat::OPERATION, &ctx, &[vec![8]], None);
    assert_eq!(merged, [[0, 1, 4, 6, 2, 3, 5, 7]]);
    let split = run(split_qkv_concat::OPERATION, &ctx, &[vec![8]], None);
    assert_eq!(split, [[0, 1, 4, 5, 2, 6, 3, 7]]);
}

#[test]
fn three_moves_whatever_the_number_of_groups() {
    let (q, kv) = (vec![4096, 4096], vec![1024, 4096]);
    let merged = lay_out(merge_qkv::OPERATION, &config(32, 8), &[q, kv.clone(), kv], None);
    let merged = merged.unwrap();
    assert_eq!(merged.shapes, [[6144, 4096]]);
    let row = 4096;
    let of = |part, to, rows| Move::run(part, 0, 0, to * row, rows * row);
    assert_eq!(
        merged.moves,
        [
            of(0, 0, 512).repeated(8, 512 * row, 768 * row),
            of(1, 512, 128).repeated(8, 128 * row, 768 * row),
            of(2, 640, 128).repeated(8, 128 * row, 768 * row),
        ]
    );
}

#[test]
fn merging_asks_for_the_groups_only() {
    let merged =
        run(merge_qkv::OPERATION, &ctx(&[(GROUPS, 1)]), &[vec![2], vec![1], vec![1]], None);
    assert_eq!(merged, [[0, 1, 100, 200]]);
}

#[test]
fn a_missing_field_is_named() {
    let parts = [vec![4], vec![2], vec![2]];
    for (op, fields, sources, says) in [
        (merge_qkv::OPERATION, &[][..], &parts[..], "`num_query_groups`, which is neither"),
        (
            split_qkv::OPERATION,
            &[(GROUPS, 2)],
            &[vec![8]],
            "`num_attention_heads`, which is neither",
        ),
        (split_qkv_concat::OPERATION, &[(HEADS, 2)], &[vec![8]], "`num_query_groups`, which"),
        (merge_qkv::OPERATION, &[(GROUPS, 0)], &parts, "`num_query_groups` is 0"),
    ] {
        let refusal = refusal(op, &ctx(fields), sources, None);
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let huge = usize::MAX / 2;
    for (q, k, v, says) in [
        (vec![4, 2], vec![2, 2], vec![4, 2], "k is [2, 2] and v is [4, 2]"),
        (vec![4, 2], vec![2, 3], vec![2, 3], "differ in more than their rows"),
        (
            vec![5, 2],
            vec![2, 2],
            vec![2, 2],
            "q has 5 rows, not a multiple of num_query_groups = 2",
        ),
        (
            vec![4, 2],
            vec![3, 2],
            vec![3, 2],
            "k has 3 rows, not a multiple of num_query_groups = 2",
        ),
        (vec![6, 2], vec![4, 2], vec![4, 2], "q has 6 rows, not a multiple of the 4 of k"),
        (vec![4, 2], vec![0, 2], vec![0, 2], "not a multiple of the 0 of k"),
        (vec![], vec![], vec![], "without dimensions"),
        (vec![huge - 1], vec![huge - 1], vec![huge - 1], "too many rows"),
        (vec![4, huge], vec![4, huge], vec![4, huge], "more elements than can be counted"),
    ] {
        let refusal = refusal(merge_qkv::OPERATION, &ctx(&[(GROUPS, 2)]), &[q, k, v], None);
        assert!(refusal.contains(says), "{refusal}");
    }
}

#[test]
fn parts_that_would_not_come_back_are_refused() {
    // Twice the rows of q: a gate beside each query head, which `split_qkv` knows nothing of.
    let sources = [vec![16, 2], vec![4, 2], vec![4, 2]];
    let refusal = refusal(merge_qkv::OPERATION, &config(4, 2), &sources, None);
    assert!(refusal.contains("does not fit num_attention_heads = 4"), "{refusal}");
}

#[test]
fn wholes_that_do_not_fit_are_refused() {
    for (heads, groups, whole, says) in [
        (4, 2, vec![12, 3], "not a multiple of 4 + 2·2"),
        (4, 3, vec![10, 3], "num_attention_heads = 4 is not a multiple of num_query_groups = 3"),
        (u64::MAX, 1, vec![8], "does not hold num_attention_heads"),
        (1 << 63, 1 << 63, vec![8], "does not hold num_attention_heads"),
        (4, 2, vec![], "without dimensions"),
        (4, 2, vec![8, usize::MAX], "more elements than can be counted"),
    ] {
        for op in [split_qkv::OPERATION, merge_qkv_concat::OPERATION, split_qkv_concat::OPERATION] {
            let refusal = refusal(op, &config(heads, groups), std::slice::from_ref(&whole), None);
            assert!(refusal.contains(says), "{refusal}");
        }
    }
}

#[test]
fn empty_tensors_move_nothing() {
    let sources = [vec![4, 0], vec![2, 0], vec![2, 0]];
    let merged = lay_out(merge_qkv::OPERATION, &config(4, 2), &sources, None).unwrap();
    assert_eq!(merged.shapes, [[8, 0]]);
    assert_eq!(merged.moves, []);
}

proptest! {
    #[test]
    fn every_element_lands(
        (groups, per_group, head) in (1usize..5, 1usize..5, 1usize..4),
        row in prop::collection::vec(1usize..4, 0..3),
    ) {
        let ctx = config((groups * per_group) as u64, groups as u64);
        let [q, k] = [per_group, 1].map(|heads| with_rows(groups * heads * head, &row));
        check(merge_qkv::OPERATION, &ctx, &[q, k.clone(), k], None, None);
        let whole = [with_rows(groups * (per_group + 2) * head, &row)];
        check(split_qkv::OPERATION, &ctx, &whole, None, None);
        check(merge_qkv_concat::OPERATION, &ctx, &whole, None, None);
        check(split_qkv_concat::OPERATION, &ctx, &whole, None, None);
    }
}
