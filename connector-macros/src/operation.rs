use crate::core_path;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Path, PathArguments};

/// The type that carries the operation of a state transform or built-in operation named by a path.
pub struct Named {
    /// What makes `ty` known in the block that it is used in.
    pub items: TokenStream,
    pub ty: TokenStream,
}

impl Named {
    /// Looks `path` up; `number` tells it from the others in the same block.
    ///
    /// A plain function is no type, and the compiler would say only that. So the path is imported,
    /// and beside it, by `*`, a type of its name that has no operation: an import by name hides
    /// what `*` brings, but only where it finds something. Of a plain function it finds no type,
    /// and the compiler says of the other one what `Transform` says of all that have no operation.
    pub fn new(path: &Path, number: usize) -> Self {
        let name = match path.segments.last() {
            Some(last) if matches!(last.arguments, PathArguments::None) => &last.ident,
            _ => return Named { items: TokenStream::new(), ty: quote!(#path) },
        };
        if ["crate", "self", "super", "Self"].iter().any(|keyword| name == keyword) {
            return Named { items: TokenStream::new(), ty: quote!(#path) };
        }
        let here = core_path::span(path).resolved_at(Span::mixed_site());
        let ty = format_ident!("__Connector{number}", span = here);
        let module = format_ident!("__connector_{number}", span = here);
        let plain = Ident::new(&name.to_string(), here);
        let plain = match name.to_string().strip_prefix("r#") {
            Some(raw) => Ident::new_raw(raw, here),
            None => plain,
        };
        let items = quote_spanned! {here=>
            mod #module {
                mod plain {
                    #[allow(non_camel_case_types, dead_code)]
                    pub struct #plain {}
                }
                #[allow(unused_imports)]
                pub use self::plain::#plain as #ty;
            }
            #[allow(unused_imports)]
            use #module::*;
            #[allow(unused_imports)]
            use #path as #ty;
        };
        Named { items, ty: quote!(#ty) }
    }
}
