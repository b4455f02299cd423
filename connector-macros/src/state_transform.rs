mod arguments;
mod axes;
mod rules;

use crate::core_path;
use crate::errors::Errors;
use crate::operation::{self, Said};
use crate::signature::{Function, Head, Returned, returned, span_of};
use arguments::Arguments;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use rules::Rules;

/// `#[state_transform]`: the function as it is, and beside it a type of the same name that carries
/// the operation and, with keys, the rules.
pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let arguments = Arguments::parse(arguments, &errors);
    let private = core_path::private(arguments.core.as_ref());
    let Some(head) = Head::parse(item.clone(), &errors) else {
        let errors = errors.finish();
        return quote!(#item #errors);
    };
    let function = head.function(&errors);
    let rules = Rules::new(&arguments, &head, function.as_ref(), &errors);
    let is_method = head.is_method();
    let expansion = Expansion { private, arguments, head, function, rules };
    let well = errors.is_empty() && expansion.function.is_some();
    let errors = errors.finish();
    let generated = match well {
        true => expansion.whole(),
        false if is_method => errors,
        false => expansion.broken(&errors),
    };
    quote!(#item #generated)
}

struct Expansion {
    private: TokenStream,
    arguments: Arguments,
    head: Head,
    function: Option<Function>,
    rules: Rules,
}

impl Expansion {
    fn whole(&self) -> TokenStream {
        let Expansion { private, arguments, head, function, rules } = self;
        let name = &head.name;
        let operation = function.as_ref().map(|function| self.operation(function));
        let rules = arguments.has_keys().then(|| rules.expand(private, name));
        let inverse = arguments.inverse.as_ref().map(|path| {
            let check = quote! {
                #private::check_inverse(&<#name as #private::Transform>::OPERATION, &INVERSE)
            };
            let check = core_path::at(path, check);
            let question = |ty: &TokenStream| quote!(<#ty as #private::Transform>::OPERATION);
            let Said { items, value } = operation::ask(path, 1, question);
            quote! {
                #items
                const INVERSE: #private::Operation = #value;
                #[allow(dead_code)]
                const INVERSE_FITS: () = #check;
            }
        });
        self.items(&quote!(#operation), rules.as_ref(), &quote!(#inverse))
    }

    /// The type after a mistake. It implements everything, so that mappings that name it do not
    /// fail as well; the mistakes are inside its constants, so that what the compiler would prove
    /// with them it leaves alone.
    fn broken(&self, errors: &TokenStream) -> TokenStream {
        let private = &self.private;
        let call = self.head.malformed_call();
        let operation = quote!({
            #errors
            #call
            ::core::panic!("the head of this function is not that of a state transform")
        });
        let rules = quote!({
            let _ = <Self as #private::Transform>::OPERATION;
            &[]
        });
        self.items(&operation, Some(&rules), &TokenStream::new())
    }

    fn items(
        &self,
        operation: &TokenStream,
        rules: Option<&TokenStream>,
        more: &TokenStream,
    ) -> TokenStream {
        let Expansion { private, head, .. } = self;
        let Head { cfgs, vis, name, .. } = head;
        let rules = rules.map(|rules| {
            quote! {
                #[automatically_derived]
                #[diagnostic::do_not_recommend]
                impl #private::StateTransform for #name {
                    const RULES: &'static [#private::Rule] = #rules;
                }
            }
        });
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(non_camel_case_types, dead_code)]
            #vis struct #name {}

            #(#cfgs)*
            const _: () = {
                #[automatically_derived]
                #[diagnostic::do_not_recommend]
                impl #private::Transform for #name {
                    const OPERATION: #private::Operation = #operation;
                }
                #rules
                #more
            };
        }
    }

    fn operation(&self, function: &Function) -> TokenStream {
        let Expansion { private, head, .. } = self;
        let name = head.name.to_string();
        let sources = function.tensors.len();
        let targets = self.targets(function);
        // A function that says how to undo it loses nothing; of any other nothing is known, and
        // `Copy` claims the least that lets it run without a warning about changed numbers.
        let (class, inverse) = match &self.arguments.inverse {
            Some(_) => (quote!(Bijective), quote!(::core::option::Option::Some(|| INVERSE))),
            None => (quote!(Copy), quote!(::core::option::Option::None)),
        };
        let fingerprint = head.fingerprint;
        let group = function.group.is_some();
        let keyed = self.arguments.has_keys();
        let call = self.call(function, &targets);
        quote! {
            #private::Operation {
                name: #name,
                class: #private::Class::#class,
                sources: #sources,
                targets: #targets,
                signature: #private::Signature::Unknown,
                kernel: #private::Kernel::Function(#private::Function {
                    call: #call,
                    group: #group,
                    keyed: #keyed,
                    fingerprint: #private::fingerprint(
                        #fingerprint,
                        ::core::option_env!("CARGO_PKG_VERSION"),
                    ),
                }),
                inverse: #inverse,
                each: false,
            }
        }
    }

    /// How many tensors the function gives: as many as it has target keys; without keys its
    /// return type tells.
    fn targets(&self, function: &Function) -> TokenStream {
        let private = &self.private;
        if self.arguments.has_keys() {
            return match self.rules.spreads() {
                true => quote!(#private::SPREAD),
                false => {
                    let n = self.arguments.targets.len();
                    quote!(#n)
                }
            };
        }
        match returned(&function.output) {
            Returned::Fixed(n) => n,
            Returned::Spread => quote!(#private::SPREAD),
            Returned::Unknown => quote!(1),
        }
    }

    /// The function behind the signature that all have. What it takes and gives is checked here,
    /// with the spans of the types, so that the compiler's errors point at them.
    fn call(&self, function: &Function, targets: &TokenStream) -> TokenStream {
        let Expansion { private, head, .. } = self;
        let name = &head.name;
        let text = name.to_string();
        let local = |name: &str, span: Span| Ident::new(name, span);
        let here = Span::mixed_site();
        let (ctx, tensors) = (local("ctx", here), local("tensors", here));
        let names: Vec<Ident> =
            (0..function.tensors.len()).map(|i| format_ident!("tensor_{i}", span = here)).collect();
        let context = function.context.iter().map(|ty| {
            quote_spanned!(span_of(ty)=> <#ty as #private::TransformContext<'_, '_>>::take(#ctx))
        });
        let taken = function.tensors.iter().zip(&names).map(|(argument, tensor)| {
            let ty = &argument.ty;
            quote_spanned!(span_of(ty)=> <#ty as #private::TransformArg>::take(#tensor))
        });
        let group = function.group.iter().map(|argument| {
            let span = span_of(&argument.ty);
            let group = local("group", span);
            quote_spanned!(span=> &#group)
        });
        let split = match &function.group {
            None => quote!(let [#(#names),*] = #private::arguments(#text, #tensors)?;),
            Some(_) => {
                let group = local("group", here);
                quote! {
                    let ([#(#names),*], #group) =
                        #private::arguments_and_group(#text, #tensors)?;
                }
            }
        };
        let output = &function.output;
        let into = quote_spanned!(span_of(output)=>
            <#output as #private::TransformOutput<{ #targets }>>::into_tensors);
        let arguments = context.chain(taken).chain(group);
        quote! {
            |#ctx, #tensors| {
                #split
                #into(#name(#(#arguments),*))
            }
        }
    }
}
