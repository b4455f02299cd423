use serde_json::Value;

/// How the values of a field are translated.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// From the format's to the model's; `Err` says what is wrong with the value, "is …".
    pub read: fn(&Value) -> Result<Value, String>,
    /// From the model's to the format's.
    pub write: fn(&Value) -> Value,
}

/// A switch that is on in the format where it is off in the model.
pub const NOT: Codec = Codec {
    read: |value| not(value).ok_or_else(|| wanted(value)),
    write: |value| not(value).unwrap_or(Value::Null),
};

fn not(value: &Value) -> Option<Value> {
    value.as_bool().map(|on| Value::Bool(!on))
}

fn wanted(value: &Value) -> String {
    format!("is {value}; it should be true or false")
}
