use crate::core_path;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Path, PathArguments};

/// What a state transform or built-in operation, named by a path, says of itself.
pub struct Said {
    /// What has to stand in the block around `value`.
    pub items: TokenStream,
    pub value: TokenStream,
}

/// Asks the type that `path` names: `question` is put to that type. `number` tells the items from
/// others in the same block.
///
/// A plain function is no type, and the compiler would say only that. So in a block of its own the
/// path is imported under another name, which around that block is the name of a type that has no
/// operation. Of a plain function the import finds no type, and the compiler says of the type
/// around it what `Transform` says of all that have none. Of a path that leads nowhere it says so.
pub fn ask(path: &Path, number: usize, question: impl Fn(&TokenStream) -> TokenStream) -> Said {
    let name = match path.segments.last() {
        Some(last) if matches!(last.arguments, PathArguments::None) => &last.ident,
        _ => return Said { items: TokenStream::new(), value: question(&quote!(#path)) },
    };
    let here = core_path::span(path).resolved_at(Span::mixed_site());
    let text = name.unraw().to_string();
    let plain = match ["crate", "self", "super", "Self"].contains(&text.as_str()) {
        true => return Said { items: TokenStream::new(), value: question(&quote!(#path)) },
        false if *name == text => Ident::new(&text, here),
        false => Ident::new_raw(&text, here),
    };
    let ty = format_ident!("__Connector{number}", span = here);
    let module = format_ident!("__connector_{number}", span = here);
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
        use #module::#ty;
    };
    let asked = question(&quote!(#ty));
    let value = quote! {{
        #[allow(unused_imports)]
        use #path as #ty;
        #asked
    }};
    Said { items, value }
}
