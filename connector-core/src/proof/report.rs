//! What the compiler says: at each row of the importer's own `mapping!` what is wrong with it, at
//! the importer's type everything else.

use super::finding::Finding;
use super::flat::Key;
use super::message::Message;
use super::{Proof, Side, same_place};
use crate::Location;
use crate::key::{JoinError, MAX_PARTS, Truth, similar};

/// What a line below the first begins with, and a line of a list.
pub const LINE: &str = "\n  ";
const ITEM: &str = "\n      ";

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
    const fn describe(&self, text: Message, finding: Finding, elsewhere: bool) -> Message {
        let Some(number) = finding.key() else { return text };
        let key = &self.flat.keys[number];
        let text = match finding {
            Finding::Unformed { .. } => unformed(text, key),
            Finding::UnknownFlag { flag, .. } => self.unknown_flag(text, flag),
            Finding::Stranger { side, near, .. } => self.stranger(text, key, side, near),
            Finding::Idle { parameter, .. } => self.idle(text, key, parameter),
            Finding::OneWay { .. } => one_way(text, key),
            Finding::Doubled { parameter, first, both, .. } => {
                let other = &self.flat.keys[first];
                let exists = self.condition(Side::Model, parameter);
                let mut text = self.name(text, Side::Model, parameter).text(" is produced twice");
                if !exists.implies(both) {
                    text = text.text(" where `").flags(both, self.flags.names()).text("`");
                }
                text = text.text(": by this row and by the one at ").place(other.at);
                text.text(LINE).text("remove one of the two, or tell them apart with `when`")
            }
            Finding::Missing { .. } => text,
        };
        if elsewhere || !same_place(key.at, key.entry) {
            return text.text(LINE).text("the row is at ").place(key.at);
        }
        text
    }

    const fn name(&self, text: Message, side: Side, parameter: usize) -> Message {
        text.text("`").pattern(&self.schema(side).parameters[parameter].pattern).text("`")
    }

    const fn unknown_flag(&self, text: Message, flag: &str) -> Message {
        let names = self.flags.names();
        let mut text = text.text("`").text(flag).text("` is not a flag of `");
        text = text.text(self.schema(Side::Model).model).text("`");
        if names.is_empty() {
            text = text.text(", which has none").text(LINE);
            return text.text("declare `flag ").text(flag).text(" = …;` in its `param_schema!`");
        }
        text = text.text("; its flags are ");
        let mut meant = None;
        let mut i = 0;
        while i < names.len() {
            text = if i == 0 { text } else { text.text(", ") };
            text = text.text(names[i]);
            if similar(names[i], flag) {
                meant = Some(names[i]);
            }
            i += 1;
        }
        match meant {
            Some(meant) => text.text(LINE).text("did you mean `").text(meant).text("`?"),
            None => text,
        }
    }

    const fn stranger(&self, text: Message, key: &Key, side: Side, near: Option<usize>) -> Message {
        let Ok(pattern) = &key.pattern else { return text };
        let text = text.text("`").pattern(pattern).text("` is not a parameter of `");
        let text = text.text(self.schema(side).model).text("`").text(LINE);
        match near {
            Some(near) => self.name(text.text("did you mean "), side, near).text("?"),
            None => text.text("correct the key, or declare it in the `param_schema!`"),
        }
    }

    const fn idle(&self, text: Message, key: &Key, parameter: usize) -> Message {
        let (names, exists) = (self.flags.names(), self.condition(Side::Model, parameter));
        let text = text.text("this row never applies: it is for where `");
        let text = text.flags(key.when, names).text("`, but ");
        let text = self.name(text, Side::Model, parameter).text(" exists where `");
        let text = text.flags(exists, names).text("`").text(LINE);
        text.text("correct one of the two conditions, or remove the row")
    }

    /// Adds the parameters of one side that no row has.
    const fn missing(&self, mut text: Message, side: Side) -> Message {
        let (mut count, mut list, mut i) = (0, Message::EMPTY, 0);
        while i < self.findings.all().len() {
            if let Finding::Missing { side: of, parameter, gap, differing } = self.findings.all()[i]
                && of as u8 == side as u8
            {
                count += 1;
                list = list.text(ITEM).pattern(&self.schema(side).parameters[parameter].pattern);
                // One combination of flags under which it exists and is not there.
                if !Truth::ALWAYS.implies(gap) {
                    list = list.text(" where `").flags(gap, self.flags.names()).text("`");
                }
                if let Some(branch) = differing {
                    list = list.text(", in some branches of the `one_of` at ");
                    list = list.place(self.flat.branches[branch].at);
                }
            }
            i += 1;
        }
        if count == 0 {
            return text;
        }
        let (verb, advice) = match (side, count) {
            (Side::Model, 1) => (
                "produces",
                "add a row for it, or, if it can be absent, give it a flag in the schema",
            ),
            (Side::Model, _) => (
                "produces",
                "add rows for them, or, if they can be absent, give them a flag in the schema",
            ),
            (Side::Format, 1) => ("reads", "add a row for it, or `ignore` it"),
            (Side::Format, _) => ("reads", "add rows for them, or `ignore` them"),
        };
        text = text.paragraph().text("importer `").text(self.importer).text("` never ").text(verb);
        text = text.text(" ").count(count, "parameter").text(" of `");
        text.text(self.schema(side).model).text("`:").text(list.as_str()).text(LINE).text(advice)
    }
}

const fn unformed(text: Message, key: &Key) -> Message {
    match key.pattern {
        Err(JoinError::Repeated { name }) => {
            let text = text.text("this row captures `{").text(name);
            let text = text.text("}`, which the block around it captures already").text(LINE);
            text.text("rename one of the two, or drop the index from the row")
        }
        _ => {
            let text = text.text("with the blocks around it a key of this row has more than ");
            let text = text.count(MAX_PARTS, "part").text(" of text and captures").text(LINE);
            text.text("give it fewer captures")
        }
    }
}

const fn one_way(text: Message, key: &Key) -> Message {
    let name = match key.rule {
        Some(rule) => rule.operation.name,
        None => "",
    };
    let text = text.text("`").text(name).text("` has no inverse, and this importer exports");
    text.text(LINE).text(
        "give it `inverse = …` in its `#[state_transform]`, or drop `export` from `#[model_importer]`",
    )
}
