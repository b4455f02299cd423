//! Parameters and rows as a Rust file.

use super::Names;
use super::config::{Config, Field};
use super::idioms::SettingKind;
use super::keys::{Axis, Keys};
use super::names::{literal, plain, unique};
use super::recognise::{Entry, Known, Place, Recognised};
use super::shapes::Dimension;
use super::write::{Page, Row, refuse, rust_type, undecided};
use crate::checkpoint::shown;
use crate::connector::Registration;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Sizes beyond this make no model, and below it no product of three overflows.
const LARGEST: &str = "1 << 20";
/// Lists up to this length rustfmt keeps on one line.
const SHORT: usize = 60;
/// How many tensors or layers a message lists.
const MOST: usize = 6;

const EMBEDDING: &str = "embedding.word_embeddings.weight";
const OUTPUT: &str = "output_layer.weight";
const TIED: &str = "share_embeddings_and_output_weights";

const UNKNOWN: &str = "Decide: nothing knows this tensor. What is it called in your model, and \
                       which shape does it have there?";

/// Everything that the file is made of.
pub struct Source<'a> {
    pub config: &'a Config<'a>,
    pub keys: &'a Keys,
    pub recognised: &'a Recognised,
    pub names: &'a Names,
    /// Where the model has its layers, `decoder.layers`.
    pub stack: String,
    /// The importer that the draft is like, and its functions.
    pub like: Option<(&'a Registration, &'a BTreeMap<String, String>)>,
}

/// Whether the output layer is the embedding.
enum Tied {
    /// Nothing here is an embedding.
    NoEmbedding,
    /// The flag tells; absent from a config, it means this.
    Flag(bool),
    /// The config and the tensors contradict each other.
    Contradiction,
}

/// What the parts of the file need from each other.
struct Plan {
    tied: Tied,
    /// The layers that only some parameters have: the flag's name, and which layers.
    sets: Vec<(String, BTreeSet<u64>)>,
    /// The fields of the draft's config, by their places in [`Config::fields`].
    fields: Vec<usize>,
    /// Whether `qkv_rows()` and `query_width()` are asked for.
    methods: [bool; 2],
    undecided: Vec<String>,
}

