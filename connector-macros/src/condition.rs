use connector_key::MAX_FLAGS;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{LitInt, Token, parenthesized, token};

/// How many values the core keeps while it evaluates a condition.
const MAX_DEPTH: usize = 16;

/// A condition on flags, `tied && !(moe || qkv_bias)`, in postfix order.
#[derive(Clone, Default)]
pub struct Condition(Vec<Term>);

#[derive(Clone)]
enum Term {
    Flag(Ident),
    /// `axis < field + plus`
    Below {
        axis: Ident,
        field: Option<Ident>,
        plus: u64,
    },
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

    /// The axes that it compares, and the fields that it compares them with.
    pub fn compared(&self) -> impl Iterator<Item = (&Ident, Option<&Ident>)> {
        self.0.iter().filter_map(|term| match term {
            Term::Below { axis, field, .. } => Some((axis, field.as_ref())),
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
        let mut names: Vec<String> = self.0.iter().filter_map(Term::asked).collect();
        names.sort();
        names.dedup();
        !names.is_empty()
            && names.len() <= MAX_FLAGS
            && (0..1usize << names.len()).all(|bits| !self.holds(&names, bits))
    }

    fn holds(&self, names: &[String], bits: usize) -> bool {
        let mut stack: Vec<bool> = Vec::new();
        for term in &self.0 {
            let value = match term {
                Term::Flag(_) | Term::Below { .. } => {
                    let number = names.iter().position(|name| Some(name) == term.asked().as_ref());
                    number.is_some_and(|n| bits >> n & 1 == 1)
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
                Term::Flag(_) | Term::Below { .. } => now += 1,
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
            Term::Below { axis, field, plus } => {
                let (axis, text) = (axis.unraw().to_string(), below(axis, field.as_ref(), *plus));
                let field = field.as_ref().map_or(String::new(), |field| field.unraw().to_string());
                quote!(#private::Term::Below(#private::Below {
                    text: #text, axis: #axis, field: #field, plus: #plus
                }))
            }
            Term::Not => quote!(#private::Term::Not),
            Term::And => quote!(#private::Term::And),
            Term::Or => quote!(#private::Term::Or),
        });
        quote!(#private::Condition(&[#(#terms),*]))
    }
}

impl Term {
    /// What is asked, as it is written; of a connective nothing is.
    fn asked(&self) -> Option<String> {
        match self {
            Term::Flag(flag) => Some(flag.unraw().to_string()),
            Term::Below { axis, field, plus } => Some(below(axis, field.as_ref(), *plus)),
            Term::Not | Term::And | Term::Or => None,
        }
    }
}

/// `axis < 3`, `axis < field`, `axis < field + 1`
fn below(axis: &Ident, field: Option<&Ident>, plus: u64) -> String {
    let axis = axis.unraw();
    match (field.map(IdentExt::unraw), plus) {
        (None, plus) => format!("{axis} < {plus}"),
        (Some(field), 0) => format!("{axis} < {field}"),
        (Some(field), plus) => format!("{axis} < {field} + {plus}"),
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
        return Err(input.error(
            "expected a flag of the schema, or an axis that is compared, as in `tied && !moe`, \
             `layer == 0`",
        ));
    }
    let start = input.cursor();
    let flag: Ident = input.parse()?;
    if input.peek(token::Paren) {
        input.parse::<TokenTree>()?;
        let message = format!("a condition names a flag without its axis: write `{flag}`");
        return Err(syn::Error::new_range(start..input.cursor(), message));
    }
    match comparison(input)? {
        Some((operator, bound)) => compare(flag, operator, bound, terms),
        None => {
            terms.push(Term::Flag(flag));
            Ok(())
        }
    }
}

/// How an index is compared.
#[derive(Clone, Copy)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What an index is compared with.
enum Bound {
    Number(u64, Span),
    Field(Ident),
}

fn comparison(input: ParseStream<'_>) -> syn::Result<Option<(Operator, Bound)>> {
    let operator = if input.parse::<Option<Token![==]>>()?.is_some() {
        Operator::Equal
    } else if input.parse::<Option<Token![!=]>>()?.is_some() {
        Operator::Unequal
    } else if input.parse::<Option<Token![<=]>>()?.is_some() {
        Operator::LessOrEqual
    } else if input.parse::<Option<Token![>=]>>()?.is_some() {
        Operator::GreaterOrEqual
    } else if input.parse::<Option<Token![<]>>()?.is_some() {
        Operator::Less
    } else if input.parse::<Option<Token![>]>>()?.is_some() {
        Operator::Greater
    } else {
        return Ok(None);
    };
    if input.peek(LitInt) {
        let number: LitInt = input.parse()?;
        let value = number.base10_parse::<u32>()?;
        return Ok(Some((operator, Bound::Number(value.into(), number.span()))));
    }
    if !input.peek(syn::Ident) {
        let message = "an index is compared with a number or a field of the schema, as in \
                       `layer == 0`, `layer >= first_moe`";
        return Err(input.error(message));
    }
    Ok(Some((operator, Bound::Field(input.parse()?))))
}

/// Every comparison is one with what is below a bound, so that what they have to do with each other
/// is known.
fn compare(
    axis: Ident,
    operator: Operator,
    bound: Bound,
    terms: &mut Vec<Term>,
) -> syn::Result<()> {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    let is_zero = matches!(bound, Bound::Number(0, _));
    if let (Less | GreaterOrEqual, Bound::Number(0, span)) = (operator, &bound) {
        let message = "an index is 0 or more: this comparison always has the same result";
        return Err(syn::Error::new(*span, message));
    }
    let (field, number) = match bound {
        Bound::Number(number, _) => (None, number),
        Bound::Field(field) => (Some(field), 0),
    };
    let mut below = |more: u64| {
        let (axis, field) = (axis.clone(), field.clone());
        terms.push(Term::Below { axis, field, plus: number + more });
    };
    match operator {
        Less | GreaterOrEqual => below(0),
        LessOrEqual | Greater | Equal | Unequal => below(1),
    }
    if matches!(operator, Equal | Unequal) && !is_zero {
        below(0);
        terms.extend([Term::Not, Term::And]);
    }
    if matches!(operator, GreaterOrEqual | Greater | Unequal) {
        terms.push(Term::Not);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postfix(text: &str) -> Result<String, String> {
        let condition: Condition = syn::parse_str(text).map_err(|error| error.to_string())?;
        let terms = condition.0.iter().map(|term| match term {
            Term::Flag(name) => name.to_string(),
            Term::Below { axis, field, plus } => {
                below(axis, field.as_ref(), *plus).replace(' ', "")
            }
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
            ("l == 0", "l<1"),
            ("l != 0 && a", "l<1 ! a &"),
            ("l == 2", "l<3 l<2 ! &"),
            ("l < 2 || l > 2", "l<2 l<3 ! |"),
            ("l <= n", "l<n+1"),
            ("l >= n", "l<n !"),
            ("l != n", "l<n+1 l<n ! & !"),
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
            ("l < 0", "always has the same result"),
            ("l == \"a\"", "compared with a number or a field"),
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
