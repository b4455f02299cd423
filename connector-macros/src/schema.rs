mod expand;
mod names;
mod parse;
mod resolve;

use crate::core_path;
use crate::errors::Errors;
use parse::Declaration;
pub use parse::Kind;
use proc_macro2::TokenStream;
use resolve::Parameters;
use syn::parse::{ParseStream, Parser};

/// `param_schema! { … }`: the model's type and its `Model` and `ParamSchema`; `param_block! { … }`: a
/// type with a `ParamSchema` alone.
pub fn expand(kind: Kind, tokens: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let parse = |input: ParseStream<'_>| Declaration::parse(kind, input, &errors);
    let Some(declaration) = errors.ok(parse.parse2(tokens)) else { return errors.finish() };
    let private = core_path::private(declaration.core.as_ref());
    let parameters = Parameters::new(&declaration, &errors);
    expand::expand(&private, &declaration, &parameters, &errors.finish())
}
