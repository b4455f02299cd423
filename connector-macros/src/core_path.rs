use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Path;
use syn::parse::ParseStream;

/// Where the generated code finds the core.
///
/// The module's name carries the version of this crate, so that the macros of one version do not
/// compile against the core of another.
pub fn private(core: Option<&Path>) -> TokenStream {
    let version: String = env!("CARGO_PKG_VERSION")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let module: Ident = format_ident!("__private_v{version}");
    match core {
        Some(path) => quote!(#path::#module),
        None => quote!(::connector_core::#module),
    }
}

/// The value of `crate = path`, with which a crate that re-exports the core says so.
pub fn parse_value(input: ParseStream<'_>) -> syn::Result<Path> {
    input.call(Path::parse_mod_style)
}

/// A leading `crate = path;` or `crate = path,` of a function-like macro.
pub fn parse_leading(input: ParseStream<'_>) -> syn::Result<Option<Path>> {
    if !(input.peek(syn::Token![crate]) && input.peek2(syn::Token![=])) {
        return Ok(None);
    }
    input.parse::<syn::Token![crate]>()?;
    input.parse::<syn::Token![=]>()?;
    let path = parse_value(input)?;
    if input.peek(syn::Token![;]) {
        input.parse::<syn::Token![;]>()?;
    } else {
        input.parse::<syn::Token![,]>()?;
    }
    Ok(Some(path))
}

/// A `Location` of the core for what stands at `span`.
///
/// `line!()` would be the line of the invocation: the compiler asks for the outermost one.
pub fn location(private: &TokenStream, span: Span) -> TokenStream {
    let (line, column) = if proc_macro::is_available() {
        let at = span.unwrap();
        let (line, column) = (at.line() as u32, at.column() as u32);
        (quote!(#line), quote!(#column))
    } else {
        (quote!(::core::line!()), quote!(::core::column!()))
    };
    quote!(#private::Location { file: ::core::file!(), line: #line, column: #column })
}

/// `tokens` where `path` stands: what the compiler finds wrong while it evaluates them is reported
/// there and not at the whole invocation.
pub fn at(path: &Path, tokens: TokenStream) -> TokenStream {
    spanned(span(path), tokens)
}

/// The span that stands for a path.
pub fn span(path: &Path) -> Span {
    path.segments.last().map_or_else(Span::call_site, |last| last.ident.span())
}

/// `tokens` as if all of them stood at `span`, but for literals: where a number of the user's stands,
/// lints would read that.
pub fn spanned(span: Span, tokens: TokenStream) -> TokenStream {
    let with_span = |token| {
        let mut token = match token {
            TokenTree::Group(group) => {
                TokenTree::Group(Group::new(group.delimiter(), spanned(span, group.stream())))
            }
            token => token,
        };
        if !matches!(token, TokenTree::Literal(_)) {
            token.set_span(span);
        }
        token
    };
    tokens.into_iter().map(with_span).collect()
}
