use connector_key::MAX_FLAGS;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Token, parenthesized, token};

/// How many values the core keeps while it evaluates a condition.
const MAX_DEPTH: usize = 16;

/// A condition on flags, `tied && !(moe || qkv_bias)`, in postfix order.
#[derive(Clone, Default)]
pub struct Condition(Vec<Term>);

#[derive(Clone)]
enum Term {
    Flag(Ident),
    Not,
    And,
    Or,
}

impl Condition {
    /// The flags that it names.
    pub fn flags(&self) -> impl Iterator<Item = &Ident> {
        self.0.iter().filter_map(|term| match term {
            Term::Flag(name) => Some(name),
            _ => None,
        })
    }

    /// Holds where a flag does.
    pub fn flag(name: &Ident) -> Condition {
        Condition(vec![Term::Flag(name.clone())])
    }

    /// Holds where both do.
    pub fn and(&self, other: &Condition) -> Condition {
        let mut terms = [&self.0[..], &other.0[..]].concat();
        if !self.0.is_empty() && !other.0.is_empty() {
            terms.push(Term::And);
        }
        Condition(terms)
    }

    /// Whether it holds under no combination of its flags.
    pub fn is_never(&self) -> bool {
        let mut names: Vec<&Ident> = self.flags().collect();
        names.sort();
        names.dedup();
        !names.is_empty()
            && names.len() <= MAX_FLAGS
            && (0..1usize << names.len()).all(|bits| !self.holds(&names, bits))
    }

    fn holds(&self, names: &[&Ident], bits: usize) -> bool {
        let mut stack: Vec<bool> = Vec::new();
        for term in &self.0 {
            let value = match term {
                Term::Flag(flag) => {
                    names.iter().position(|name| *name == flag).is_some_and(|n| bits >> n & 1 == 1)
                }
                Term::Not => !stack.pop().unwrap_or_default(),
                Term::And | Term::Or => {
                    let [b, a] = [(); 2].map(|()| stack.pop().unwrap_or_default());
                    if matches!(term, Term::And) { a && b } else { a || b }
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or(true)
    }

    /// How many values its evaluation holds at once.
    fn depth(&self) -> usize {
        let (mut now, mut most) = (0usize, 0);
        for term in &self.0 {
            match term {
                Term::Flag(_) => now += 1,
                Term::Not => {}
                Term::And | Term::Or => now -= 1,
            }
            most = most.max(now);
        }
        most
    }

    /// A `Condition` of the core.
    pub fn expand(&self, private: &TokenStream) -> TokenStream {
        if self.0.is_empty() {
            return quote!(#private::Condition::ALWAYS);
        }
        let terms = self.0.iter().map(|term| match term {
            Term::Flag(name) => {
                let name = name.unraw().to_string();
                quote!(#private::Term::Flag(#name))
            }
            Term::Not => quote!(#private::Term::Not),
            Term::And => quote!(#private::Term::And),
            Term::Or => quote!(#private::Term::Or),
        });
        quote!(#private::Condition(&[#(#terms),*]))
    }
}

impl Parse for Condition {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let start = input.cursor();
        let mut terms = Vec::new();
        any(input, &mut terms)?;
        let condition = Condition(terms);
        let mistake = match () {
            () if condition.depth() > MAX_DEPTH => "this condition is nested too deeply",
            () if condition.is_never() => {
                "this condition never holds, whatever its flags are\ncorrect it, or drop what it is for"
            }
            () => return Ok(condition),
        };
        Err(syn::Error::new_range(start..input.cursor(), mistake))
    }
}

fn any(input: ParseStream<'_>, terms: &mut Vec<Term>) -> syn::Result<()> {
    all(input, terms)?;
    while input.parse::<Option<Token![||]>>()?.is_some() {
        all(input, terms)?;
        terms.push(Term::Or);
    }
    Ok(())
}

fn all(input: ParseStream<'_>, terms: &mut Vec<Term>) -> syn::Result<()> {
    one(input, terms)?;
    while input.parse::<Option<Token![&&]>>()?.is_some() {
        one(input, terms)?;
        terms.push(Term::And);
    }
    Ok(())
}

fn one(input: ParseStream<'_>, terms: &mut Vec<Term>) -> syn::Result<()> {
    if input.parse::<Option<Token![!]>>()?.is_some() {
        one(input, terms)?;
        terms.push(Term::Not);
        return Ok(());
    }
    if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        any(&content, terms)?;
        return match content.is_empty() {
            true => Ok(()),
            false => Err(content.error("expected `&&`, `||` or the end of the condition")),
        };
    }
    if !input.peek(syn::Ident) {
        return Err(input.error("expected a flag of the schema, as in `tied && !moe`"));
    }
    let start = input.cursor();
    let flag: Ident = input.parse()?;
    if input.peek(token::Paren) {
        input.parse::<TokenTree>()?;
        let message = format!("a condition names a flag without its axis: write `{flag}`");
        return Err(syn::Error::new_range(start..input.cursor(), message));
    }
    terms.push(Term::Flag(flag));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postfix(text: &str) -> Result<String, String> {
        let condition: Condition = syn::parse_str(text).map_err(|error| error.to_string())?;
        let terms = condition.0.iter().map(|term| match term {
            Term::Flag(name) => name.to_string(),
            Term::Not => "!".into(),
            Term::And => "&".into(),
            Term::Or => "|".into(),
        });
        Ok(terms.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn connectives_bind_as_in_rust() {
        for (text, want) in [
            ("a", "a"),
            ("!a", "a !"),
            ("!!a", "a ! !"),
            ("a && b || c", "a b & c |"),
            ("a || b && c", "a b c & |"),
            ("tied && !(moe || bias)", "tied moe bias | ! &"),
        ] {
            assert_eq!(postfix(text).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, want) in [
            ("", "expected a flag"),
            ("a &&", "expected a flag"),
            ("(a b)", "expected `&&`, `||`"),
            ("moe(layer)", "without its axis: write `moe`"),
            ("a && !a", "never holds"),
            ("(a || b) && !b && !a", "never holds"),
        ] {
            assert!(postfix(text).is_err_and(|error| error.contains(want)), "{text}");
        }
        let deep = format!("a{}{}", "&& (a".repeat(16), ")".repeat(16));
        assert!(postfix(&deep).is_err_and(|error| error.contains("nested too deeply")));
    }

    #[test]
    fn joined_conditions_hold_together() {
        let parse = |text| syn::parse_str::<Condition>(text).unwrap();
        assert_eq!(parse("a || b").and(&parse("!c")).0.len(), 6);
        assert_eq!(Condition::default().and(&parse("a")).0.len(), 1);
    }
}
