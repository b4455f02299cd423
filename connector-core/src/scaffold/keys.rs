//! The keys of a checkpoint as groups that differ only in their indices, and what the indices run
//! over.

use super::config::Config;
use super::names::{identifier, unique};
use crate::base::{group_keys, natural_segments};
use crate::key::Pattern;
use crate::store::TensorInfo;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Segments whose index is that of a layer.
const LAYERS: [&str; 6] = ["layers", "layer", "h", "blocks", "block", "decoder_layers"];
/// Segments whose index is that of an expert.
const EXPERTS: [&str; 3] = ["experts", "local_experts", "expert"];
/// So few values of an index that nothing explains are roles, `layer.0` and `layer.1` of T5's
/// blocks or the parts of a `Sequential`, rather than things to count.
const ROLES: u64 = 8;

/// What an index runs over.
#[derive(Debug)]
pub struct Axis {
    pub name: String,
    pub kind: Kind,
    /// One more than the largest index.
    pub len: u64,
    /// The keys' beginning up to the index, with `{}` for outer ones.
    pub prefix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Layer,
    Expert,
    Other,
}

impl Kind {
    /// The known field of a config that counts them.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Kind::Layer => Some("num_layers"),
            Kind::Expert => Some("num_moe_experts"),
            Kind::Other => None,
        }
    }
}

/// Tensors that differ only in the indices of their keys.
#[derive(Debug)]
pub struct Group {
    /// The key's segments; an index follows the text of its segment.
    pub segments: Vec<(String, Option<usize>)>,
    /// The axes in the key, from left to right.
    pub axes: Vec<usize>,
    pub members: Vec<Member>,
}

/// One tensor of a group.
#[derive(Debug)]
pub struct Member {
    /// Its number in the checkpoint.
    pub tensor: usize,
    /// Its index on each of the group's axes.
    pub at: Vec<u64>,
}

/// All keys.
#[derive(Debug, Default)]
pub struct Keys {
    pub axes: Vec<Axis>,
    pub groups: Vec<Group>,
    /// Keys that no pattern can say, one for each group, and how many tensors they are.
    pub unwritable: Vec<(String, usize)>,
}

impl Group {
    /// Its key as a pattern.
    pub fn pattern(&self, axes: &[Axis]) -> String {
        self.render(0, &|axis| axes[axis].name.clone())
    }

    /// Its key after the first `skip` segments, with the axes called as idioms call them.
    pub fn idiom(&self, skip: usize, axes: &[Axis]) -> String {
        self.render(skip, &|axis| match axes[axis].kind {
            Kind::Layer => "layer".into(),
            Kind::Expert => "expert".into(),
            Kind::Other => axes[axis].name.clone(),
        })
    }

    fn render(&self, skip: usize, name: &dyn Fn(usize) -> String) -> String {
        let segment = |(text, axis): &(String, Option<usize>)| match axis {
            Some(axis) => format!("{text}{{{}}}", name(*axis)),
            None => text.clone(),
        };
        self.segments.iter().skip(skip).map(segment).collect::<Vec<_>>().join(".")
    }
}

impl Keys {
    /// The keys of `tensors`.
    pub fn new(tensors: &[TensorInfo], config: &Config<'_>) -> Self {
        let numbers: HashMap<&str, usize> =
            tensors.iter().enumerate().map(|(number, t)| (t.name.as_str(), number)).collect();
        let groups = group_keys(tensors.iter().map(|tensor| tensor.name.clone()));
        let mut indices: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for key in groups.iter().flat_map(|group| &group.keys) {
            for (prefix, index) in places(key).into_iter().flatten() {
                indices.entry(prefix).or_default().insert(index);
            }
        }
        let mut keys = Keys::default();
        let axes = keys.find_axes(&indices, config);
        for group in groups {
            keys.add(&group.keys, &axes, &numbers);
        }
        keys
    }

