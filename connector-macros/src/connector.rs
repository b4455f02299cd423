use crate::args;
use crate::core_path;
use crate::errors::Errors;
use crate::fingerprint::fingerprint;
use crate::mapping;
use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Generics, LitStr, Path, Token, Type};

/// The function that a connector moves its state with in its own way.
const CONVERT_STATE: &str = "convert_state";

/// Which of the two attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Import,
    Export,
}

impl Direction {
    fn attribute(self) -> &'static str {
        match self {
            Direction::Import => "model_importer",
            Direction::Export => "model_exporter",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Direction::Import => &["architectures", "source_schema", "export", "dynamic", "crate"],
            Direction::Export => &["architectures", "dynamic", "crate"],
        }
    }
}

/// `#[model_importer]` and `#[model_exporter]`: the impl with its model filled in, and its entry
/// in the registry.
pub fn expand(direction: Direction, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let errors = Errors::new();
    let arguments = Arguments::parse(direction, arguments, &errors);
    let private = core_path::private(arguments.core.as_ref());
    let Some(block) = errors.ok(syn::parse2::<ImplBlock>(item.clone())) else {
        let errors = errors.finish();
        return quote!(#item #errors);
    };
    block.check(direction, &arguments, &errors);
    let missing = block.missing(&private, &arguments, direction, &errors);
    let block_with_missing = block.with(missing);
    let registration =
        errors.is_empty().then(|| registration(direction, &arguments, &block, &private));
    let errors = errors.finish();
    quote!(#block_with_missing #errors #registration)
}

/// `(LlamaModel, "hf", architectures = ["LlamaForCausalLM"], export, dynamic, crate = path)`.
#[derive(Default)]
struct Arguments {
    model: Option<Type>,
    format: Option<LitStr>,
    architectures: Vec<LitStr>,
    source_schema: Option<Type>,
    exports: bool,
    dynamic: bool,
    core: Option<Path>,
}

impl Arguments {
    fn parse(direction: Direction, tokens: TokenStream, errors: &Errors) -> Self {
        let mut this = Arguments::default();
        let attribute = direction.attribute();
        let parse = |input: ParseStream<'_>| {
            this.model_and_format(attribute, input)?;
            input.parse::<TokenStream>()
        };
        let Some(rest) = errors.ok(parse.parse2(tokens)) else { return this };
        args::read(attribute, rest, direction.arguments(), errors, |name, input| {
            match name.to_string().as_str() {
                "architectures" => {
                    input.parse::<Token![=]>()?;
                    this.architectures = list(input)?;
                }
                "source_schema" => {
                    input.parse::<Token![=]>()?;
                    this.source_schema = Some(input.parse()?);
                }
                "export" => this.exports = true,
                "dynamic" => this.dynamic = true,
                _ => {
                    input.parse::<Token![=]>()?;
                    this.core = Some(core_path::parse_value(input)?);
                }
            }
            Ok(())
        });
        for (i, name) in this.architectures.iter().enumerate() {
            if name.value().is_empty() {
                errors.on(name, "an architecture's name may not be empty");
            } else if this.architectures[..i].iter().any(|earlier| earlier.value() == name.value())
            {
                errors.on(name, format!("`{}` is given twice: keep one", name.value()));
            }
        }
        if let Some(format) = this.format.iter().find(|format| format.value().is_empty()) {
            errors.on(format, "the name of a format may not be empty; Hugging Face's is \"hf\"");
        }
        this
    }

    fn model_and_format(&mut self, attribute: &str, input: ParseStream<'_>) -> syn::Result<()> {
        let usage = |at: Span| {
            let message =
                format!("begin with the model and the format: `{attribute}(MyModel, \"hf\")`");
            syn::Error::new(at, message)
        };
        if input.is_empty() || input.peek(LitStr) {
            return Err(usage(input.span()));
        }
        self.model = Some(input.parse()?);
        if !(input.peek(Token![,]) && input.peek2(LitStr)) {
            return Err(usage(self.model.span()));
        }
        input.parse::<Token![,]>()?;
        self.format = Some(input.parse()?);
        if input.is_empty() {
            return Ok(());
        }
        input.parse::<Token![,]>().map(drop)
    }
}

fn list(input: ParseStream<'_>) -> syn::Result<Vec<LitStr>> {
    if input.peek(LitStr) {
        let name: LitStr = input.parse()?;
        let message = format!("`architectures` is a list: write `[\"{}\"]`", name.value());
        return Err(syn::Error::new(name.span(), message));
    }
    let content;
    syn::bracketed!(content in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?.into_iter().collect())
}

/// An impl block whose body stays tokens, so that half-typed methods do not hide the rest.
struct ImplBlock {
    head: TokenStream,
    attributes: Vec<Attribute>,
    generics: Generics,
    /// `None` for an inherent impl.
    of_trait: Option<Path>,
    self_ty: Type,
    body: Group,
}

impl Parse for ImplBlock {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let all: TokenStream = input.fork().parse()?;
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<Option<Token![unsafe]>>()?;
        if !input.peek(Token![impl]) {
            return Err(input.error("expected `impl ModelConnector for MyConnector { … }`"));
        }
        input.parse::<Token![impl]>()?;
        let mut generics: Generics = input.parse()?;
        let first: Type = input.parse()?;
        let (of_trait, self_ty) = match (input.parse::<Option<Token![for]>>()?, first) {
            (None, ty) => (None, ty),
            (Some(_), Type::Path(ty)) => (Some(ty.path), input.parse()?),
            (Some(_), other) => return Err(syn::Error::new_spanned(other, "expected a trait")),
        };
        generics.where_clause = input.parse()?;
        let body: Group = input.parse()?;
        let mut head: Vec<TokenTree> = all.into_iter().collect();
        head.pop();
        let head = head.into_iter().collect();
        Ok(ImplBlock { head, attributes, generics, of_trait, self_ty, body })
    }
}

