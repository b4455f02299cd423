mod expand;
mod fold;
mod parse;

use crate::core_path;
use crate::errors::Errors;
use expand::Expansion;
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};

/// `mapping! { … }`: an expression of type `Mapping`, usable in constants.
pub fn expand(tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let parse = |input: ParseStream<'_>| {
        let core = core_path::parse_leading(input)?;
        Ok((core, parse::rows(input, &errors)))
    };
    let (core, rows) = errors.ok(parse.parse2(tokens)).unwrap_or_default();
    let private = core_path::private(core.as_ref());
    let mut expansion = Expansion::new(&private, &errors);
    let rows = expansion.rows(&rows);
    let checks = expansion.checks;
    let errors = errors.finish();
    quote!({
        #errors
        #checks
        #private::Mapping { rows: const { &[#(#rows),*] } }
    })
}