    /// The axis of each place in which an index may stand; none where indices are roles.
    fn find_axes(
        &mut self,
        indices: &BTreeMap<String, BTreeSet<u64>>,
        config: &Config<'_>,
    ) -> HashMap<String, usize> {
        let mut found = HashMap::new();
        for (prefix, values) in indices {
            let Some(last) = values.last() else { continue };
            let len = last.saturating_add(1);
            let mut segments = prefix.rsplit('.');
            let own = segments.next().unwrap_or_default();
            let word = if own.is_empty() { segments.next().unwrap_or_default() } else { own };
            let mut words = prefix.split('.');
            let kind = if LAYERS.contains(&word) {
                Kind::Layer
            } else if EXPERTS.contains(&word)
                || !own.is_empty() && words.any(|word| EXPERTS.contains(&word))
            {
                Kind::Expert
            } else {
                Kind::Other
            };
            let counted = kind.setting().and_then(|name| config.size(name)) == Some(len);
            let roles = match kind {
                Kind::Other => len <= ROLES || values.len() as u64 != len,
                Kind::Layer => prefix.contains("{}") && !counted && len <= ROLES,
                Kind::Expert => false,
            };
            if roles {
                continue;
            }
            // Every set of experts may have its own number; where it is the same, so is the axis.
            let same = |axis: &Axis| kind == Kind::Expert && axis.kind == kind && axis.len == len;
            let number = self.axes.iter().position(same).unwrap_or_else(|| {
                let name = match kind {
                    Kind::Layer => "layer".into(),
                    Kind::Expert => "expert".into(),
                    Kind::Other => identifier(word.strip_suffix('s').unwrap_or(word)),
                };
                let name = unique(name, |name| self.axes.iter().any(|axis| axis.name == name));
                self.axes.push(Axis { name, kind, len, prefix: prefix.clone() });
                self.axes.len() - 1
            });
            found.insert(prefix.clone(), number);
        }
        found
    }

    /// Adds keys that differ only in their indices: one group for each of the roles in them.
    fn add(
        &mut self,
        keys: &[String],
        axes: &HashMap<String, usize>,
        numbers: &HashMap<&str, usize>,
    ) {
        let mut groups: Vec<Group> = Vec::new();
        let mut known: HashMap<Vec<(String, Option<usize>)>, usize> = HashMap::new();
        for key in keys {
            let mut at = Vec::new();
            let names = natural_segments(key).map(|(name, _)| name);
            let parts = key.split('.').zip(names).zip(places(key));
            let segments: Vec<(String, Option<usize>)> = parts
                .map(|((segment, name), place)| {
                    let axis = place.and_then(|(prefix, index)| Some((*axes.get(&prefix)?, index)));
                    match axis {
                        Some((axis, index)) => {
                            at.push(index);
                            (name.to_string(), Some(axis))
                        }
                        None => (segment.to_string(), None),
                    }
                })
                .collect();
            let group = *known.entry(segments.clone()).or_insert_with(|| {
                let axes = segments.iter().filter_map(|(_, axis)| *axis).collect();
                groups.push(Group { segments, axes, members: Vec::new() });
                groups.len() - 1
            });
            let Some(&tensor) = numbers.get(key.as_str()) else { continue };
            groups[group].members.push(Member { tensor, at });
        }
        for group in groups {
            let literal = |text: &str| !text.contains(['{', '}', '*']);
            let texts = group.segments.iter().all(|(text, _)| literal(text));
            if texts && Pattern::parse(&group.pattern(&self.axes)).is_ok() {
                self.groups.push(group);
            } else {
                self.unwritable.push((keys[0].clone(), group.members.len()));
            }
        }
    }
}