impl Source<'_> {
    /// The file, and what is left to decide in it.
    pub fn write(&self, tensors: usize) -> (String, Vec<String>) {
        let mut plan = self.plan();
        let mut body = Page::default();
        self.struct_(&mut body, &plan);
        self.schema(&mut body, &mut plan);
        self.importer(&mut body, &mut plan);
        for (key, count) in &self.keys.unwritable {
            let more =
                if *count > 1 { format!(" and {} like it", count - 1) } else { String::new() };
            let what = format!(
                "the key {}{more}: no pattern can say it literally; write a row with `*` in the \
                 place of what is strange, then delete this line",
                literal(key)
            );
            body.line("");
            refuse(&mut body, &what);
            plan.undecided.push(what);
        }
        let mut page = Page::default();
        self.header(&mut page, &plan, tensors);
        (page.into_text() + &body.into_text(), plan.undecided)
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan {
            tied: self.tied(),
            sets: Vec::new(),
            fields: Vec::new(),
            methods: [false; 2],
            undecided: Vec::new(),
        };
        for entry in &self.recognised.entries {
            self.add_set(&mut plan.sets, entry);
        }
        let mut used: BTreeSet<String> = BTreeSet::new();
        let formulas = self.recognised.entries.iter().flat_map(|entry| &entry.shape);
        for dimension in formulas {
            let Dimension::Formula { text, .. } = dimension else { continue };
            let words = text.split(' ').map(|word| word.trim_matches(['(', ')']));
            for name in words.filter_map(|word| word.strip_prefix("c.")) {
                match name {
                    "qkv_rows" => plan.methods[0] = true,
                    "query_width" => plan.methods[1] = true,
                    name => drop(used.insert(name.into())),
                }
            }
        }
        if plan.methods[0] {
            used.insert("num_query_groups".into());
        }
        if plan.methods != [false; 2] {
            used.extend(["num_attention_heads", "kv_channels"].map(String::from));
        }
        used.extend(self.recognised.entries.iter().filter_map(|entry| self.bias_flag(entry)));
        used.extend(self.keys.axes.iter().filter_map(|axis| self.length(axis)));
        if !matches!(plan.tied, Tied::NoEmbedding) {
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
        plan.fields = taken.collect();
        plan
    }

    fn top(&self, target: &str) -> Option<&Entry> {
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

    fn tied_path(&self) -> &str {
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

    fn is_complement(&self, a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> bool {
        let len = self.recognised.stack.as_ref().map_or(0, |stack| self.keys.axes[stack.axis].len);
        a.is_disjoint(b) && (a.len() + b.len()) as u64 == len
    }

    /// The config's switch for biases, if it is on and the entry is such a bias.
    fn bias_flag(&self, entry: &Entry) -> Option<String> {
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

    /// The field that counts an axis.
    fn length(&self, axis: &Axis) -> Option<String> {
        let known = axis.kind.setting().filter(|name| self.config.size(name) == Some(axis.len));
        known.map(String::from)
    }

    /// When a parameter exists.
    fn condition(&self, entry: &Entry, plan: &Plan) -> String {
        let mut all = Vec::new();
        if let Some(layers) = &entry.layers {
            for (name, set) in &plan.sets {
                if set == layers {
                    all.push(name.clone());
                } else if self.is_complement(set, layers) {
                    all.push(format!("!{name}"));
                }
            }
        }
        if entry.place == Place::Top
            && entry.target == OUTPUT
            && !matches!(plan.tied, Tied::NoEmbedding)
        {
            all.push("!tied".into());
        }
        all.extend(self.bias_flag(entry));
        all.join(" && ")
    }

    fn header(&self, page: &mut Page, plan: &Plan, tensors: usize) {
        let Names { plain: name, .. } = self.names;
        let s = if tensors == 1 { "" } else { "s" };
        let what = format!(
            "{name} from Hugging Face: a draft that `connector scaffold` made from the names and \
             shapes of {tensors} tensor{s}.",
        );
        page.prose("//!", "", &what);
        page.line("//!");
        let limit = "Names and shapes say where numbers go. Whether the model computes with them what \
                     Megatron computes under these names, only its own code says.";
        page.prose("//!", "", limit);
        page.line("//!");
        if plan.undecided.is_empty() {
            let all = "Nothing is left to decide. `connector plan` holds it against a checkpoint.";
            page.prose("//!", "", all);
        } else {
            let rest = "Left to decide; the compiler refuses each until it is done, and then \
                        `connector plan` holds the importer against a checkpoint:";
            page.prose("//!", "", rest);
            page.line("//!");
            plan.undecided.iter().for_each(|what| page.prose("//!", "- ", &plain(what)));
        }
        page.line("");
        page.line("use connector_core::checkpoint::Checkpoint;");
        if self.config.rope {
            page.line("use connector_core::families::gpt;");
        }
        let ops = self.recognised.entries.iter().any(|entry| entry.via.starts_with("ops::"));
        let ops = if ops { " ops," } else { "" };
        page.line(&format!(
            "use connector_core::{{Mapping, ModelConnector, Result, mapping, model_importer,{ops} \
             param_schema}};"
        ));
        page.line("use serde::{Deserialize, Serialize};");
        page.line("");
    }

    fn fields<'p>(&'p self, plan: &'p Plan) -> impl Iterator<Item = &'p Field> {
        plan.fields.iter().map(|field| &self.config.fields[*field])
    }

    /// The config's struct, and the numbers that follow from it.
    fn struct_(&self, page: &mut Page, plan: &Plan) {
        let Names { config, .. } = self.names;
        page.prose(
            "///",
            "",
            "What the shapes follow from, with Megatron's names where it has one: operations ask \
             for them.",
        );
        page.line("#[derive(Clone, Debug, Serialize, Deserialize)]");
        page.open(&format!("pub struct {config} {{"));
        for field in self.fields(plan) {
            page.line(&format!("/// {}", field.meaning));
            page.line(&format!("pub {}: {},", field.name, rust_type(field)));
        }
        if !matches!(plan.tied, Tied::NoEmbedding) && self.config.field(TIED).is_none() {
            page.line("/// Whether the output layer is the embedding.");
            page.line(&format!("pub {TIED}: bool,"));
        }
        if self.config.rope {
            page.line("/// The base of the rotary embedding's frequencies.");
            page.line("pub rotary_base: f64,");
            page.line("/// How the frequencies are stretched for long sequences.");
            page.line("pub rope_scaling: Option<gpt::RopeScaling>,");
        }
        page.close("}");
        page.line("");
        let methods = [
            (
                "The rows of q, k and v in one, by query group.",
                "qkv_rows",
                "(self.num_attention_heads + 2 * self.num_query_groups) * self.kv_channels",
            ),
            (
                "The width of all query heads.",
                "query_width",
                "self.num_attention_heads * self.kv_channels",
            ),
        ];
        let asked: Vec<_> =
            methods.iter().zip(plan.methods).filter(|(_, asked)| *asked).map(|(m, _)| m).collect();
        if asked.is_empty() {
            return;
        }
        page.open(&format!("impl {config} {{"));
        for (i, (doc, name, value)) in asked.iter().enumerate() {
            if i > 0 {
                page.line("");
            }
            page.line(&format!("/// {doc}"));
            page.open(&format!("pub fn {name}(&self) -> usize {{"));
            page.line(value);
            page.close("}");
        }
        page.close("}");
        page.line("");
    }

    fn schema(&self, page: &mut Page, plan: &mut Plan) {
        let Names { model, config, plain: name, .. } = self.names;
        page.open("param_schema! {");
        page.line(&format!("/// {name} in Megatron-core's names."));
        page.open(&format!("pub {model}(c: {config}) {{"));
        for axis in &self.keys.axes {
            let value = match self.length(axis) {
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
                    plan.undecided.push(what);
                    value
                }
            };
            page.line(&format!("axis {} = {value};", axis.name));
        }
        if !matches!(plan.tied, Tied::NoEmbedding) {
            page.line(&format!("flag tied = c.{TIED};"));
        }
        let flags = self.recognised.entries.iter().filter_map(|entry| self.bias_flag(entry));
        for name in flags.collect::<BTreeSet<_>>() {
            page.line(&format!("flag {name} = c.{name};"));
        }
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            for (name, layers) in &plan.sets {
                let what = format!(
                    "the flag `{name}({axis})`: which layers have these parameters; in this \
                     checkpoint {}",
                    ranges(layers)
                );
                page.line(&format!("flag {name}({axis}) = {};", undecided(&what)));
                plan.undecided.push(what);
            }
        }
        page.line("");
        self.parameters(page, plan, Place::Top);
        if let Tied::Flag(true) | Tied::Contradiction = plan.tied
            && let Some(embedding) = self.top(EMBEDDING)
        {
            let output = self.untied(embedding);
            page.parameter(&output, "!tied");
        }
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            page.open(&format!("{} {{", literal(&format!("{}.{{{axis}}}", self.stack))));
            self.parameters(page, plan, Place::Layer);
            page.close("}");
        }
        page.close("}");
        page.close("}");
        page.line("");
    }

    /// The output layer of a model that is not tied, though this checkpoint is: it has the
    /// embedding's shape.
    fn untied(&self, embedding: &Entry) -> Entry {
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

    fn parameters(&self, page: &mut Page, plan: &mut Plan, place: Place) {
        let mut before = Known::Yes;
        for entry in self.entries(place) {
            match entry.known {
                Known::No if before != Known::No => page.prose("//", "", UNKNOWN),
                Known::Unproduced => page.prose("//", "", &self.unproduced(entry)),
                _ => {}
            }
            before = entry.known;
            page.parameter(entry, &self.condition(entry, plan));
            for (number, dimension) in entry.shape.iter().enumerate() {
                if let Dimension::Undecided(reason) = dimension {
                    plan.undecided
                        .push(format!("dimension {number} of `{}`: {reason}", entry.target));
                }
            }
            match entry.known {
                Known::Yes => {}
                Known::No => plan.undecided.push(format!(
                    "`{}`: what it is called and how it gets there",
                    self.whole(entry)
                )),
                Known::Unproduced => {
                    plan.undecided.push(format!("`{}`: which tensor it is made of", entry.target))
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
    fn entries(&self, place: Place) -> impl Iterator<Item = &Entry> {
        self.recognised.entries.iter().filter(move |entry| entry.place == place)
    }

    fn importer(&self, page: &mut Page, plan: &mut Plan) {
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
        self.tied_rows(page, plan);
        if let Some(stack) = &self.recognised.stack {
            let axis = &self.keys.axes[stack.axis].name;
            let target = format!("{}.{{{axis}}}", self.stack);
            page.open(&format!("{} => {} {{", literal(&stack.source), literal(&target)));
            self.rows(page, Place::Layer);
            page.close("},");
        }
        page.close("};");
        page.line("");
        self.config(page, plan);
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
                if before != Known::No {
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
                    literal(&entry.target)
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

    /// What a tied output layer needs: a row for models that are not, a comparison for those that
    /// store it all the same.
    fn tied_rows(&self, page: &mut Page, plan: &Plan) {
        let Some(embedding) = self.top(EMBEDDING) else { return };
        let head = match (self.top(OUTPUT), &plan.tied) {
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

    fn config(&self, page: &mut Page, plan: &mut Plan) {
        let Names { config, .. } = self.names;
        page.open(&format!("fn config(source: &Checkpoint) -> Result<{config}> {{"));
        page.line("let fields = source.fields();");
        let defaults: String = self.fields(plan).map(|field| field.absent.as_str()).collect();
        let shared: Vec<&Field> = self
            .fields(plan)
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
        for field in self.fields(plan) {
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
        let value = match plan.tied {
            Tied::NoEmbedding => None,
            Tied::Flag(absent) => Some(format!("fields.or({path}, {absent})")),
            Tied::Contradiction => {
                let what = "config.json says that the output layer is not the embedding, and the \
                            checkpoint has no output layer that is known: is it tied, or which \
                            tensor is it?";
                plan.undecided.push(what.into());
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
        let taken: BTreeSet<&str> = self.fields(plan).map(|field| field.path.as_str()).collect();
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
            plan.undecided.push(what);
        }
        page.line("fields.settle_rest(&[]);");
        self.check(page, plan);
        page.line("fields.finish()?;");
        page.line("Ok(config)");
        page.close("}");
    }

    /// Sizes with which there is no model, or none that can be computed with.
    fn check(&self, page: &mut Page, plan: &Plan) {
        let sizes = || self.fields(plan).filter(|field| field.kind == SettingKind::Size);
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
