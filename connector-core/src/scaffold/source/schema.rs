//! The schema: axes, flags, parameters.

use super::{EMBEDDING, Facts, OUTPUT, Source, TIED, Tied};
use crate::scaffold::Names;
use crate::scaffold::names::literal;
use crate::scaffold::recognise::{Entry, Known, Place};
use crate::scaffold::shapes::Dimension;
use crate::scaffold::write::{Page, undecided};
use std::collections::BTreeSet;

/// How many runs of layers a message lists.
const MOST: usize = 6;

const UNKNOWN: &str = "Decide: nothing knows this tensor. What is it called in your model, and \
                       which shape does it have there?";

impl Source<'_> {
    pub(super) fn schema(&self, page: &mut Page, facts: &mut Facts) {
        let Names { model, plain: name, .. } = self.names;
        let config = self.form.config(self.names);
        page.open("param_schema! {");
        page.line(&format!("/// {name} in Megatron-core's names."));
        page.open(&format!("pub {model}(c: {config}) {{"));
        for axis in &self.keys.axes {
            let value = match self.length(axis) {
                Some(field) if self.form.is_gpt() => in_gpt(&format!("c.{field}")),
                Some(field) => format!("c.{field}"),
                None => {
                    let what = format!(
                        "how many there are of `{}`: the keys under {} go up to {}, and no known \
                         field of config.json is {}",
                        axis.name,
                        literal(&axis.prefix),
                        axis.len - 1,
                        axis.len
                    );
                    let value = undecided(&what);
                    facts.undecided.push(what);
                    value
                }
            };
            let role = if self.has_experts(&axis.name) { ": experts" } else { "" };
            page.line(&format!("axis {}{role} = {value};", axis.name));
        }
        if !matches!(facts.tied, Tied::NoEmbedding) {
            page.line(&format!("flag tied = c.{TIED};"));
        }
        let flags = self.recognised.entries.iter().filter_map(|entry| self.bias_flag(entry));
        for name in flags.collect::<BTreeSet<_>>() {
            page.line(&format!("flag {name} = c.{name};"));
        }
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            for (name, layers) in &facts.sets {
                let what = format!(
                    "the flag `{name}({axis})`: which layers have these parameters; in this \
                     checkpoint {}",
                    ranges(layers)
                );
                page.line(&format!("flag {name}({axis}) = {};", undecided(&what)));
                facts.undecided.push(what);
            }
        }
        page.line("");
        self.parameters(page, facts, Place::Top);
        if let Tied::Flag(true) | Tied::Contradiction = facts.tied
            && let Some(embedding) = self.top(EMBEDDING)
        {
            let output = self.untied(embedding);
            page.parameter(&output, "!tied");
        }
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            page.open(&format!("{} {{", literal(&format!("{}.{{{axis}}}", self.stack))));
            self.parameters(page, facts, Place::Layer);
            page.close("}");
        }
        page.close("}");
        page.close("}");
        page.line("");
    }

    /// Whether parameters with an axis in their names are Megatron-core's experts, all of them.
    fn has_experts(&self, axis: &str) -> bool {
        let (index, local) = (format!("{{{axis}}}"), format!("experts.local_experts.{{{axis}}}."));
        let mut with = self.recognised.entries.iter().filter(|entry| entry.target.contains(&index));
        let first = with.next();
        first.into_iter().chain(with).all(|entry| entry.target.contains(&local)) && first.is_some()
    }

    /// The output layer of a model that is not tied, though this checkpoint is: it has the
    /// embedding's shape.
    pub(super) fn untied(&self, embedding: &Entry) -> Entry {
        Entry {
            place: Place::Top,
            sources: vec!["lm_head.weight".into()],
            target: OUTPUT.into(),
            via: embedding.via.clone(),
            fold: String::new(),
            shape: embedding.shape.clone(),
            layers: None,
            known: Known::Yes,
            rule: None,
            tensors: 0,
        }
    }

    fn parameters(&self, page: &mut Page, facts: &mut Facts, place: Place) {
        let mut before = Known::Yes;
        for entry in self.entries(place) {
            match entry.known {
                Known::No if before != Known::No => page.prose("//", "", UNKNOWN),
                Known::Unproduced => page.prose("//", "", &self.unproduced(entry)),
                _ => {}
            }
            before = entry.known;
            page.parameter(entry, &self.condition(entry, facts));
            for (number, dimension) in entry.shape.iter().enumerate() {
                if let Dimension::Undecided(reason) = dimension {
                    facts
                        .undecided
                        .push(format!("dimension {number} of `{}`: {reason}", entry.target));
                }
            }
            match entry.known {
                Known::Yes => {}
                Known::No => facts.undecided.push(format!(
                    "`{}`: what it is called and how it gets there",
                    self.whole(entry)
                )),
                Known::Unproduced => {
                    facts.undecided.push(format!("`{}`: which tensor it is made of", entry.target))
                }
            }
        }
    }

    /// What is said of a parameter that the other model has.
    fn unproduced(&self, entry: &Entry) -> String {
        let model = self.like.map_or("the other model", |(like, _)| like.model);
        let usual: Vec<String> = entry.sources.iter().map(|key| literal(key)).collect();
        let usual = match usual.is_empty() {
            true => String::new(),
            false => format!(", and makes it of {}", usual.join(", ")),
        };
        format!("Decide: {model} has this parameter{usual}. What is it made of here?")
    }

    fn whole(&self, entry: &Entry) -> String {
        match (&self.recognised.stack, entry.place) {
            (Some(stack), Place::Layer) => format!("{}.{}", stack.source, entry.sources[0]),
            _ => entry.sources[0].clone(),
        }
    }

    /// The entries of a place in Megatron's order: as the keys of the model come.
    pub(super) fn entries(&self, place: Place) -> impl Iterator<Item = &Entry> {
        self.recognised.entries.iter().filter(move |entry| entry.place == place)
    }
}

/// A formula over a [`GptConfig`](crate::gpt::GptConfig): what may be absent it has functions for.
pub fn in_gpt(formula: &str) -> String {
    formula
        .replace("c.vocab_size", "c.vocab_rows()")
        .replace("c.num_moe_experts", "c.experts()")
        .replace("c.moe_ffn_hidden_size", "c.expert_width()")
}

/// `0..2, 5`
fn ranges(indices: &BTreeSet<u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &index in indices {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let shown = runs.iter().take(MOST).map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}..={last}"),
    });
    let more = if runs.len() > MOST { ", …" } else { "" };
    shown.collect::<Vec<_>>().join(", ") + more
}
