use crate::errors::Errors;
use connector_key::{Choice, Pattern, SyntaxError, choices, substitute};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::fmt::Write;
use std::ops::Range;
use syn::LitStr;

/// A well-formed key pattern: a literal of the user's with its choices made.
#[derive(Clone, Debug)]
pub struct Key {
    text: String,
    span: Span,
}

impl Key {
    /// Checks the literal with `chosen` put in; `prefix` is that of the blocks around it.
    pub fn new(prefix: &str, literal: &LitStr, chosen: &[Chosen], errors: &Errors) -> Option<Self> {
        let text = choose(&literal.value(), chosen);
        // Checked by itself first, so that the caret stands under what the user wrote.
        errors.ok(check(&text, literal.span()))?;
        let text = if prefix.is_empty() { text } else { format!("{prefix}.{text}") };
        errors.ok(check(&text, literal.span()))?;
        Some(Key { text, span: literal.span() })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn pattern(&self) -> Pattern<'_> {
        Pattern::new(&self.text)
    }

    /// A `Pattern` of the core.
    pub fn expand(&self, private: &TokenStream) -> TokenStream {
        let text = LitStr::new(&self.text, self.span);
        let span = self.span.resolved_at(Span::mixed_site());
        quote_spanned!(span=> #private::Pattern::new(#text))
    }
}

/// The keys of one side of a rule with the choices made. All are looked at before the first
/// malformed one ends it.
pub fn keys(literals: &[LitStr], chosen: &[Chosen], errors: &Errors) -> Option<Vec<Key>> {
    let keys: Vec<_> = literals.iter().map(|l| Key::new("", l, chosen, errors)).collect();
    keys.into_iter().collect()
}

/// Refuses a key that stands twice on one side of a row or rule, which `what` says.
pub fn distinct(keys: &[Key], what: &str, errors: &Errors) {
    for (i, key) in keys.iter().enumerate() {
        if keys[..i].iter().any(|earlier| earlier.pattern() == key.pattern()) {
            let message = format!("`{}` is given twice in this {what}: correct one", key.text());
            errors.at(key.span(), message);
        }
    }
}

/// From the first source to the last target, for the span of a message.
pub struct KeySpan<'a>(pub &'a [Key], pub &'a [Key]);

impl ToTokens for KeySpan<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        for key in self.0.iter().chain(self.1) {
            LitStr::new(key.text(), key.span()).to_tokens(tokens);
        }
    }
}

