//! Parameters and rows as a Rust file.

mod facts;
mod importer;
mod schema;

use super::Names;
use super::config::Config;
use super::keys::Keys;
use super::names::{literal, plain};
use super::recognise::Recognised;
use super::write::{Page, refuse, rust_type};
use crate::connector::Registration;
use facts::{Facts, Tied};
use std::collections::BTreeMap;

const EMBEDDING: &str = "embedding.word_embeddings.weight";
const OUTPUT: &str = "output_layer.weight";
const TIED: &str = "share_embeddings_and_output_weights";

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

impl Source<'_> {
    /// The file, and what is left to decide in it.
    pub fn write(&self, tensors: usize) -> (String, Vec<String>) {
        let mut facts = self.facts();
        let mut body = Page::default();
        self.struct_(&mut body, &facts);
        self.schema(&mut body, &mut facts);
        self.importer(&mut body, &mut facts);
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
        self.header(&mut page, &facts, tensors);
        (page.into_text() + &body.into_text(), facts.undecided)
    }

    fn header(&self, page: &mut Page, facts: &Facts, tensors: usize) {
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
        page.line("use connector_core::checkpoint::Checkpoint;");
        if self.config.rope {
            page.line("use connector_core::gpt;");
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

    /// The config's struct, and the numbers that follow from it.
    fn struct_(&self, page: &mut Page, facts: &Facts) {
        let Names { config, .. } = self.names;
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
}
