//! The config: its struct, if the model has one of its own, and the map from and to `config.json`.

use super::{EMBEDDING, Facts, Source, TIED, Tied};
use crate::checkpoint::{WITHOUT_EFFECT, shown};
use crate::connector::Registration;
use crate::gpt;
use crate::scaffold::Names;
use crate::scaffold::config::Field;
use crate::scaffold::idioms::SettingKind;
use crate::scaffold::names::{identifier, literal};
use crate::scaffold::write::{Page, rust_type};
use serde_json::Value;

/// What the config of the draft's model is.
#[derive(Clone, Copy)]
pub enum Form {
    /// A [`GptConfig`](gpt::GptConfig), which the map of a linked importer reads.
    Known(&'static Registration),
    /// A [`GptConfig`](gpt::GptConfig), made with the maps in [`gpt`].
    Gpt,
    /// A struct of its own.
    Own,
}

impl Form {
    /// The config's type.
    pub fn config<'a>(&self, names: &'a Names) -> &'a str {
        if self.is_gpt() { "GptConfig" } else { &names.config }
    }

    pub fn is_gpt(self) -> bool {
        !matches!(self, Form::Own)
    }

    /// The linked importer's type, and where it is.
    pub fn known(self) -> Option<(&'static str, String)> {
        let Form::Known(Registration { name, .. }) = self else { return None };
        let path = match name.strip_prefix("connector_core::families::") {
            // The modules of the families are private.
            Some(inside) => format!(
                "connector_core::families::{}",
                inside.rsplit("::").next().unwrap_or(inside)
            ),
            None => name.to_string(),
        };
        Some((name.rsplit("::").next().unwrap_or(name), path))
    }
}

