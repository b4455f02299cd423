use crate::errors::Errors;
use connector_key::{distance, similar};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::Token;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{LitStr, parenthesized, token};

/// Reads `name`, `name = value`, `name(…)`, separated by commas. `read` takes what follows a name
/// that is among `known`. A mistake costs the one argument; reading goes on after the next comma.
pub fn read(
    attribute: &str,
    tokens: TokenStream,
    known: &[&str],
    errors: &Errors,
    mut read: impl FnMut(&Ident, ParseStream<'_>) -> syn::Result<()>,
) {
    let mut seen: Vec<Ident> = Vec::new();
    let mut argument = |input: ParseStream<'_>| {
        let name = input.call(Ident::parse_any)?;
        if !known.iter().any(|k| name == k) {
            errors.at(name.span(), unknown(attribute, &name.to_string(), known));
            skip_to_comma(input);
            return Ok(());
        }
        if seen.contains(&name) {
            let tuple = match name.to_string().as_str() {
                "source_key" | "target_key" | "reads" => {
                    format!("\nseveral keys are a tuple: `{name} = (\"…\", \"…\")`")
                }
                _ => String::new(),
            };
            errors.at(name.span(), format!("`{name}` is given twice: keep one{tuple}"));
        }
        seen.push(name.clone());
        read(&name, input)?;
        match input.is_empty() || input.peek(Token![,]) {
            true => Ok(()),
            false => Err(input.error(format!("expected `,` after `{name}`"))),
        }
    };
    let all = |input: ParseStream<'_>| {
        while !input.is_empty() {
            if let Err(error) = argument(input) {
                errors.add(error);
                skip_to_comma(input);
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    errors.ok(all.parse2(tokens));
}

fn unknown(attribute: &str, name: &str, known: &[&str]) -> String {
    let near = did_you_mean(name, known.iter().copied());
    format!("`{attribute}` has no argument `{name}`{near}\nit takes {}", list(known))
}

/// A line `did you mean …?` with the nearest of `known`, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let near = known.into_iter().filter(|k| similar(name, k)).min_by_key(|k| distance(name, k));
    near.map(|near| format!("\ndid you mean `{near}`?")).unwrap_or_default()
}

/// `` `a`, `b` ``
pub fn list(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Drops tokens up to the next comma, where reading can go on.
pub fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) && input.parse::<TokenTree>().is_ok() {}
}

/// A string, or a tuple of strings.
pub fn strings(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    if input.peek(token::Bracket) {
        let written: TokenTree = input.parse()?;
        let message = "several keys are a tuple: write `(\"…\", \"…\")`, not `[…]`";
        return Err(syn::Error::new(written.span(), message));
    }
    if !input.peek(token::Paren) {
        return Ok(vec![input.parse()?]);
    }
    let content;
    let paren = parenthesized!(content in input);
    let list = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
    match list.is_empty() {
        true => Err(syn::Error::new(paren.span.join(), "this tuple of keys is empty")),
        false => Ok(list.into_iter().collect()),
    }
}

/// `1 source key`, `2 source keys`.
pub fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
