//! A draft of an importer, made from the keys and shapes of a checkpoint.
//!
//! [`draft`] groups the keys, recognises what the field calls alike everywhere, and expresses the
//! shapes in the numbers of `config.json`. What it recognises it writes; what it does not, it
//! leaves to decide, so that the compiler refuses the draft and says what to do: nothing is
//! guessed in silence. `connector scaffold` prints it, and `docs/tutorial.md` walks the way from
//! there to an importer.
//!
//! | file | one idea |
//! |---|---|
//! | `keys` | groups of keys, and what their indices run over |
//! | `config` | the fields of `config.json`, and the numbers among them |
//! | `shapes` | a dimension as a formula over those numbers |
//! | `idioms` | the table of what is known |
//! | `recognise` | groups and idioms to parameters and rows |
//! | `like` | another importer's rules as idioms |
//! | `source` | parameters, rows and the map of the config to Rust |
//! | `write`, `names` | how Rust is spelt |

mod config;
mod idioms;
mod keys;
mod like;
mod names;
mod recognise;
mod shapes;
mod source;
mod write;

use crate::base::panics::catch;
use crate::checkpoint::HfCheckpoint;
use crate::connector::{Direction, Registration, Registry, read_config};
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};
use config::Config;
use keys::Keys;
use like::Like;
use recognise::{Entry, Known, Place, Recognised, Rule};
use serde::Serialize;
use serde_json::Value;
use shapes::Dimension;
use source::{Form, Source};
use std::collections::BTreeSet;

/// A draft of an importer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Draft {
    /// The Rust file.
    pub text: String,
    /// What it calls the model, `MixtralModel`.
    pub model: String,
    /// How many tensors the checkpoint has.
    pub tensors: usize,
    /// How many of them it knows what to make of.
    pub understood: usize,
    /// What is left to decide, each in a sentence. The compiler refuses the draft until it is
    /// done.
    pub undecided: Vec<String>,
    /// What a reader should know beside that.
    pub notes: Vec<String>,
    /// The name that chooses it, where an architecture does not.
    pub by_name: Option<String>,
}

/// Drafts a schema and an importer for `checkpoint`, whose headers and `config.json` it looks at.
/// With `like`, an importer that is linked in, its rules come first, and what its model has and
/// this checkpoint does not is left to decide.
///
/// ```
/// use connector_core::checkpoint::HfCheckpoint;
/// use connector_core::scaffold::draft;
/// # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
///
/// let draft = draft(&HfCheckpoint::open(fixture)?, None)?;
/// assert_eq!((draft.tensors, draft.understood), (21, 21));
/// assert!(draft.text.contains("param_schema! {"));
/// # Ok::<(), connector_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Refused`] if the files are not whole, if there is no `config.json` or no tensor: a
/// draft from a part would miss the rest.
pub fn draft(checkpoint: &HfCheckpoint, like: Option<&Registration>) -> Result<Draft> {
    let findings = checkpoint.findings();
    let json = match checkpoint.config() {
        Some(json) if findings.is_empty() => json,
        _ => return Err(Error::refused(findings)),
    };
    let tensors = checkpoint.source().tensors();
    if tensors.is_empty() {
        let finding = Finding::new(FindingKind::Files, "weights", "there is not one tensor");
        return Err(Error::refused(vec![finding]));
    }
    let config = Config::new(json);
    let keys = Keys::new(tensors, &config);
    let mut notes = Vec::new();
    let taken_over = like.map(Like::new).unwrap_or_default();
    let mut rules = taken_over.rules;
    rules.extend(recognise::idioms(rules.len()));
    let mut recognised = recognise::recognise(&keys, tensors, &config, &rules, &taken_over.ignored);
    if let Some(like) = like {
        let configured = catch(|| like.connector.configure(checkpoint, &[]));
        match configured.map_err(|panic| Error::ModelConfig { reason: panic }).flatten() {
            Ok(configuration) => {
                let wanted = configuration.instance.as_deref().map(like::wanted);
                let wanted = wanted.unwrap_or_default();
                complete(&mut recognised, &keys, &config, &rules, wanted);
            }
            Err(error) => notes.push(format!(
                "{} cannot read this config.json, so that what its model has more is not here: \
                 {error}",
                like.name
            )),
        }
    }
    let names = Names::new(checkpoint, Registry::get()?.connectors());
    notes.extend(names.notes.iter().cloned());
    let stack = taken_over.stack.unwrap_or_else(|| idioms::STACK.into());
    let like = like.map(|like| (like, &taken_over.functions));
    let mut source = Source {
        config: &config,
        keys: &keys,
        recognised,
        names: &names,
        stack,
        like,
        form: Form::Own,
    };
    source.form = form(&source, json);
    if source.form.is_gpt() {
        in_gpt(&mut source.recognised);
    }
    let (text, undecided) = source.write(tensors.len());
    let known = source.recognised.entries.iter().filter(|entry| entry.known == Known::Yes);
    let understood =
        known.map(|entry| entry.tensors).sum::<usize>() + source.recognised.ignored_tensors;
    let by_name = (!names.notes.is_empty()).then_some(names.plain);
    let (model, tensors) = (names.model, tensors.len());
    Ok(Draft { text, model, tensors, understood, undecided, notes, by_name })
}

