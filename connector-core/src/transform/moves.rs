use super::Numbers;
#[cfg(feature = "candle")]
use super::TransformCtx;
use std::fmt;

/// A tensor's dimensions, outermost first.
pub type Shape = Vec<usize>;

/// Elements that move from a source tensor to a target tensor without change.
///
/// The basic move is `len` elements from `from` to `to`; each [`Repeat`] does all of it again
/// `count` times, a step further each time. So the interleaving of query heads by group is one
/// move, whatever the number of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The number of the source.
    pub source: usize,
    /// The number of the target.
    pub target: usize,
    /// The first element in the source, counted in row-major order.
    pub from: u64,
    /// The first element in the target.
    pub to: u64,
    /// How many elements lie together on both sides.
    pub len: u64,
    /// How the move repeats; the first is the innermost.
    pub repeat: [Repeat; 2],
}

/// How often a [`Move`] repeats and how far apart, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// How often, at least once.
    pub count: u64,
    /// The step in the source.
    pub from: u64,
    /// The step in the target.
    pub to: u64,
}

impl Repeat {
    /// Does not repeat.
    pub const ONCE: Repeat = Repeat { count: 1, from: 0, to: 0 };
}

impl Move {
    /// A run of elements.
    pub fn run(source: usize, target: usize, from: u64, to: u64, len: u64) -> Self {
        Move { source, target, from, to, len, repeat: [Repeat::ONCE; 2] }
    }

    /// The same, `count` times.
    pub fn repeated(self, count: u64, from: u64, to: u64) -> Self {
        Move { repeat: [Repeat { count, from, to }, self.repeat[0]], ..self }
    }

    /// How many elements it moves.
    pub fn elements(&self) -> u64 {
        self.len * self.repeat[0].count * self.repeat[1].count
    }

    /// The move back.
    pub fn reversed(self) -> Self {
        let back = |r: Repeat| Repeat { count: r.count, from: r.to, to: r.from };
        Move {
            source: self.target,
            target: self.source,
            from: self.to,
            to: self.from,
            repeat: self.repeat.map(back),
            len: self.len,
        }
    }

    /// What it reads: first element in the source and number of elements. Runs that continue each
    /// other there come as one, wherever they go.
    pub fn reads(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let mut this = *self;
        this.repeat.sort_unstable_by_key(|repeat| repeat.from);
        for repeat in &mut this.repeat {
            if repeat.from == this.len {
                this.len *= repeat.count;
                *repeat = Repeat::ONCE;
            }
        }
        // Where it goes does not matter: the targets lie as the sources do.
        this.repeat.iter_mut().for_each(|repeat| repeat.to = repeat.from);
        this.runs().map(|(from, _, len)| (from, len))
    }

    /// The runs: first element in the source, first element in the target, number of elements.
    /// Runs that continue each other on both sides come as one.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64, u64)> + use<> {
        let mut this = *self;
        for r in 0..2 {
            let Repeat { count, from, to } = this.repeat[r];
            if from == this.len && to == this.len && (r == 0 || this.repeat[0].count == 1) {
                this.len *= count;
                this.repeat[r] = Repeat::ONCE;
            }
        }
        let [inner, outer] = this.repeat;
        (0..outer.count).flat_map(move |o| {
            (0..inner.count).map(move |i| {
                let from = this.from + o * outer.from + i * inner.from;
                (from, this.to + o * outer.to + i * inner.to, this.len)
            })
        })
    }
}

/// What `runs`, first elements and numbers of elements, leave out of so many elements.
pub(crate) fn gaps(mut runs: Vec<(u64, u64)>, elements: u64) -> Vec<(u64, u64)> {
    runs.sort_unstable();
    let (mut gaps, mut at) = (Vec::new(), 0);
    for (from, len) in runs.into_iter().chain([(elements, 0)]) {
        if from > at {
            gaps.push((at, from - at));
        }
        at = at.max(from + len);
    }
    gaps
}

/// What a built-in operation does with tensors of given shapes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The shapes of the targets.
    pub shapes: Vec<Shape>,
    /// The moves; an element of a target that no move reaches is zero.
    pub moves: Vec<Move>,
    /// Sources that must hold the same bytes as source 0, or the operation has no inverse.
    pub equal: Vec<usize>,
}

/// A built-in operation: computes its moves, and has the same effect on tensors.
pub trait LayOut: Sync + fmt::Debug {
    /// The moves for sources of the shapes `sources`. `wanted` are the targets' shapes where the
    /// schema knows them; only operations whose result does not follow from the sources (cut,
    /// pad, prune) look at it.
    ///
    /// # Errors
    /// A sentence that says which shape or config field does not fit.
    fn lay_out(
        &self,
        numbers: &Numbers<'_>,
        sources: &[Shape],
        wanted: Option<&[Shape]>,
    ) -> Result<Moves, String>;

