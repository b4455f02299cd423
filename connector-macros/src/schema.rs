mod expand;
mod names;
mod parse;
mod resolve;

use crate::core_path;
use crate::errors::Errors;
use parse::Declaration;
use proc_macro2::TokenStream;
use resolve::Parameters;
use syn::parse::{ParseStream, Parser};

/// `param_schema! { … }`: the model's type and its `Model` and `ParamSchema`.
pub fn expand(tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let parse = |input: ParseStream<'_>| Declaration::parse(input, &errors);
    let Some(declaration) = errors.ok(parse.parse2(tokens)) else { return errors.finish() };
    let private = core_path::private(declaration.core.as_ref());
    let parameters = Parameters::new(&declaration, &errors);
    expand::expand(&private, &declaration, &parameters, &errors.finish())
}
