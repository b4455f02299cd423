//! The importer and its rows.

use super::{EMBEDDING, Facts, OUTPUT, Source, Tied};
use crate::gpt;
use crate::mapping::Mapping;
use crate::scaffold::Names;
use crate::scaffold::like::Like;
use crate::scaffold::names::{literal, plain};
use crate::scaffold::recognise::{Entry, Known, Place, Rule};
use crate::scaffold::write::{Page, Row};
use std::collections::BTreeSet;

/// What the families share, by its name in [`gpt`](crate::gpt); what has most comes first.
const SHARED: [(&str, Mapping); 7] = [
    (ENDS, gpt::ENDS),
    ("ATTENTION", gpt::ATTENTION),
    ("ATTENTION_BIASES", gpt::ATTENTION_BIASES),
    ("QKV_BIASES", gpt::QKV_BIASES),
    ("QK_NORMS", gpt::QK_NORMS),
    ("GATED_MLP", gpt::GATED_MLP),
    ("MLP_BIASES", gpt::MLP_BIASES),
];
const ENDS: &str = "ENDS";

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
        let export = if self.exports() { ", export" } else { "" };
        page.line(&format!("#[model_importer({model}, \"hf\"{list}{export})]"));
        page.open(&format!("impl ModelConnector for {importer} {{"));
        page.open("const MAPPING: Mapping = mapping! {");
        let ends = self.rows(page, Place::Top, facts);
        if !ends {
            self.tied_rows(page, facts);
        }
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            let target = format!("{}.{{{axis}}}", self.stack);
            page.open(&format!("{} => {} {{", literal(&stack.source), literal(&target)));
            self.rows(page, Place::Layer, facts);
            page.close("},");
        }
        page.close("};");
        page.line("");
        self.map(page, facts);
        if self.form.is_gpt() {
            page.line("");
            let what = "If frameworks for training know the model, say what they call it: `const \
                        FRAMEWORKS: Option<Frameworks> = …`.";
            page.prose("//", "", what);
        }
        page.close("}");
    }

    /// Whether the draft can declare `export`. It cannot if a row applies a function, whose inverse only
    /// its author knows, or if objects of the config have fields beside the language model's.
    fn exports(&self) -> bool {
        let mut vias = self.recognised.entries.iter().map(|entry| &entry.via);
        vias.all(|via| via.is_empty() || via.starts_with("ops::"))
            && !self.config.fields.iter().any(|field| field.path.contains('.'))
    }

    /// Writes the rows of a place, and says whether [`gpt::ENDS`](crate::gpt::ENDS) is among them.
    fn rows(&self, page: &mut Page, place: Place, facts: &Facts) -> bool {
        let entries: Vec<&Entry> = self.entries(place).collect();
        let (shared, mut done) = self.shared(place, &entries, facts);
        shared.iter().for_each(|name| page.line(&format!("..gpt::{name},")));
        let ends = shared.contains(&ENDS);
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
        let ignored = ignored.filter(|(_, text)| !(self.has_ends(facts) && is_of_ends(text)));
        ignored.for_each(|(_, text)| page.line(&format!("ignore {},", literal(text))));
        ends
    }

    /// The mappings in [`gpt`](crate::gpt) all of whose rows are among those of a place, and which.
    fn shared(
        &self,
        place: Place,
        entries: &[&Entry],
        facts: &Facts,
    ) -> (Vec<&'static str>, BTreeSet<usize>) {
        let (mut names, mut done) = (Vec::new(), BTreeSet::new());
        for (name, rows) in SHARED {
            if (name == ENDS) != (place == Place::Top) || name == ENDS && !self.is_usual() {
                continue;
            }
            // The row of an output layer that this checkpoint does not have is written all the same.
            let implied = |row: &Rule| {
                name == ENDS && row.target == OUTPUT && matches!(facts.tied, Tied::Flag(true))
            };
            let place = |row: &Rule| {
                let same = |(number, entry): &(usize, &&Entry)| {
                    !done.contains(number)
                        && entry.known == Known::Yes
                        && (&entry.sources, &entry.target) == (&row.sources, &row.target)
                        && entry.via == row.via
                        && entry.fold.is_empty()
                };
                entries.iter().enumerate().find(same).map(|(number, _)| number)
            };
            let rows = Like::rows(&rows);
            let found: Vec<_> = rows.iter().filter(|row| !implied(row)).map(place).collect();
            if let Some(found) = found.into_iter().collect::<Option<Vec<usize>>>() {
                done.extend(found);
                names.push(name);
            }
        }
        (names, done)
    }

    /// Whether the rows of the ends are [`gpt::ENDS`](crate::gpt::ENDS).
    fn has_ends(&self, facts: &Facts) -> bool {
        let entries: Vec<&Entry> = self.entries(Place::Top).collect();
        self.shared(Place::Top, &entries, facts).0.contains(&ENDS)
    }

    /// Whether the layers are where most models have them.
    fn is_usual(&self) -> bool {
        let stack = self.recognised.stack.as_ref();
        stack.is_some_and(|stack| stack.source == "model.layers.{layer}")
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
}

/// Whether [`gpt::ENDS`](crate::gpt::ENDS) ignores a buffer.
fn is_of_ends(text: &str) -> bool {
    matches!(
        text,
        "model.rotary_emb.inv_freq"
            | "self_attn.rotary_emb.inv_freq"
            | "self_attn.rotary_emb.cos_cached"
            | "self_attn.rotary_emb.sin_cached"
    )
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
