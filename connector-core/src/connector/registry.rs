use super::{Configuration, Job, ModelConnector, Record, State};
use crate::checkpoint::HfCheckpoint;
use crate::config::ConfigMap;
use crate::framework::Frameworks;
use crate::gpt::GptConfig;
use crate::mapping::{Direction, Mapping};
use crate::plan::{Finding, FindingKind};
use crate::schema::{Model, ModelConfig, Schema};
use crate::transform::Config;
use crate::{Error, Location, Result};
use serde_json::Value;
use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// A connector as the attribute registers it.
pub struct Registration {
    /// Which way it goes.
    pub direction: Direction,
    /// The model's type as written in the attribute, `LlamaModel`.
    pub model: &'static str,
    /// The name of the format, `hf`.
    pub format: &'static str,
    /// The names in `architectures` of a `config.json` that it is for.
    pub architectures: &'static [&'static str],
    /// Whether the mapping read backwards is an exporter too.
    pub exports: bool,
    /// Whether its rows are not proven.
    pub dynamic: bool,
    /// Whether it has a `convert_state` of its own, so that its rows do not say it all.
    pub own_state: bool,
    /// The fingerprint of its code.
    pub fingerprint: u64,
    /// The connector's type and module, `my_crate::HfLlama`.
    pub name: &'static str,
    /// Where it is written.
    pub at: Location,
    /// The connector itself.
    pub connector: &'static dyn Connect,
}

inventory::collect!(Registration);

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.at)
    }
}

/// A [`ModelConnector`] without its type.
pub trait Connect: Send + Sync {
    /// Its rows.
    fn mapping(&self) -> Mapping;
    /// The type of its model.
    fn model(&self) -> TypeId;
    /// Whether its model can be computed: whether it has a
    /// [`GptConfig`](crate::gpt::GptConfig).
    fn computes(&self) -> bool;
    /// How the format's config says the model's, if a map does.
    fn config_map(&self) -> Option<&'static ConfigMap>;
    /// What frameworks for training call it.
    fn frameworks(&self) -> Option<&'static Frameworks>;
    /// Which of the source's files are the tokenizer.
    fn tokenizer(&self, files: &[String]) -> Vec<String>;
    /// Runs a conversion.
    ///
    /// # Errors
    /// As [`ModelConnector::apply`].
    fn apply(&self, job: &Job<'_>) -> Result<Record>;
    /// Moves the state of a conversion.
    ///
    /// # Errors
    /// As [`ModelConnector::convert_state`].
    fn convert_state(&self, state: &mut State<'_>) -> Result<()>;
    /// The model's parameters, if they are declared.
    fn schema(&self) -> Option<&'static Schema>;
    /// Reads the format's config, and sets what the user wants otherwise in the model's.
    ///
    /// # Errors
    /// As [`ModelConnector::config`]; [`Error::ModelConfig`] if the model's config has no such
    /// field.
    fn configure(&self, source: &HfCheckpoint, wishes: &[Wish]) -> Result<Configuration>;
    /// Takes the model's config over from the fields of a `model.yaml`, or of whatever `file` said
    /// which model it is.
    ///
    /// # Errors
    /// [`Error::Refused`] if a field is missing, unknown or malformed; it and the file are named.
    fn restore(&self, fields: &Value, file: &str) -> Result<Configuration>;
    /// The format's config, from the model's.
    ///
    /// # Errors
    /// As [`ModelConnector::source_config`].
    fn source_config(&self, model: &Config, original: Option<&Value>) -> Result<Value>;
}

/// A field of the model's config that an option sets. All else that depends on it follows: shapes,
/// spellings of names, `model.yaml`.
pub struct Wish {
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: Value,
}

/// A [`ModelConnector`] behind [`Connect`].
pub struct Erased<C>(pub PhantomData<fn() -> C>);

impl<C: ModelConnector> Connect for Erased<C> {
    fn mapping(&self) -> Mapping {
        C::MAPPING
    }

    fn model(&self) -> TypeId {
        TypeId::of::<C::Model>()
    }

    fn computes(&self) -> bool {
        TypeId::of::<<C::Model as Model>::Config>() == TypeId::of::<GptConfig>()
    }

    fn config_map(&self) -> Option<&'static ConfigMap> {
        const { C::CONFIG.as_ref() }
    }

    fn frameworks(&self) -> Option<&'static Frameworks> {
        const { C::FRAMEWORKS.as_ref() }
    }