    /// The same on tensors, on whatever device they are.
    ///
    /// # Errors
    /// As [`LayOut::lay_out`], and those of candle.
    #[cfg(feature = "candle")]
    fn apply(
        &self,
        ctx: &TransformCtx<'_>,
        sources: &[super::Tensor],
        wanted: Option<&[Shape]>,
    ) -> Result<Vec<super::Tensor>, super::BoxError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The pairs of elements that a move joins, in the order of its loops.
    fn pairs(m: Move) -> Vec<(u64, u64)> {
        let [inner, outer] = m.repeat;
        let mut pairs = Vec::new();
        for o in 0..outer.count {
            for i in 0..inner.count {
                for e in 0..m.len {
                    let from = m.from + o * outer.from + i * inner.from + e;
                    pairs.push((from, m.to + o * outer.to + i * inner.to + e));
                }
            }
        }
        pairs
    }

    fn runs(m: Move) -> Vec<(u64, u64, u64)> {
        m.runs().collect()
    }

    #[test]
    fn repeats_nest() {
        let m = Move::run(0, 0, 1, 0, 2).repeated(2, 4, 3).repeated(2, 100, 10);
        assert_eq!(m.repeat.map(|r| r.count), [2, 2]);
        let inner_first = [(1, 0, 2), (101, 10, 2), (5, 3, 2), (105, 13, 2)];
        assert_eq!(runs(m), inner_first);
    }

    #[test]
    fn runs_that_continue_each_other_are_one() {
        let m = Move::run(0, 0, 5, 7, 2);
        assert_eq!(runs(m), [(5, 7, 2)]);
        assert_eq!(runs(m.repeated(3, 2, 2)), [(5, 7, 6)]);
        assert_eq!(runs(m.repeated(2, 6, 6).repeated(3, 2, 2)), [(5, 7, 12)]);
        assert_eq!(runs(m.repeated(3, 2, 2).repeated(1, 9, 9)), [(5, 7, 6)]);
        // Together in the source only, or in the target only.
        assert_eq!(runs(m.repeated(2, 2, 3)), [(5, 7, 2), (7, 10, 2)]);
        assert_eq!(runs(m.repeated(2, 3, 2)), [(5, 7, 2), (8, 9, 2)]);
        // The outer step continues one run, but not the last of the inner ones.
        assert_eq!(runs(m.repeated(2, 2, 2).repeated(2, 9, 9)).len(), 4);
    }

    #[test]
    fn what_is_read_is_told_from_what_is_left_out() {
        // The columns of [3, 4] but the last, one after the other: a transpose that forgets it.
        let columns = Move::run(0, 0, 0, 0, 1).repeated(3, 4, 1).repeated(3, 1, 3);
        assert_eq!(columns.reads().collect::<Vec<_>>(), [(0, 3), (4, 3), (8, 3)]);
        assert_eq!(gaps(columns.reads().collect(), 12), [(3, 1), (7, 1), (11, 1)]);
        let whole = Move::run(0, 0, 0, 0, 1).repeated(4, 1, 3).repeated(3, 4, 1);
        assert_eq!(whole.reads().collect::<Vec<_>>(), [(0, 12)]);
        assert_eq!(gaps(vec![(4, 2), (0, 3), (1, 2)], 9), [(3, 1), (6, 3)]);
        assert_eq!(gaps(vec![(2, 3), (0, 5)], 5), []);
    }

    proptest! {
        #[test]
        fn runs_join_the_same_elements(
            (from, to, len) in (0u64..9, 0u64..9, 1u64..4),
            steps in [(1u64..4, 0u64..9, 0u64..9), (1u64..4, 0u64..9, 0u64..9)],
        ) {
            let m = steps.into_iter().fold(Move::run(0, 1, from, to, len), |m, (count, from, to)| {
                m.repeated(count, from, to)
            });
            let apart = |(from, to, len)| (0..len).map(move |e| (from + e, to + e));
            let joined: Vec<_> = m.runs().flat_map(apart).collect();
            prop_assert_eq!(&joined, &pairs(m));
            prop_assert_eq!(joined.len() as u64, m.elements());
            let mut read: Vec<u64> = m.reads().flat_map(|(from, len)| from..from + len).collect();
            let mut from: Vec<u64> = joined.iter().map(|(from, _)| *from).collect();
            for all in [&mut read, &mut from] {
                all.sort_unstable();
                all.dedup();
            }
            prop_assert_eq!(read, from);

            let back = m.reversed();
            prop_assert_eq!((back.source, back.target), (1, 0));
            prop_assert_eq!(back.reversed(), m);
            let swapped: Vec<_> = joined.into_iter().map(|(from, to)| (to, from)).collect();
            prop_assert_eq!(pairs(back), swapped);
        }
    }
}
