//! What the groups of keys are: which idiom knows them, what becomes of them, in which layers.

use super::config::Config;
use super::idioms::{BUFFERS, Dim, Idiom, LAYER, TOP};
use super::keys::{Group, Keys, Kind};
use super::shapes::{Dimension, by_number, dimension};
use crate::store::TensorInfo;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A way to recognise tensors: an idiom for one of `weight` and `bias`, or a rule of an importer.
pub struct Rule {
    /// Which idiom or rule; those of one number differ in `weight` and `bias` alone.
    pub number: usize,
    pub place: Place,
    pub sources: Vec<String>,
    pub target: String,
    /// The operation as a row has it, `ops::merge_qkv`; empty for another name alone.
    pub via: String,
    /// `stack expert`; empty if the row folds nothing.
    pub fold: String,
    pub shape: Vec<Dim>,
    pub beside: String,
}

/// Where a key stands, and to what its texts are relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Outside of the decoder's layers.
    Top,
    /// In one of the decoder's layers.
    Layer,
}

/// How much is known of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// What it is made of and what it is called.
    Yes,
    /// Nothing knows these source tensors; the name is theirs.
    No,
    /// The model that the draft is like has it, and nothing here makes it.
    Unproduced,
}

/// A parameter of the draft, and what it is made of.
#[derive(Debug)]
pub struct Entry {
    pub place: Place,
    pub sources: Vec<String>,
    pub target: String,
    pub via: String,
    pub fold: String,
    pub shape: Vec<Dimension>,
    /// The layers that have it, if not all do.
    pub layers: Option<BTreeSet<u64>>,
    pub known: Known,
    /// The number of the rule that knows it.
    pub rule: Option<usize>,
    /// How many tensors of the checkpoint it takes.
    pub tensors: usize,
}

/// The decoder's layers among the keys.
#[derive(Debug)]
pub struct Stack {
    pub axis: usize,
    /// The source keys' beginning, `model.layers.{layer}`.
    pub source: String,
    /// How many segments that is.
    skip: usize,
}

/// Everything that was recognised, and what was not.
#[derive(Debug, Default)]
pub struct Recognised {
    pub stack: Option<Stack>,
    pub entries: Vec<Entry>,
    /// Buffers to ignore.
    pub ignored: Vec<(Place, String)>,
    pub ignored_tensors: usize,
}

/// The table of idioms as rules, numbered from `first` on.
pub fn idioms(first: usize) -> Vec<Rule> {
    let tables = [(Place::Top, &TOP[..]), (Place::Layer, &LAYER[..])];
    let all = tables.into_iter().flat_map(|(place, table)| table.iter().map(move |i| (place, i)));
    all.enumerate().flat_map(|(i, (place, idiom))| rules(first + i, place, idiom)).collect()
}

/// An idiom for weights and for biases; one for what is neither.
fn rules(number: usize, place: Place, idiom: &Idiom) -> Vec<Rule> {
    let rule = |p: &str, shape: &[Dim]| Rule {
        number,
        place,
        sources: idiom.sources.iter().map(|source| source.replace("{p}", p)).collect(),
        target: idiom.target.replace("{p}", p),
        via: if idiom.via.is_empty() { String::new() } else { format!("ops::{}", idiom.via) },
        fold: String::new(),
        shape: shape.to_vec(),
        beside: idiom.beside.into(),
    };
    if idiom.sources.iter().any(|source| source.contains("{p}")) {
        vec![rule("weight", idiom.shape), rule("bias", &idiom.shape[..1])]
    } else {
        vec![rule("", idiom.shape)]
    }
}

/// Recognises `keys` by `rules`; of several that fit, the first one.
pub fn recognise(
    keys: &Keys,
    tensors: &[TensorInfo],
    config: &Config<'_>,
    rules: &[Rule],
    ignored: &[(Place, String)],
) -> Recognised {
    let stack = find_stack(keys, rules);
    let mut recogniser = Recogniser {
        keys,
        tensors,
        config,
        places: places(keys, stack.as_ref()),
        taken: HashMap::new(),
        made: BTreeMap::new(),
        out: Recognised::default(),
    };
    recogniser.out.stack = stack;
    recogniser.buffers(ignored);
    rules.iter().for_each(|rule| recogniser.apply(rule));
    recogniser.rest();
    recogniser.out
}

