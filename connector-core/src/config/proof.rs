//! What the compiler checks of a map. Everything here is a `const fn`, so loops are written out.

use super::{Absent, ConfigMap, Field, FieldRow, Kind, Part, Row, Scalar};
use crate::key::{distance, same, similar};
use crate::proof::{LINE, Message, same_place};

/// Refuses a row whose field the model does not have, or whose value is none of the field's.
///
/// # Panics
/// With a message for whoever wrote the row.
#[track_caller]
pub const fn check_field(fields: &[Field], row: &FieldRow) {
    let Some(field) = find(fields, row.model) else {
        unknown(fields, row.model);
        return;
    };
    if let (Absent::Is(value), None) = (row.absent, row.via)
        && !takes(field.kind, value)
    {
        wrong_value(field);
    }
    if let Absent::Like(other) = row.absent
        && find(fields, other).is_none()
    {
        unknown(fields, other);
    }
}

/// Refuses a row that sets a field which the model does not have, or to a value that is none of
/// the field's.
///
/// # Panics
/// With a message for whoever wrote the row.
#[track_caller]
pub const fn check_only(fields: &[Field], model: &str, value: Absent) {
    let Some(field) = find(fields, model) else {
        unknown(fields, model);
        return;
    };
    match value {
        Absent::Is(value) if !takes(field.kind, value) => wrong_value(field),
        Absent::Like(other) if find(fields, other).is_none() => unknown(fields, other),
        _ => {}
    }
}

/// Refuses a name that stands twice in a list of fields without effect.
///
/// # Panics
/// With a message for whoever wrote the row.
#[track_caller]
pub const fn check_carried(names: &[&str]) {
    let mut i = 0;
    while i < names.len() {
        let mut earlier = 0;
        while earlier < i {
            if same(names[earlier], names[i]) {
                let message = Message::EMPTY.text("\"").text(names[i]).text("\" is listed twice");
                panic!("{}", message.as_str());
            }
            earlier += 1;
        }
        i += 1;
    }
}

/// Refuses a map that makes a field of the model twice or not at all, or that reads a field of the
/// format twice.
///
/// # Panics
/// With everything that is wrong, for whoever wrote the map.
#[track_caller]
pub const fn check_config(connector: &str, map: &ConfigMap) {
    let mut message = Message::EMPTY;
    let mut i = 0;
    while i < map.fields.len() {
        let Field { name, core, .. } = map.fields[i];
        let made = makers(map.rows, name);
        if made > 1 {
            message = message
                .paragraph()
                .text("the config of `")
                .text(connector)
                .text("` makes `")
                .text(name)
                .text("` twice: keep one row");
        } else if made == 0 && core.is_none() {
            message = message
                .paragraph()
                .text("the config of `")
                .text(connector)
                .text("` does not make `")
                .text(name)
                .text("`")
                .text(LINE)
                .text("add `\"its_name\" <=> ")
                .text(name)
                .text("`, or `only ")
                .text(name)
                .text(" = …` if every such model has the same");
        }
        i += 1;
    }
    message = twice(map.rows, map.rows, message);
    message.raise();
}

/// Adds the format's fields that are read twice, and the rows about absent fields that no row reads.
const fn twice(rows: &[Row], all: &[Row], mut message: Message) -> Message {
    let mut i = 0;
    while i < rows.len() {
        match &rows[i] {
            Row::Include(rows) => message = twice(rows, all, message),
            Row::Field(FieldRow { names, .. }) | Row::Part(Part { names, .. }) => {
                let mut n = 0;
                while n < names.len() {
                    // Said once: by the first row that reads it.
                    if readers(all, names[n]) > 1 && is_first(all, names[n], &rows[i]) {
                        message = read_twice(message, names[n]);
                    }
                    n += 1;
                }
            }
            Row::Absent { name, at, .. } if readers(all, name) == 0 => {
                message = message
                    .paragraph()
                    .text("no row reads \"")
                    .text(name)
                    .text("\", of which ")
                    .place(*at)
                    .text(" says what its absence means");
            }
            _ => {}
        }
        i += 1;
    }
    message
}

