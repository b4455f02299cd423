mod expand;
mod parse;

use crate::core_path;
use crate::errors::Errors;
use parse::Declaration;
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};

/// `config_map! { Config { … } }`: an expression of type `ConfigMap`, usable in constants.
pub fn expand(tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let parse = |input: ParseStream<'_>| Declaration::parse(input, &errors);
    let declaration = errors.ok(parse.parse2(tokens));
    let private = core_path::private(declaration.as_ref().and_then(|it| it.core.as_ref()));
    let map = match &declaration {
        Some(declaration) => expand::map(declaration, &private, errors.is_empty()),
        // After a mistake there is still a map.
        None => {
            quote!(#private::ConfigMap { fields: &[], misfits: |_| #private::Vec::new(), rows: &[] })
        }
    };
    let errors = errors.finish();
    quote!({ #errors #map })
}
