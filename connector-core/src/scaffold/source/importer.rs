//! The importer: its rows, and the reading of the config.

use super::{EMBEDDING, Facts, OUTPUT, Source, TIED, Tied};
use crate::checkpoint::shown;
use crate::scaffold::Names;
use crate::scaffold::config::Field;
use crate::scaffold::idioms::SettingKind;
use crate::scaffold::names::{literal, plain};
use crate::scaffold::recognise::{Entry, Known, Place};
use crate::scaffold::write::{Page, Row, refuse, undecided};
use serde_json::Value;
use std::collections::BTreeSet;

/// Sizes beyond this make no model, and below it no product of three overflows.
const LARGEST: &str = "1 << 20";
/// Lists up to this length rustfmt keeps on one line.
const SHORT: usize = 60;

impl Source<'_> {
    pub(super) fn importer(&self, page: &mut Page, facts: &mut Facts) {
        let Names { importer, plain: name, model, architectures, .. } = self.names;
        page.line(&format!("/// {name} from Hugging Face."));
        for note in &self.names.notes {
            page.prose("//", "", note);
        }
        page.line(&format!("pub struct {importer};"));
        page.line("");
        let list: Vec<String> = architectures.iter().map(|name| literal(name)).collect();
        let list = match list.is_empty() {
            true => String::new(),
            false => format!(", architectures = [{}]", list.join(", ")),
        };
        page.line(&format!("#[model_importer({model}, \"hf\"{list})]"));
        page.open(&format!("impl ModelConnector for {importer} {{"));
        page.open("const MAPPING: Mapping = mapping! {");
        self.rows(page, Place::Top);
        self.tied_rows(page, facts);
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            let target = format!("{}.{{{axis}}}", self.stack);
            page.open(&format!("{} => {} {{", literal(&stack.source), literal(&target)));
            self.rows(page, Place::Layer);
            page.close("},");
        }
        page.close("};");
        page.line("");
        self.config(page, facts);
        page.close("}");
    }

    fn rows(&self, page: &mut Page, place: Place) {
        let entries: Vec<&Entry> = self.entries(place).collect();
        let mut done = BTreeSet::new();
        let mut before = Known::Yes;
        for (number, entry) in entries.iter().enumerate() {
            if done.contains(&number) || entry.known == Known::Unproduced {
                continue;
            }
            if entry.known == Known::No {
                let twin = self.same_shape(entry);
                if let Some(other) = twin {
                    let text = format!(
                        "Decide: it has the shape of {}, which nothing makes. Is it that? Then \
                         take this row, and delete the parameter of its own name.",
                        literal(&other.target)
                    );
                    page.prose("//", "", &text);
                } else if before != Known::No {
                    page.prose(
                        "//",
                        "",
                        "Decide: take this row, with the name that you gave the parameter, or \
                         `ignore` the tensor and delete the parameter.",
                    );
                }
                before = entry.known;
                page.line(&format!(
                    "// {} => {},",
                    literal(&entry.sources[0]),
                    literal(&twin.unwrap_or(entry).target)
                ));
                continue;
            }
            before = entry.known;
            if let Some(at) = self.like.and_then(|(_, functions)| functions.get(&entry.via)) {
                page.line(&format!("// The function is applied at {}: import it.", plain(at)));
            }
            let twin = entries.iter().enumerate().skip(number + 1).find(|(_, other)| {
                other.known == Known::Yes && other.rule == entry.rule && are_twins(entry, other)
            });
            let Some((twin, _)) = twin else {
                let Entry { sources, target, via, fold, .. } = entry;
                page.row(&Row { sources, target, via, fold });
                continue;
            };
            done.insert(twin);
            // The first key lists the choice, the others repeat it.
            let choice = |text: &str| text.replace("weight", "{p}");
            let mut sources: Vec<String> = entry.sources.iter().map(|s| choice(s)).collect();
            sources[0] = sources[0].replace("{p}", "{p:weight|bias}");
            let (target, via, fold) = (choice(&entry.target), &entry.via, &entry.fold);
            page.row(&Row { sources: &sources, target: &target, via, fold });
        }
        let ignored = self.recognised.ignored.iter().filter(|(at, _)| *at == place);
        ignored.for_each(|(_, text)| page.line(&format!("ignore {},", literal(text))));
    }

    /// The one parameter that nothing makes and that has the shape of these unknown tensors, which
    /// are the only ones that have it.
    fn same_shape(&self, entry: &Entry) -> Option<&Entry> {
        let alike = |known| {
            let mut found = self.entries(entry.place).filter(move |other| {
                let sizes = other.shape.iter().zip(&entry.shape);
                let mut same = sizes.map(|(a, b)| a.text() == b.text() && a.text().is_some());
                other.known == known && other.shape.len() == entry.shape.len() && same.all(|s| s)
            });
            found.next().filter(|_| found.next().is_none())
        };
        alike(Known::No).and_then(|_| alike(Known::Unproduced))
    }

    /// What a tied output layer needs: a row for models that are not, a comparison for those that
    /// store it all the same.
    fn tied_rows(&self, page: &mut Page, facts: &Facts) {
        let Some(embedding) = self.top(EMBEDDING) else { return };
        let head = match (self.top(OUTPUT), &facts.tied) {
            (Some(head), _) => head.sources[0].clone(),
            (None, _) => {
                let Entry { sources, target, via, fold, .. } = &self.untied(embedding);
                page.row(&Row { sources, target, via, fold });
                sources[0].clone()
            }
        };
        let embedding = literal(&embedding.sources[0]);
        page.line(&format!("{} == {embedding} when tied,", literal(&head)));
    }

    fn config(&self, page: &mut Page, facts: &mut Facts) {
        let Names { config, .. } = self.names;
        page.open(&format!("fn config(source: &Checkpoint) -> Result<{config}> {{"));
        page.line("let fields = source.fields();");
        let defaults: String = self.fields(facts).map(|field| field.absent.as_str()).collect();
        let shared: Vec<&Field> = self
            .fields(facts)
            .filter(|field| {
                ["hidden_size", "num_attention_heads"].contains(&field.name.as_str())
                    && defaults.contains(&field.name)
            })
            .collect();
        for Field { name, path, .. } in &shared {
            page.line(&format!("let {name}: usize = fields.required({});", literal(path)));
        }
        if self.config.rope {
            page.line("let (rotary_base, rope_scaling) = gpt::rope(&fields, 10_000.0);");
        }
        page.open(&format!("let config = {config} {{"));
        for field in self.fields(facts) {
            let Field { name, path, absent, kind, .. } = field;
            if name == TIED {
                continue;
            }
            let path = literal(path);
            if shared.iter().any(|shared| shared.name == *name) {
                page.line(&format!("{name},"));
            } else if *kind == SettingKind::Switch {
                page.line(&format!("{name}: fields.or({path}, false),"));
            } else if absent.is_empty() {
                page.line(&format!("{name}: fields.required({path}),"));
            } else {
                page.line(&format!("{name}: fields.or({path}, {absent}),"));
            }
        }
        let path = literal(self.tied_path());
        let value = match facts.tied {
            Tied::NoEmbedding => None,
            Tied::Flag(absent) => Some(format!("fields.or({path}, {absent})")),
            Tied::Contradiction => {
                let what = "config.json says that the output layer is not the embedding, and the \
                            checkpoint has no output layer that is known: is it tied, or which \
                            tensor is it?";
                facts.undecided.push(what.into());
                Some(undecided(what))
            }
        };
        if let Some(value) = value {
            page.line(&format!("{TIED}: {value},"));
        }
        if self.config.rope {
            page.line("rotary_base,");
            page.line("rope_scaling,");
        }
        page.close("};");
        let taken: BTreeSet<&str> = self.fields(facts).map(|field| field.path.as_str()).collect();
        let open = self.config.unread(|field| taken.contains(field.path.as_str()));
        for (path, value) in &open {
            let name = literal(path);
            let what = format!(
                "{name} is {}: read it into the config, or take no other value with \
                 `fields.neutral({name}, &[{}])`",
                shown(value),
                in_rust(value)
            );
            refuse(page, &what);
            facts.undecided.push(what);
        }
        page.line("fields.settle_rest(&[]);");
        self.check(page, facts);
        page.line("fields.finish()?;");
        page.line("Ok(config)");
        page.close("}");
    }

    /// Sizes with which there is no model, or none that can be computed with.
    fn check(&self, page: &mut Page, facts: &Facts) {
        let sizes = || self.fields(facts).filter(|field| field.kind == SettingKind::Size);
        if sizes().next().is_none() {
            return;
        }
        let pairs: Vec<String> = sizes()
            .map(|field| format!("({}, config.{})", literal(&field.path), field.name))
            .collect();
        let list = pairs.join(", ");
        if list.len() <= SHORT {
            page.line(&format!("for (name, size) in [{list}] {{"));
        } else {
            page.open("for (name, size) in [");
            pairs.iter().for_each(|pair| page.line(&format!("{pair},")));
            page.close("] {");
        }
        page.nest(|page| {
            page.open(&format!("if size == 0 || size > {LARGEST} {{"));
            let problem = "is {size}; it should be from 1 to {}";
            page.line(&format!("let problem = format!({}, {LARGEST});", literal(problem)));
            page.line("fields.malformed(name, problem);");
            page.close("}");
        });
        page.line("}");
    }
}

/// A value of a config as an expression for `fields.neutral`.
fn in_rust(value: &Value) -> String {
    match value {
        Value::Bool(_) | Value::Number(_) => format!("{value}.into()"),
        Value::String(text) if text.len() < 40 => format!("{}.into()", literal(text)),
        _ => "…".into(),
    }
}

/// Whether two entries differ in `weight` and `bias` alone.
fn are_twins(weight: &Entry, bias: &Entry) -> bool {
    let swap = |text: &str| text.replace("weight", "bias");
    let once = |text: &String| text.matches("weight").count() == 1;
    weight.layers == bias.layers
        && weight.sources.len() == bias.sources.len()
        && weight.sources.iter().chain([&weight.target]).all(once)
        && weight.sources.iter().zip(&bias.sources).all(|(w, b)| swap(w) == *b)
        && swap(&weight.target) == bias.target
}