const fn read_twice(message: Message, name: &str) -> Message {
    message.paragraph().text("\"").text(name).text("\" is read by two rows: keep one")
}

/// Whether no row before `row` reads a field of the format.
const fn is_first(all: &[Row], name: &str, row: &Row) -> bool {
    matches!(first(all, name), Some(first) if same_row(first, row))
}

/// The first row that reads a field of the format.
const fn first<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    let mut i = 0;
    while i < rows.len() {
        let found = match &rows[i] {
            Row::Include(rows) => first(rows, name),
            row if readers(std::slice::from_ref(row), name) > 0 => Some(row),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        i += 1;
    }
    None
}

/// Whether two rows are one. A part is known by its first field.
const fn same_row(one: &Row, other: &Row) -> bool {
    match (one, other) {
        (Row::Field(one), Row::Field(other)) => same_place(one.at, other.at),
        (Row::Part(one), Row::Part(other)) => same(one.names[0], other.names[0]),
        _ => false,
    }
}

/// How many rows make a field of the model.
const fn makers(rows: &[Row], model: &str) -> usize {
    let (mut count, mut i) = (0, 0);
    while i < rows.len() {
        count += match &rows[i] {
            Row::Include(rows) => makers(rows, model),
            Row::Field(row) => same(row.model, model) as usize,
            Row::Only { model: name, .. } => same(name, model) as usize,
            Row::Part(part) => has(part.model, model) as usize,
            _ => 0,
        };
        i += 1;
    }
    count
}

/// How many rows read a field of the format.
const fn readers(rows: &[Row], name: &str) -> usize {
    let (mut count, mut i) = (0, 0);
    while i < rows.len() {
        count += match &rows[i] {
            Row::Include(rows) => readers(rows, name),
            Row::Field(row) => has(row.names, name) as usize,
            Row::Constant { name: constant, .. } => same(constant, name) as usize,
            Row::Part(part) => has(part.names, name) as usize,
            _ => 0,
        };
        i += 1;
    }
    count
}

const fn has(names: &[&str], name: &str) -> bool {
    let mut i = 0;
    while i < names.len() {
        if same(names[i], name) {
            return true;
        }
        i += 1;
    }
    false
}

const fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    let mut i = 0;
    while i < fields.len() {
        if same(fields[i].name, name) {
            return Some(&fields[i]);
        }
        i += 1;
    }
    None
}

const fn takes(kind: Kind, value: Scalar) -> bool {
    matches!(
        (kind, value),
        (_, Scalar::Null)
            | (Kind::Other, _)
            | (Kind::Size, Scalar::Int(_))
            | (Kind::Number, Scalar::Int(_) | Scalar::Float(_))
            | (Kind::Switch, Scalar::Bool(_))
            | (Kind::Text, Scalar::Text(_))
    )
}

#[track_caller]
const fn wrong_value(field: &Field) {
    let message = Message::EMPTY
        .text("`")
        .text(field.name)
        .text("` is ")
        .text(field.kind.name())
        .text(", and this value is not");
    panic!("{}", message.as_str());
}

#[track_caller]
const fn unknown(fields: &[Field], name: &str) {
    let mut message = Message::EMPTY.text("the model's config has no field `").text(name).text("`");
    let (mut near, mut best, mut i) = (None, usize::MAX, 0);
    while i < fields.len() {
        let far = distance(fields[i].name, name);
        if far < best && similar(fields[i].name, name) {
            (near, best) = (Some(fields[i].name), far);
        }
        i += 1;
    }
    if let Some(near) = near {
        message = message.text(LINE).text("did you mean `").text(near).text("`?");
    }
    panic!("{}", message.as_str());
}