/// A list of patterns of the core.
pub fn expand_all(keys: &[Key], private: &TokenStream) -> TokenStream {
    let keys = keys.iter().map(|key| key.expand(private));
    quote!(&[#(#keys),*])
}

fn check(text: &str, span: Span) -> syn::Result<()> {
    Pattern::parse(text).map(drop).map_err(|error| syn::Error::new(span, message(text, &error)))
}

/// What is wrong, with a caret under the place, and what to write instead.
pub fn message(text: &str, error: &SyntaxError) -> String {
    let mut out = error.kind().text().to_owned();
    out.push_str(&marked(text, error.range()));
    if let Some(advice) = error.kind().advice() {
        let _ = write!(out, "\n{advice}");
    }
    out
}

/// Two lines: the text, and carets under a part of it. A span cannot point inside a literal.
pub fn marked(text: &str, range: Range<usize>) -> String {
    if range.is_empty() || text.contains(|c: char| c.is_control()) {
        return String::new();
    }
    let (before, marked) = (&text[..range.start], &text[range]);
    let (indent, carets) = (before.chars().count(), marked.chars().count());
    format!("\n  {text}\n  {:indent$}{:^<carets$}", "", "")
}

/// Where a name stands inside of braces.
pub fn place_of(text: &str, name: &str) -> Range<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let braces = text
        .match_indices('{')
        .filter_map(|(open, _)| text[open..].find('}').map(|close| open..open + close));
    for Range { start, end } in braces {
        for (at, _) in text[start..end].match_indices(name) {
            let (from, to) = (start + at, start + at + name.len());
            if !text[..from].ends_with(word) && !text[to..].starts_with(word) {
                return from..to;
            }
        }
    }
    0..0
}

/// A choice made: the name in `{name:a|b}` and one of its texts.
pub type Chosen = (String, String);

/// `text` with the choices made.
pub fn choose(text: &str, chosen: &[Chosen]) -> String {
    chosen.iter().fold(text.to_owned(), |text, (name, to)| substitute(&text, name, to))
}

/// Every way to make the choices in the keys of one row, on top of those that the blocks around
/// it have made. A name is chosen once for the row: `{p:weight|bias}` in one key, `{p}` in others.
pub fn combinations<'a>(
    literals: impl IntoIterator<Item = &'a LitStr>,
    outer: &[Chosen],
    errors: &Errors,
) -> Option<Vec<Vec<Chosen>>> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for literal in literals {
        let text = literal.value();
        let list =
            choices(&text).map_err(|error| syn::Error::new(literal.span(), message(&text, &error)));
        for Choice { name, texts } in errors.ok(list)? {
            if outer.iter().any(|(other, _)| other == name) {
                let message = format!(
                    "the block around this row chooses `{name}` already: write `{{{name}}}`, which \
                     stands for the text that it has chosen"
                );
                errors.at(literal.span(), message);
                return None;
            }
            match found.iter().find(|(other, _)| other == name) {
                None => found.push((name.into(), texts.iter().map(|t| (*t).into()).collect())),
                Some((_, earlier)) if *earlier == texts => {}
                Some((_, earlier)) => {
                    let message = format!(
                        "`{name}` has other texts here than before ({}): repeat it as `{{{name}}}`",
                        earlier.join("|")
                    );
                    errors.at(literal.span(), message);
                    return None;
                }
            }
        }
    }
    let mut out = vec![outer.to_vec()];
    for (name, texts) in found {
        out = out
            .iter()
            .flat_map(|chosen| {
                texts.iter().map(|text| [&chosen[..], &[(name.clone(), text.clone())]].concat())
            })
            .collect();
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> LitStr {
        LitStr::new(text, Span::call_site())
    }

    #[test]
    fn the_caret_stands_under_the_mistake() {
        for (text, want) in [
            ("model.layers.**x.weight", "\n  model.layers.**x.weight\n               ^^"),
            ("a.{b", "\n  a.{b\n    ^"),
            ("ä.{b", "\n  ä.{b\n    ^"),
            ("a..b", "\n  a..b\n    ^"),
            (
                "{1}.b",
                "\n  {1}.b\n  ^^^\none index alone is written without braces: `layers.0.weight`",
            ),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            let message = message(text, &error);
            assert!(message.ends_with(want), "{message}");
        }
        for (text, name, want) in [
            ("layer.{layer}", "layer", 7..12),
            ("a.{layers + x}.{layer}", "layer", 16..21),
            ("a.{n + x}", "n", 3..4),
            ("a.n", "n", 0..0),
        ] {
            assert_eq!(place_of(text, name), want, "{text}");
        }
        let empty = message("", &Pattern::parse("").unwrap_err());
        assert_eq!(empty, "a key pattern may not be empty");
    }

    #[test]
    fn choices_are_made_once_for_all_keys_of_a_row() {
        let errors = Errors::new();
        let keys = [literal("a.{p:weight|bias}.{q:x|y}"), literal("b.{p}")];
        let combinations = combinations(&keys, &[], &errors).unwrap();
        let texts: Vec<_> = combinations.iter().map(|c| choose("{p} {q}", c)).collect();
        assert_eq!(texts, ["weight x", "weight y", "bias x", "bias y"]);
        assert!(errors.finish().is_empty());
    }

    #[test]
    fn one_name_has_one_list_of_texts() {
        let errors = Errors::new();
        let keys = [literal("a.{p:weight|bias}"), literal("b.{p:weight|scale}")];
        assert!(combinations(&keys, &[], &errors).is_none());
        let outer = [("p".to_owned(), "weight".to_owned())];
        assert!(combinations(&keys[..1], &outer, &errors).is_none());
        let message = errors.finish().to_string();
        assert!(message.contains("has other texts here than before (weight|bias)"), "{message}");
        assert!(message.contains("the block around this row chooses `p` already"), "{message}");
    }

    #[test]
    fn a_prefix_is_joined() {
        let errors = Errors::new();
        let key =
            Key::new("decoder.{layer}", &literal("mlp.{p}"), &[("p".into(), "w".into())], &errors);
        assert_eq!(key.unwrap().text(), "decoder.{layer}.mlp.w");
        assert!(Key::new("a.{layer}", &literal("{layer}"), &[], &errors).is_none());
        assert!(errors.finish().to_string().contains("captured twice"));
    }
}
