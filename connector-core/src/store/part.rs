use super::FileId;

/// A part of an output: from byte `at` on, up to the next part, it lies at `offset` of `file`.
///
/// A tensor of safetensors has one; one of torch_dist is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The part's first byte, counted in the output.
    pub at: u64,
    /// The file.
    pub file: FileId,
    /// Where in the file it begins.
    pub offset: u64,
}

/// Bytes of an output that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Landing {
    pub file: FileId,
    pub offset: u64,
    pub len: u64,
}

impl Part {
    /// The only part of an output.
    pub fn whole(file: FileId, offset: u64) -> Vec<Part> {
        vec![Part { at: 0, file, offset }]
    }
}

/// Where the bytes from `from` on lie, `len` of them, of an output with these `parts`.
pub(crate) fn landings(parts: &[Part], from: u64, len: u64) -> impl Iterator<Item = Landing> {
    let first = parts.partition_point(|part| part.at <= from).saturating_sub(1);
    let end = from + len;
    (first..parts.len()).map_while(move |number| {
        let Part { at, file, offset } = parts[number];
        let start = from.max(at);
        let stop = parts.get(number + 1).map_or(end, |next| next.at.min(end));
        (start < stop).then(|| Landing { file, offset: offset + start - at, len: stop - start })
    })
}

/// How many bytes from `from` on lie in the part in which it lies; the last one goes on.
pub(crate) fn room(parts: &[Part], from: u64) -> u64 {
    let next = parts.partition_point(|part| part.at <= from);
    parts.get(next).map_or(u64::MAX, |next| next.at - from)
}

/// How many files the outputs lie in.
pub(crate) fn file_count(places: &[Vec<Part>]) -> usize {
    places.iter().flatten().map(|part| part.file + 1).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_land_in_their_parts() {
        let part = |at, offset| Part { at, file: 0, offset };
        let parts = [part(0, 100), part(10, 50), part(20, 200)];
        let lands =
            |from, len| landings(&parts, from, len).map(|l| (l.offset, l.len)).collect::<Vec<_>>();
        assert_eq!(lands(0, 10), [(100, 10)]);
        assert_eq!(lands(5, 20), [(105, 5), (50, 10), (200, 5)]);
        assert_eq!(lands(20, 7), [(200, 7)]);
        assert_eq!(lands(3, 0), []);
        assert_eq!([0, 9, 10, 25].map(|from| room(&parts, from)), [10, 1, 10, u64::MAX]);
    }
}
