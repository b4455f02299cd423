use super::parse::{Declaration, Exclusive, Kind, Value};
use super::resolve::{Included, Item, Named, Parameters, Resolved};
use crate::core_path;
use crate::pattern::expand_all;
use crate::role::Words;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

/// The type and its traits.
pub fn expand(
    private: &TokenStream,
    declaration: &Declaration,
    parameters: &Parameters<'_>,
    errors: &TokenStream,
) -> TokenStream {
    let Declaration { name, config_ty, .. } = declaration;
    let constant = constant(private, declaration, parameters, errors);
    let functions = functions(private, declaration, parameters, !errors.is_empty());
    let ty = match declaration.kind {
        Kind::Schema => model(private, declaration),
        Kind::Block => block(declaration),
    };
    quote! {
        #ty

        #[automatically_derived]
        impl #private::ParamSchema for #name {
            type Config = #config_ty;
            #constant
            #functions
        }
    }
}

fn model(private: &TokenStream, declaration: &Declaration) -> TokenStream {
    let Declaration { attributes, vis, name, config_ty, .. } = declaration;
    let new_doc = format!("The model `{name}` under `config`.");
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
                config: &#config_ty,
            ) -> ::core::option::Option<#private::Box<dyn #private::Instance>> {
                ::core::option::Option::Some(#private::instance::<Self>(config))
            }
        }
    }
}

/// A type that takes no name for values, so that the block's rows can be a constant of its name.
fn block(declaration: &Declaration) -> TokenStream {
    let Declaration { attributes, vis, name, .. } = declaration;
    quote! {
        #(#attributes)*
        #[allow(dead_code, non_camel_case_types)]
        #vis enum #name {}
    }
}

