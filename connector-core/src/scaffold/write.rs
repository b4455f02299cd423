//! The draft's text. It is formatted as rustfmt formats it.

use super::config::Field;
use super::idioms::SettingKind;
use super::names::{literal, plain};
use super::recognise::Entry;
use super::shapes::Dimension;
use std::fmt::Write;

/// Where rustfmt breaks lines.
const WIDTH: usize = 100;

/// Lines at a depth of indentation.
#[derive(Default)]
pub struct Page {
    text: String,
    depth: usize,
}

impl Page {
    pub fn line(&mut self, text: &str) {
        if !text.is_empty() {
            (0..self.depth).for_each(|_| self.text.push_str("    "));
            self.text.push_str(text);
        }
        self.text.push('\n');
    }

    /// A line that opens a bracket.
    pub fn open(&mut self, text: &str) {
        self.line(text);
        self.depth += 1;
    }

    /// A line that closes one.
    pub fn close(&mut self, text: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(text);
    }

    /// Lines one step further in.
    pub fn nest(&mut self, lines: impl FnOnce(&mut Page)) {
        self.depth += 1;
        lines(self);
        self.depth -= 1;
    }

    /// Lines of prose behind `mark`, `//` or `//!`.
    pub fn prose(&mut self, mark: &str, first: &str, text: &str) {
        let (mut line, mut start) = (format!("{mark} {first}"), true);
        let rest = format!("{mark} {}", " ".repeat(first.len()));
        for word in text.split(' ') {
            let width = self.depth * 4 + line.chars().count() + 1 + word.chars().count();
            if !start && width > WIDTH {
                self.line(line.trim_end());
                line.clone_from(&rest);
                start = true;
            }
            if !start {
                line.push(' ');
            }
            line.push_str(word);
            start = false;
        }
        self.line(line.trim_end());
    }

    /// `use path::{names};`
    pub fn import(&mut self, path: &str, names: &[&str]) {
        let whole = format!("use {path}::{{{}}};", names.join(", "));
        if self.fits(&whole) {
            return self.line(&whole);
        }
        self.open(&format!("use {path}::{{"));
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        self.list(&names);
        self.close("};");
    }

    /// Items with a comma behind each, as many on a line as it takes.
    pub fn list(&mut self, items: &[String]) {
        let mut line = String::new();
        for item in items {
            let longer =
                if line.is_empty() { format!("{item},") } else { format!("{line} {item},") };
            if !self.fits(&longer) {
                self.line(&line);
                line = format!("{item},");
            } else {
                line = longer;
            }
        }
        self.line(&line);
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn fits(&self, text: &str) -> bool {
        self.depth * 4 + text.chars().count() <= WIDTH
    }

    /// A row of a mapping.
    pub fn row(&mut self, row: &Row<'_>) {
        let sources: Vec<String> = row.sources.iter().map(|source| literal(source)).collect();
        let mut end = format!(" => {}", literal(row.target));
        if !row.via.is_empty() {
            let _ = write!(end, " via {}", row.via);
        }
        if !row.fold.is_empty() {
            let _ = write!(end, " {}", row.fold);
        }
        end.push(',');
        if let [source] = &sources[..] {
            let whole = format!("{source}{end}");
            if self.fits(&whole) {
                return self.line(&whole);
            }
            self.line(source);
            return self.nest(|page| page.line(end.trim_start()));
        }
        let whole = format!("({}){end}", sources.join(", "));
        if self.fits(&whole) {
            return self.line(&whole);
        }
        self.open("(");
        sources.iter().for_each(|source| self.line(&format!("{source},")));
        self.close(&format!("){end}"));
    }

    /// A parameter of the schema.
    pub fn parameter(&mut self, entry: &Entry, condition: &str) {
        let mut notes: Vec<&str> = Vec::new();
        for dimension in &entry.shape {
            let Dimension::Formula { notes: new, .. } = dimension else { continue };
            let news: Vec<&str> =
                new.iter().map(String::as_str).filter(|note| !notes.contains(note)).collect();
            notes.extend(news);
        }
        let condition =
            if condition.is_empty() { String::new() } else { format!(" if {condition}") };
        let note =
            if notes.is_empty() { String::new() } else { format!(" // {}", notes.join("; ")) };
        let shape: Vec<String> = entry.shape.iter().map(dimension).collect();
        let name = literal(&entry.target);
        let shape = format!("[{}]{condition};{note}", shape.join(", "));
        let whole = format!("{name}: {shape}");
        if self.fits(&whole) {
            return self.line(&whole);
        }
        self.line(&format!("{name}:"));
        self.nest(|page| page.line(&shape));
    }
}

fn dimension(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Formula { text, .. } => text.clone(),
        Dimension::Undecided(reason) => undecided(&format!("this dimension is {reason}")),
    }
}

/// An expression that the compiler refuses, saying what to decide.
pub fn undecided(what: &str) -> String {
    format!("compile_error!({})", literal(&format!("decide: {}", plain(what))))
}

/// A statement or an item that the compiler refuses, saying what to decide.
pub fn refuse(page: &mut Page, what: &str) {
    let whole = format!("{};", undecided(what));
    if page.fits(&whole) {
        return page.line(&whole);
    }
    page.open("compile_error!(");
    page.line(&literal(&format!("decide: {}", plain(what))));
    page.close(");");
}

/// A row of a mapping.
pub struct Row<'a> {
    pub sources: &'a [String],
    pub target: &'a str,
    pub via: &'a str,
    pub fold: &'a str,
}

/// The Rust type of a field.
pub fn rust_type(field: &Field) -> &'static str {
    match field.kind {
        SettingKind::Size | SettingKind::Count => "usize",
        SettingKind::Real => "f64",
        SettingKind::Switch => "bool",
        SettingKind::Text => "String",
    }
}