/// The layers in which most rules find their sources.
fn find_stack(keys: &Keys, rules: &[Rule]) -> Option<Stack> {
    let wanted: BTreeSet<&str> = rules
        .iter()
        .filter(|rule| rule.place == Place::Layer)
        .flat_map(|rule| rule.sources.iter().map(String::as_str))
        .collect();
    let mut best: Option<(usize, Stack)> = None;
    for axis in (0..keys.axes.len()).filter(|axis| keys.axes[*axis].kind == Kind::Layer) {
        let members = || keys.groups.iter().filter(|group| group.axes.first() == Some(&axis));
        let Some(any) = members().next() else { continue };
        let skip = 1 + any.segments.iter().take_while(|(_, a)| a.is_none()).count();
        let hits =
            members().filter(|group| wanted.contains(group.idiom(skip, &keys.axes).as_str()));
        let hits = hits.count();
        if hits > best.as_ref().map_or(0, |(most, _)| *most) {
            let segments = any.segments.iter().take(skip - 1).map(|(text, _)| text.as_str());
            let last = format!("{}{{{}}}", any.segments[skip - 1].0, keys.axes[axis].name);
            let source = segments.chain([last.as_str()]).collect::<Vec<_>>().join(".");
            best = Some((hits, Stack { axis, source, skip }));
        }
    }
    best.map(|(_, stack)| stack)
}

/// What stands outside of the layers is called `model.norm` or `norm`, where the layers are
/// `model.layers.{layer}`: the prefixes, `model`.
pub fn around(layers: &str) -> Vec<&str> {
    let mut prefixes = Vec::new();
    let mut prefix = layers.rsplitn(3, '.').nth(2).unwrap_or_default();
    while !prefix.is_empty() {
        prefixes.push(prefix);
        prefix = prefix.rsplit_once('.').map_or("", |(before, _)| before);
    }
    prefixes
}

/// A key without the prefix that it shares with the layers.
pub fn outside(key: &str, around: &[&str]) -> String {
    let inside = around.iter().find_map(|prefix| key.strip_prefix(prefix)?.strip_prefix('.'));
    inside.unwrap_or(key).to_string()
}

/// For each place the groups by the texts that rules know them by.
fn places(keys: &Keys, stack: Option<&Stack>) -> HashMap<(Place, String), usize> {
    let around = around(stack.map_or("model.layers.{}", |stack| &stack.source));
    let mut places = HashMap::new();
    for (number, group) in keys.groups.iter().enumerate() {
        if let Some(stack) = stack.filter(|stack| group.axes.first() == Some(&stack.axis)) {
            places.insert((Place::Layer, group.idiom(stack.skip, &keys.axes)), number);
            continue;
        }
        let key = group.pattern(&keys.axes);
        places.entry((Place::Top, outside(&key, &around))).or_insert(number);
    }
    places
}

struct Recogniser<'a> {
    keys: &'a Keys,
    tensors: &'a [TensorInfo],
    config: &'a Config<'a>,
    places: HashMap<(Place, String), usize>,
    /// The layers of each group that some rule takes. Outside of the layers there is one, 0.
    taken: HashMap<usize, BTreeSet<u64>>,
    /// The layers in which each target is made.
    made: BTreeMap<(Place, String), BTreeSet<u64>>,
    out: Recognised,
}

