//! An importer that is linked in, as rules for recognising the tensors of another checkpoint.

use super::idioms::meaning;
use super::recognise::{Place, Rule, around, outside};
use crate::connector::Registration;
use crate::key::{Offset, Part, Pattern};
use crate::mapping::{FlatMapping, Fold, Mapping};
use crate::schema::{Instance, expand, holds};
use crate::transform::Kernel;
use std::collections::{BTreeMap, BTreeSet};

/// What a draft takes over from an importer.
#[derive(Default)]
pub struct Like {
    pub rules: Vec<Rule>,
    pub ignored: Vec<(Place, String)>,
    /// Where the model's layers are, `decoder.layers`; none if it has none.
    pub stack: Option<String>,
    /// Functions of the importer that rules apply, and where the rules are.
    pub functions: BTreeMap<String, String>,
}

impl Like {
    /// The rows of a mapping that is for one place.
    pub fn rows(mapping: &Mapping) -> Vec<Rule> {
        Like::of(mapping).rules
    }

    pub fn new(registration: &Registration) -> Self {
        Like::of(&registration.connector.mapping())
    }

    fn of(mapping: &Mapping) -> Self {
        let mapping = FlatMapping::new(mapping, &[]);
        let mut like = Like::default();
        let mut places = Vec::new();
        let mut layers = String::new();
        for flat in &mapping.rules {
            // The rules of one row differ in the texts of its choices.
            let same = places.iter().position(|at| *at == flat.rule.at);
            let number = same.unwrap_or_else(|| {
                places.push(flat.rule.at);
                places.len() - 1
            });
            let sources: Option<Vec<Relative>> = flat.sources.iter().map(relative).collect();
            let (Some(sources), [target]) = (sources, &flat.targets[..]) else { continue };
            let (Some(target), Some(first)) = (relative(target), sources.first()) else { continue };
            let fold = match flat.rule.fold {
                Fold::None => "",
                Fold::Stack(_) => "stack expert",
                Fold::Unstack(_) => "unstack expert",
                Fold::Repeat(_) => "repeat layer",
                // What the function's axis is called, only its keys say.
                _ => continue,
            };
            let same = |r: &Relative| r.place == target.place && r.layer == target.layer;
            if !sources.iter().all(same) {
                continue;
            }
            let vias = flat.operations.iter().map(|operation| {
                let each = if operation.each { " each" } else { "" };
                match operation.kernel {
                    Kernel::Function(_) => {
                        like.functions.insert(operation.name.into(), flat.rule.at.to_string());
                        format!("{}{each}", operation.name)
                    }
                    _ => format!("ops::{}{each}", operation.name),
                }
            });
            let vias: Vec<String> = vias.collect();
            let via = match &vias[..] {
                [rename] if rename == "ops::rename" => String::new(),
                [one] => one.clone(),
                all => format!("({})", all.join(", ")),
            };
            if target.place == Place::Layer && like.stack.is_none() {
                like.stack = Some(target.before);
                layers = format!("{}.{{}}", first.before);
            }
            like.rules.push(Rule {
                number,
                place: first.place,
                shape: meaning(&target.text).to_vec(),
                target: target.text,
                via,
                fold: fold.into(),
                beside: String::new(),
                sources: sources.into_iter().map(|source| source.text).collect(),
            });
        }
        let ignored = mapping.ignore.iter().filter_map(|row| relative(&row.pattern));
        like.ignored = ignored.map(|relative| (relative.place, relative.text)).collect();
        let around = around(&layers);
        for rule in like.rules.iter_mut().filter(|rule| rule.place == Place::Top) {
            rule.sources.iter_mut().for_each(|source| *source = outside(source, &around));
        }
        like
    }
}

/// A key as rules have it: without what stands before the index of a layer.
struct Relative {
    place: Place,
    before: String,
    /// What the layer's index is called.
    layer: String,
    text: String,
}

fn relative(pattern: &Pattern<'_>) -> Option<Relative> {
    let mut out = Relative {
        place: Place::Top,
        before: String::new(),
        layer: String::new(),
        text: String::new(),
    };
    let mut captures = 0;
    for part in pattern.parts() {
        let name = match part {
            Part::Text(text) => {
                out.text.push_str(text);
                continue;
            }
            Part::Index { name, offset: Offset::None, scale: 1 } => *name,
            Part::Word { name: "" } => "",
            _ => return None,
        };
        captures += 1;
        match captures {
            1 => {
                out.place = Place::Layer;
                out.layer = name.into();
                out.before = std::mem::take(&mut out.text).trim_end_matches('.').into();
            }
            2 => out.text.push_str("{expert}"),
            _ => return None,
        }
    }
    if out.place == Place::Layer {
        out.text = out.text.strip_prefix('.')?.into();
    }
    Some(out)
}

/// A parameter of the model that is to be like, under this checkpoint's config.
pub struct Wanted {
    pub place: Place,
    pub target: String,
    pub layers: BTreeSet<u64>,
    pub shape: Vec<usize>,
}

/// The parameters that the model has under a config.
pub fn wanted(instance: &dyn Instance) -> Vec<Wanted> {
    let schema = instance.schema();
    let mut wanted = Vec::new();
    for (number, parameter) in schema.parameters.iter().enumerate() {
        let Some(Relative { place, layer, text, .. }) = relative(&parameter.pattern) else {
            continue;
        };
        let mut layers = BTreeSet::new();
        let mut shape = None;
        for (captures, at) in expand(instance, &parameter.pattern) {
            if holds(instance, &parameter.when, &at) {
                layers.insert(captures.index(&layer).unwrap_or(0));
                shape.get_or_insert_with(|| instance.shape(number, &at));
            }
        }
        if let Some(shape) = shape {
            wanted.push(Wanted { place, target: text, layers, shape });
        }
    }
    wanted
}