    fn tokenizer(&self, files: &[String]) -> Vec<String> {
        C::tokenizer(files)
    }

    fn apply(&self, job: &Job<'_>) -> Result<Record> {
        C::apply(job)
    }

    fn convert_state(&self, state: &mut State<'_>) -> Result<()> {
        C::convert_state(state)
    }

    fn schema(&self) -> Option<&'static Schema> {
        const { C::Model::SCHEMA.as_ref() }
    }

    fn configure(&self, source: &HfCheckpoint, wishes: &[Wish]) -> Result<Configuration> {
        let mut config = C::config(source)?;
        if !wishes.is_empty() {
            config = grant(&config, wishes)?;
        }
        configuration::<C>(&config)
    }

    fn restore(&self, fields: &Value, file: &str) -> Result<Configuration> {
        configuration::<C>(&parse(fields, file)?)
    }

    fn source_config(&self, model: &Config, original: Option<&Value>) -> Result<Value> {
        let wrong = || Error::ModelConfig { reason: "it is another model's".into() };
        C::source_config(model.downcast().ok_or_else(wrong)?, original)
    }
}

fn configuration<C: ModelConnector>(config: &<C::Model as Model>::Config) -> Result<Configuration> {
    let json = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
    let instance = C::init(config)?;
    let schema = instance.as_ref().map(|instance| instance.schema().at);
    if schema != C::Model::SCHEMA.map(|schema| schema.at) {
        let reason = format!("{} has another schema in `init`", type_name::<C>());
        return Err(Error::ModelConfig { reason });
    }
    Ok(Configuration { model: Config::from_model(config).map_err(json)?, instance })
}

/// A model's config from the fields that `file` has, which are all known and of the right type.
fn parse<C: ModelConfig>(fields: &Value, file: &str) -> Result<C> {
    let finding = |problem: String| Finding::new(FindingKind::Config, file, problem);
    let mut track = serde_path_to_error::Track::new();
    let fields = serde_path_to_error::Deserializer::new(fields, &mut track);
    let mut unknown = Vec::new();
    let parsed = serde_ignored::deserialize(fields, |path| unknown.push(path.to_string()));
    let mut findings: Vec<Finding> = unknown
        .into_iter()
        .map(|name| {
            finding(format!("config: \"{name}\" is no field of this model's config"))
                .note("it would be lost without a word; correct its name, or take it out")
        })
        .collect();
    match parsed {
        Ok(config) if findings.is_empty() => return Ok(config),
        Ok(_) => {}
        Err(error) => {
            let problem = match track.path().to_string().as_str() {
                "." => format!("config: {error}"),
                path => format!("config: \"{path}\": {error}"),
            };
            findings.push(finding(problem));
        }
    }
    Err(Error::refused(findings))
}

/// The config with the fields that are wished for.
fn grant<C: ModelConfig>(config: &C, wishes: &[Wish]) -> Result<C> {
    let error = |reason: String| Error::ModelConfig { reason };
    let mut fields = serde_json::to_value(config).map_err(|e| error(e.to_string()))?;
    for Wish { field, value } in wishes {
        match fields.get_mut(field) {
            Some(old) => *old = value.clone(),
            None => return Err(error(format!("\"{field}\" is not written"))),
        }
    }
    serde_json::from_value(fields).map_err(|e| error(e.to_string()))
}

/// All connectors that are linked into the program, sorted and checked.
///
/// The order in which they register differs from build to build, so that nothing may depend on
/// it: the snapshot is sorted by model, format and place.
pub struct Registry {
    connectors: Vec<&'static Registration>,
}

