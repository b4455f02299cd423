//! The rows of importers, found in their source text.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A source file of the families.
pub struct Source {
    pub text: String,
    pub is_importer: bool,
    /// The names of its mappings.
    pub mappings: Vec<String>,
}

/// A row that makes a parameter.
#[derive(Clone)]
pub struct Row {
    /// The file, as [`read`] calls it.
    pub file: PathBuf,
    /// Where the row stands, without the comma behind it.
    pub range: Range<usize>,
    /// Where its first target stands, with the quotes.
    pub target: Range<usize>,
    /// The target, of a choice the first text.
    pub name: String,
}

/// All source files of the families, and of what they share: by their paths below `families/`, or with
/// the folder `gpt/`.
pub fn read(src: &Path) -> BTreeMap<PathBuf, Source> {
    let mut sources = BTreeMap::new();
    let families = src.join("families");
    let mut folders = vec![families.clone(), src.join("gpt")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let is_importer = text.contains("#[model_importer");
                let name = path.strip_prefix(&families).or(path.strip_prefix(src)).unwrap();
                let constants = text.split("const ").skip(1).filter_map(|after| {
                    let (name, value) = after.split_once(": Mapping = mapping!")?;
                    let is_name = name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                    (is_name && !value.is_empty()).then(|| name.to_string())
                });
                let mappings = constants.collect();
                sources.insert(name.to_path_buf(), Source { text, is_importer, mappings });
            }
        }
    }
    sources
}

/// The importers and the rows of each, those that it includes too.
pub fn importers(sources: &BTreeMap<PathBuf, Source>) -> Vec<(PathBuf, Vec<Row>)> {
    let importers = sources.iter().filter(|(_, source)| source.is_importer);
    importers
        .map(|(file, _)| {
            let mut rows = Vec::new();
            let mut wanted = vec!["MAPPING".to_string()];
            while let Some(name) = wanted.pop() {
                let of = |path: &PathBuf| name != "MAPPING" || path == file;
                let found =
                    sources.iter().filter(|(path, _)| of(path)).find_map(|(path, source)| {
                        Some((path, mapping(source.text.parse().unwrap(), &name)?))
                    });
                let (path, body) = found.unwrap_or_else(|| panic!("no mapping {name}"));
                let mut reader =
                    Reader { file: path.clone(), rows: &mut rows, includes: &mut wanted };
                reader.rows(body, &BTreeMap::new());
            }
            (file.clone(), rows)
        })
        .collect()
}

/// What stands in `const NAME: Mapping = mapping! { … }`.
fn mapping(tokens: TokenStream, name: &str) -> Option<TokenStream> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |token: &TokenTree, text: &str| token.to_string() == text;
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token
            && let Some(found) = mapping(group.stream(), name)
        {
            return Some(found);
        }
        if is(token, "const") && tokens.get(at + 1).is_some_and(|next| is(next, name)) {
            let mut rest = tokens[at..].iter().skip_while(|token| !is(token, "mapping"));
            if let Some(TokenTree::Group(group)) = rest.nth(2) {
                return Some(group.stream());
            }
        }
    }
    None
}

struct Reader<'a> {
    file: PathBuf,
    rows: &'a mut Vec<Row>,
    includes: &'a mut Vec<String>,
}

impl Reader<'_> {
    /// Reads rows; `chosen` has the first text of each choice around them.
    fn rows(&mut self, body: TokenStream, chosen: &BTreeMap<String, String>) {
        let mut row: Vec<TokenTree> = Vec::new();
        for token in body {
            let ends = match &token {
                TokenTree::Punct(punct) => punct.as_char() == ',',
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                _ => false,
            };
            if let (TokenTree::Group(group), true) = (&token, ends) {
                self.block(&row, group, chosen);
                row.clear();
            } else if ends {
                self.row(&row, chosen);
                row.clear();
            } else {
                row.push(token);
            }
        }
        self.row(&row, chosen);
    }

    fn block(&mut self, head: &[TokenTree], body: &Group, chosen: &BTreeMap<String, String>) {
        if head.first().is_some_and(|token| token.to_string() == "one_of") {
            for token in body.stream() {
                if let TokenTree::Group(branch) = token {
                    self.rows(branch.stream(), chosen);
                }
            }
            return;
        }
        self.rows(body.stream(), &choices(head, chosen));
    }

    fn row(&mut self, row: &[TokenTree], chosen: &BTreeMap<String, String>) {
        let text: Vec<String> = row.iter().map(TokenTree::to_string).collect();
        if text.first().is_some_and(|first| first == ".") {
            self.includes.extend(text.last().cloned());
            return;
        }
        let Some(arrow) = text.windows(2).position(|pair| pair[0] == "=" && pair[1] == ">") else {
            return;
        };
        let chosen = choices(row, chosen);
        let literal = literals(&row[arrow + 2..arrow + 3])[0].clone();
        let mut name = literal.0.clone();
        for (choice, first) in &chosen {
            name = name.replace(&format!("{{{choice}}}"), first);
        }
        let start = row[0].span().byte_range().start;
        let end = row.last().unwrap().span().byte_range().end;
        let file = self.file.clone();
        self.rows.push(Row { file, range: start..end, target: literal.1, name });
    }
}

/// The first text of each `{name:a|b}` in `tokens`, and of those around.
fn choices(tokens: &[TokenTree], around: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = around.clone();
    for (literal, _) in literals(tokens) {
        for capture in literal.split('{').skip(1) {
            let inside = capture.split('}').next().unwrap();
            if let Some((name, texts)) = inside.split_once(':')
                && let Some((first, _)) = texts.split_once('|')
            {
                all.insert(name.into(), first.into());
            }
        }
    }
    all
}

/// The string literals in `tokens`, those of tuples too: their text and where they stand.
fn literals(tokens: &[TokenTree]) -> Vec<(String, Range<usize>)> {
    let mut all = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                all.push((text.trim_matches('"').into(), literal.span().byte_range()));
            }
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                all.extend(literals(&inside));
            }
            _ => {}
        }
    }
    all
}