impl Source<'_> {
    /// The config's struct, and the numbers that follow from it.
    pub(super) fn struct_(&self, page: &mut Page, facts: &Facts) {
        if self.form.is_gpt() {
            return;
        }
        let Names { config, .. } = self.names;
        page.open("config_fields! {");
        page.prose(
            "///",
            "",
            "What the shapes follow from, with Megatron's names where it has one: operations ask \
             for them.",
        );
        page.line("#[derive(Clone, Debug, Serialize, Deserialize)]");
        page.open(&format!("pub struct {config} {{"));
        for field in self.fields(facts) {
            page.line(&format!("/// {}", field.meaning));
            page.line(&format!("pub {}: {},", field.name, rust_type(field)));
        }
        if !matches!(facts.tied, Tied::NoEmbedding) && self.config.field(TIED).is_none() {
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
            methods.iter().zip(facts.methods).filter(|(_, asked)| *asked).map(|(m, _)| m).collect();
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

    /// The map between `config.json` and the model's config.
    pub(super) fn map(&self, page: &mut Page, facts: &mut Facts) {
        if let Some((importer, _)) = self.form.known() {
            page.prose("//", "", "What this `model_type` says, this importer knows.");
            page.line(&format!("const CONFIG: Option<ConfigMap> = {importer}::CONFIG;"));
            return;
        }
        let config = self.form.config(self.names);
        page.open(&format!("const CONFIG: Option<ConfigMap> = Some(config_map! {{ {config} {{"));
        if let Some(Value::String(kind)) = self.config.raw("model_type") {
            page.line(&format!("\"model_type\" = {},", literal(kind)));
        }
        match self.form {
            Form::Own => self.own_rows(page, facts),
            _ => self.gpt_rows(page),
        }
        self.unread(page, facts);
        page.close("}});");
    }

    fn own_rows(&self, page: &mut Page, facts: &mut Facts) {
        let fields: Vec<&Field> = self.fields(facts).filter(|field| field.name != TIED).collect();
        for Field { name, path, absent, kind, .. } in fields {
            let absent = match kind {
                SettingKind::Switch => " = false".into(),
                _ if absent.is_empty() => String::new(),
                _ => format!(" = {absent}"),
            };
            page.line(&format!("{} <=> {name}{absent},", literal(path)));
        }
        let absent = match facts.tied {
            Tied::NoEmbedding => None,
            Tied::Flag(absent) => Some(absent),
            Tied::Contradiction => {
                let what = "config.json says that the output layer is not the embedding, and the \
                            checkpoint has no output layer that is known: is it tied, or which \
                            tensor is it?";
                facts.decide(page, what, "");
                Some(false)
            }
        };
        if let Some(absent) = absent {
            page.line(&format!("{} <=> {TIED} = {absent},", literal(self.tied_path())));
        }
        if self.config.rope {
            page.line("..gpt::ROPE,");
        }
    }

    fn gpt_rows(&self, page: &mut Page) {
        page.line("..gpt::CORE,");
        page.line("\"hidden_act\" <=> activation_func via gpt::SILU,");
        for (field, only) in self.switches() {
            match only {
                true => page.line(&format!("only {field} = true,")),
                false => page.line(&format!("{} <=> {field} = false,", literal(field))),
            }
        }
        page.line("..gpt::ROPE,");
        page.line(if self.has_window() { "..gpt::WINDOW," } else { "..gpt::NO_WINDOW," });
    }

    /// The switches of a [`GptConfig`](gpt::GptConfig) that the tensors turn on, and whether no field
    /// of `config.json` says so.
    fn switches(&self) -> Vec<(&'static str, bool)> {
        let has = |target: &str| self.recognised.entries.iter().any(|e| e.target == target);
        let says = |name: &str| self.config.raw(name) == Some(&Value::Bool(true));
        let (qkv, proj) =
            (has("self_attention.linear_qkv.bias"), has("self_attention.linear_proj.bias"));
        let all = [
            ("attention_bias", qkv && proj),
            ("add_qkv_bias", qkv && !proj),
            ("mlp_bias", has("mlp.linear_fc1.bias") || has("mlp.linear_fc2.bias")),
            ("qk_layernorm", has("self_attention.q_layernorm.weight")),
        ];
        let on = all.into_iter().filter(|(_, on)| *on);
        on.map(|(name, _)| (name, !says(name))).collect()
    }

    fn has_window(&self) -> bool {
        let on = |name: &str| self.config.raw(name).is_some_and(|value| !value.is_null());
        on("sliding_window") && self.config.raw("use_sliding_window") != Some(&Value::Bool(false))
    }

    /// Whether the map of the form [`Gpt`](Form::Gpt) reads a field with this value.
    fn gpt_reads(&self, path: &str, value: &Value) -> bool {
        let windows = if self.has_window() { gpt::WINDOW } else { gpt::NO_WINDOW };
        ["model_type", "hidden_act"].contains(&path)
            || [gpt::CORE, gpt::ROPE, windows].iter().any(|map| map.knows(path, value))
            || self.switches().iter().any(|(name, only)| *name == path && !only)
    }

    /// Rows for the fields that nothing reads: those with an effect are left to decide.
    fn unread(&self, page: &mut Page, facts: &mut Facts) {
        let own = matches!(self.form, Form::Own);
        let taken: Vec<&str> = self.fields(facts).map(|field| field.path.as_str()).collect();
        let is_read = |path: &str, value: &Value| match own {
            true => path == "model_type" && value.is_string() || path == self.tied_path(),
            false => self.gpt_reads(path, value),
        };
        let unread = self.config.unread(|field| taken.contains(&field.path.as_str()));
        let unread: Vec<_> = unread.into_iter().filter(|(p, value)| !is_read(p, value)).collect();
        let last = |path: &str| path.rsplit('.').next().map(String::from).unwrap_or_default();
        let is_carried = |path: &str| WITHOUT_EFFECT.iter().any(|n| *n == path || *n == last(path));
        let (carried, unread): (Vec<_>, Vec<_>) =
            unread.into_iter().partition(|(path, _)| is_carried(path));
        let is_neutral =
            |(path, value): &(String, &Value)| is_off(value) || gpt::CORE.knows(&last(path), value);
        let (neutral, open): (Vec<_>, Vec<_>) = unread.into_iter().partition(is_neutral);
        if !neutral.is_empty() {
            page.line("// Off, or as usual: a file with another value is refused.");
        }
        for (path, value) in &neutral {
            page.line(&format!("neutral {} = {value},", literal(path)));
        }
        if !carried.is_empty() {
            page.line("// Without effect on what the model computes.");
            page.line("carry [");
            let names: Vec<String> = carried.iter().map(|(path, _)| literal(path)).collect();
            page.nest(|page| page.list(&names));
            page.line("],");
        }
        for (path, value) in open {
            let (name, field) = (literal(&path), identifier(&path));
            let what = format!(
                "{name} is {}: a field of the model, the same in every such model, or without effect?",
                shown(value)
            );
            facts.decide(page, &what, "Take one of these rows.");
            page.line(&format!("// {name} <=> {field},"));
            if let Some(value) = in_map(value) {
                page.line(&format!("// neutral {name} = {value},"));
            }
            page.line(&format!("// carry [{name}],"));
        }
    }

    /// Whether a [`GptConfig`](gpt::GptConfig) says all that this checkpoint's tensors and config say:
    /// one whose map is `known`, or one that is made with those in [`gpt`].
    pub fn is_gpt(&self, known: bool) -> bool {
        let facts = self.facts();
        if !facts.sets.is_empty() || !self.keys.unwritable.is_empty() {
            return false;
        }
        let axes = self.keys.axes.iter().map(|axis| self.length(axis));
        let mut axes = axes.map(|field| field.unwrap_or_default());
        if !axes.all(|field| field == "num_layers" || known && field == "num_moe_experts") {
            return false;
        }
        let embedding = self.top(EMBEDDING).and_then(|entry| entry.shape.first()?.text());
        if embedding != Some("c.vocab_size") || known {
            return embedding == Some("c.vocab_size");
        }
        let same = |field: &Field| {
            let name = gpt::CORE.format_name(&field.name);
            let own = if field.name == "activation_func" { "hidden_act" } else { &field.name };
            name.unwrap_or(own) == field.path
        };
        let has = |name: &str| self.config.field(name).is_some();
        let gated = |target: &str| {
            let mut made = self.recognised.entries.iter().filter(|e| e.target == target);
            made.all(|e| e.via == "ops::merge_fc1" || e.sources[0].contains("gate_up"))
        };
        let silu = [Some("silu"), Some("swish")];
        let taken: Vec<&str> = self.fields(&facts).map(|field| field.path.as_str()).collect();
        let unread = self.config.unread(|field| taken.contains(&field.path.as_str()));
        self.config.rope
            && ["ffn_hidden_size", "layernorm_epsilon"].iter().all(|name| has(name))
            && self.fields(&facts).all(same)
            && matches!(facts.tied, Tied::Flag(_))
            && silu.contains(&self.config.raw("hidden_act").and_then(Value::as_str))
            && gated("mlp.linear_fc1.weight")
            && unread.iter().all(|(path, value)| is_off(value) || self.gpt_reads(path, value))
    }
}

/// Whether a value switches nothing on: a draft takes it, and no other.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => matches!(number.to_string().as_str(), "0" | "0.0"),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// A value as a map has it, if it can say it.
fn in_map(value: &Value) -> Option<String> {
    match value {
        Value::Bool(_) => Some(value.to_string()),
        Value::Number(number) => number.as_f64().filter(|n| *n >= 0.0).map(|_| value.to_string()),
        Value::String(text) if text.len() < 40 => Some(literal(text)),
        _ => None,
    }
}
