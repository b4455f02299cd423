use super::{Configuration, ModelConnector};
use crate::checkpoint::Checkpoint;
use crate::mapping::{Direction, Mapping};
use crate::schema::Model;
use crate::transform::Config;
use crate::{Error, Location, Result};
use serde_json::Value;
use std::collections::BTreeMap;
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
    /// Whether it converts in its own way, which no compiler has proven.
    pub dynamic: bool,
    /// The connector's type and module, `my_crate::HfLlama`.
    pub name: &'static str,
    /// Where it is written.
    pub at: Location,
    /// The connector itself.
    pub connector: &'static dyn Connect,
}

inventory::collect!(Registration);

/// A [`ModelConnector`] without its type.
pub trait Connect: Send + Sync {
    /// Its rows.
    fn mapping(&self) -> Mapping;
    /// Whether the model's parameters are declared.
    fn has_schema(&self) -> bool;
    /// Reads the format's config, and sets what the user wants otherwise in the model's.
    ///
    /// # Errors
    /// As [`ModelConnector::config`]; [`Error::ModelConfig`] if the model's config has no such
    /// field.
    fn configure(&self, source: &Checkpoint, wishes: &[Wish]) -> Result<Configuration>;
}

/// A field of the model's config that an option sets. All else that depends on it follows: shapes,
/// spellings of names, `model.yaml`.
pub struct Wish {
    /// The field, as Megatron-core calls it.
    pub field: &'static str,
    /// Its value.
    pub value: Value,
    /// What cannot be done for a model without the field, for a message.
    pub what: &'static str,
}

/// A [`ModelConnector`] behind [`Connect`].
pub struct Erased<C>(pub PhantomData<fn() -> C>);

impl<C: ModelConnector> Connect for Erased<C> {
    fn mapping(&self) -> Mapping {
        C::MAPPING
    }

    fn has_schema(&self) -> bool {
        C::Model::SCHEMA.is_some()
    }

    fn configure(&self, source: &Checkpoint, wishes: &[Wish]) -> Result<Configuration> {
        let mut config = C::config(source)?;
        if !wishes.is_empty() {
            config = grant(&config, wishes)?;
        }
        let json = |error: serde_json::Error| Error::ModelConfig { reason: error.to_string() };
        Ok(Configuration {
            model: Config::from_model(&config).map_err(json)?,
            instance: C::Model::instance(&config),
        })
    }
}

/// The config with the fields that are wished for.
fn grant<C: crate::schema::ModelConfig>(config: &C, wishes: &[Wish]) -> Result<C> {
    let error = |reason: String| Error::ModelConfig { reason };
    let mut fields = serde_json::to_value(config).map_err(|e| error(e.to_string()))?;
    for Wish { field, value, what } in wishes {
        match fields.get_mut(field) {
            Some(old) => *old = value.clone(),
            None => return Err(error(format!("it has no {field}, so {what}"))),
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
        fn has_schema(&self) -> bool {
            false
        }
        fn configure(&self, _: &Checkpoint, _: &[Wish]) -> Result<Configuration> {
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
}
