//! Moves after moves, as moves.

use super::{Move, Moves, Repeat};

/// The most runs of a stage for which the moves of two are joined. Beyond, their list would take more
/// memory than what lies between them: a transpose has a run for each element.
const MOST_RUNS: u64 = 1 << 15;

/// Elements that lie together on both sides.
#[derive(Clone, Copy)]
struct Run {
    source: usize,
    target: usize,
    from: u64,
    to: u64,
    len: u64,
}

/// What `first` and, with its targets as sources, `second` do together; `None` if that is too long to
/// be listed.
pub(crate) fn compose(first: &Moves, second: &Moves) -> Option<Moves> {
    let (before, after) = (runs(first)?, runs(second)?);
    // By where they end between the two. No element there is reached twice.
    let mut made: Vec<Vec<Run>> = vec![Vec::new(); first.shapes.len()];
    before.into_iter().for_each(|run| made[run.target].push(run));
    made.iter_mut().for_each(|runs| runs.sort_unstable_by_key(|run| run.to));
    let mut joined = Vec::new();
    for Run { source, target, from, to, len } in after {
        let end = from + len;
        let runs = &made[source];
        let next = runs.partition_point(|run| run.to + run.len <= from);
        // What no run reaches is zero, and stays so.
        joined.extend(runs[next..].iter().take_while(|run| run.to < end).map(|run| {
            let (begin, end) = (run.to.max(from), (run.to + run.len).min(end));
            Run {
                source: run.source,
                target,
                from: run.from + (begin - run.to),
                to: to + (begin - from),
                len: end - begin,
            }
        }));
    }
    let by_target = rolled(&mut joined, |run| (run.source, run.target, run.to));
    let by_source = rolled(&mut joined, |run| (run.source, run.target, run.from));
    let moves = if by_source.len() < by_target.len() { by_source } else { by_target };
    Some(Moves { shapes: second.shapes.clone(), moves, equal: first.equal.clone() })
}

/// The runs of all moves, if they are few enough.
fn runs(all: &Moves) -> Option<Vec<Run>> {
    let count = |m: &Move| m.runs().next().map_or(0, |(_, _, len)| m.elements() / len.max(1));
    let runs = all.moves.iter().map(count).sum::<u64>();
    (runs <= MOST_RUNS).then(|| {
        let of = |m: &Move| {
            let Move { source, target, .. } = *m;
            m.runs().map(move |(from, to, len)| Run { source, target, from, to, len })
        };
        all.moves.iter().flat_map(of).collect()
    })
}

/// The runs as few moves: neighbours in one, and those at equal distances as repeats.
fn rolled(runs: &mut Vec<Run>, order: impl Fn(&Run) -> (usize, usize, u64)) -> Vec<Move> {
    runs.sort_unstable_by_key(&order);
    runs.dedup_by(|next, last| {
        let joins = (next.source, next.target) == (last.source, last.target)
            && (next.from, next.to) == (last.from + last.len, last.to + last.len);
        if joins {
            last.len += next.len;
        }
        joins
    });
    let moves = runs.iter().map(|r| Move::run(r.source, r.target, r.from, r.to, r.len)).collect();
    repeats(repeats(moves))
}

/// Moves that are alike and follow each other at equal distances become one that repeats.
fn repeats(moves: Vec<Move>) -> Vec<Move> {
    let step = |a: &Move, b: &Move| -> Option<(u64, u64)> {
        let alike = Move { from: a.from, to: a.to, ..*b } == *a;
        let steps = (b.from.checked_sub(a.from)?, b.to.checked_sub(a.to)?);
        (alike && a.repeat[1] == Repeat::ONCE).then_some(steps)
    };
    let mut out = Vec::new();
    let mut rest = &moves[..];
    while let [first, others @ ..] = rest {
        let steps = others.first().and_then(|second| step(first, second));
        let count = match steps {
            Some(steps) => {
                1 + rest.windows(2).take_while(|w| step(&w[0], &w[1]) == Some(steps)).count()
            }
            None => 1,
        };
        let (from, to) = steps.unwrap_or_default();
        out.push(if count > 1 { first.repeated(count as u64, from, to) } else { *first });
        rest = &rest[count..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moves(len: usize, moves: Vec<Move>) -> Moves {
        Moves { shapes: vec![vec![len]], moves, equal: Vec::new() }
    }

    /// Source element `i` is `i + 1`.
    fn run(sources: &[Vec<u32>], moves: &Moves) -> Vec<Vec<u32>> {
        let mut made: Vec<Vec<u32>> =
            moves.shapes.iter().map(|shape| vec![0; shape.iter().product()]).collect();
        for m in &moves.moves {
            for (from, to, len) in m.runs() {
                for e in 0..len {
                    made[m.target][(to + e) as usize] = sources[m.source][(from + e) as usize];
                }
            }
        }
        made
    }

    #[test]
    fn rows_at_equal_distances_are_one_move() {
        // Two halves beside each other in one buffer, then their rows in turn.
        let first = moves(8, vec![Move::run(0, 0, 0, 0, 4), Move::run(1, 0, 0, 4, 4)]);
        let second = moves(
            8,
            vec![
                Move::run(0, 0, 0, 0, 1).repeated(4, 1, 2),
                Move::run(0, 0, 4, 1, 1).repeated(4, 1, 2),
            ],
        );
        let both = compose(&first, &second).unwrap();
        let want = [
            Move::run(0, 0, 0, 0, 1).repeated(4, 1, 2),
            Move::run(1, 0, 0, 1, 1).repeated(4, 1, 2),
        ];
        assert_eq!(both.moves, want);
    }

    #[test]
    fn a_run_for_each_element_is_too_many() {
        let most = MOST_RUNS as usize;
        let each = |n: usize| moves(n, vec![Move::run(0, 0, 0, 0, 1).repeated(n as u64, 2, 1)]);
        assert!(compose(&each(most), &each(most)).is_some());
        assert!(compose(&each(most + 1), &each(most)).is_none());
    }

    proptest! {
        #[test]
        fn moves_joined_do_what_they_do_one_after_another(
            (first, second) in (permutation(), permutation()),
            zeros in 0usize..6,
        ) {
            let [first, mut second] = [first, second].map(|order| {
                let to = |(to, from): (usize, usize)| Move::run(from % 2, 0, from as u64, to as u64, 1);
                moves(order.len(), order.into_iter().enumerate().map(to).collect())
            });
            second.moves.iter_mut().for_each(|m| m.source = 0);
            // Something in between is reached by nothing, and something dropped.
            let first = Moves { moves: first.moves[zeros..].to_vec(), ..first };
            let sources: Vec<Vec<u32>> = (0..2).map(|s| (1..25).map(|i| i + 100 * s).collect()).collect();
            let both = compose(&first, &second).unwrap();
            prop_assert_eq!(run(&sources, &both), run(&run(&sources, &first), &second));
        }
    }

    fn permutation() -> impl Strategy<Value = Vec<usize>> {
        Just((0..24).collect::<Vec<usize>>()).prop_shuffle()
    }
}
