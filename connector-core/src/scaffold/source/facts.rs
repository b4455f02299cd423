//! What the parts of the file need from each other, found out before any is written.

use super::{EMBEDDING, OUTPUT, Source, TIED};
use crate::scaffold::config::Field;
use crate::scaffold::keys::{Axis, Kind};
use crate::scaffold::names::{plain, unique};
use crate::scaffold::recognise::{Entry, Known, Place};
use crate::scaffold::shapes::Dimension;
use crate::scaffold::write::Page;
use std::collections::BTreeSet;

/// Whether the output layer is the embedding.
pub(super) enum Tied {
    /// Nothing here is an embedding.
    NoEmbedding,
    /// The flag tells; absent from a config, it means this.
    Flag(bool),
    /// The config and the tensors contradict each other.
    Contradiction,
}

/// What the parts of the file need from each other.
pub(super) struct Facts {
    pub tied: Tied,
    /// The layers that only some parameters have: the flag's name, and which layers.
    pub sets: Vec<(String, BTreeSet<u64>)>,
    /// The fields of the draft's config, by their places in [`Config::fields`].
    pub fields: Vec<usize>,
    /// Whether `qkv_rows()` and `query_width()` are asked for.
    pub methods: [bool; 2],
    pub undecided: Vec<String>,
    /// Those of them that nothing else in the draft keeps from compiling.
    pub refused: Vec<String>,
}

impl Facts {
    /// Leaves something to decide, with a comment where it stands, which says `how`.
    pub fn decide(&mut self, page: &mut Page, what: &str, how: &str) {
        page.prose("//", "", format!("Decide: {} {how}", plain(what)).trim_end());
        self.undecided.push(what.into());
        self.refused.push(what.into());
    }
}

impl Source<'_> {
    pub(super) fn facts(&self) -> Facts {
        let mut facts = Facts {
            tied: self.tied(),
            sets: Vec::new(),
            fields: Vec::new(),
            methods: [false; 2],
            undecided: Vec::new(),
            refused: Vec::new(),
        };
        for entry in &self.recognised.entries {
            self.add_set(&mut facts.sets, entry);
        }
        let mut used: BTreeSet<String> = BTreeSet::new();
        let formulas = self.recognised.entries.iter().flat_map(|entry| &entry.shape);
        for dimension in formulas {
            let Dimension::Formula { text, .. } = dimension else { continue };
            let words = text.split(' ').map(|word| word.trim_matches(['(', ')']));
            for name in words.filter_map(|word| word.strip_prefix("c.")) {
                match name {
                    "qkv_rows" => facts.methods[0] = true,
                    "query_width" => facts.methods[1] = true,
                    name => drop(used.insert(name.into())),
                }
            }
        }
        if facts.methods[0] {
            used.insert("num_query_groups".into());
        }
        if facts.methods != [false; 2] {
            used.extend(["num_attention_heads", "kv_channels"].map(String::from));
        }
        used.extend(self.recognised.entries.iter().filter_map(|entry| self.bias_flag(entry)));
        used.extend(self.keys.axes.iter().filter_map(|axis| self.length(axis)));
        if !matches!(facts.tied, Tied::NoEmbedding) {
            used.insert(TIED.into());
        }
        // Built-in operations ask the config for these.
        let vias = || self.recognised.entries.iter().map(|entry| entry.via.as_str());
        if vias().any(|via| via.starts_with("ops::merge_qkv")) {
            used.extend(["num_attention_heads", "num_query_groups"].map(String::from));
        }
        if vias().any(|via| via == "ops::pad_vocab") {
            used.insert("vocab_size".into());
        }
        let fields = self.config.fields.iter().enumerate();
        let taken = fields.filter(|(_, f)| f.wanted || used.contains(&f.name)).map(|(i, _)| i);
        facts.fields = taken.collect();
        facts
    }

    pub(super) fn top(&self, target: &str) -> Option<&Entry> {
        let mut entries = self.recognised.entries.iter();
        entries.find(|e| e.place == Place::Top && e.target == target && e.known == Known::Yes)
    }

    fn tied(&self) -> Tied {
        let says = self.config.raw(self.tied_path()).and_then(|value| value.as_bool());
        match (self.top(EMBEDDING), self.top(OUTPUT), says) {
            (None, ..) => Tied::NoEmbedding,
            (Some(_), None, Some(false)) => Tied::Contradiction,
            (Some(_), None, _) => Tied::Flag(true),
            (Some(_), Some(_), _) => Tied::Flag(false),
        }
    }

    pub(super) fn tied_path(&self) -> &str {
        self.config.field(TIED).map_or("tie_word_embeddings", |field| &field.path)
    }

    /// The layers of an entry that not all have, unless its complement is known already.
    fn add_set(&self, sets: &mut Vec<(String, BTreeSet<u64>)>, entry: &Entry) {
        let Some(layers) = &entry.layers else { return };
        if sets.iter().any(|(_, set)| set == layers || self.is_complement(set, layers)) {
            return;
        }
        let same = self.recognised.entries.iter().filter(|e| e.layers.as_ref() == Some(layers));
        let moe = same.into_iter().any(|entry| entry.target.contains("experts"));
        let name = if moe { "moe" } else { "some_layers" };
        let name = unique(name.into(), |name| sets.iter().any(|(taken, _)| taken == name));
        sets.push((name, layers.clone()));
    }

    pub(super) fn is_complement(&self, a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> bool {
        let len = self.recognised.stack.as_ref().map_or(0, |stack| self.keys.axes[stack.axis].len);
        a.is_disjoint(b) && (a.len() + b.len()) as u64 == len
    }

    /// The config's switch for biases, if it is on and the entry is such a bias.
    pub(super) fn bias_flag(&self, entry: &Entry) -> Option<String> {
        let is_bias = entry.known != Known::No && entry.target.ends_with(".bias");
        let name = match entry.target.split('.').next() {
            Some("self_attention") => "attention_bias",
            Some("mlp") => "mlp_bias",
            _ => return None,
        };
        let field = self.config.field(name).filter(|_| is_bias)?;
        let on = self.config.raw(&field.path).and_then(|value| value.as_bool());
        (on == Some(true)).then(|| name.into())
    }

    /// The field that counts an axis: the known one, or else the only one that is called like it
    /// and has its length.
    pub(super) fn length(&self, axis: &Axis) -> Option<String> {
        let setting = axis.kind.setting()?;
        if self.config.size(setting) == Some(axis.len) {
            return Some(setting.into());
        }
        let word = if axis.kind == Kind::Layer { "layer" } else { "expert" };
        let counts = |field: &&Field| field.size == Some(axis.len) && field.name.contains(word);
        let mut found = self.config.fields.iter().filter(counts);
        found.next().filter(|_| found.next().is_none()).map(|field| field.name.clone())
    }

    /// When a parameter exists.
    pub(super) fn condition(&self, entry: &Entry, facts: &Facts) -> String {
        let mut all = Vec::new();
        if let Some(layers) = &entry.layers {
            for (name, set) in &facts.sets {
                if set == layers {
                    all.push(name.clone());
                } else if self.is_complement(set, layers) {
                    all.push(format!("!{name}"));
                }
            }
        }
        if entry.place == Place::Top
            && entry.target == OUTPUT
            && !matches!(facts.tied, Tied::NoEmbedding)
        {
            all.push("!tied".into());
        }
        all.extend(self.bias_flag(entry));
        all.join(" && ")
    }

    pub(super) fn fields<'p>(&'p self, facts: &'p Facts) -> impl Iterator<Item = &'p Field> {
        facts.fields.iter().map(|field| &self.config.fields[*field])
    }
}
