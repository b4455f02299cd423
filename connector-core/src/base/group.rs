use std::collections::{BTreeMap, BTreeSet};

/// Keys that differ only in their indices, as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    /// The keys with ranges in the place of indices: `model.layers.{0..31}.mlp.down_proj.weight`.
    pub text: String,
    /// The keys, in natural order.
    pub keys: Vec<String>,
}

/// Groups keys that differ only in their indices. Groups come in natural order.
///
/// ```
/// use connector_core::plan::group_keys;
///
/// let keys = (0..32).map(|i| format!("model.layers.{i}.norm.weight"));
/// let groups = group_keys(keys);
/// assert_eq!(groups[0].text, "model.layers.{0..31}.norm.weight");
/// assert_eq!(groups[0].keys.len(), 32);
/// ```
pub fn group_keys(keys: impl IntoIterator<Item = String>) -> Vec<KeyGroup> {
    let mut templates: BTreeMap<Vec<Chunk>, Vec<(Vec<u64>, String)>> = BTreeMap::new();
    for key in keys {
        let (template, indices) = split(&key);
        templates.entry(template).or_default().push((indices, key));
    }
    let mut groups: Vec<_> = templates
        .into_iter()
        .map(|(template, mut members)| {
            members.sort();
            let text = render(&template, &members);
            (
                members[0].1.clone(),
                KeyGroup { text, keys: members.into_iter().map(|m| m.1).collect() },
            )
        })
        .collect();
    groups.sort_by_cached_key(|group| natural_order(&group.0));
    groups.into_iter().map(|(_, group)| group).collect()
}

/// A sort key under which indices compare as numbers: layer 2 before layer 10.
///
/// Bytes, since plans sort 100,000 of them: of each segment its name, a zero, and its index as the
/// number of its bytes and these from the highest on.
pub fn natural_order(key: &str) -> Vec<u8> {
    let mut order = Vec::with_capacity(key.len() + 16);
    for (name, index) in natural_segments(key) {
        let zeros = index.leading_zeros() / 8;
        order.extend_from_slice(name.as_bytes());
        order.extend([0, 8 - zeros as u8]);
        order.extend_from_slice(&index.to_be_bytes()[zeros as usize..]);
    }
    order
}

/// What keys sort by: for each segment its name and its index.
pub(crate) fn natural_segments(key: &str) -> impl Iterator<Item = (&str, u64)> {
    // A segment without an index comes before those with one.
    let segment = |segment| match cut(segment) {
        (name, Some(index)) => (name, index.saturating_add(1)),
        (name, None) => (name, 0),
    };
    key.split('.').map(segment)
}

/// The key with `text` in the place of each index.
pub(crate) fn indices_as(key: &str, text: &str) -> String {
    let chunks = split(key).0.into_iter().map(|chunk| match chunk {
        Chunk::Text(text) => text,
        Chunk::Index => text.into(),
    });
    chunks.collect()
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Chunk {
    Text(String),
    Index,
}

/// Cuts a segment into its name and its index: digits that are the whole segment, or follow
/// `weight` or `bias` as with grouped experts, `weight3`. Not those of a name (`linear_fc1`, `w2`),
/// and not those with a leading zero, which are no indices in a pattern either.
fn cut(segment: &str) -> (&str, Option<u64>) {
    let name = segment.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &segment[name.len()..];
    let is_index = (name.is_empty() || matches!(name, "weight" | "bias"))
        && (digits == "0" || !digits.starts_with('0'));
    match digits.parse() {
        Ok(index) if is_index => (name, Some(index)),
        _ => (segment, None),
    }
}

/// Cuts a key into text and indices.
fn split(key: &str) -> (Vec<Chunk>, Vec<u64>) {
    let (mut chunks, mut indices) = (Vec::new(), Vec::new());
    let mut text = String::new();
    for (i, segment) in key.split('.').enumerate() {
        if i > 0 {
            text.push('.');
        }
        let (name, index) = cut(segment);
        text.push_str(name);
        if let Some(index) = index {
            chunks.push(Chunk::Text(std::mem::take(&mut text)));
            chunks.push(Chunk::Index);
            indices.push(index);
        }
    }
    chunks.push(Chunk::Text(text));
    (chunks, indices)
}

fn render(template: &[Chunk], members: &[(Vec<u64>, String)]) -> String {
    let mut out = String::new();
    let mut position = 0;
    for chunk in template {
        match chunk {
            Chunk::Text(text) => out.push_str(text),
            Chunk::Index => {
                let values: BTreeSet<u64> = members.iter().map(|m| m.0[position]).collect();
                out.push_str(&range(&values));
                position += 1;
            }
        }
    }
    out
}

/// `3`, `{0..31}`, `{0,2,5}`, or for many scattered values `{0..31, 17 of them}`.
fn range(values: &BTreeSet<u64>) -> String {
    const LISTED: usize = 5;
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
    let count = values.len() as u64;
    if count == 1 {
        first.to_string()
    } else if last - first == count - 1 && count > 2 {
        format!("{{{first}..{last}}}")
    } else if values.len() <= LISTED {
        let list: Vec<_> = values.iter().map(u64::to_string).collect();
        format!("{{{}}}", list.join(","))
    } else {
        format!("{{{first}..{last}, {count} of them}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "([ab]?|weight|é|[.]|[0-9]{1,2}|25[56]|18446744073709551615){1,5}";

    proptest! {
        #[test]
        fn sort_keys_compare_as_their_segments(keys in [KEY, KEY]) {
            let [a, b] = &keys;
            let segments = natural_segments(a).cmp(natural_segments(b));
            prop_assert_eq!(natural_order(a).cmp(&natural_order(b)), segments);
        }
    }

    fn texts(keys: &[&str]) -> Vec<String> {
        group_keys(keys.iter().map(|k| k.to_string())).into_iter().map(|g| g.text).collect()
    }

    #[test]
    fn groups() {
        for (keys, want) in [
            (&["a.0.x", "a.1.x", "a.2.x"][..], &["a.{0..2}.x"][..]),
            (&["a.0.x", "a.1.x"], &["a.{0,1}.x"]),
            (&["a.10.x", "a.2.x", "b"], &["a.{2,10}.x", "b"]),
            (&["a.3.x"], &["a.3.x"]),
            (&["l.0.e.0.w", "l.0.e.1.w", "l.1.e.0.w"], &["l.{0,1}.e.{0,1}.w"]),
            (&["m.linear_fc1.weight0", "m.linear_fc1.weight1"], &["m.linear_fc1.weight{0,1}"]),
            (&["m.linear_fc1", "m.linear_fc2"], &["m.linear_fc1", "m.linear_fc2"]),
            (&["99999999999999999999.a"], &["99999999999999999999.a"]),
            (&["", "."], &["", "."]),
            (&["a.007.x", "a.7.x"], &["a.7.x", "a.007.x"]),
            (&["a.0.x", "a.1.x", "a.3.x", "a.5.x", "a.8.x"], &["a.{0,1,3,5,8}.x"]),
            (&["0", "1", "3", "5", "8", "9"], &["{0..9, 6 of them}"]),
        ] {
            assert_eq!(texts(keys), want, "{keys:?}");
        }
    }

    #[test]
    fn layers_sort_as_numbers() {
        let mut keys = vec!["a.10.x", "a.2.x", "a.2.b", "b"];
        keys.sort_by_key(|key| natural_order(key));
        assert_eq!(keys, ["a.2.b", "a.2.x", "a.10.x", "b"]);
    }
}