impl Recogniser<'_> {
    fn place(&self, group: &Group) -> Place {
        let stack = self.out.stack.as_ref();
        let inside = stack.is_some_and(|stack| group.axes.first() == Some(&stack.axis));
        if inside { Place::Layer } else { Place::Top }
    }

    fn layers(&self, number: usize) -> BTreeSet<u64> {
        let group = &self.keys.groups[number];
        match self.place(group) {
            Place::Layer => group.members.iter().map(|member| member.at[0]).collect(),
            Place::Top => BTreeSet::from([0]),
        }
    }

    /// The layers of a group that nothing takes yet.
    fn free(&self, number: usize) -> BTreeSet<u64> {
        match self.taken.get(&number) {
            Some(taken) => self.layers(number).difference(taken).copied().collect(),
            None => self.layers(number),
        }
    }

    /// A group's key as a row has it.
    fn text(&self, number: usize) -> String {
        let group = &self.keys.groups[number];
        let whole = group.pattern(&self.keys.axes);
        match (self.place(group), &self.out.stack) {
            (Place::Layer, Some(stack)) => {
                whole.splitn(stack.skip + 1, '.').nth(stack.skip).unwrap_or_default().to_string()
            }
            _ => whole,
        }
    }

    fn buffers(&mut self, ignored: &[(Place, String)]) {
        for number in 0..self.keys.groups.len() {
            let group = &self.keys.groups[number];
            let text = self.text(number);
            let is_buffer = |buffer: &str| {
                let before = text.strip_suffix(buffer);
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            };
            let place = self.place(group);
            let known = ignored.iter().any(|(at, ignored)| *at == place && *ignored == text);
            if known || BUFFERS.iter().any(|buffer| is_buffer(buffer)) {
                self.out.ignored.push((place, text));
                self.out.ignored_tensors += group.members.len();
                self.taken.insert(number, self.layers(number));
            }
        }
    }

    fn apply(&mut self, rule: &Rule) {
        let find = |text: &String| self.places.get(&(rule.place, text.clone())).copied();
        let Some(groups) = rule.sources.iter().map(find).collect::<Option<Vec<usize>>>() else {
            return;
        };
        let Some((first, others)) = groups.split_first() else { return };
        let mut layers = self.free(*first);
        for group in others {
            layers = layers.intersection(&self.free(*group)).copied().collect();
        }
        if !rule.beside.is_empty() {
            let Some(beside) = find(&rule.beside) else { return };
            layers = layers.intersection(&self.layers(beside)).copied().collect();
        }
        let name = |text: &str| self.localise(text, *first);
        let target = (rule.place, name(&rule.target));
        let made = self.made.entry(target.clone()).or_default();
        // A second tensor for one parameter is something else.
        layers = layers.difference(made).copied().collect();
        if layers.is_empty() {
            return;
        }
        made.extend(&layers);
        for group in &groups {
            self.taken.entry(*group).or_default().extend(&layers);
        }
        let shapes: Vec<Sizes> = groups.iter().map(|group| self.sizes(*group, &layers)).collect();
        let shape = self.shape(rule, &shapes);
        let entry = Entry {
            place: rule.place,
            sources: groups.iter().map(|group| self.text(*group)).collect(),
            target: target.1,
            via: rule.via.clone(),
            fold: self.localise(&rule.fold, *first),
            shape,
            tensors: groups.iter().map(|group| self.count(*group, &layers)).sum(),
            layers: self.part(rule.place, layers),
            known: Known::Yes,
            rule: Some(rule.number),
        };
        self.out.entries.push(entry);
    }

    /// A rule's text with the axes called as in the keys of a group.
    fn localise(&self, text: &str, group: usize) -> String {
        let axes = self.keys.groups[group].axes.iter().map(|axis| &self.keys.axes[*axis]);
        match axes.into_iter().find(|axis| axis.kind == Kind::Expert) {
            Some(axis) if axis.name != "expert" => text
                .replace("{expert}", &format!("{{{}}}", axis.name))
                .replace("stack expert", &format!("stack {}", axis.name)),
            _ => text.into(),
        }
    }

    /// What no rule takes keeps its name.
    fn rest(&mut self) {
        for number in 0..self.keys.groups.len() {
            let layers = self.free(number);
            if layers.is_empty() {
                continue;
            }
            let text = self.text(number);
            let place = self.place(&self.keys.groups[number]);
            let shape = self.sizes(number, &layers).explain(self.config);
            self.out.entries.push(Entry {
                place,
                sources: vec![text.clone()],
                target: text,
                via: String::new(),
                fold: String::new(),
                shape,
                tensors: self.count(number, &layers),
                layers: self.part(place, layers),
                known: Known::No,
                rule: None,
            });
        }
    }

    /// The layers, if they are not all.
    fn part(&self, place: Place, layers: BTreeSet<u64>) -> Option<BTreeSet<u64>> {
        let stack = self.out.stack.as_ref().filter(|_| place == Place::Layer)?;
        (layers.len() as u64 != self.keys.axes[stack.axis].len).then_some(layers)
    }

    fn members(&self, number: usize, layers: &BTreeSet<u64>) -> impl Iterator<Item = usize> {
        let group = &self.keys.groups[number];
        let top = self.place(group) == Place::Top;
        let inside = group.members.iter().filter(move |m| top || layers.contains(&m.at[0]));
        inside.map(|member| member.tensor)
    }

    fn count(&self, number: usize, layers: &BTreeSet<u64>) -> usize {
        self.members(number, layers).count()
    }

    fn sizes(&self, number: usize, layers: &BTreeSet<u64>) -> Sizes {
        Sizes::new(self.members(number, layers).map(|tensor| &self.tensors[tensor].shape))
    }

    /// The shape of what `rule` makes of sources of these sizes.
    fn shape(&self, rule: &Rule, sources: &[Sizes]) -> Vec<Dimension> {
        let mut made = match made(&rule.via, sources) {
            Ok(made) => made,
            Err(operation) => {
                let reason = format!("the shape of what `{operation}` gives");
                return vec![Dimension::Undecided(reason)];
            }
        };
        let folded = self.keys.axes.iter().find(|axis| axis.kind == Kind::Expert);
        if rule.fold.starts_with("stack") {
            made.0.insert(0, folded.map(|axis| axis.len));
        } else if rule.fold.starts_with("unstack") && !made.0.is_empty() {
            made.0.remove(0);
        }
        if rule.shape.len() != made.0.len() {
            return made.explain(self.config);
        }
        let dims = rule.shape.iter().zip(&made.0);
        dims.map(|(dim, size)| match size {
            Some(size) => dimension(self.config, *dim, *size),
            None => Dimension::Undecided(DIFFERS.into()),
        })
        .collect()
    }
}