impl Registry {
    /// The snapshot.
    ///
    /// # Errors
    /// [`Error::Registry`] if two connectors are for the same model and format or the same
    /// architecture; both places are named.
    pub fn get() -> Result<&'static Registry> {
        static REGISTRY: LazyLock<Result<Registry, String>> =
            LazyLock::new(|| Registry::new(inventory::iter::<Registration>().collect()));
        REGISTRY.as_ref().map_err(|conflicts| Error::Registry { conflicts: conflicts.clone() })
    }

    fn new(mut connectors: Vec<&'static Registration>) -> Result<Registry, String> {
        connectors.sort_by_key(|c| (c.model, c.format, c.direction, c.at));
        let mut taken: BTreeMap<String, &Registration> = BTreeMap::new();
        let mut conflicts = Vec::new();
        for &connector in &connectors {
            let Registration { model, format, direction, .. } = connector;
            let mut slots = vec![match direction {
                Direction::Import => format!("import {model} from {format}"),
                Direction::Export => format!("export {model} to {format}"),
            }];
            if connector.direction == Direction::Import {
                let claims = connector.architectures.iter();
                slots.extend(claims.map(|name| format!("import {name} from {format}")));
            }
            if connector.exports {
                slots.push(format!("export {model} to {format}"));
            }
            for slot in slots {
                // A model may be called as its architecture is.
                if let Some(first) = taken.insert(slot.clone(), connector)
                    && !std::ptr::eq(first, connector)
                {
                    conflicts.push(format!(
                        "two connectors {slot}: {} ({}) and {} ({})",
                        first.name, first.at, connector.name, connector.at
                    ));
                }
            }
        }
        if conflicts.is_empty() { Ok(Registry { connectors }) } else { Err(conflicts.join("\n")) }
    }

    /// All connectors, sorted by model, format and place.
    pub fn connectors(&self) -> &[&'static Registration] {
        &self.connectors
    }

    /// The importer for a checkpoint: the one named `model`, or else the one for its
    /// architecture.
    ///
    /// # Errors
    /// [`Error::NoImporter`], which lists what is registered.
    pub fn importer(
        &self,
        format: &str,
        model: Option<&str>,
        architectures: &[&str],
    ) -> Result<&'static Registration> {
        let of_format = || {
            let all = self.connectors.iter().copied();
            all.filter(|c| c.direction == Direction::Import && c.format == format)
        };
        let found = match model {
            Some(model) => {
                of_format().find(|c| same_model(c.model, model) || c.architectures.contains(&model))
            }
            None => of_format().find(|c| architectures.iter().any(|a| c.architectures.contains(a))),
        };
        found.ok_or_else(|| {
            let wanted = match (model, architectures) {
                (Some(model), _) => format!("model {model}"),
                (None, []) => "a checkpoint whose config.json names no architecture".into(),
                (None, names) => names.join(", "),
            };
            let registered = self.connectors.iter().filter(|c| c.direction == Direction::Import);
            let registered = registered
                .map(|c| format!("{} from {} ({})", c.model, c.format, c.architectures.join(", ")));
            Error::NoImporter { wanted, format: format.into(), registered: registered.collect() }
        })
    }

    /// The exporter of a model to a format: the one that was written as such, or else the importer,
    /// whose mapping is then read backwards. Whether it can be, only the plan tells.
    ///
    /// # Errors
    /// [`Error::NoExporter`], which lists what is registered.
    pub fn exporter(&self, format: &str, model: &str) -> Result<&'static Registration> {
        let of = |direction| {
            let mut all = self.connectors.iter().copied();
            all.find(|c| {
                c.direction == direction && c.format == format && same_model(c.model, model)
            })
        };
        of(Direction::Export).or_else(|| of(Direction::Import)).ok_or_else(|| Error::NoExporter {
            model: model.into(),
            format: format.into(),
            registered: self
                .connectors
                .iter()
                .filter(|c| c.direction == Direction::Export || c.exports)
                .map(|c| format!("{} to {}", c.model, c.format))
                .collect(),
        })
    }

    /// The importer of the model `M` from a format.
    ///
    /// # Errors
    /// [`Error::NoImporter`], which lists what is registered.
    pub fn importer_for<M: Model>(&self, format: &str) -> Result<&'static Registration> {
        let mut all = self.connectors.iter().copied();
        let found = all.find(|c| {
            c.direction == Direction::Import
                && c.format == format
                && c.connector.model() == TypeId::of::<M>()
        });
        let name = type_name::<M>();
        // For the error, which lists what there is: no model is called so with its path.
        found.map_or_else(|| self.importer(format, Some(name), &[]), Ok)
    }

    /// The importer of a model from a format, if there is one.
    pub(super) fn importer_of(&self, model: &str, format: &str) -> Option<&'static Registration> {
        let mut all = self.connectors.iter().copied();
        all.find(|c| (c.direction, c.model, c.format) == (Direction::Import, model, format))
    }
}