/// What the config of the draft's model is.
fn form(source: &Source<'_>, json: &Value) -> Form {
    let Ok(registry) = Registry::get() else { return Form::Own };
    let importers = registry.connectors().iter().copied().filter(|importer| {
        importer.direction == Direction::Import
            && importer.format == "hf"
            && importer.connector.computes()
    });
    // Whether every parameter of the draft is one of these models.
    let fits = |importers: &[&'static Registration]| {
        let rules: Vec<Rule> = importers.iter().flat_map(|it| Like::new(it).rules).collect();
        source.recognised.entries.iter().all(|entry| {
            let same = |rule: &Rule| rule.place == entry.place && rule.target == entry.target;
            let folded = entry.target.replace("{e}", "{expert}");
            entry.known == Known::Yes
                && rules.iter().any(|r| same(r) || r.place == entry.place && r.target == folded)
        })
    };
    let model_type = |importer: &&'static Registration| {
        let map = importer.connector.config_map();
        map.and_then(|map| map.constant("model_type")) == json.get("model_type").cloned()
    };
    let known = importers.clone().filter(|it| json.get("model_type").is_some() && model_type(it));
    for importer in known {
        let checkpoint = HfCheckpoint::of_config(json.clone());
        let reads = catch(|| read_config(importer.connector, &checkpoint));
        if reads.is_ok_and(|read| read.is_ok()) && fits(&[importer]) && source.is_gpt(true) {
            return Form::Known(importer);
        }
    }
    match fits(&importers.collect::<Vec<_>>()) && source.is_gpt(false) {
        true => Form::Gpt,
        false => Form::Own,
    }
}

/// Writes what was recognised for a [`GptConfig`](crate::gpt::GptConfig): its vocabulary is padded.
fn in_gpt(recognised: &mut Recognised) {
    for entry in &mut recognised.entries {
        let of_experts = entry.target.contains(".experts.");
        for dimension in &mut entry.shape {
            if let Dimension::Formula { text, .. } = dimension {
                if of_experts {
                    *text = text.replace("c.ffn_hidden_size", "c.expert_width()");
                }
                *text = source::in_gpt(text);
            }
        }
        if entry.via.is_empty()
            && [source::EMBEDDING, source::OUTPUT].contains(&entry.target.as_str())
        {
            entry.via = "ops::pad_vocab".into();
        }
    }
}

/// Adds what the other model has and no rule makes, and the shapes that no rule tells.
fn complete(
    recognised: &mut Recognised,
    keys: &Keys,
    config: &Config<'_>,
    rules: &[Rule],
    wanted: Vec<like::Wanted>,
) {
    for like::Wanted { place, target, layers, shape } in wanted {
        let shape = shapes::shape(config, idioms::meaning(&target), &shape);
        let all = recognised.entries.iter_mut();
        let made = all.filter(|entry| entry.place == place && entry.target == target);
        let len = recognised.stack.as_ref().map_or(1, |stack| keys.axes[stack.axis].len);
        let mut missing = layers;
        for entry in made {
            // What a function makes, the model's own schema tells.
            if entry.shape.iter().any(|dimension| dimension.text().is_none()) {
                entry.shape.clone_from(&shape);
            }
            match &entry.layers {
                Some(made) => missing.retain(|layer| !made.contains(layer)),
                None => missing.clear(),
            }
        }
        // Without layers in this checkpoint there is no axis to write them with.
        if missing.is_empty() || place == Place::Layer && recognised.stack.is_none() {
            continue;
        }
        let usual = rules.iter().find(|rule| rule.place == place && rule.target == target);
        let all = place == Place::Top || missing.len() as u64 == len;
        recognised.entries.push(Entry {
            place,
            sources: usual.map_or(Vec::new(), |rule| rule.sources.clone()),
            shape,
            target,
            via: String::new(),
            fold: String::new(),
            layers: (!all).then_some(missing),
            known: Known::Unproduced,
            rule: None,
            tensors: 0,
        });
    }
}

/// What the draft calls things.
struct Names {
    /// `MixtralModel`
    model: String,
    /// `MixtralConfig`
    config: String,
    /// `HfMixtral`
    importer: String,
    /// `Mixtral`
    plain: String,
    /// The architectures that the importer is for.
    architectures: Vec<String>,
    /// Why it is not for those of the checkpoint.
    notes: Vec<String>,
}

impl Names {
    /// Names that no linked importer has: two for one model or one architecture cannot be linked.
    fn new(checkpoint: &HfCheckpoint, linked: &[&Registration]) -> Self {
        let architectures = checkpoint.architectures();
        let importers =
            || linked.iter().filter(|c| c.direction == Direction::Import && c.format == "hf");
        let mut plain = names::model(architectures.first().copied());
        let models: BTreeSet<String> =
            importers().map(|importer| importer.model.to_ascii_lowercase()).collect();
        let is_taken = |name: &str| models.contains(&format!("{name}Model").to_ascii_lowercase());
        if is_taken(&plain) {
            plain = names::unique(format!("My{plain}"), is_taken);
        }
        let (mut free, mut notes) = (Vec::new(), Vec::new());
        for architecture in &architectures {
            match importers().find(|importer| importer.architectures.contains(architecture)) {
                Some(importer) => notes.push(format!(
                    "{} imports {} already: name the model, {plain}, to choose this draft",
                    importer.name,
                    names::plain(architecture)
                )),
                None => free.push(architecture.to_string()),
            }
        }
        if architectures.is_empty() {
            notes.push(format!(
                "config.json names no architecture: name the model, {plain}, to choose this draft"
            ));
        }
        Names {
            model: format!("{plain}Model"),
            config: format!("{plain}Config"),
            importer: format!("Hf{plain}"),
            plain,
            architectures: free,
            notes,
        }
    }
}
