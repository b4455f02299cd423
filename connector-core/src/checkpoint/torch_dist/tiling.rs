//! Whether boxes tile a tensor: all inside, no two on one element, together as large as the whole.

/// A box: its first index and its size along each dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct Box_<'a> {
    pub start: &'a [usize],
    pub size: &'a [usize],
}

/// Boxes that lie neither side by side nor exactly on the same interval of a dimension are compared
/// each with each, but no more than so many. Frameworks cut tensors into grids, where none are.
const MOST_IRREGULAR: usize = 2048;

/// What is wrong with the boxes of a tensor of the dimensions `shape`, if anything.
pub(super) fn problem(shape: &[usize], boxes: &[Box_<'_>]) -> Option<&'static str> {
    let inside = |b: &Box_<'_>| {
        let ends = b.start.iter().zip(b.size).map(|(start, size)| start.checked_add(*size));
        b.start.len() == shape.len()
            && b.size.len() == shape.len()
            && ends.zip(shape).all(|(end, &len)| end.is_some_and(|end| end <= len))
    };
    if !boxes.iter().all(inside) {
        return Some("one lies outside");
    }
    let volume = |size: &[usize]| size.iter().map(|&n| n as u128).try_fold(1, u128::checked_mul);
    let Some(whole) = volume(shape) else { return Some("its size does not fit in 64 bits") };
    let covered = boxes.iter().map(|b| volume(b.size).unwrap_or(0)).try_fold(0, u128::checked_add);
    // Empty boxes cover nothing, wherever they lie.
    let mut filled: Vec<_> = boxes.iter().filter(|b| !b.size.contains(&0)).copied().collect();
    if let Some(what) = overlap(&mut filled, 0) {
        return Some(what);
    }
    (covered != Some(whole)).then_some("some elements are in none")
}

/// Whether any of the boxes, which have all dimensions before `dimension` in common, overlap.
fn overlap(boxes: &mut [Box_<'_>], dimension: usize) -> Option<&'static str> {
    const OVERLAP: Option<&str> = Some("two of them overlap");
    if boxes.len() < 2 {
        return None;
    }
    if dimension == boxes[0].start.len() {
        return OVERLAP;
    }
    let interval = |b: &Box_<'_>| (b.start[dimension], b.start[dimension] + b.size[dimension]);
    boxes.sort_unstable_by_key(interval);
    let mut rest = boxes;
    while !rest.is_empty() {
        // The boxes from the first on whose intervals hang together.
        let (mut end, mut count) = (interval(&rest[0]).1, 1);
        while count < rest.len() && interval(&rest[count]).0 < end {
            end = end.max(interval(&rest[count]).1);
            count += 1;
        }
        let (together, others) = rest.split_at_mut(count);
        let same = together.iter().all(|b| interval(b) == interval(&together[0]));
        let found = match (same, count) {
            (true, _) => overlap(together, dimension + 1),
            (false, ..=MOST_IRREGULAR) => {
                let pair = |i: usize| together[i + 1..].iter().any(|b| meet(&together[i], b));
                (0..count).any(pair).then_some(OVERLAP).flatten()
            }
            (false, _) => Some("they are too many and too irregular to check"),
        };
        if found.is_some() {
            return found;
        }
        rest = others;
    }
    None
}

fn meet(a: &Box_<'_>, b: &Box_<'_>) -> bool {
    (0..a.start.len())
        .all(|d| a.start[d] < b.start[d] + b.size[d] && b.start[d] < a.start[d] + a.size[d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &[usize], boxes: &[(&[usize], &[usize])]) -> &'static str {
        let boxes: Vec<_> = boxes.iter().map(|&(start, size)| Box_ { start, size }).collect();
        problem(shape, &boxes).unwrap_or("fits")
    }

    #[test]
    fn boxes_tile_or_do_not() {
        let (outside, overlap, gap) =
            ("one lies outside", "two of them overlap", "some elements are in none");
        type Boxes<'a> = &'a [(&'a [usize], &'a [usize])];
        let cases: [(&[usize], Boxes<'_>, &str); 14] = [
            (&[], &[(&[], &[])], "fits"),
            (&[], &[], gap),
            (&[], &[(&[], &[]), (&[], &[])], overlap),
            (&[4], &[(&[0], &[4])], "fits"),
            (&[0], &[], "fits"),
            (&[4], &[(&[0], &[2]), (&[2], &[2]), (&[2], &[0])], "fits"),
            (&[4], &[(&[0], &[3])], gap),
            (&[4], &[(&[0], &[3]), (&[2], &[2])], overlap),
            (&[4], &[(&[2], &[3])], outside),
            (&[4], &[(&[usize::MAX], &[2])], outside),
            (&[4], &[(&[0, 0], &[4, 1])], outside),
            (&[2, 2], &[(&[0, 0], &[2, 1]), (&[0, 1], &[1, 1]), (&[1, 1], &[1, 1])], "fits"),
            (&[2, 2], &[(&[0, 0], &[2, 1]), (&[0, 0], &[1, 2]), (&[1, 1], &[1, 1])], overlap),
            (&[usize::MAX, usize::MAX, 4], &[], "its size does not fit in 64 bits"),
        ];
        for (shape, boxes, want) in cases {
            assert_eq!(check(shape, boxes), want, "{shape:?} {boxes:?}");
        }
    }

    #[test]
    fn a_large_grid_is_no_effort_and_a_large_muddle_is_refused() {
        let starts: Vec<[usize; 3]> =
            (0..64_000).map(|n| [n / 1600, n / 40 % 40, n % 40]).collect();
        let boxes: Vec<_> = starts.iter().map(|start| Box_ { start, size: &[1; 3] }).collect();
        assert_eq!(problem(&[40; 3], &boxes), None);
        // A staircase: every box hangs together with the next.
        let steps: Vec<[usize; 2]> = (0..5000).map(|n| [n, n * 2]).collect();
        let boxes: Vec<_> = steps.iter().map(|start| Box_ { start, size: &[2, 2] }).collect();
        let what = problem(&[6000, 12_000], &boxes).unwrap();
        assert!(what.contains("irregular"), "{what}");
    }
}