/// `LlamaModel` may be asked for as `llama`.
fn same_model(registered: &str, asked: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().trim_end_matches("model").to_string();
    plain(registered) == plain(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct None_;

    impl Connect for None_ {
        fn mapping(&self) -> Mapping {
            Mapping { rows: &[] }
        }
        fn model(&self) -> TypeId {
            TypeId::of::<None_>()
        }
        fn tokenizer(&self, _: &[String]) -> Vec<String> {
            Vec::new()
        }
        fn apply(&self, _: &Job<'_>) -> Result<Record> {
            Err(Error::Cancelled)
        }
        fn convert_state(&self, _: &mut State<'_>) -> Result<()> {
            Err(Error::Cancelled)
        }
        fn schema(&self) -> Option<&'static Schema> {
            None
        }
        fn computes(&self) -> bool {
            false
        }
        fn config_map(&self) -> Option<&'static ConfigMap> {
            None
        }
        fn frameworks(&self) -> Option<&'static Frameworks> {
            None
        }
        fn configure(&self, _: &HfCheckpoint, _: &[Wish]) -> Result<Configuration> {
            Err(Error::Cancelled)
        }
        fn restore(&self, _: &Value, _: &str) -> Result<Configuration> {
            Err(Error::Cancelled)
        }
        fn source_config(&self, _: &Config, _: Option<&Value>) -> Result<Value> {
            Err(Error::Cancelled)
        }
    }

    const fn registration(
        model: &'static str,
        architecture: &'static [&'static str],
        line: u32,
    ) -> Registration {
        Registration {
            direction: Direction::Import,
            model,
            format: "hf",
            architectures: architecture,
            exports: false,
            dynamic: false,
            own_state: false,
            fingerprint: 0,
            name: "Hf",
            at: Location { file: "src/a.rs", line, column: 1 },
            connector: &None_,
        }
    }

    static A: Registration = registration("AModel", &["AForCausalLM"], 1);
    static A2: Registration = registration("AModel", &["Other"], 2);
    static B: Registration = registration("BModel", &["AForCausalLM"], 3);

    #[test]
    fn conflicts_name_both_places() {
        let Err(text) = Registry::new(vec![&A2, &A]) else { panic!("a conflict") };
        assert_eq!(
            text,
            "two connectors import AModel from hf: Hf (src/a.rs:1) and Hf (src/a.rs:2)"
        );
        let Err(text) = Registry::new(vec![&B, &A]) else { panic!("a conflict") };
        assert!(
            text.contains("AForCausalLM") && text.contains(":1") && text.contains(":3"),
            "{text}"
        );
    }

    #[test]
    fn importers_are_found_by_architecture_or_by_name() {
        let registry = Registry::new(vec![&A]).unwrap();
        assert_eq!(registry.importer("hf", None, &["X", "AForCausalLM"]).unwrap().model, "AModel");
        assert_eq!(registry.importer("hf", Some("a"), &[]).unwrap().model, "AModel");
        let Err(error) = registry.importer("hf", None, &["X"]) else { panic!("there is none") };
        let text = error.to_string();
        assert!(
            text.contains("AModel from hf (AForCausalLM)") && text.contains("use my_crate as _;"),
            "{text}"
        );
    }

    static E: Registration =
        Registration { direction: Direction::Export, ..registration("AModel", &[], 4) };

    #[test]
    fn a_written_exporter_goes_before_an_importer_read_backwards() {
        let line = |all, model| {
            let registry = Registry::new(all).unwrap();
            registry.exporter("hf", model).map(|exporter| exporter.at.line)
        };
        assert_eq!(line(vec![&A], "AModel").ok(), Some(1));
        assert_eq!(line(vec![&A, &E], "AModel").ok(), Some(4));
        let error = line(vec![&A, &E], "BModel").unwrap_err().to_string();
        assert!(error.contains("no exporter of BModel to hf") && error.contains("AModel to hf"));
    }

    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Sizes {
        layers: usize,
        scale: Option<f64>,
    }

    #[test]
    fn fields_of_a_model_config_are_all_known() {
        use serde_json::json;
        let parsed = parse::<Sizes>(&json!({"layers": 2}), "common.pt");
        assert_eq!(parsed.unwrap(), Sizes { layers: 2, scale: None });
        for (fields, want) in [
            (json!({}), "missing field `layers`"),
            (json!({"layers": "two"}), "\"layers\": invalid type: string \"two\""),
            (json!({"layers": -1}), "\"layers\": invalid value"),
            (json!({"layers": 2, "lyaers": 3}), "\"lyaers\" is no field"),
            (json!({"layers": null, "x": 3}), "\"layers\": invalid type: null"),
            (json!([]), "config"),
            (json!(null), "config"),
        ] {
            let error = parse::<Sizes>(&fields, "common.pt").unwrap_err().to_string();
            assert!(
                error.contains(want) && error.contains("common.pt: config"),
                "{fields}: {error}"
            );
        }
    }
}
