//! Names and texts from a checkpoint as Rust: whatever they hold, the draft stays a Rust file.

/// A string literal.
pub fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// A text for a comment or a message, on one line.
pub fn plain(text: &str) -> String {
    let keep = |c| matches!(c, '"' | '\'' | '\\');
    let escaped = |c: char| if keep(c) { c.to_string() } else { c.escape_debug().to_string() };
    text.chars().map(escaped).collect()
}

/// The words that cannot name a field or an axis.
const RESERVED: [&str; 54] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "union", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "word", "c",
];

/// A name for a field or an axis, in snake case. `text_config.head_dim` becomes `head_dim`.
pub fn identifier(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or_default();
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let mut name: String = last.chars().map(letter).take(60).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || RESERVED.contains(&name.as_str()) {
        name.insert_str(0, "the_");
    }
    name
}

/// `name`, with a number behind it if `taken` has it.
pub fn unique(name: String, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(|name| !taken(name)).unwrap_or(name)
}

/// What an architecture says after the model's name.
const ENDINGS: [&str; 5] =
    ["ForConditionalGeneration", "ForCausalLM", "LMHeadModel", "ForCausalLm", "Model"];

/// The model's name in an architecture: `Mixtral` of `MixtralForCausalLM`.
pub fn model(architecture: Option<&str>) -> String {
    let whole = architecture.unwrap_or_default();
    let name = ENDINGS.iter().find_map(|ending| whole.strip_suffix(ending)).unwrap_or(whole);
    let mut name: String = name.chars().filter(char::is_ascii_alphanumeric).take(60).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        name.insert_str(0, "My");
    }
    name[..1].to_ascii_uppercase() + &name[1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_their_architecture() {
        for (architecture, want) in [
            (Some("MixtralForCausalLM"), "Mixtral"),
            (Some("GPT2LMHeadModel"), "GPT2"),
            (Some("llamaModel"), "Llama"),
            (Some("Model"), "My"),
            (Some("42ForCausalLM"), "My42"),
            (Some("Évil\"; }"), "Vil"),
            (Some(""), "My"),
            (None, "My"),
        ] {
            assert_eq!(model(architecture), want, "{architecture:?}");
        }
    }

    #[test]
    fn names_become_identifiers() {
        for (path, want) in [
            ("head_dim", "head_dim"),
            ("text_config.head_dim", "head_dim"),
            ("dModel", "dmodel"),
            ("type", "the_type"),
            ("4bit", "the_4bit"),
            ("größe", "gr__e"),
            ("", "the_"),
        ] {
            assert_eq!(identifier(path), want, "{path}");
        }
        assert_eq!(unique("a".into(), |name| matches!(name, "a" | "a_2")), "a_3");
    }

    #[test]
    fn texts_stay_on_their_line() {
        assert_eq!(plain("a\n\u{202e}\"'\\é"), r#"a\n\u{202e}"'\é"#);
        assert_eq!(literal("a\n\"{}"), r#""a\n\"{}""#);
    }
}
