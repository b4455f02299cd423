use super::parse::Value;
use crate::args::{did_you_mean, list};
use crate::errors::Errors;
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};

/// Names of types after `keep`, with the variants of `Dtype`.
const DTYPES: [(&str, &str); 22] = [
    ("bool", "Bool"),
    ("f4", "F4"),
    ("f6_e2m3", "F6E2M3"),
    ("f6_e3m2", "F6E3M2"),
    ("u8", "U8"),
    ("i8", "I8"),
    ("f8_e5m2", "F8E5M2"),
    ("f8_e4m3", "F8E4M3"),
    ("f8_e5m2fnuz", "F8E5M2Fnuz"),
    ("f8_e4m3fnuz", "F8E4M3Fnuz"),
    ("f8_e8m0", "F8E8M0"),
    ("i16", "I16"),
    ("u16", "U16"),
    ("f16", "F16"),
    ("bf16", "Bf16"),
    ("i32", "I32"),
    ("u32", "U32"),
    ("f32", "F32"),
    ("c64", "C64"),
    ("f64", "F64"),
    ("i64", "I64"),
    ("u64", "U64"),
];

/// Refuses a name that nothing declared has.
pub fn declared(what: &str, name: &Ident, values: &[Value], errors: &Errors) {
    if !values.iter().any(|value| value.name == *name) {
        errors.at(name.span(), undeclared(what, &name.to_string(), values, ""));
    }
}

/// That nothing declared is called `name`; `place` shows where it stands.
pub fn undeclared(what: &str, name: &str, values: &[Value], place: &str) -> String {
    let known: Vec<String> = values.iter().map(|value| value.name.to_string()).collect();
    let (article, plural) = match what {
        "axis" => ("an", "axes".to_owned()),
        _ => ("a", format!("{what}s")),
    };
    let declare = format!("declare it with `{what} {name} = …;`");
    let near = did_you_mean(name, known.iter().map(String::as_str));
    let way_out = match (near.is_empty(), known.is_empty()) {
        (false, _) => near,
        (true, true) => format!("\n{declare}"),
        (true, false) => format!("\nits {plural} are {}; correct it, or {declare}", list(&known)),
    };
    format!("`{name}` is not {article} {what} of this schema{place}{way_out}")
}

/// Refuses an expression with an axis that is not bound there; `message` says so of the axis. The
/// compiler would say only that there is no such value.
pub fn unbound(
    expression: &TokenStream,
    axes: &[Value],
    bound: &[Ident],
    errors: &Errors,
    message: impl Fn(&Ident) -> String,
) {
    for axis in axes.iter().map(|axis| &axis.name).filter(|axis| !bound.contains(axis)) {
        if let Some(span) = used(expression, axis) {
            errors.at(span, message(axis));
        }
    }
}

/// Where an expression uses the value `name`. Nowhere, as far as is known, if it may bind the name
/// itself, in a `let` or as a closure's parameter.
fn used(expression: &TokenStream, name: &Ident) -> Option<Span> {
    let mut found = None;
    let tokens: Vec<TokenTree> = expression.clone().into_iter().collect();
    let is = |at: Option<&TokenTree>, chars: &str| matches!(at, Some(TokenTree::Punct(punct)) if chars.contains(punct.as_char()));
    for (i, token) in tokens.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| tokens.get(i));
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '|' => return None,
            TokenTree::Ident(word) if word == "let" || word == "for" => return None,
            TokenTree::Ident(word) if word == name => {
                let path = is(before, ".:") || is(tokens.get(i + 1), ":");
                let call = matches!(tokens.get(i + 1), Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Parenthesis);
                if !path && !call {
                    found = found.or(Some(word.span()));
                }
            }
            TokenTree::Group(group) => found = found.or(used(&group.stream(), name)),
            _ => {}
        }
    }
    found
}

/// The variant of `Dtype`.
pub fn dtype(keep: &Ident, errors: &Errors) -> Option<Ident> {
    let name = keep.to_string();
    let found = DTYPES.iter().find(|(known, _)| *known == name);
    if found.is_none() {
        let known = DTYPES.map(|(known, _)| known);
        // As PyTorch has it: `float32`, `bfloat16`, `float8_e4m3fn`.
        let short =
            name.to_lowercase().replace("float", "f").replace("int", "i").replace("ui", "u");
        let short = short.strip_suffix("fn").unwrap_or(&short);
        let near = match known.contains(&short) {
            true => format!("\ndid you mean `{short}`?"),
            false => did_you_mean(&name, known),
        };
        errors
            .at(keep.span(), format!("`{name}` is not a dtype{near}\nknown are {}", list(&known)));
    }
    found.map(|(_, variant)| Ident::new(variant, keep.span().resolved_at(Span::mixed_site())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_of_an_axis_is_found_where_nothing_else_can_be_meant() {
        let name = Ident::new("layer", Span::call_site());
        for (expression, want) in [
            ("layer", true),
            ("c.hidden * (layer + 1)", true),
            ("c.rows(layer)", true),
            ("c.layer", false),
            ("layer(2)", false),
            ("layer::COUNT", false),
            ("c.list.iter().filter(|layer| **layer > 1).count()", false),
            ("{ let layer = 3; layer }", false),
        ] {
            let found = used(&expression.parse().unwrap(), &name).is_some();
            assert_eq!(found, want, "{expression}");
        }
    }
}
