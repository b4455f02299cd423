use super::style::{PLAIN, STRONG};
use super::text::{JOINED, printable};
use anstyle::Style;
use std::fmt::Write;

/// Where the text behind a label begins: `  source   `.
const INDENT: usize = 11;
/// Between columns.
const GAP: usize = 3;

/// Text for a screen of some width: labelled fields and aligned columns.
///
/// Styles are written as escape sequences, which the screen strips where they are not wanted.
pub(super) struct Page {
    text: String,
    width: usize,
}

/// A column of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Left,
    Right,
}

impl Page {
    pub fn new(width: usize) -> Self {
        Page { text: String::new(), width }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.text.push('\n');
    }

    /// `  label    text`, wrapped.
    pub fn field(&mut self, label: &str, text: &str) {
        self.styled_field(label, PLAIN, text);
    }

    /// A field whose label has a meaning of its own.
    pub fn styled_field(&mut self, label: &str, style: Style, text: &str) {
        let pad = " ".repeat(INDENT.saturating_sub(2 + label.chars().count()).max(1));
        let head = format!("  {style}{label}{style:#}{pad}");
        self.wrapped(&head, &" ".repeat(INDENT), text, INDENT);
    }

    /// More text under the last label.
    pub fn more(&mut self, text: &str) {
        let indent = " ".repeat(INDENT);
        self.wrapped(&indent, &indent, text, INDENT);
    }

    /// `error: text`, wrapped with the same indent as details.
    pub fn headline(&mut self, label: &str, style: Style, text: &str) {
        for (number, line) in text.lines().enumerate() {
            if number == 0 {
                let head = format!("{style}{label}{style:#} ");
                self.wrapped(&head, "  ", line, label.chars().count() + 1);
            } else {
                self.wrapped("  ", "    ", line, 2);
            }
        }
    }

    /// `  help: text`, wrapped, but never inside a command in backquotes.
    pub fn advice(&mut self, text: &str) {
        let part = |(number, part): (usize, &str)| {
            if number % 2 == 1 { part.replace(' ', &JOINED.to_string()) } else { part.into() }
        };
        let text = text.split('`').enumerate().map(part).collect::<Vec<_>>().join("`");
        let label = "help:";
        let head = format!("  {STRONG}{label}{STRONG:#} ");
        let indent = " ".repeat(3 + label.len());
        self.wrapped(&head, &indent, &text, indent.len());
    }

    /// Wrapped text with an indent.
    pub fn indented(&mut self, indent: usize, text: &str) {
        let indent = " ".repeat(indent);
        self.wrapped(&indent, &indent, text, indent.len());
    }

    /// A line that is not broken, with a key in it that stands out.
    pub fn emphasised(&mut self, before: &str, key: &str, after: &str) {
        self.put(&format!("{before}{STRONG}{}{STRONG:#}{}", shown(key), shown(after)));
    }

    fn wrapped(&mut self, head: &str, indent: &str, text: &str, used: usize) {
        let width = self.width.saturating_sub(indent.chars().count().max(used));
        let lines = wrap(&printable(text), width);
        for (number, line) in lines.iter().enumerate() {
            let before = if number == 0 { head } else { indent };
            self.put(&format!("{before}{line}"));
        }
    }

