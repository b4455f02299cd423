//! Parameters and rows as a Rust file.

mod config;
mod facts;
mod importer;
mod schema;

use super::Names;
use super::config::Config;
use super::keys::Keys;
use super::names::{literal, plain};
use super::recognise::Recognised;
use super::write::{Page, refuse};
use crate::connector::Registration;
pub use config::Form;
use facts::{Facts, Tied};
pub use schema::in_gpt;
use std::collections::BTreeMap;

pub const EMBEDDING: &str = "embedding.word_embeddings.weight";
pub const OUTPUT: &str = "output_layer.weight";
const TIED: &str = "share_embeddings_and_output_weights";

/// Everything that the file is made of.
pub struct Source<'a> {
    pub config: &'a Config<'a>,
    pub keys: &'a Keys,
    pub recognised: Recognised,
    pub names: &'a Names,
    /// Where the model has its layers, `decoder.layers`.
    pub stack: String,
    /// The importer that the draft is like, and its functions.
    pub like: Option<(&'a Registration, &'a BTreeMap<String, String>)>,
    pub form: Form,
}

impl Source<'_> {
    /// The file, and what is left to decide in it.
    pub fn write(&self, tensors: usize) -> (String, Vec<String>) {
        let mut facts = self.facts();
        let mut body = Page::default();
        self.struct_(&mut body, &facts);
        self.schema(&mut body, &mut facts);
        self.importer(&mut body, &mut facts);
        for what in &facts.refused {
            body.line("");
            refuse(&mut body, what);
        }
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
            facts.undecided.push(what);
        }
        let mut page = Page::default();
        let body = body.into_text();
        self.header(&mut page, &facts, tensors, &body);
        (page.into_text() + &body, facts.undecided)
    }

    fn header(&self, page: &mut Page, facts: &Facts, tensors: usize, body: &str) {
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
        if facts.undecided.is_empty() {
            let all = "Nothing is left to decide. `connector plan` holds it against a checkpoint.";
            page.prose("//!", "", all);
        } else {
            let rest = "Left to decide; the compiler refuses each until it is done, and then \
                        `connector plan` holds the importer against a checkpoint:";
            page.prose("//!", "", rest);
            page.line("//!");
            facts.undecided.iter().for_each(|what| page.prose("//!", "- ", &plain(what)));
        }
        page.line("");
        page.line("use connector_core::config::ConfigMap;");
        if let Some((_, path)) = self.form.known() {
            page.line(&format!("use {path};"));
        }
        match (self.form.is_gpt(), body.contains("gpt::")) {
            (true, true) => page.line("use connector_core::gpt::{self, GptConfig};"),
            (true, false) => page.line("use connector_core::gpt::GptConfig;"),
            (false, true) => page.line("use connector_core::gpt;"),
            (false, false) => {}
        }
        let mut names = vec!["Mapping", "ModelConnector"];
        for (name, mark) in [
            ("config_fields", "config_fields! {"),
            ("config_map", "config_map! {"),
            ("mapping", "mapping! {"),
            ("model_importer", "#[model_importer("),
            ("ops", " ops::"),
            ("param_schema", "param_schema! {"),
        ] {
            names.extend(body.contains(mark).then_some(name));
        }
        page.import("connector_core", &names);
        if !self.form.is_gpt() {
            page.line("use serde::{Deserialize, Serialize};");
        }
        page.line("");
    }
}
