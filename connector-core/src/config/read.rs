use super::scalar::same;
use super::{Absent, ConfigMap, Field, FieldRow, Part, Row, Scalar};
use crate::checkpoint::Result;
use crate::checkpoint::{Fields, HfCheckpoint, shown};
use serde_json::{Map, Value};

/// A config that is being read.
pub struct Reading<'a> {
    /// The format's fields. Each that is looked at is settled here.
    pub fields: Fields<'a>,
    /// What was read so far: the model's fields.
    pub model: Map<String, Value>,
    map: &'a ConfigMap,
    rows: Vec<&'static Row>,
}

impl ConfigMap {
    /// The fields of the model's config, from `config.json`.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) if a field without which there is no config is
    /// missing or malformed. Fields that change what the model computes, and that are not
    /// understood, are recorded in `source` and refused by the plan.
    pub fn read(&self, source: &HfCheckpoint) -> Result<Map<String, Value>> {
        let mut reading =
            Reading { fields: source.fields(), model: Map::new(), map: self, rows: self.flat() };
        for row in reading.rows.clone() {
            reading.row(row);
        }
        reading.settle();
        reading.check();
        reading.fields.finish()?;
        Ok(reading.model)
    }
}

impl Reading<'_> {
    /// What a file means that does not have the field `name`, if the map says so in a row of its
    /// own.
    pub fn absent(&self, name: &str) -> Option<Scalar> {
        self.rows.iter().rev().find_map(|row| match row {
            Row::Absent { name: field, value, .. } if *field == name => Some(*value),
            _ => None,
        })
    }

    /// A whole number of the model that was read before; 0 if it was not.
    pub fn size(&self, model: &str) -> usize {
        let size = self.model.get(model).and_then(Value::as_u64);
        size.and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
    }

    /// Sets a field of the model.
    pub fn put(&mut self, model: &str, value: impl Into<Value>) {
        self.model.insert(model.into(), value.into());
    }

    fn row(&mut self, row: &Row) {
        match row {
            Row::Field(row) => self.field(row),
            Row::Only { model, value, .. } => {
                let value = self.stand_in(*value);
                self.put(model, value);
            }
            Row::Constant { name, value } => self.fields.neutral(name, &[value.value()]),
            Row::Part(Part { read, .. }) => read(self),
            Row::Include(_) | Row::Absent { .. } | Row::Carry(_) | Row::Neutral { .. } => {}
        }
    }

    fn field(&mut self, row: &FieldRow) {
        let FieldRow { names, model, via, .. } = *row;
        let Some((name, raw)) = self.first(names) else { return self.absent_field(row) };
        let read = via.map_or_else(|| Ok(raw.clone()), |codec| (codec.read)(&raw));
        let Some(kind) = self.declared(model).map(|field| field.kind) else { return };
        match read {
            Ok(value) if value.is_null() || kind.takes(&value) => self.put(model, value),
            // Another value of the field: what else is wrong is found with it.
            Err(problem) if kind.takes(&raw) => {
                self.fields.refuse(name, problem);
                self.put(model, raw);
            }
            Ok(_) | Err(_) => {
                let problem = format!("is {}; it should be {}", shown(&raw), kind.name());
                self.fields.malformed(name, problem);
            }
        }
    }

    /// The first spelling that is there, and its value. All that are there say the same.
    fn first(&self, names: &'static [&'static str]) -> Option<(&'static str, Value)> {
        let there = |name: &&'static str| {
            let value = self.fields.optional::<Value>(name)?;
            Some((*name, value))
        };
        let mut there = names.iter().filter_map(there);
        let (first, value) = there.next()?;
        for (name, other) in there.filter(|(_, other)| !same(other, &value)) {
            let problem = format!("is {}, but \"{first}\" is {}", shown(&other), shown(&value));
            self.fields.refuse(name, problem);
        }
        Some((first, value))
    }

    fn absent_field(&mut self, row: &FieldRow) {
        let name = row.names[0];
        let is_null = row.names.iter().any(|name| self.fields.raw(name).is_some());
        let own = self.absent(name).filter(|_| !is_null).map(Absent::Is);
        let absent = own.unwrap_or(row.absent);
        if matches!(absent, Absent::Required) {
            // Says that it is missing.
            self.fields.required::<Value>(name);
            return;
        }
        let value = self.stand_in(absent);
        self.fields.defaulted(name, &value);
        let value = match (row.via, absent) {
            (Some(codec), Absent::Is(_)) if !value.is_null() => {
                (codec.read)(&value).unwrap_or(Value::Null)
            }
            _ => value,
        };
        self.put(row.model, value);
    }

    fn stand_in(&self, absent: Absent) -> Value {
        match absent {
            Absent::Required => Value::Null,
            Absent::Is(value) => value.value(),
            Absent::Like(other) => self.model.get(other).cloned().unwrap_or_default(),
            Absent::By(function) => function(&self.model),
        }
    }

    fn declared(&self, model: &str) -> Option<&'static Field> {
        self.map.fields.iter().find(|field| field.name == model)
    }

    /// Settles what no row has read: every field is known, or refused.
    fn settle(&self) {
        for row in &self.rows {
            match row {
                // A family's own row has said what it means there.
                Row::Neutral { name, .. } if self.fields.is_settled(name) => {}
                Row::Neutral { name, values } => {
                    let values: Vec<Value> = values.iter().map(|value| value.value()).collect();
                    self.fields.neutral(name, &values);
                }
                Row::Carry(names) => names.iter().for_each(|name| self.fields.carry(name)),
                _ => {}
            }
        }
        self.fields.refuse_rest();
    }

    /// Records what makes no model, by the format's names. Of a field that is absent and follows from
    /// others, only if they are not the news.
    fn check(&self) {
        let misfits = (self.map.misfits)(&Value::Object(self.model.clone()));
        let (following, own): (Vec<_>, Vec<_>) =
            misfits.into_iter().partition(|misfit| self.follows(misfit.field));
        for misfit in if own.is_empty() { following } else { own } {
            let name = self.map.format_name(misfit.field).unwrap_or(misfit.field);
            self.fields.malformed(name, misfit.problem);
        }
    }

    /// Whether a field of the model was made from others.
    fn follows(&self, model: &str) -> bool {
        self.rows.iter().any(|row| match row {
            Row::Field(FieldRow {
                names,
                model: field,
                absent: Absent::Like(_) | Absent::By(_),
                ..
            }) => *field == model && names.iter().all(|name| self.fields.raw(name).is_none()),
            Row::Only { model: field, value: Absent::Like(_) | Absent::By(_), .. } => {
                *field == model
            }
            _ => false,
        })
    }
}