/// Whether the schema has it itself, and does not leave it to one around it.
fn is_own(value: &&Value) -> bool {
    value.value.is_some()
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
    let names = |values: &[Value], own: bool| {
        let names = values.iter().filter(|value| is_own(value) == own).map(|value| {
            let (cfg, name) = (&value.cfg, value.name.to_string());
            quote!(#(#cfg)* #name)
        });
        quote!(&[#(#names),*])
    };
    let all = |values: &[Value], what: &str| {
        let (own, what) = (names(values, true), format_ident!("{what}"));
        let what = quote!(#private::Declared::#what);
        quote!({
            const OWN: &[&str] = #own;
            const COUNT: usize = OWN.len() + #private::count_names(ENTRIES, #what);
            &#private::names_of::<COUNT>(OWN, ENTRIES, #what)
        })
    };
    let none = quote!(::core::option::Option::None);
    let text_of = |name: &Option<Ident>| match name {
        Some(name) => {
            let name = name.unraw().to_string();
            quote!(::core::option::Option::Some(#name))
        }
        None => none.clone(),
    };
    let experts = declaration.experts.as_ref().map_or(none.clone(), |experts| {
        let (axis, grouped) = (experts.axis.to_string(), text_of(&experts.grouped));
        quote!(::core::option::Option::Some(#private::Experts { axis: #axis, grouped: #grouped }))
    });
    let vocabulary = declaration.vocabulary.as_ref().map_or(none.clone(), |vocabulary| {
        let (tokens, divisor) =
            (vocabulary.tokens.unraw().to_string(), text_of(&vocabulary.divisor));
        quote!(::core::option::Option::Some(#private::Vocabulary {
            tokens: #tokens,
            divisor: #divisor,
        }))
    });
    // That the config has the field.
    let divisor = declaration.vocabulary.as_ref().and_then(|vocabulary| {
        let (field, config) = (vocabulary.divisor.as_ref()?, &declaration.config_ty);
        let size = primitive("usize", field.span());
        Some(quote_spanned!(field.span()=> const _: fn(&#config) -> &#size = |config| &config.#field;))
    });
    let (outer_axes, outer_flags) = (names(axes, false), names(flags, false));
    let (axes, fields, flags) = (all(axes, "Axes"), all(fields, "Fields"), all(flags, "Flags"));
    let one_of = declaration.one_of.iter().map(|Exclusive { flags, exhaustive }| {
        let flags = flags.iter().map(|flag| flag.unraw().to_string());
        quote!(#private::Exclusive { flags: &[#(#flags),*], exhaustive: #exhaustive })
    });
    let entries = parameters.list.iter().enumerate().map(|(number, Item { cfg, what })| {
        let entry = match what {
            Resolved::Parameter(named) => parameter(private, number, named),
            Resolved::Include(included) => include(private, number, included),
        };
        quote!(#(#cfg)* #entry)
    });
    let depends = declaration.flags.iter().map(|flag| (flag, true));
    let depends = depends.chain(declaration.fields.iter().map(|field| (field, false)));
    let depends = depends.filter(|(value, _)| is_own(value)).flat_map(|(value, is_flag)| {
        value.of.iter().map(move |axis| {
            let (cfg, name, axis) = (&value.cfg, value.name.to_string(), axis.to_string());
            quote!(#(#cfg)* #private::Depends { name: #name, axis: #axis, is_flag: #is_flag })
        })
    });
    let depends = quote!({
        const OWN: &[#private::Depends] = &[#(#depends),*];
        &#private::depends_of::<{ OWN.len() + SIZES.depends }>(OWN, ENTRIES)
    });
    let checks = parameters.list.iter().enumerate().filter_map(|(number, item)| {
        let Resolved::Include(Included { block, .. }) = &item.what else { return None };
        let call = core_path::at(block, quote!(#private::check_include(&WHOLE, ENTRIES, #number)));
        let (cfg, fits) = (&item.cfg, format_ident!("BLOCK_{number}_FITS"));
        Some(quote!(#(#cfg)* const #fits: () = #call;))
    });
    let at = core_path::location(private, name.span());
    quote! {
        const PARAMETERS: #private::Schema = {
            #errors
            #divisor
            const ENTRIES: &[#private::Entry] = &[#(#entries),*];
            const SIZES: #private::Sizes = #private::sizes(ENTRIES);
            const SPELLINGS: &[#private::Pattern<'static>] =
                &#private::spellings::<{ SIZES.spellings }>(ENTRIES);
            const TERMS: &[#private::Term] = &#private::terms::<{ SIZES.terms }>(ENTRIES);
            const WHOLE: #private::Schema = #private::Schema {
                model: #text,
                axes: #axes,
                fields: #fields,
                flags: #flags,
                one_of: {
                    const OWN: &[#private::Exclusive] = &[#(#one_of),*];
                    &#private::exclusive::<{ OWN.len() + SIZES.exclusive }>(OWN, ENTRIES)
                },
                parameters: &#private::list::<{ SIZES.parameters }>(ENTRIES, SPELLINGS, TERMS),
                experts: #private::experts_of(#experts, ENTRIES),
                vocabulary: #private::vocabulary_of(#vocabulary, ENTRIES),
                depends: #depends,
                outer: #private::Outer { axes: #outer_axes, flags: #outer_flags },
                at: #at,
            };
            #(#checks)*
            WHOLE
        };
    }
}

fn parameter(private: &TokenStream, number: usize, named: &Named<'_>) -> TokenStream {
    let Named { key, when, aka, written_as, keep, .. } = named;
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
    let said = Words::expand(named.written.said.as_ref(), private);
    let at = core_path::location(private, key.span());
    quote! {
        #private::Entry::Parameter(#private::Parameter {
            pattern: #pattern,
            when: #when,
            aka: #aka,
            written_as: &[#(#written_as),*],
            keep: #keep,
            said: #said,
            entry: (#number, 0),
            at: #at,
        })
    }
}

fn include(private: &TokenStream, number: usize, included: &Included<'_>) -> TokenStream {
    let Included { block, prefix, when } = included;
    let prefix = match prefix.is_empty() {
        true => quote!(#private::Pattern::EMPTY),
        false => quote!(#private::Pattern::new(#prefix)),
    };
    let when = when.expand(private);
    let schema = declared(private, block);
    quote! {
        #private::Entry::Block(#private::Included {
            prefix: #prefix,
            when: #when,
            schema: #schema::PARAMETERS,
            entry: #number,
        })
    }
}

/// A block as what it is declared to be.
fn declared(private: &TokenStream, block: &syn::Path) -> TokenStream {
    let span = core_path::span(block).resolved_at(Span::mixed_site());
    quote_spanned!(span=> <#block as #private::ParamSchema>)
}

/// The functions that evaluate the user's expressions under a config. For each value only the axes
/// that it depends on are bound: another one has no meaning there. After a mistake all are,
/// because one that is missing has been reported.
fn functions(
    private: &TokenStream,
    declaration: &Declaration,
    parameters: &Parameters<'_>,
    broken: bool,
) -> TokenStream {
    let Declaration { config, axes, fields, flags, .. } = declaration;
    let [number, at] = ["number", "at"].map(|name| Ident::new(name, Span::mixed_site()));
    // Where an axis's index stands: behind all that the schema has, if it is of the one around it.
    let place = |index: usize| {
        let own = is_own(&&axes[index]);
        let nth = axes[..index].iter().filter(|axis| is_own(axis) == own).count();
        match own {
            true => quote!(#nth),
            false => quote!(<Self as #private::ParamSchema>::PARAMETERS.axes.len() + #nth),
        }
    };
    let bind = |indices: &[usize]| {
        let bound = (0..axes.len()).filter(|index| broken || indices.contains(index));
        let lets = bound.map(|index| {
            let (name, place) = (&axes[index].name, place(index));
            quote!(let #name: ::core::primitive::usize = #at[#place];)
        });
        quote!(#(#lets)*)
    };
    // One after the other: with `cfg` the numbers are known to the compiler alone.
    let values = |values: &[Value], ty: &str, list: &str, call: &str, with: &TokenStream| {
        let (list, call) = (format_ident!("{list}"), format_ident!("{call}"));
        let own = values.iter().filter_map(|value| {
            let of = |axis: &Ident| axes.iter().position(|declared| declared.name == *axis);
            // Without a value if an axis is not declared, which has been reported.
            let of = value.of.iter().map(of).collect::<Option<Vec<_>>>()?;
            // An axis depends on none.
            let bound = if list == "axes" { TokenStream::new() } else { bind(&of) };
            let (cfg, expression) = (&value.cfg, typed(ty, value.value.as_ref()?));
            Some(quote! {
                #(#cfg)* { if #number == 0 { #bound return { #expression }; } #number -= 1; }
            })
        });
        let blocks = parameters.list.iter().filter_map(|Item { cfg, what }| {
            let Resolved::Include(Included { block, .. }) = what else { return None };
            let (with, declared) = (within(private, block, with), declared(private, block));
            let config = of_block(config, block);
            Some(quote! {
                #(#cfg)* {
                    let count = #declared::PARAMETERS.#list.len();
                    if #number < count { return #declared::#call(#config, #number #with); }
                    #number -= count;
                }
            })
        });
        quote!(#(#own)* #(#blocks)*)
    };
    let lengths = values(axes, "usize", "axes", "axis", &TokenStream::new());
    let numbers = values(fields, "usize", "fields", "field", &quote!(#at));
    let switches = values(flags, "bool", "flags", "flag", &quote!(#at));
    let shapes = shapes(private, declaration, parameters, &number, &at, &bind);
    let allow = quote! {
        #[allow(unused_variables, unused_mut, unused_assignments, unreachable_code, clippy::all)]
    };
    quote! {
        #allow
        fn axis(#config: &Self::Config, mut #number: usize) -> usize { #lengths 0 }

        #allow
        fn field(#config: &Self::Config, mut #number: usize, #at: &[usize]) -> usize { #numbers 0 }

        #allow
        fn flag(#config: &Self::Config, mut #number: usize, #at: &[usize]) -> bool {
            #switches
            false
        }

        #allow
        fn shape(#config: &Self::Config, #number: usize, #at: &[usize]) -> ::std::vec::Vec<usize> {
            #shapes
        }
    }
}

/// The config where a block takes it, so that all that is wrong with a block is reported there.
fn of_block(config: &Ident, block: &syn::Path) -> Ident {
    let at = core_path::span(block).resolved_at(config.span());
    Ident::new(&config.to_string(), at)
}

/// The indices for a block's function, behind a comma.
fn within(private: &TokenStream, block: &syn::Path, at: &TokenStream) -> TokenStream {
    match at.is_empty() {
        true => TokenStream::new(),
        false => quote!(, &#private::within::<Self, #block>(#at)),
    }
}

/// One arm for each entry as it is written: parameters that differ by a choice share it.
fn shapes(
    private: &TokenStream,
    declaration: &Declaration,
    parameters: &Parameters<'_>,
    number: &Ident,
    at: &Ident,
    bind: &dyn Fn(&[usize]) -> TokenStream,
) -> TokenStream {
    let list = &parameters.list;
    let Declaration { config, axes, .. } = declaration;
    let inner = Ident::new("inner", Span::mixed_site());
    let arms = list.iter().enumerate().filter_map(|(i, Item { cfg, what })| {
        let named = match what {
            Resolved::Parameter(named) => named,
            Resolved::Include(Included { block, .. }) => {
                let (declared, at) =
                    (declared(private, block), within(private, block, &quote!(#at)));
                let config = of_block(config, block);
                return Some(quote!(#(#cfg)* #i => #declared::shape(#config, #inner #at),));
            }
        };
        let same = |other: &usize| match &list[*other].what {
            Resolved::Parameter(other) => std::ptr::eq(other.written, named.written),
            Resolved::Include(_) => false,
        };
        if (0..i).any(|other| same(&other)) {
            return None;
        }
        let numbers = (i..list.len()).filter(same);
        // Of a block's name the schema around it has the beginning, and the axes in it.
        let outer = (0..axes.len()).filter(|axis| !is_own(&&axes[*axis]));
        let bound = bind(&named.axes.iter().copied().chain(outer).collect::<Vec<_>>());
        let shape = &named.written.shape;
        let span = start_of(shape);
        let ty = primitive("usize", span);
        let shape = quote_spanned!(span=> let shape: &[#ty] = &[#shape]; shape.to_vec());
        Some(quote!(#(#cfg)* #(#numbers)|* => { #bound #shape }))
    });
    quote! {
        let (entry, #inner) =
            <Self as #private::ParamSchema>::PARAMETERS.parameters[#number].entry;
        match entry { #(#arms)* _ => ::std::vec::Vec::new() }
    }
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