/// For each segment the place of its index and the index, if it has one.
fn places(key: &str) -> Vec<Option<(String, u64)>> {
    let mut prefix = String::new();
    let place = |(i, (name, index)): (usize, (&str, u64))| {
        if i > 0 {
            prefix.push('.');
        }
        prefix.push_str(name);
        // 0 is no index; the others are one more than they are in the key.
        let index = index.checked_sub(1)?;
        let place = prefix.clone();
        prefix.push_str("{}");
        Some((place, index))
    };
    natural_segments(key).enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Dtype;
    use serde_json::json;

    fn patterns(names: &[String]) -> (Vec<String>, Vec<String>) {
        let json = json!({"num_hidden_layers": 2, "num_local_experts": 3});
        let tensor = |name: &String| TensorInfo::whole(name.clone(), vec![1], Dtype::F32, 0, 0);
        let tensors: Vec<TensorInfo> = names.iter().map(tensor).collect();
        let keys = Keys::new(&tensors, &Config::new(&json));
        let patterns = keys.groups.iter().map(|group| group.pattern(&keys.axes)).collect();
        (patterns, keys.unwritable.into_iter().map(|(key, _)| key).collect())
    }

    /// `a.{0..2}.b` is `a.0.b`, `a.1.b`.
    fn expand(text: &str) -> Vec<String> {
        let Some((before, rest)) = text.split_once('{') else { return vec![text.into()] };
        let Some((range, after)) = rest.split_once('}') else { return vec![text.into()] };
        let (from, to) = range.split_once("..").unwrap();
        let range = from.parse::<u64>().unwrap()..to.parse().unwrap();
        range.flat_map(|i| expand(&format!("{before}{i}{after}"))).collect()
    }

    #[test]
    fn indices_become_axes() {
        for (keys, want) in [
            (&["m.layers.{0..2}.x.weight", "n"][..], &["m.layers.{layer}.x.weight", "n"][..]),
            // A layer that has something alone is a layer all the same.
            (&["m.layers.{0..2}.x", "m.layers.1.y"], &["m.layers.{layer}.x", "m.layers.{layer}.y"]),
            (&["h.{0..2}.experts.{0..3}.w1"], &["h.{layer}.experts.{expert}.w1"]),
            (&["h.{0..2}.experts.fc1.weight{0..3}"], &["h.{layer}.experts.fc1.weight{expert}"]),
            // Roles, not layers.
            (
                &["e.block.{0..2}.layer.{0..3}.w"],
                &[
                    "e.block.{layer}.layer.0.w",
                    "e.block.{layer}.layer.1.w",
                    "e.block.{layer}.layer.2.w",
                ],
            ),
            (&["proj.0.w", "proj.2.w"], &["proj.0.w", "proj.2.w"]),
            (&["adapters.{0..9}.w"], &["adapters.{adapter}.w"]),
            (
                &["a.layers.{0..2}.x", "b.layers.{0..3}.x"],
                &["a.layers.{layer}.x", "b.layers.{layer_2}.x"],
            ),
            (&["layers.007.x"], &["layers.007.x"]),
        ] {
            let names: Vec<String> = keys.iter().flat_map(|key| expand(key)).collect();
            assert_eq!(patterns(&names).0, want, "{keys:?}");
        }
    }

    #[test]
    fn keys_that_no_pattern_can_say_are_set_aside() {
        for key in ["a.{b}", "a*", "a..b", "", ".", "}", "a.", "layers.0.{x}"] {
            let (written, unwritable) = patterns(&[key.to_string(), "ok".into()]);
            assert_eq!((written, unwritable), (vec!["ok".into()], vec![key.to_string()]), "{key}");
        }
        let strange = ["\"", "a\nb", "ü", "\u{202e}", "\\", "layers.99999999999999999999.x"];
        for key in strange {
            assert_eq!(patterns(&[key.to_string()]).0, [key], "{key:?}");
        }
    }

    #[test]
    fn huge_indices_cost_nothing() {
        let names = [format!("layers.{}.x", u64::MAX - 1), format!("layers.{}.x", u64::MAX)];
        assert_eq!(patterns(&names).0, ["layers.{layer}.x"]);
    }
}
