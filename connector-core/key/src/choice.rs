use crate::parse::{SyntaxError, SyntaxErrorKind, is_name};
use alloc::{string::String, vec, vec::Vec};

/// `{name:a|b}` in a pattern: a part that stands for one of several texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The name between `{` and `:`.
    pub name: &'a str,
    /// The texts, in order.
    pub texts: Vec<&'a str>,
}

/// The choices in a pattern, in order. `{name:word}` and `{name:field}` are none.
///
/// # Errors
/// If a choice is malformed or a name is given two different lists of texts.
pub fn choices(pattern: &str) -> Result<Vec<Choice<'_>>, SyntaxError> {
    let mut found: Vec<Choice<'_>> = Vec::new();
    let mut at = 0;
    while let Some(open) = pattern[at..].find('{').map(|i| at + i) {
        // An unclosed brace is for the pattern's own parser to report.
        let Some(close) = pattern[open..].find('}').map(|i| open + i) else { break };
        at = close + 1;
        let Some((name, list)) = pattern[open + 1..close].split_once(':') else { continue };
        if is_type(list) {
            continue;
        }
        let error = |kind| Err(SyntaxError::new(kind, open, close + 1 - open));
        let texts: Vec<&str> = list.split('|').collect();
        if texts.len() < 2 {
            return error(SyntaxErrorKind::UnknownType);
        }
        if !is_name(name.as_bytes()) {
            return error(SyntaxErrorKind::BadName);
        }
        let bad = |t: &&str| t.is_empty() || t.contains(['*', '{']);
        if texts.iter().any(bad) || (1..texts.len()).any(|i| texts[..i].contains(&texts[i])) {
            return error(SyntaxErrorKind::BadChoice);
        }
        match found.iter().find(|choice| choice.name == name) {
            None => found.push(Choice { name, texts }),
            Some(earlier) if earlier.texts == texts => {}
            Some(_) => return error(SyntaxErrorKind::BadChoice),
        }
    }
    Ok(found)
}

/// Whether what stands behind a colon is no list of texts.
fn is_type(list: &str) -> bool {
    matches!(list, "word" | "field")
}

/// Puts `text` where the pattern has the choice `{name:…}` or its repetition `{name}`.
pub fn substitute(pattern: &str, name: &str, text: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|i| open + i) else { break };
        let inner = &rest[open + 1..close];
        out.push_str(&rest[..open]);
        let chosen = match inner.split_once(':') {
            Some((chosen, list)) => (!is_type(list)).then_some(chosen),
            None => Some(inner),
        };
        if chosen == Some(name) {
            out.push_str(text);
        } else {
            out.push_str(&rest[open..=close]);
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

/// The patterns that `pattern` stands for: one for each combination of its choices.
///
/// ```
/// let expanded = connector_key::expand("mlp.down_proj.{p:weight|bias}")?;
/// assert_eq!(expanded, ["mlp.down_proj.weight", "mlp.down_proj.bias"]);
/// # Ok::<(), connector_key::SyntaxError>(())
/// ```
///
/// # Errors
/// As [`choices`].
pub fn expand(pattern: &str) -> Result<Vec<String>, SyntaxError> {
    let mut out = vec![String::from(pattern)];
    for Choice { name, texts } in choices(pattern)? {
        out = out
            .iter()
            .flat_map(|p| texts.iter().map(move |text| substitute(p, name, text)))
            .collect();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand_to_every_combination() {
        for (pattern, want) in [
            ("a.b", &["a.b"][..]),
            ("a.{p:weight|bias}", &["a.weight", "a.bias"]),
            ("{p:w|b}.{p}.{p:w|b}", &["w.w.w", "b.b.b"]),
            ("{p}.{p:w|b}", &["w.w", "b.b"]),
            ("{a:1|2}{b:x|y}", &["1x", "1y", "2x", "2y"]),
            ("{l}.{w:word}.{p:a|b}", &["{l}.{w:word}.a", "{l}.{w:word}.b"]),
            ("{p:a.b|c}", &["a.b", "c"]),
            ("{p:word|text}", &["word", "text"]),
            ("{n:field}.{p:a|b}", &["{n:field}.a", "{n:field}.b"]),
            ("{p:a|b:word}", &["a", "b:word"]),
            ("{2 + l}.{p:a|b}", &["{2 + l}.a", "{2 + l}.b"]),
            // An unclosed brace is left for the parser.
            ("{p:a|b}.{q", &["a.{q", "b.{q"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), want, "{pattern}");
        }
    }

    #[test]
    fn malformed_choices() {
        use SyntaxErrorKind::{BadChoice, BadName, UnknownType};
        for (pattern, kind, range) in [
            ("a.{p:weight}", UnknownType, 2..12),
            ("a.{p:}", UnknownType, 2..6),
            ("a.{:a|b}", BadName, 2..8),
            ("a.{p q:a|b}", BadName, 2..11),
            ("a.{p:a|}", BadChoice, 2..8),
            ("a.{p:a|a}", BadChoice, 2..9),
            ("a.{p:a|*}", BadChoice, 2..9),
            ("a.{p:a|{b}", BadChoice, 2..10),
            ("{p:a|b}.{p:b|a}", BadChoice, 8..15),
            ("{p:a|b}.{p:a|b|c}", BadChoice, 8..17),
        ] {
            let error = expand(pattern).unwrap_err();
            assert_eq!((error.kind(), error.range()), (kind, range), "{pattern}");
        }
    }

    #[test]
    fn only_the_name_is_substituted() {
        for (pattern, want) in [
            ("{p}.{p:a|b}.{pp}.p", "T.T.{pp}.p"),
            ("{p:word}.{q + p}", "{p:word}.{q + p}"),
            ("{p}.{q", "T.{q"),
            ("ä.{p}.ö", "ä.T.ö"),
        ] {
            assert_eq!(substitute(pattern, "p", "T"), want, "{pattern}");
        }
    }
}
