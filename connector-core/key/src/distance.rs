/// Texts longer than this are compared by their last characters only.
pub const MAX_COMPARED: usize = 96;

/// The edit distance between two texts: how many bytes are inserted, dropped or replaced, or
/// change places with their neighbour (optimal string alignment).
///
/// A `const fn`, so that the compiler's "did you mean" and the plan's are the same.
///
/// ```
/// assert_eq!(connector_key::distance("mlp.gate_projj", "mlp.gate_proj"), 1);
/// assert_eq!(connector_key::distance("tide", "tied"), 1);
/// ```
pub const fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (a_skip, b_skip) =
        (a.len().saturating_sub(MAX_COMPARED), b.len().saturating_sub(MAX_COMPARED));
    let (a_len, b_len) = (a.len() - a_skip, b.len() - b_skip);
    // The rows for one and for two bytes of `a` less than that which is filled in.
    let mut last = [0usize; MAX_COMPARED + 1];
    let mut before = last;
    let mut j = 0;
    while j <= b_len {
        last[j] = j;
        j += 1;
    }
    let mut i = 0;
    while i < a_len {
        let mut row = [i + 1; MAX_COMPARED + 1];
        let mut j = 0;
        while j < b_len {
            let (x, y) = (a[a_skip + i], b[b_skip + j]);
            let mut best = last[j] + (x != y) as usize;
            if row[j] + 1 < best {
                best = row[j] + 1;
            }
            if last[j + 1] + 1 < best {
                best = last[j + 1] + 1;
            }
            let swap = i > 0 && j > 0 && x == b[b_skip + j - 1] && y == a[a_skip + i - 1];
            if swap && before[j - 1] + 1 < best {
                best = before[j - 1] + 1;
            }
            row[j + 1] = best;
            j += 1;
        }
        before = last;
        last = row;
        i += 1;
    }
    last[b_len]
}

/// Whether two texts are so near that one may be a slip for the other: a fifth of the longer one
/// may differ, and always two bytes of a text of five or more.
pub const fn similar(a: &str, b: &str) -> bool {
    let longer = if a.len() > b.len() { a.len() } else { b.len() };
    let allowed = if longer / 5 > 2 {
        longer / 5
    } else if longer >= 5 {
        2
    } else {
        1
    };
    distance(a, b) <= allowed
}

/// `a == b` in a constant.
pub const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, want) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ac", 1),
            ("abc", "abd", 1),
            ("linear_fc3", "linear_fc2", 1),
            ("q_proj", "k_proj", 1),
            ("kitten", "sitting", 3),
            ("weigth", "weight", 1),
            ("ab", "ba", 1),
            ("abcd", "badc", 2),
            // The letters that have changed places are left alone then.
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), want, "{a} {b}");
            assert_eq!(distance(b, a), want, "{b} {a}");
        }
    }

    #[test]
    fn long_texts_compare_by_their_ends() {
        let long = [b'x'; 500];
        let long = core::str::from_utf8(&long).unwrap();
        assert_eq!(distance(long, long), 0);
    }
}
