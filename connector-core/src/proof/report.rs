//! What the compiler says: at each row of the importer's own `mapping!` what is wrong with it, at
//! the importer's type everything else.

use super::finding::Finding;
use super::flat::{Key, Role};
use super::message::{Message, position};
use super::near::whole;
use super::{Proof, Side, same_place};
use crate::Location;
use crate::key::{JoinError, MAX_PARTS, Truth, distance, similar};

/// What a line below the first begins with.
pub const LINE: &str = "\n  ";

impl<const N: usize> Proof<'_, N> {
    /// Reports what is wrong with row number `number` of the importer's own rows.
    ///
    /// # Panics
    /// If anything is.
    #[track_caller]
    pub const fn check_row(&self, number: usize) {
        if self.findings.all().is_empty() {
            return;
        }
        let mut text = Message::EMPTY;
        let mut i = 0;
        while i < self.findings.all().len() {
            let finding = self.findings.all()[i];
            if let Some(key) = finding.key()
                && matches!(self.row_of(self.flat.keys[key].entry), Some(row) if row == number)
            {
                text = self.describe(text.paragraph(), finding, false);
            }
            i += 1;
        }
        text.raise();
    }

    /// Reports what is wrong with the mapping and not with a row of its own.
    ///
    /// # Panics
    /// If anything is.
    #[track_caller]
    pub const fn check_whole(&self) {
        if self.findings.all().is_empty() {
            return;
        }
        let mut text = Message::EMPTY;
        let mut i = 0;
        while i < self.findings.all().len() {
            let finding = self.findings.all()[i];
            if let Some(key) = finding.key()
                && self.row_of(self.flat.keys[key].entry).is_none()
            {
                text = self.describe(text.paragraph(), finding, true);
            }
            i += 1;
        }
        text = self.missing(text, Side::Model);
        text = self.missing(text, Side::Format);
        if self.findings.beyond > 0 {
            text =
                text.paragraph().text("and ").count(self.findings.beyond, "mistake").text(" more");
        }
        text.raise();
    }

    /// Which of the importer's own rows stands at `entry`.
    const fn row_of(&self, entry: Location) -> Option<usize> {
        let mut row = 0;
        while row < self.rows.len() {
            if same_place(self.rows[row], entry) {
                return Some(row);
            }
            row += 1;
        }
        None
    }

    /// Adds what is wrong with a row and what to do; where the row is, if the compiler points
    /// elsewhere.
    pub(super) const fn describe(
        &self,
        text: Message,
        finding: Finding,
        elsewhere: bool,
    ) -> Message {
        let Some(number) = finding.key() else { return text };
        let key = &self.flat.keys[number];
        let text = match finding {
            Finding::Unformed { .. } => self.unformed(text, key, number),
            Finding::UnknownFlag { flag, .. } => self.unknown_flag(text, flag),
            Finding::Unbound { below, .. } => {
                let text = text.text("the condition `").text(below.text);
                let text = text.text("` depends on `").text(below.axis);
                let text = text.text("`, but this key has no `{").text(below.axis).text("}`");
                text.text(LINE).text("capture it there, or use a flag without an axis")
            }
            Finding::Negative { axis, least, .. } => {
                let text = match &key.pattern {
                    Ok(pattern) => text.text("`").pattern(pattern).text("` has no index where `"),
                    Err(_) => text,
                };
                let text = text.text(axis).text(" < ").number(least as usize).text("`").text(LINE);
                let text = text.text("write `when ").text(axis).text(" >= ");
                text.number(least as usize).text("`, and another row for the others")
            }
            Finding::Stranger { side, near, .. } => self.stranger(text, number, side, near),
            Finding::Idle { parameter, .. } => self.idle(text, key, parameter),
            Finding::OneWay { .. } => one_way(text, key),
            Finding::Doubled { parameter, first, both, .. } => {
                self.doubled(text, key, parameter, first, both)
            }
            Finding::Misnamed { side, name, axis, .. } => {
                self.misnamed(text, number, side, name, axis)
            }
            Finding::Crossed { .. } => self.crossed(text, number),
            Finding::Stars { parameter, .. } => self.stars(text, parameter),
            Finding::Shifted { part, .. } => self.shifted(text, number, part),
            Finding::TwoOffsets { other, .. } => self.two_offsets(text, number, other),
            Finding::NoLayer { flag, axis, .. } => self.no_layer(text, flag, axis),
            Finding::Ambiguous { parameter, other, .. } => self.ambiguous(text, parameter, other),
            Finding::AnyTarget { .. } => self.any_target(text, key),
            Finding::Unequal { other, when, others, .. } => {
                self.unequal(text, (number, other), when, others)
            }
            Finding::Optional { parameter, .. } => self.optional(text, parameter),
            Finding::Swallowed { by, .. } => self.swallow(text, number, by),
            Finding::ReadTwice { first, .. } => self.twice(text, number, first),
            Finding::Alike { first, second, .. } => self.alike(text, first, second),
            Finding::Role { mistake, .. } => self.mistaken(text, number, mistake),
            Finding::Missing { .. } => text,
        };
        if elsewhere || !same_place(key.at, key.entry) {
            let what = if key.named { "its rule is at " } else { "the row is at " };
            return text.text(LINE).text(what).place(key.at);
        }
        text
    }

    const fn name(&self, text: Message, side: Side, parameter: usize) -> Message {
        text.text("`").pattern(&self.schema(side).parameters[parameter].pattern).text("`")
    }

    const fn unknown_flag(&self, text: Message, flag: &str) -> Message {
        let names = self.flags.names();
        let model = self.schema(Side::Model);
        if position(flag, b'<').is_some() {
            let text = text.text("`").text(flag).text("` compares an axis of `").text(model.model);
            let text = text.text("` with a number or with one of its fields").text(LINE);
            let text = text.text("its axes are ").names(model.axes);
            return match model.fields {
                [] => text,
                fields => text.text(", its fields are ").names(fields),
            };
        }
        let text = text.text("`").text(flag).text("` is not a flag of `");
        let mut text = text.text(self.schema(Side::Model).model).text("`").text(LINE);
        if names.is_empty() {
            text = text.text("it has none; declare `flag ").text(flag);
            return text.text(" = …;` in its `param_schema!`");
        }
        let (mut meant, mut least, mut i) = ("", usize::MAX, 0);
        while i < names.len() {
            let far = distance(names[i], flag);
            if far < least && similar(names[i], flag) {
                (meant, least) = (names[i], far);
            }
            i += 1;
        }
        if least < usize::MAX {
            text = text.text("did you mean `").text(meant).text("`?").text(LINE);
        }
        text.text("its flags are ").names(names)
    }

    const fn stranger(
        &self,
        text: Message,
        number: usize,
        side: Side,
        near: Option<usize>,
    ) -> Message {
        let key = &self.flat.keys[number];
        let Ok(pattern) = &key.pattern else { return text };
        let schema = self.schema(side);
        let text = text.text("`").pattern(pattern).text("` is not a parameter of `");
        let text = text.text(schema.model).text("`").text(LINE);
        if whole(schema, key, number).is_some() {
            return outside(text, key);
        }
        match near {
            Some(near) => self.name(text.text("did you mean "), side, near).text("?"),
            None => text.text(
                "correct the key, or remove the row, or declare the parameter in the `param_schema!` of `",
            )
            .text(schema.model)
            .text("`"),
        }
    }

    const fn idle(&self, text: Message, key: &Key, parameter: usize) -> Message {
        let (names, exists) = (self.flags.names(), self.declared(Side::Model, parameter));
        let text = text.text("this row never applies: its condition is `");
        let text = text.condition(key.when, names).text("`, but ");
        let text = self.name(text, Side::Model, parameter).text(" exists only where `");
        let text = text.condition(exists, names).text("`").text(LINE);
        text.text("correct one of the two conditions, or remove the row")
    }

    const fn ambiguous(&self, text: Message, parameter: usize, other: usize) -> Message {
        let text = text.text("the target is a name of two parameters, ");
        let text = self.name(text, Side::Model, parameter);
        let text = self.name(text.text(" and "), Side::Model, other).text(LINE);
        text.text("write the other name of the one that is meant, or drop that name from `aka`")
    }

    const fn any_target(&self, text: Message, key: &Key) -> Message {
        let Ok(pattern) = &key.pattern else { return text };
        let text = text.text("`").pattern(pattern).text("` may be any parameter of `");
        let text = text.text(self.schema(Side::Model).model).text("`, and so may any tensor be");
        text.text(LINE).text("write the parameters' names; a prefix that differs is a block")
    }

    const fn optional(&self, text: Message, parameter: usize) -> Message {
        let text = text.text("this row may be without its source, but ");
        let text = self.name(text, Side::Model, parameter).text(" always exists").text(LINE);
        text.text("drop `optional`, or, if it can be absent, give it a flag in the schema")
    }

    const fn doubled(
        &self,
        text: Message,
        key: &Key,
        parameter: usize,
        first: usize,
        both: Truth,
    ) -> Message {
        let names = self.flags.names();
        let other = &self.flat.keys[first];
        let exists = self.condition(Side::Model, parameter);
        let mut text = self.name(text, Side::Model, parameter).text(" is produced twice");
        if !exists.implies(both) {
            text = text.text(" where `").flags(both, names).text("`");
        }
        text = text.text(LINE).text("by this row and by the one at ").place(other.at).text(LINE);
        // Where one of the two alone applies, it is the condition that it should have.
        let (others, own) = (other.when.and(key.when.not()), key.when.and(other.when.not()));
        text = text.text("remove one of the two, or ");
        if !others.and(exists).is_never() {
            text.text("write `when ")
                .condition(self.flags.loosest(others), names)
                .text("` at the other row")
        } else if !own.and(exists).is_never() {
            text.text("write `when ")
                .condition(self.flags.loosest(own), names)
                .text("` at this row")
        } else {
            text.text("tell them apart with `when`")
        }
    }

    const fn unformed(&self, text: Message, key: &Key, number: usize) -> Message {
        let Err(JoinError::Repeated { name }) = key.pattern else {
            let text = text.text("with the blocks around it a key of this row has more than ");
            let text = text.count(MAX_PARTS, "part").text(" of text and captures").text(LINE);
            return text.text("give it fewer captures");
        };
        let is_block = matches!(key.role, Role::Block);
        let what = if is_block { "block" } else { "row" };
        let text = text.text("this ").text(what).text(" captures `{").text(name);
        let text = text.text("}`, which the block around it captures already").text(LINE);
        if let (Some(model), true) = (&self.model, key.role.is_target())
            && whole(model, key, number).is_some()
        {
            return outside(text, key);
        }
        let text = text.text("its keys begin with those of the block: drop `{").text(name);
        text.text("}` here, or, if it is another index, give it another name")
    }
}

/// What to do with a key that is whole without the prefix of its block.
const fn outside(text: Message, key: &Key) -> Message {
    if key.named {
        text.text(
            "the keys of a state transform are whole, and this block puts its prefix before them",
        )
        .text(LINE)
        .text("name it outside of the block")
    } else {
        text.text("the key is whole, and the block around it puts its prefix before it")
            .text(LINE)
            .text("drop the prefix from the key, or move the row out of the block")
    }
}

const fn one_way(text: Message, key: &Key) -> Message {
    let name = match key.rule {
        Some(rule) => match rule.one_way() {
            Some(operation) => operation.name,
            None => "",
        },
        None => "",
    };
    let text = text.text("`").text(name).text("` has no inverse, and this importer exports");
    text.text(LINE).text(
        "give it `inverse = …` in its `#[state_transform]`, or drop `export` from `#[model_importer]`",
    )
}
