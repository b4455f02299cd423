use super::cube::Cube;
use crate::Location;
use crate::key::{Offset, Part, Pattern, Truth};
use crate::transform::{Operation, SPREAD};

/// A text that is put together in a constant. What does not fit is cut off.
#[derive(Clone, Copy)]
pub struct Message {
    bytes: [u8; Message::CAPACITY],
    len: usize,
}

impl Message {
    const CAPACITY: usize = 4096;

    /// The empty text.
    pub const EMPTY: Message = Message { bytes: [0; Message::CAPACITY], len: 0 };

    /// Adds a text.
    pub const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() && self.len < Message::CAPACITY {
            self.bytes[self.len] = bytes[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    /// Adds a pattern as it is written.
    pub const fn pattern(mut self, pattern: &Pattern<'_>) -> Self {
        let mut i = 0;
        while let Some(part) = pattern.part(i) {
            self = self.part(part);
            i += 1;
        }
        self
    }

    const fn part(self, part: Part<'_>) -> Self {
        match part {
            Part::Text(text) => self.text(text),
            Part::Word { name } if name.is_empty() => self.text("*"),
            Part::Word { name } => self.text("{").text(name).text(":word}"),
            Part::Field { name } => self.text("{").text(name).text(":field}"),
            Part::Index { name, offset, scale } => {
                let mut this = match offset {
                    Offset::Constant(n) if scale == 1 => {
                        self.text("{").number(n as usize).text(" + ")
                    }
                    Offset::Field(field) => self.text("{").text(field).text(" + "),
                    _ => self.text("{"),
                };
                this = if scale == 1 { this } else { this.number(scale as usize).text(" * ") };
                this = this.text(name);
                match offset {
                    Offset::Constant(n) if scale != 1 => this.text(" + ").number(n as usize),
                    Offset::Minus(n) => this.text(" - ").number(n as usize),
                    _ => this,
                }
                .text("}")
            }
            _ => self.text("**"),
        }
    }

    /// Adds a pattern with 0 for the index that is part number `zero`.
    pub(super) const fn pattern_with_zero(mut self, pattern: &Pattern<'_>, zero: usize) -> Self {
        let mut i = 0;
        while let Some(part) = pattern.part(i) {
            self = if i == zero { self.text("0") } else { self.part(part) };
            i += 1;
        }
        self
    }

    /// Begins a paragraph, if it is not the first.
    pub const fn paragraph(self) -> Self {
        if self.len == 0 { self } else { self.text("\n\n") }
    }

    /// Adds a place in source code, `src/llama.rs:57`.
    pub const fn place(self, at: Location) -> Self {
        self.text(at.file).text(":").number(at.line as usize)
    }

    /// Raises the text, if there is any.
    ///
    /// # Panics
    /// With the text.
    #[track_caller]
    pub const fn raise(&self) {
        if self.len > 0 {
            panic!("{}", self.as_str());
        }
    }

    /// Adds one combination of flags for which `truth` holds, as short as it gets: `tied && !bias`.
    pub const fn flags(self, truth: Truth, names: &[&str]) -> Self {
        match truth.first() {
            Some(bits) => self.cube(Cube::around(truth, bits), names),
            None => self,
        }
    }

    /// Adds the condition that holds where `truth` does: `tied && !bias || moe`.
    pub const fn condition(mut self, truth: Truth, names: &[&str]) -> Self {
        let mut rest = truth;
        while let Some(bits) = rest.first() {
            if !truth.implies(rest) {
                self = self.text(" || ");
            }
            let cube = Cube::around(truth, bits);
            self = self.cube(cube, names);
            rest = rest.and(cube.truth().not());
        }
        self
    }

    const fn cube(mut self, cube: Cube, names: &[&str]) -> Self {
        let (mut flag, mut begun) = (0, false);
        while flag < names.len() {
            if cube.named >> flag & 1 == 1 {
                self = if begun { self.text(" && ") } else { self };
                self = match (cube.bits >> flag & 1 == 1, position(names[flag], b'<')) {
                    (true, _) => self.text(names[flag]),
                    (false, None) => self.text("!").text(names[flag]),
                    (false, Some(at)) => {
                        let (axis, bound) = names[flag].split_at(at);
                        self.text(axis).text(">=").text(bound.split_at(1).1)
                    }
                };
                begun = true;
            }
            flag += 1;
        }
        self
    }

    /// Adds names, `` `a`, `b` ``.
    pub const fn names(mut self, names: &[&str]) -> Self {
        let mut i = 0;
        while i < names.len() {
            self = if i == 0 { self } else { self.text(", ") };
            self = self.text("`").text(names[i]).text("`");
            i += 1;
        }
        self
    }

    /// Adds a number.
    pub const fn number(mut self, n: usize) -> Self {
        if n >= 10 {
            self = self.number(n / 10);
        }
        let digit = [b'0' + (n % 10) as u8];
        match std::str::from_utf8(&digit) {
            Ok(digit) => self.text(digit),
            Err(_) => self,
        }
    }

    /// Adds `1 key`, `2 keys`.
    pub const fn count(self, n: usize, what: &str) -> Self {
        let this = self.number(n).text(" ").text(what);
        if n == 1 { this } else { this.text("s") }
    }

    /// Adds what an operation takes.
    pub const fn takes(self, operation: &Operation) -> Self {
        let this = match (operation.sources, operation.takes_group()) {
            (0, true) => return self.text("a group of tensors"),
            (n, _) => self.count(n, "tensor"),
        };
        if operation.takes_group() { this.text(" and a group") } else { this }
    }

    /// Adds what an operation gives.
    pub const fn gives(self, operation: &Operation) -> Self {
        match operation.targets {
            SPREAD => self.text("a `Vec` of tensors"),
            n => self.count(n, "tensor"),
        }
    }

    /// The text.
    pub const fn as_str(&self) -> &str {
        // A character that was cut in the middle is left out.
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(error) => match std::str::from_utf8(self.bytes.split_at(error.valid_up_to()).0) {
                Ok(text) => text,
                Err(_) => "",
            },
        }
    }
}

pub(super) const fn position(text: &str, byte: u8) -> Option<usize> {
    let (bytes, mut i) = (text.as_bytes(), 0);
    while i < bytes.len() {
        if bytes[i] == byte {
            return Some(i);
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_at_a_character() {
        assert_eq!(Message::EMPTY.text("n = ").number(1070).as_str(), "n = 1070");
        let long = "…".repeat(Message::CAPACITY);
        let cut = Message::EMPTY.text(&long);
        assert_eq!(cut.as_str().chars().count(), Message::CAPACITY / 3);
    }

    #[test]
    fn patterns_places_and_flags_are_written() {
        let at = Location { file: "src/a.rs", line: 57, column: 3 };
        let message = Message::EMPTY.pattern(&Pattern::new("a.{l}.*.{2 + m}.**"));
        assert_eq!(message.text(" at ").place(at).as_str(), "a.{l}.*.{2 + m}.** at src/a.rs:57");
        for pattern in ["{n + l}", "{5 * l + 3}", "{n + 2 * l}", "{2 * l - 1}", "{n:field}"] {
            assert_eq!(Message::EMPTY.pattern(&Pattern::new(pattern)).as_str(), pattern);
        }
        let (tied, bias) = (Truth::flag(0), Truth::flag(1));
        for (truth, want) in [
            (tied, "tied"),
            (tied.not(), "!tied"),
            (tied.and(bias.not()), "tied && !bias"),
            (Truth::ALWAYS, ""),
        ] {
            assert_eq!(Message::EMPTY.flags(truth, &["tied", "bias"]).as_str(), want);
            assert_eq!(Message::EMPTY.condition(truth, &["tied", "bias"]).as_str(), want);
        }
        for (truth, want) in [
            (tied.or(bias), "tied || bias"),
            (tied.and(bias).not(), "!bias || !tied"),
            (tied.and(bias.not()).or(bias.and(tied.not())), "tied && !bias || !tied && bias"),
        ] {
            assert_eq!(Message::EMPTY.condition(truth, &["tied", "bias"]).as_str(), want);
        }
        let from = Message::EMPTY.condition(tied.not().and(bias), &["layer < 3", "layer < n + 1"]);
        assert_eq!(from.as_str(), "layer >= 3 && layer < n + 1");
        assert_eq!(Message::EMPTY.names(&["tied", "bias"]).as_str(), "`tied`, `bias`");
    }
}
