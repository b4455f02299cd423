use super::parse::{Declaration, Value};
use super::resolve::{Parameters, Resolved};
use crate::core_path;
use crate::pattern::expand_all;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

/// The model's type and its traits.
pub fn expand(
    private: &TokenStream,
    declaration: &Declaration,
    parameters: &Parameters<'_>,
    errors: &TokenStream,
) -> TokenStream {
    let Declaration { attributes, vis, name, config_ty, .. } = declaration;
    let text = name.to_string();
    let constant = constant(private, declaration, parameters, errors);
    let functions = functions(declaration, parameters, !errors.is_empty());
    let new_doc = format!("The model `{text}` under `config`.");
    quote! {
        #(#attributes)*
        #vis struct #name {
            config: #config_ty,
        }

        #[automatically_derived]
        #[allow(dead_code)]
        impl #name {
            #[doc = #new_doc]
            #vis fn new(config: #config_ty) -> Self {
                Self { config }
            }

            /// The config.
            #vis fn config(&self) -> &#config_ty {
                &self.config
            }
        }

        #[automatically_derived]
        impl #private::Model for #name {
            type Config = #config_ty;
            const SCHEMA: ::core::option::Option<#private::Schema> =
                ::core::option::Option::Some(<Self as #private::ParamSchema>::PARAMETERS);

            fn instance(
                config: &Self::Config,
            ) -> ::core::option::Option<#private::Box<dyn #private::Instance>> {
                ::core::option::Option::Some(#private::instance::<Self>(config))
            }
        }

        #[automatically_derived]
        impl #private::ParamSchema for #name {
            #constant
            #functions
        }
    }
}

/// `PARAMETERS`: what is known without a config. The mistakes are inside, so that the compiler does
/// not hold mappings against a schema that is not whole.
fn constant(
    private: &TokenStream,
    declaration: &Declaration,
    parameters: &Parameters<'_>,
    errors: &TokenStream,
) -> TokenStream {
    let Declaration { name, axes, fields, flags, .. } = declaration;
    let text = name.to_string();
    let names = |values: &[Value]| {
        let names = values.iter().map(|value| value.name.to_string());
        quote!(&[#(#names),*])
    };
    let (axes, fields, flags) = (names(axes), names(fields), names(flags));
    let parameters = parameters.list.iter().map(|resolved| {
        let Resolved { key, when, aka, written_as, keep, .. } = resolved;
        let pattern = key.expand(private);
        let when = when.expand(private);
        let aka = expand_all(aka, private);
        let written_as = written_as.iter().map(|(when, number)| {
            let when = when.expand(private);
            quote!((#when, #number))
        });
        let keep = match keep {
            Some(dtype) => quote!(::core::option::Option::Some(#private::Dtype::#dtype)),
            None => quote!(::core::option::Option::None),
        };
        let at = core_path::location(private, key.span());
        quote! {
            #private::Parameter {
                pattern: #pattern,
                when: #when,
                aka: #aka,
                written_as: &[#(#written_as),*],
                keep: #keep,
                at: #at,
            }
        }
    });
    let at = core_path::location(private, name.span());
    quote! {
        const PARAMETERS: #private::Schema = {
            #errors
            #private::Schema {
                model: #text,
                axes: #axes,
                fields: #fields,
                flags: #flags,
                parameters: &[#(#parameters),*],
                at: #at,
            }
        };
    }
}

/// The functions that evaluate the user's expressions under a config. In each arm only the axes
/// that the value depends on are bound: another one has no meaning there. After a mistake all are,
/// because one that is missing has been reported.
fn functions(declaration: &Declaration, parameters: &Parameters<'_>, broken: bool) -> TokenStream {
    let Declaration { config, axes, fields, flags, .. } = declaration;
    let number = Ident::new("number", Span::mixed_site());
    let at = Ident::new("at", Span::mixed_site());
    let bind = |indices: &[usize]| {
        let bound = (0..axes.len()).filter(|index| broken || indices.contains(index));
        let lets = bound.map(|index| {
            let name = &axes[index].name;
            quote!(let #name: ::core::primitive::usize = #at[#index];)
        });
        quote!(#(#lets)*)
    };
    // An axis depends on none.
    let none = |_: &[usize]| TokenStream::new();
    let arms = |values: &[Value], ty: &str, bind: &dyn Fn(&[usize]) -> TokenStream| {
        let arms = values.iter().enumerate().filter_map(|(i, value)| {
            let of = |axis: &Ident| axes.iter().position(|declared| declared.name == *axis);
            // Without an arm if an axis is not declared, which has been reported.
            let bound = bind(&value.of.iter().map(of).collect::<Option<Vec<_>>>()?);
            let value = typed(ty, &value.value);
            Some(quote!(#i => { #bound #value }))
        });
        quote!(#(#arms)*)
    };
    let (lengths, numbers, switches) =
        (arms(axes, "usize", &none), arms(fields, "usize", &bind), arms(flags, "bool", &bind));
    let shapes = shapes(parameters, &bind);
    quote! {
        #[allow(unused_variables)]
        fn axis(#config: &Self::Config, #number: usize) -> usize {
            match #number { #lengths _ => 0 }
        }

        #[allow(unused_variables)]
        fn field(#config: &Self::Config, #number: usize, #at: &[usize]) -> u64 {
            let value: usize = match #number { #numbers _ => 0 };
            value as u64
        }

        #[allow(unused_variables)]
        fn flag(#config: &Self::Config, #number: usize, #at: &[usize]) -> bool {
            match #number { #switches _ => false }
        }

        #[allow(unused_variables)]
        fn shape(#config: &Self::Config, #number: usize, #at: &[usize]) -> ::std::vec::Vec<usize> {
            match #number { #shapes _ => ::std::vec::Vec::new() }
        }
    }
}

/// One arm for each parameter as it is written: those that differ by a choice share it.
fn shapes(parameters: &Parameters<'_>, bind: &dyn Fn(&[usize]) -> TokenStream) -> TokenStream {
    let list = &parameters.list;
    let arms = list.iter().enumerate().filter_map(|(i, resolved)| {
        let same = |other: &Resolved<'_>| std::ptr::eq(other.written, resolved.written);
        if list[..i].iter().any(same) {
            return None;
        }
        let numbers = (i..list.len()).filter(|j| same(&list[*j]));
        let bound = bind(&resolved.axes);
        let shape = &resolved.written.shape;
        let span = start_of(shape);
        let ty = primitive("usize", span);
        let shape = quote_spanned!(span=> let shape: &[#ty] = &[#shape]; shape.to_vec());
        Some(quote!(#(#numbers)|* => { #bound #shape }))
    });
    quote!(#(#arms)*)
}

/// The value with its type, so that a mismatch is reported on the user's expression.
fn typed(ty: &str, value: &TokenStream) -> TokenStream {
    let span = start_of(value);
    let ty = primitive(ty, span);
    quote_spanned!(span=> let value: #ty = #value; value)
}

fn primitive(name: &str, span: Span) -> TokenStream {
    let name = format_ident!("{name}", span = span);
    quote_spanned!(span=> ::core::primitive::#name)
}

fn start_of(tokens: &TokenStream) -> Span {
    tokens.span().resolved_at(Span::mixed_site())
}
