use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::parse::ParseStream;

/// An axis that only one side of a rule has in its keys: the core's `Fold`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fold {
    None,
    Stack(String),
    Unstack(String),
    Gather(String),
    Spread(String),
    Repeat(String),
}

impl Fold {
    pub fn expand(&self, private: &TokenStream) -> TokenStream {
        match self {
            Fold::None => quote!(#private::Fold::None),
            Fold::Stack(axis) => quote!(#private::Fold::Stack(#axis)),
            Fold::Unstack(axis) => quote!(#private::Fold::Unstack(#axis)),
            Fold::Gather(axis) => quote!(#private::Fold::Gather(#axis)),
            Fold::Spread(axis) => quote!(#private::Fold::Spread(#axis)),
            Fold::Repeat(axis) => quote!(#private::Fold::Repeat(#axis)),
        }
    }
}

/// A fold that the user writes: `stack expert`, `unstack expert`, in rows also `repeat layer`.
pub enum Written {
    Stack(Ident),
    Unstack(Ident),
    Repeat(Ident),
}

/// The name of an axis; `example` is how it is written.
pub fn axis(input: ParseStream<'_>, example: &str) -> syn::Result<Ident> {
    if !input.peek(syn::Ident) {
        return Err(input.error(format!("expected the name of an axis, as in `{example}`")));
    }
    input.parse()
}
