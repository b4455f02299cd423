use super::{Absent, ConfigMap, FieldRow, Row, Scalar};
use serde_json::{Map, Value, json};

/// A config that is being written.
pub struct Writing<'a> {
    /// The model's fields.
    pub model: &'a Map<String, Value>,
    /// How the original spells what can be spelt in two ways.
    pub spelling: Spelling<'a>,
    /// What was written so far: the format's fields.
    pub fields: Map<String, Value>,
}

/// How an original spells what transformers 4 and 5 spell differently. Without one it is as
/// transformers 4 does, which all versions read.
#[derive(Clone, Copy, Debug)]
pub struct Spelling<'a> {
    original: Option<&'a Value>,
}

impl<'a> Spelling<'a> {
    /// Whether the original has the field, and not as null.
    pub fn has(self, name: &str) -> bool {
        self.original.is_some_and(|original| original.get(name).is_some_and(|v| !v.is_null()))
    }

    fn of(self, names: &'static [&'static str]) -> &'static str {
        names.iter().find(|name| self.has(name)).unwrap_or(&names[0])
    }
}

impl ConfigMap {
    /// `config.json`, from the fields of the model's config: every field that a row knows, in the
    /// spelling of `original`.
    pub fn write(
        &self,
        model: &Map<String, Value>,
        architecture: Option<&str>,
        original: Option<&Value>,
    ) -> Map<String, Value> {
        let spelling = Spelling { original };
        let mut writing = Writing { model, spelling, fields: Map::new() };
        if let Some(architecture) = architecture {
            writing.put("architectures", json!([architecture]));
        }
        let rows = self.flat();
        for row in &rows {
            match row {
                Row::Field(row) => {
                    let is_its = |other: &&Row| matches!(other, Row::Absent { name, .. } if *name == row.names[0]);
                    writing.field(row, rows.iter().any(is_its));
                }
                Row::Constant { name, value } => writing.put(name, value.value()),
                Row::Part(part) => (part.write)(&mut writing),
                _ => {}
            }
        }
        writing.fields
    }
}

impl<'a> Writing<'a> {
    /// A field of the model; null if it is not there.
    pub fn get(&self, model: &str) -> &'a Value {
        self.model.get(model).unwrap_or(&Value::Null)
    }

    /// Sets a field of the format; dots lead into objects.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        let mut fields = &mut self.fields;
        let mut name = name;
        while let Some((outer, inner)) = name.split_once('.') {
            let object = fields.entry(outer).or_insert_with(|| json!({}));
            let Some(object) = object.as_object_mut() else { return };
            (fields, name) = (object, inner);
        }
        fields.insert(name.into(), value.into());
    }

    /// `means_other` says that its absence is not what its row says.
    fn field(&mut self, row: &FieldRow, means_other: bool) {
        let value = match (self.get(row.model), row.absent) {
            // Absent stands for it, and nothing else does.
            (Value::Null, Absent::Is(Scalar::Null)) if !means_other => return,
            (Value::Null, Absent::Is(Scalar::Null)) => Value::Null,
            // What is off is not in the model's config.
            (Value::Null, Absent::Is(Scalar::Bool(_))) => Value::Bool(false),
            (value, _) => value.clone(),
        };
        let value = row.via.map_or_else(|| value.clone(), |codec| (codec.write)(&value));
        let name = self.spelling.of(row.names);
        self.put(name, value);
    }
}
