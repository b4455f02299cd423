//! Values of Python, for the files in which frameworks keep their configs.

use crate::checkpoint::torch::pickle::Writer;
use serde_json::{Value, json};

/// A value as a config holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Python {
    None,
    Bool(bool),
    Int(u64),
    Float(f64),
    Text(String),
    List(Vec<Python>),
    Tuple(Vec<Python>),
    Dict(Vec<(String, Python)>),
    /// A class, function or type: `torch.nn.functional` and `silu`.
    Name(String, String),
}

impl Python {
    /// The object at a path, `torch.nn.functional.silu`.
    pub fn name(path: &str) -> Self {
        let (module, name) = path.rsplit_once('.').unwrap_or(("builtins", path));
        Python::Name(module.into(), name.into())
    }

    pub fn text(text: &str) -> Self {
        Python::Text(text.into())
    }

    /// The value in a pickle.
    pub fn pickle(&self, writer: &mut Writer) {
        let all = |values: &[Python], w: &mut Writer| values.iter().for_each(|v| v.pickle(w));
        match self {
            Python::None => writer.none(),
            Python::Bool(value) => writer.bool(*value),
            Python::Int(value) => writer.int(*value),
            Python::Float(value) => writer.float(*value),
            Python::Text(text) => writer.text(text),
            Python::List(values) => writer.list(|w| all(values, w)),
            Python::Tuple(values) => writer.tuple(|w| all(values, w)),
            Python::Dict(items) => writer.dict(|w| {
                for (key, value) in items {
                    value.pickle(w.text(key));
                }
            }),
            Python::Name(module, name) => writer.global(module, name),
        };
    }

    /// The value in a YAML file, where an object of Python is `_target_`, and `_call_` says whether
    /// it is to be called: NeMo's and Megatron-Bridge's way.
    pub fn yaml(&self) -> Value {
        match self {
            Python::None => Value::Null,
            Python::Bool(value) => json!(value),
            Python::Int(value) => json!(value),
            Python::Float(value) => json!(value),
            Python::Text(text) => json!(text),
            Python::List(values) | Python::Tuple(values) => {
                values.iter().map(Python::yaml).collect()
            }
            Python::Dict(items) => {
                items.iter().map(|(key, value)| (key.clone(), value.yaml())).collect()
            }
            Python::Name(module, name) => {
                json!({"_target_": format!("{module}.{name}"), "_call_": false})
            }
        }
    }
}

impl From<&Value> for Python {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Python::None,
            Value::Bool(value) => Python::Bool(*value),
            Value::Number(number) => match number.as_u64() {
                Some(number) => Python::Int(number),
                None => Python::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Python::text(text),
            Value::Array(values) => Python::List(values.iter().map(Python::from).collect()),
            Value::Object(items) => {
                let items = items.iter().map(|(key, value)| (key.clone(), Python::from(value)));
                Python::Dict(items.collect())
            }
        }
    }
}
