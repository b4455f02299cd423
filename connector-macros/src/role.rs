use crate::args;
use connector_key::Role;
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{LitStr, Token, parenthesized, token};

/// Words that say what a tensor is, behind `as`.
#[derive(Clone)]
pub struct Words(LitStr);

impl Words {
    /// `as transposed gate_up`, if it stands here. Words in `ends` belong to what follows.
    pub fn parse(input: ParseStream<'_>, ends: &[&str]) -> syn::Result<Option<Self>> {
        let Some(token) = input.parse::<Option<Token![as]>>()? else { return Ok(None) };
        let mut words: Vec<Ident> = Vec::new();
        while input.peek(syn::Ident) && !ends.iter().any(|end| begins(input, end)) {
            words.push(input.parse()?);
        }
        if words.is_empty() {
            return Err(input
                .error("expected what the tensor is, as in `as gate` or `as transposed gate_up`"));
        }
        let text = words.iter().map(Ident::to_string).collect::<Vec<_>>().join(" ");
        if Role::parse(&text).is_none() {
            let message = format!(
                "`{text}` says one thing twice\nbehind `as` stand one word for what the tensor is, and at most \
                 one of `expert`, `shared`; of `weight`, `bias`, `scale`; of `concatenated`, `grouped`, \
                 `interleaved`; and `transposed`"
            );
            return Err(syn::Error::new_spanned(quote!(#token #(#words)*), message));
        }
        Ok(Some(Words(LitStr::new(&text, token.span))))
    }

    /// A `Role` of the core.
    pub fn expand(said: Option<&Self>, private: &TokenStream) -> TokenStream {
        match said {
            Some(Words(words)) => quote!(#private::Role::new(#words)),
            None => quote!(#private::Role::UNKNOWN),
        }
    }
}

fn begins(input: ParseStream<'_>, word: &str) -> bool {
    input.fork().parse::<Ident>().is_ok_and(|next| next == word)
}

/// The keys of one side of a row, each with what is said of it.
pub fn keys(
    input: ParseStream<'_>,
    ends: &[&str],
) -> syn::Result<(Vec<LitStr>, Vec<Option<Words>>)> {
    let one = |input: ParseStream<'_>| {
        let key = input.parse::<LitStr>()?;
        Ok((key, Words::parse(input, &[])?))
    };
    if !input.peek(token::Paren) {
        // Of a list in brackets it says what to write.
        let key = args::strings(input)?;
        return Ok((key, vec![Words::parse(input, ends)?]));
    }
    let content;
    let paren = parenthesized!(content in input);
    let list = Punctuated::<_, Token![,]>::parse_terminated_with(&content, one)?;
    match list.is_empty() {
        true => Err(syn::Error::new(paren.span.join(), "this tuple of keys is empty")),
        false => Ok(list.into_iter().unzip()),
    }
}