impl ImplBlock {
    fn check(&self, direction: Direction, arguments: &Arguments, errors: &Errors) {
        let attribute = direction.attribute();
        if self.of_trait.is_none() {
            let ty = self.self_ty.to_token_stream();
            let message = format!(
                "`#[{attribute}]` belongs on the impl of the trait: \
                 `impl ModelConnector for {ty} {{ … }}`"
            );
            errors.on(&self.self_ty, message);
        }
        if !self.generics.params.is_empty() {
            let message = "an importer or exporter is registered as one type and cannot be generic";
            errors.on(&self.generics, message);
        }
        if let Some(function) = self.item("fn", CONVERT_STATE)
            && !arguments.dynamic
        {
            let message = format!(
                "an own `{CONVERT_STATE}` needs `dynamic` in `#[{attribute}(…)]`\nthe rows no longer \
                 say what the tensors are, so that the compiler can prove nothing of them; `apply` \
                 needs no `dynamic`"
            );
            errors.on(function, message);
        }
    }

    /// What the impl needs and does not have: the model, and after a mistake a mapping without
    /// rows in place of the missing one.
    fn missing(
        &self,
        private: &TokenStream,
        arguments: &Arguments,
        direction: Direction,
        errors: &Errors,
    ) -> TokenStream {
        let mut out = TokenStream::new();
        if self.of_trait.is_none() {
            return out;
        }
        match &arguments.model {
            Some(model) if !self.has("type", "Model") => out.extend(quote!(type Model = #model;)),
            _ => {}
        }
        if let (Some(schema), Some(model)) = (&arguments.source_schema, &arguments.model) {
            out.extend(quote! {
                fn source_instance(
                    config: &<#model as #private::Model>::Config,
                    format: &#private::Value,
                ) -> #private::ConnectorResult<::core::option::Option<#private::Box<dyn #private::Instance>>> {
                    #private::source_instance::<#schema, _>(config, format)
                }
            });
        }
        if !self.has("const", "ARCHITECTURES") {
            let names = &arguments.architectures;
            out.extend(quote!(const ARCHITECTURES: &'static [&'static str] = &[#(#names),*];));
        }
        if direction == Direction::Import
            && !self.has("const", "CONFIG")
            && !self.has("fn", "config")
        {
            let ty = self.self_ty.to_token_stream();
            let message = format!(
                "`{ty}` does not say how its config is read\nadd `const CONFIG: Option<ConfigMap> = \
                 Some(config_map! {{ MyConfig {{ … }} }});`, or a `fn config` of its own"
            );
            errors.on(&self.self_ty, message);
        }
        if !self.has("const", "MAPPING") {
            let ty = self.self_ty.to_token_stream();
            let (from, to) = match direction {
                Direction::Import => ("the format", "the model"),
                Direction::Export => ("the model", "the format"),
            };
            let message = format!(
                "`{ty}` has no mapping\nadd `const MAPPING: Mapping = mapping! {{ … }};` with the \
                 rows from {from} to {to}"
            );
            errors.on(&self.self_ty, message);
            out.extend(quote!(const MAPPING: #private::Mapping = #private::Mapping { rows: &[] };));
        }
        out
    }

    /// Whether an item of the body begins with `keyword name`.
    fn has(&self, keyword: &str, name: &str) -> bool {
        self.item(keyword, name).is_some()
    }

    /// The name of the item of the body that begins with `keyword name`.
    fn item(&self, keyword: &str, name: &str) -> Option<TokenTree> {
        let is = |token: &TokenTree, text: &str| matches!(token, TokenTree::Ident(i) if i == text);
        let tokens: Vec<TokenTree> = self.body.stream().into_iter().collect();
        let mut pairs = tokens.windows(2);
        pairs.find(|pair| is(&pair[0], keyword) && is(&pair[1], name)).map(|pair| pair[1].clone())
    }

    /// What stands in `const MAPPING: Mapping = mapping! { … }`, if it is written so.
    fn mapping(&self) -> Option<TokenStream> {
        let is = |token: &TokenTree, text: &str| matches!(token, TokenTree::Ident(i) if i == text);
        let tokens: Vec<TokenTree> = self.body.stream().into_iter().collect();
        let start =
            tokens.windows(2).position(|pair| is(&pair[0], "const") && is(&pair[1], "MAPPING"))?;
        let value = tokens[start..].iter().take_while(|token| !is(token, "fn"));
        let value: Vec<&TokenTree> = value.collect();
        let called = value.windows(2).position(|pair| {
            is(pair[0], "mapping") && matches!(pair[1], TokenTree::Punct(p) if p.as_char() == '!')
        })?;
        match value.get(called + 2) {
            Some(TokenTree::Group(group)) => Some(group.stream()),
            _ => None,
        }
    }

    fn with(&self, missing: TokenStream) -> TokenStream {
        let (head, inside) = (&self.head, self.body.stream());
        let mut body = Group::new(Delimiter::Brace, quote!(#missing #inside));
        body.set_span(self.body.span());
        quote!(#head #body)
    }
}

fn registration(
    direction: Direction,
    arguments: &Arguments,
    block: &ImplBlock,
    private: &TokenStream,
) -> TokenStream {
    let Arguments { model, format, architectures, exports, dynamic, .. } = arguments;
    let ty = &block.self_ty;
    let cfgs = block.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    let proof = proof(direction, arguments, block, private);
    let direction = Ident::new(
        match direction {
            Direction::Import => "Import",
            Direction::Export => "Export",
        },
        Span::call_site(),
    );
    let at = core_path::location(private, ty.span());
    let own_state = block.has("fn", CONVERT_STATE);
    let fingerprint = fingerprint(block.body.stream());
    let cfgs: Vec<&Attribute> = cfgs.collect();
    quote! {
        #proof
        #(#cfgs)*
        const _: () = {
            #private::inventory::submit! {
                #private::Registration {
                    direction: #private::Direction::#direction,
                    model: ::core::stringify!(#model),
                    format: #format,
                    architectures: &[#(#architectures),*],
                    exports: #exports,
                    dynamic: #dynamic,
                    own_state: #own_state,
                    fingerprint: #private::fingerprint(
                        #fingerprint,
                        ::core::option_env!("CARGO_PKG_VERSION"),
                    ),
                    name: ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#ty)),
                    at: #at,
                    connector: &#private::Erased::<#ty>(#private::PhantomData),
                }
            }
        };
    }
}

/// The constants with which the compiler holds the mapping against the model: what is wrong with a
/// row is reported at the row, everything else at the connector's type.
fn proof(
    direction: Direction,
    arguments: &Arguments,
    block: &ImplBlock,
    private: &TokenStream,
) -> TokenStream {
    let Arguments { model, source_schema, exports, dynamic, .. } = arguments;
    let ty = &block.self_ty;
    let cfgs = block.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    // A hand-written exporter's targets are the format's keys, which no schema declares; of those
    // and of what is `dynamic` the keys are formed, and nothing else is asked.
    let proven = direction == Direction::Import && !dynamic;
    let none = quote!(::core::option::Option::None);
    let (model, format) = match (proven, source_schema) {
        (true, Some(format)) => (
            quote!(<#model as #private::Model>::SCHEMA),
            quote!(::core::option::Option::Some(<#format as #private::ParamSchema>::PARAMETERS)),
        ),
        (true, None) => (quote!(<#model as #private::Model>::SCHEMA), none),
        (false, _) => (none.clone(), none),
    };
    let places = block.mapping().map(mapping::places).unwrap_or_default();
    let rows = places.iter().map(|place| core_path::location(private, place.at));
    let checks = places.iter().enumerate().map(|(row, place)| {
        let call = place.call(quote!(PROOF.check_row), quote!(#row));
        // The name stands in the compiler's message.
        let fits = format_ident!("ROW_{}_FITS_THE_MODEL", row + 1);
        quote!(const #fits: () = #call;)
    });
    let whole = core_path::spanned(ty.span(), quote!(PROOF.check_whole()));
    let config = core_path::spanned(
        ty.span(),
        quote! {
            if let ::core::option::Option::Some(map) = &<#ty as #private::ModelConnector>::CONFIG {
                #private::check_config(::core::stringify!(#ty), map)
            }
        },
    );
    quote! {
        #(#cfgs)*
        #[allow(dead_code, unused_qualifications, long_running_const_eval)]
        const _: () = {
            const MODEL: ::core::option::Option<#private::Schema> = #model;
            const FORMAT: ::core::option::Option<#private::Schema> = #format;
            const MAPPING: &#private::Mapping = &<#ty as #private::ModelConnector>::MAPPING;
            const FLAGS: #private::Flags =
                #private::Flags::of(MODEL, FORMAT).comparing(MAPPING.rows, MODEL);
            const KEYS: usize = #private::count(MAPPING.rows);
            const FLAT: &#private::Flat<KEYS> = &#private::flatten(MAPPING, FLAGS);
            const PROOF: &#private::Proof<'static, KEYS> = &#private::Proof::new(
                ::core::stringify!(#ty), MODEL, FORMAT, FLAT, &[#(#rows),*], #exports && #proven,
            );
            #(#checks)*
            const MAPPING_IS_COMPLETE: () = #whole;
            const CONFIG_IS_COMPLETE: () = #config;
        };
    }
}
