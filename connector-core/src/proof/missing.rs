//! What is said of parameters that no row makes or reads, all of one side in one message.

use super::finding::Finding;
use super::fit::Fit;
use super::index::fit_parameter;
use super::message::Message;
use super::report::LINE;
use super::{Proof, Side};
use crate::key::Truth;

/// What a line of a list begins with, and what is said of it.
const ITEM: &str = "\n      ";
const DETAIL: &str = "\n          ";

/// How many parameters are missing in which way, for the advice.
#[derive(Clone, Copy)]
struct Counts {
    /// Wherever they exist, which is always.
    wholly: usize,
    /// Wherever they exist, which depends on flags.
    flagged: usize,
    /// Under some flags, while under others there is a row.
    partly: usize,
    /// In some branches of a choice.
    branches: usize,
}

impl<const N: usize> Proof<'_, N> {
    /// Adds the parameters of one side that no row has.
    pub(super) const fn missing(&self, mut text: Message, side: Side) -> Message {
        let mut counts = Counts { wholly: 0, flagged: 0, partly: 0, branches: 0 };
        let (mut count, mut list, mut ignored, mut i) = (0, Message::EMPTY, Message::EMPTY, 0);
        while i < self.findings.all().len() {
            if let Finding::Missing { side: of, parameter, gap, differing } = self.findings.all()[i]
                && of as u8 == side as u8
            {
                count += 1;
                list = list.text(ITEM).pattern(&self.schema(side).parameters[parameter].pattern);
                list = self.missing_one(list, side, parameter, gap, differing, &mut counts);
                ignored = self.ignore(ignored, side, parameter, gap);
            }
            i += 1;
        }
        if count == 0 {
            return text;
        }
        let verb = if matches!(side, Side::Model) { "produce" } else { "read" };
        text = text.paragraph().text("importer `").text(self.importer).text("` does not ");
        text = text.text(verb).text(" ").count(count, "parameter").text(" of `");
        text = text.text(self.schema(side).model).text("`:").text(list.as_str());
        match side {
            Side::Model => counts.advice(text),
            Side::Format => {
                let them = if count == 1 { "a row for it" } else { "rows for them" };
                text = text.text(LINE).text("add ").text(them);
                text.text(", or leave behind on purpose what has no place in the model:")
                    .text(ignored.as_str())
            }
        }
    }

    /// Adds where one parameter is missing, and what makes it elsewhere.
    const fn missing_one(
        &self,
        text: Message,
        side: Side,
        parameter: usize,
        gap: Truth,
        differing: Option<usize>,
        counts: &mut Counts,
    ) -> Message {
        let (names, exists) = (self.flags.names(), self.condition(side, parameter));
        let declared = self.declared(side, parameter);
        if let Some(branch) = differing {
            counts.branches += 1;
            return self.branches(text, parameter, gap, branch);
        }
        if Truth::ALWAYS.implies(gap) {
            counts.wholly += 1;
            return text;
        }
        if exists.implies(gap) {
            counts.flagged += 1;
            return text.text(", which exists where `").condition(declared, names).text("`");
        }
        counts.partly += 1;
        let text = text.text(" where `").flags(gap, names).text("`");
        if matches!(side, Side::Format) {
            return text;
        }
        let mut key = 0;
        while key < self.flat.len {
            let it = &self.flat.keys[key];
            if it.role.is_target() && !it.when.and(exists).is_never() && self.makes(key, parameter)
            {
                let text = text.text(DETAIL).text("the row at ").place(it.at);
                let text = text.text(" produces it where `");
                return text.condition(it.when.and(exists), names).text("`");
            }
            key += 1;
        }
        text
    }

    /// Adds the branches of a choice in which a parameter is missing.
    const fn branches(
        &self,
        text: Message,
        parameter: usize,
        gap: Truth,
        branch: usize,
    ) -> Message {
        let choice = self.flat.branches[branch].choice;
        let (mut names, mut count, mut b) = ([""; super::flat::MAX_BRANCHES], 0, 1);
        while b < self.flat.branch_count {
            let it = &self.flat.branches[b];
            if it.choice == choice && !self.made_in(b, parameter, gap) {
                names[count] = it.name;
                count += 1;
            }
            b += 1;
        }
        let text = match count {
            0 => text.text(", missing in some branches"),
            1 => text.text(", missing in the branch "),
            _ => text.text(", missing in the branches "),
        };
        let text = text.names(names.split_at(count).0);
        text.text(DETAIL).text("of the `one_of` at ").place(self.flat.branches[branch].at)
    }

    /// Whether a row in a branch makes a parameter wherever it is missing elsewhere.
    const fn made_in(&self, branch: usize, parameter: usize, gap: Truth) -> bool {
        let (mut made, mut key) = (Truth::NEVER, 0);
        while key < self.flat.len {
            let it = &self.flat.keys[key];
            let inside = self.flat.lies_in(it.branch, branch);
            if inside && it.role.is_target() && self.makes(key, parameter) {
                made = made.or(it.when);
            }
            key += 1;
        }
        gap.implies(made)
    }

    /// Whether a target names a parameter of the model at every index.
    const fn makes(&self, key: usize, parameter: usize) -> bool {
        let parameter = &self.schema(Side::Model).parameters[parameter];
        matches!(fit_parameter(&self.flat.keys[key], parameter), Fit::Whole)
    }

    /// Adds the row that leaves a parameter of the other side behind.
    const fn ignore(&self, text: Message, side: Side, parameter: usize, gap: Truth) -> Message {
        let text = text.text(ITEM).text("ignore \"");
        let text = text.pattern(&self.schema(side).parameters[parameter].pattern).text("\"");
        if self.condition(side, parameter).implies(gap) {
            return text.text(",");
        }
        text.text(" when ").condition(gap, self.flags.names()).text(",")
    }
}

impl Counts {
    /// Adds what to do.
    const fn advice(self, mut text: Message) -> Message {
        text = match self.wholly {
            0 => text,
            1 => text
                .text(LINE)
                .text("add a row for it, or, if it can be absent, give it a flag in the schema"),
            _ => text.text(LINE).text(
                "add rows for them, or, if they can be absent, give them a flag in the schema",
            ),
        };
        text = match (self.flagged, self.wholly) {
            (0, _) => text,
            (1, 0) => text.text(LINE).text("add a row for it"),
            (_, 0) => text.text(LINE).text("add rows for them"),
            _ => text.text(LINE).text("add rows also for what exists only under flags"),
        };
        text = match self.partly {
            0 => text,
            1 => text
                .text(LINE)
                .text("widen the condition of the row that produces it, or add a row for the rest"),
            _ => text.text(LINE).text(
                "widen the conditions of the rows that produce them, or add rows for the rest",
            ),
        };
        match self.branches {
            0 => text,
            1 => text.text(LINE).text("every branch has to produce it: add a row for it there"),
            _ => text.text(LINE).text("every branch has to produce them: add rows for them there"),
        }
    }
}