    /// Tensors under a label: key and shape, and the place beside or, if any is too long, below.
    pub fn places(&mut self, label: &str, rows: &[[String; 3]]) {
        let rows = rows.iter().map(|row| row.each_ref().map(|cell| shown(cell)));
        let rows: Vec<[String; 3]> = rows.collect();
        let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let [key, shape, place] = [0, 1, 2].map(|column| widest(column).unwrap_or(0));
        let beside = INDENT + key + GAP + shape + GAP + place <= self.width;
        for (number, [name, size, at]) in rows.iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let head = format!("  {label:<0$}{name:<key$}   {size:<shape$}", INDENT - 2);
            if beside {
                self.put(&format!("{head}   {at}"));
            } else {
                self.put(&head);
                self.put(&format!("{:1$}{at}", "", INDENT + 2));
            }
        }
    }

    /// Rows of cells. The first column is what a row is about; where it leaves no room, the other
    /// cells stand below it.
    pub fn table(&mut self, indent: usize, columns: &[Column], rows: &[Vec<String>]) {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
        let len = |text: &String| text.chars().count();
        let widest = |column: usize| rows.iter().filter_map(|row| row.get(column).map(len)).max();
        let widths: Vec<usize> = (0..columns.len()).map(|c| widest(c).unwrap_or(0)).collect();
        let rest: usize = widths.iter().skip(1).filter(|w| **w > 0).map(|w| w + GAP).sum();
        let room = self.width.saturating_sub(indent + rest);
        // One long key must not push the columns of all others to the right.
        let firsts = rows.iter().filter_map(|row| row.first().map(len));
        let first = firsts.filter(|len| *len <= room).max().unwrap_or(0);
        for row in &rows {
            let Some((name, cells)) = row.split_first() else { continue };
            let mut line = " ".repeat(indent) + name;
            if len(name) > first && rest > 0 {
                self.put(&line);
                line = " ".repeat(indent + first);
            } else {
                line += &" ".repeat(first - len(name).min(first));
            }
            for ((cell, column), width) in cells.iter().zip(&columns[1..]).zip(&widths[1..]) {
                if *width == 0 {
                    continue;
                }
                let pad = " ".repeat(width - len(cell));
                line += &" ".repeat(GAP);
                match column {
                    Column::Left => line += &(cell.to_owned() + &pad),
                    Column::Right => line += &(pad + cell),
                }
            }
            self.put(&line);
        }
    }

    /// The key a page is about, with what it is.
    pub fn subject(&mut self, key: &str, detail: &str) {
        let (key, detail) = (shown(key), shown(detail));
        let fits = 2 + key.chars().count() + GAP + detail.chars().count() <= self.width;
        let between = if fits { " ".repeat(GAP) } else { "\n     ".into() };
        self.put(&format!("  {STRONG}{key}{STRONG:#}{between}{detail}"));
    }

    fn put(&mut self, line: &str) {
        let line = line.trim_end().replace(JOINED, " ");
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A cell or line: printable, with plain spaces, so that lengths are right.
fn shown(text: &str) -> String {
    printable(text).replace(JOINED, " ")
}

/// Breaks a text at spaces into lines of at most `width` characters; a longer word, such as a key,
/// stays whole.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(word);
        used += len;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        for (text, width, want) in [
            ("a b c", 3, vec!["a b", "c"]),
            ("a b c", 5, vec!["a b c"]),
            ("long-word b", 3, vec!["long-word", "b"]),
            ("", 3, vec![""]),
            ("→→ →→", 5, vec!["→→ →→"]),
            ("a b", 0, vec!["a", "b"]),
        ] {
            assert_eq!(wrap(text, width), want, "{text}");
        }
    }

    #[test]
    fn fields_hang() {
        let mut page = Page::new(30);
        page.field("plan", "one two three four five six");
        page.more("seven");
        let want = "  plan     one two three four\n           five six\n           seven\n";
        assert_eq!(page.as_str(), want);
    }

    #[test]
    fn joined_words_stay_together() {
        let mut page = Page::new(16);
        page.field("a", "14\u{a0}GB in 2\u{a0}files");
        assert_eq!(page.as_str(), "  a        14 GB\n           in\n           2 files\n");
    }

    #[test]
    fn commands_are_not_broken() {
        let mut page = Page::new(20);
        page.advice("try `a b c d e f g h` or so");
        let plain = anstream::adapter::strip_str(page.as_str()).to_string();
        assert_eq!(plain, "  help: try\n        `a b c d e f g h`\n        or so\n");
    }

    #[test]
    fn a_long_key_does_not_move_the_columns() {
        let mut page = Page::new(24);
        let row = |a: &str, b: &str| vec![a.to_string(), b.to_string()];
        let rows = [row("key", "1 B"), row("k", "12 kB"), row("a.very.long.key.indeed", "2 B")];
        page.table(2, &[Column::Left, Column::Right], &rows);
        let want = "  key     1 B\n  k     12 kB\n  a.very.long.key.indeed\n          2 B\n";
        assert_eq!(page.as_str(), want);
    }

    #[test]
    fn names_cannot_control_the_terminal() {
        let mut page = Page::new(80);
        page.field("a", "x\u{1b}[2Jy");
        page.table(0, &[Column::Left], &[vec!["\u{7}".into()]]);
        assert!(!page.as_str().contains(['\u{7}']) && page.as_str().contains("\\u{1b}[2J"));
    }
}
