mod expand;
mod fold;
mod parse;
mod places;

pub use places::Place;

use crate::core_path;
use crate::errors::Errors;
use expand::Expansion;
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};

/// Where the rows inside `mapping! { … }` stand. None if they cannot be read: `mapping!` itself says
/// why.
pub fn places(tokens: TokenStream) -> Vec<Place> {
    let errors = Errors::new();
    let parse = |input: ParseStream<'_>| {
        core_path::parse_leading(input)?;
        Ok(parse::rows(input, &errors))
    };
    let rows = parse.parse2(tokens).unwrap_or_default();
    let mut out = Vec::new();
    if errors.is_empty() {
        places::places(&rows, &mut out);
    }
    drop(errors.finish());
    out
}

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
