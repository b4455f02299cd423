//! Which key a user means.

use crate::key::{Pattern, distance, similar};
use crate::plan::natural_order;

/// How many keys to propose.
const MOST: usize = 3;

/// The key that was asked for: as it stands, or the first of a group as other commands print it
/// (`layers.{0..31}.x`), or the first that a pattern matches.
pub(super) fn find<'a>(keys: &[&'a str], asked: &str) -> Option<&'a str> {
    let exact = |wanted: &str| keys.iter().copied().find(|key| *key == wanted);
    let group = first_of_group(asked);
    exact(asked).or_else(|| exact(&group)).or_else(|| {
        let pattern = Pattern::parse(asked).ok()?;
        let found = keys.iter().copied().filter(|key| pattern.matches(key));
        found.min_by_key(|key| natural_order(key))
    })
}

/// The keys that may be meant by one that is not there.
pub(super) fn near<'a>(keys: &[&'a str], asked: &str) -> Vec<&'a str> {
    let asked = first_of_group(asked);
    let part = |key: &&str| !asked.is_empty() && key.contains(&asked);
    let near = keys.iter().copied().filter(|key| similar(&asked, key));
    let mut near: Vec<(usize, &str)> = near.map(|key| (distance(&asked, key), key)).collect();
    near.sort_by_key(|(distance, key)| (*distance, natural_order(key)));
    let best = near.first().map_or(0, |near| near.0);
    near.retain(|(distance, _)| *distance == best);
    let mut found: Vec<&str> = near.into_iter().map(|(_, key)| key).collect();
    if found.is_empty() {
        // A user may know how a key ends, but not how it begins.
        found = keys.iter().copied().filter(part).collect();
        found.sort_by_key(|key| natural_order(key));
    }
    found.dedup();
    found.truncate(MOST);
    found
}

/// `layers.0.x` of `layers.{0..31}.x`.
fn first_of_group(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some((_, behind)) = after.split_once('}').filter(|_| digits > 0) else { break };
        out.push_str(before);
        out.push_str(&after[..digits]);
        rest = behind;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 5] =
        ["a.layers.10.mlp.weight", "a.layers.2.mlp.weight", "a.layers.2.norm.weight", "b", "b.c"];

    #[test]
    fn keys_groups_and_patterns_are_found() {
        for (asked, want) in [
            ("b", Some("b")),
            ("a.layers.{2,10}.mlp.weight", Some("a.layers.2.mlp.weight")),
            ("a.layers.{10..12, 2 of them}.mlp.weight", Some("a.layers.10.mlp.weight")),
            ("a.layers.*.mlp.weight", Some("a.layers.2.mlp.weight")),
            ("a.layers.{i}.norm.weight", Some("a.layers.2.norm.weight")),
            ("a.**", Some("a.layers.2.mlp.weight")),
            ("c", None),
            ("{", None),
            ("", None),
        ] {
            assert_eq!(find(&KEYS, asked), want, "{asked}");
        }
    }

    #[test]
    fn slips_and_parts_are_near() {
        assert_eq!(near(&KEYS, "a.layers.2.mpl.weight")[0], "a.layers.2.mlp.weight");
        assert_eq!(near(&KEYS, "norm.weight"), ["a.layers.2.norm.weight"]);
        assert!(near(&KEYS, "something quite different").is_empty());
    }
}
