use serde_json::{Value, json};

/// A value of a config, usable in constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(u64),
    /// A number.
    Float(f64),
    /// A text.
    Text(&'static str),
    /// An empty list.
    List,
    /// An empty object.
    Object,
}

impl Scalar {
    /// As JSON.
    pub fn value(self) -> Value {
        match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(on) => on.into(),
            Scalar::Int(number) => number.into(),
            Scalar::Float(number) => number.into(),
            Scalar::Text(text) => text.into(),
            Scalar::List => json!([]),
            Scalar::Object => json!({}),
        }
    }

    /// Whether `value` is the same; a number is so with and without a fraction of 0.
    pub fn is(self, value: &Value) -> bool {
        same(&self.value(), value)
    }
}

/// Whether two values are the same; a number is so with and without a fraction of 0.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}