const DIFFERS: &str = "a size that is not the same in all of these tensors";

/// The dimensions of tensors that should be alike; none where they differ.
struct Sizes(Vec<Option<u64>>);

impl Sizes {
    fn new<'s>(shapes: impl Iterator<Item = &'s Vec<usize>>) -> Self {
        let mut all: Option<Vec<Option<u64>>> = None;
        for shape in shapes {
            let shape: Vec<Option<u64>> = shape.iter().map(|&size| Some(size as u64)).collect();
            match &mut all {
                None => all = Some(shape),
                Some(all) if all.len() != shape.len() => *all = vec![None],
                Some(all) => {
                    for (known, size) in all.iter_mut().zip(shape) {
                        *known = known.filter(|known| Some(*known) == size);
                    }
                }
            }
        }
        Sizes(all.unwrap_or_default())
    }

    fn explain(&self, config: &Config<'_>) -> Vec<Dimension> {
        let explain = |size: &Option<u64>| match size {
            Some(size) => by_number(config, *size),
            None => Dimension::Undecided(DIFFERS.into()),
        };
        self.0.iter().map(explain).collect()
    }
}

/// The sizes of what operations make one after the other, where they follow from those of their sources
/// alone; else the first of which they do not.
fn made(vias: &str, sources: &[Sizes]) -> Result<Sizes, String> {
    let mut vias = vias.trim_matches(['(', ')']).split(", ");
    let one = |via: &str, sources: &[Sizes]| {
        let name = || via.rsplit("::").next().unwrap_or_default().to_owned();
        made_by(via, sources).ok_or_else(name)
    };
    let first = one(vias.next().unwrap_or_default(), sources)?;
    vias.try_fold(first, |made, via| one(via, &[made]))
}

fn made_by(via: &str, sources: &[Sizes]) -> Option<Sizes> {
    let [first, others @ ..] = sources else { return None };
    let mut sizes = first.0.clone();
    match via {
        ""
        | "ops::pad_vocab"
        | "ops::merge_qkv_concat"
        | "ops::interleave_rows"
        | "ops::deinterleave_rows" => {}
        "ops::merge_qkv" | "ops::merge_fc1" | "ops::concat2" | "ops::concat3" | "ops::concat4" => {
            for Sizes(other) in others {
                let (rows, more) = (sizes.first_mut()?, other.first().copied().flatten());
                *rows = rows.zip(more).and_then(|(rows, more)| rows.checked_add(more));
            }
        }
        "ops::transpose" if sizes.len() >= 2 => {
            let last = sizes.len() - 1;
            sizes.swap(last, last - 1);
        }
        _ => return None,
    }
    Some(Sizes(sizes))
}

#[cfg(test)]
mod tests;
