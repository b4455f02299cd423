use crate::errors::Errors;
use crate::fingerprint::fingerprint;
use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, GenericArgument, Pat, PathArguments, ReturnType, Safety, Signature};
use syn::{Type, Visibility};

/// The head of an annotated function. The body stays tokens, so that a half-typed one does not
/// take the rule away and every mistake in it is the compiler's to report.
pub struct Head {
    /// `#[cfg(…)]` below the attribute: what is generated must come and go with the function.
    pub cfgs: Vec<Attribute>,
    pub vis: Visibility,
    pub name: Ident,
    /// If the head is malformed beyond its name, how many parameters it seems to have.
    signature: Result<Signature, usize>,
    /// A hash of the text from the signature to the end of the body.
    pub fingerprint: u64,
    body: TokenStream,
}

/// What a state transform takes and gives.
pub struct Function {
    /// The type of the context, if there is one.
    pub context: Option<Type>,
    pub tensors: Vec<Argument>,
    /// The last argument, if it is `&[Tensor]`.
    pub group: Option<Argument>,
    pub output: Type,
}

pub struct Argument {
    /// `None` if the parameter is not a plain name.
    pub name: Option<Ident>,
    pub ty: Type,
}

/// How many tensors a return type holds, as far as its text tells.
pub enum Returned {
    /// A number of tensors.
    Fixed(TokenStream),
    /// `Vec<Tensor>`.
    Spread,
    /// A type whose name says nothing.
    Unknown,
}

impl Head {
    pub fn parse(item: TokenStream, errors: &Errors) -> Option<Self> {
        match syn::parse2::<Head>(item.clone()) {
            Ok(head) => Some(head),
            Err(error) => {
                let head = Head::name_only(item);
                // What is wrong with a head, the compiler says: it sees the same function.
                if head.is_none() {
                    errors.at(error.span(), "`#[state_transform]` belongs on a function");
                }
                head
            }
        }
    }

    /// The first `fn name` of a function that does not parse.
    fn name_only(item: TokenStream) -> Option<Self> {
        let mut tokens =
            item.into_iter().skip_while(|t| !matches!(t, TokenTree::Ident(i) if i == "fn"));
        let Some(TokenTree::Ident(name)) = tokens.nth(1) else { return None };
        let parameters = tokens.find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => {
                let list: Vec<TokenTree> = group.stream().into_iter().collect();
                let comma = |token: &TokenTree| token.to_string() == ",";
                Some(list.split(comma).filter(|parameter| !parameter.is_empty()).count())
            }
            _ => None,
        });
        let (vis, signature) = (Visibility::Inherited, Err(parameters.unwrap_or_default()));
        Some(Head {
            cfgs: Vec::new(),
            vis,
            name,
            signature,
            fingerprint: 0,
            body: TokenStream::new(),
        })
    }

    /// A call of a function whose head is malformed. Where the compiler has reported that, the call
    /// makes it leave alone what it stands in.
    pub fn malformed_call(&self) -> Option<TokenStream> {
        let (name, parameters) = (&self.name, *self.signature.as_ref().err()?);
        let parameters = (0..parameters).map(|_| quote!(loop {}));
        Some(quote! {
            #[allow(unreachable_code)]
            let _ = || #name(#(#parameters),*);
        })
    }

    /// Whether the body reads from the first parameter, if that is the context, or hands it on.
    pub fn reads_from_its_context(&self) -> bool {
        let Some(FnArg::Typed(first)) = self.signature.iter().flat_map(|s| &s.inputs).next() else {
            return false;
        };
        match (&*first.pat, &*first.ty) {
            (Pat::Ident(pat), Type::Reference(_)) => reads(self.body.clone(), &pat.ident),
            _ => false,
        }
    }

    /// Whether it is a method. Beside one no type can stand.
    pub fn is_method(&self) -> bool {
        self.signature.as_ref().is_ok_and(|signature| signature.receiver().is_some())
    }

    /// The parameters and the result, if they are those of a state transform.
    pub fn function(&self, errors: &Errors) -> Option<Function> {
        let signature = self.signature.as_ref().ok()?;
        let before = errors.count();
        refuse_qualifiers(signature, errors);
        let mut arguments = Vec::new();
        for input in &signature.inputs {
            match input {
                FnArg::Typed(argument) => arguments.push(argument),
                FnArg::Receiver(receiver) => errors.on(
                    receiver,
                    "a state transform is a free function and has no `self`\n\
                     move it out of the `impl`",
                ),
            }
        }
        let last = arguments.len().wrapping_sub(1);
        let (mut context, mut tensors, mut group) = (None, Vec::new(), None);
        for (i, argument) in arguments.iter().enumerate() {
            let name = match &*argument.pat {
                Pat::Ident(pat) => Some(pat.ident.clone()),
                _ => None,
            };
            let ty = (*argument.ty).clone();
            match &ty {
                Type::Reference(reference) => {
                    if let Some(reason) = refuse_reference(reference) {
                        errors.on(&ty, reason);
                    } else if matches!(&*reference.elem, Type::Slice(_)) {
                        match i == last {
                            true => group = Some(Argument { name, ty }),
                            false => errors.on(
                                &ty,
                                "a group `&[Tensor]` is the last parameter\n\
                                 move it to the end, and, in a tuple of source keys, its key too",
                            ),
                        }
                    } else if i == 0 {
                        context = Some(ty);
                    } else {
                        errors.on(&ty, misplaced(reference));
                    }
                }
                _ => tensors.push(Argument { name, ty }),
            }
        }
        if tensors.is_empty() && group.is_none() && errors.count() == before {
            let message = "a state transform takes at least one `Tensor`";
            errors.at(signature.paren_token.span.join(), message);
        }
        let ReturnType::Type(_, output) = &signature.output else {
            let message = "a state transform returns its target: `-> Tensor`, or a `Result` of one";
            errors.on(&signature.ident, message);
            return None;
        };
        let output = (**output).clone();
        let function = Function { context, tensors, group, output };
        (errors.count() == before).then_some(function)
    }
}

fn reads(tokens: TokenStream, context: &Ident) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(i, token)| match token {
        TokenTree::Ident(ident) if ident == context => match &tokens[i + 1..] {
            [TokenTree::Punct(dot), TokenTree::Ident(asked), ..] if dot.as_char() == '.' => {
                asked == "read"
            }
            _ => true,
        },
        TokenTree::Group(group) => reads(group.stream(), context),
        _ => false,
    })
}

impl Parse for Head {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let fork = input.fork();
        let signature = Signature::parse(input)?;
        let name = signature.ident.clone();
        // Not the attributes: an edited comment does not make another function.
        let fingerprint = fingerprint(fork.parse()?);
        let body = input.parse()?;
        let cfgs = attributes.into_iter().filter(|a| a.path().is_ident("cfg")).collect();
        Ok(Head { cfgs, vis, name, signature: Ok(signature), fingerprint, body })
    }
}

fn refuse_qualifiers(signature: &Signature, errors: &Errors) {
    if let Some(token) = &signature.asyncness {
        errors.on(token, "a state transform runs inside the engine and cannot be `async`");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let message = "a state transform cannot be `unsafe`: the engine calls it with any tensors \
                       of the checkpoint\nput an `unsafe` block into its body";
        errors.on(token, message);
    }
    if let Some(abi) = &signature.abi {
        errors.on(abi, "a state transform is a Rust function: remove the `extern`");
    }
    if !signature.generics.params.is_empty() {
        let message =
            "a state transform cannot be generic: a checkpoint has one kind of tensor, `Tensor`";
        errors.on(&signature.generics, message);
    }
    if let Some(variadic) = &signature.variadic {
        errors.on(variadic, "take a group of tensors as a last parameter `&[Tensor]`");
    }
}

fn refuse_reference(reference: &syn::TypeReference) -> Option<&'static str> {
    if reference.mutability.is_some() {
        return Some("a state transform changes nothing in place: take the `Tensor` by value");
    }
    is_to(reference, "Tensor").then_some("take the `Tensor` by value; cloning one copies no data")
}

/// What is wrong with a reference behind the first parameter.
fn misplaced(reference: &syn::TypeReference) -> &'static str {
    match is_to(reference, "TransformCtx") {
        true => "the context, `&TransformCtx`, is the first parameter: move it to the front",
        false => {
            "this parameter is a reference, which only the context, `&TransformCtx`, and a last \
             `&[Tensor]` are\ntake a tensor as `Tensor`; the context tells everything else"
        }
    }
}

fn is_to(reference: &syn::TypeReference, name: &str) -> bool {
    matches!(&*reference.elem, Type::Path(path)
        if path.path.segments.last().is_some_and(|segment| segment.ident == name))
}

/// How many tensors `ty` holds: the text of the type is all that a macro sees.
pub fn returned(ty: &Type) -> Returned {
    match ty {
        Type::Paren(inner) => returned(&inner.elem),
        Type::Group(inner) => returned(&inner.elem),
        Type::Tuple(tuple) => {
            let n = tuple.elems.len();
            Returned::Fixed(quote!(#n))
        }
        Type::Array(array) => Returned::Fixed(array.len.to_token_stream()),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Returned::Unknown };
            let name = last.ident.to_string();
            match &last.arguments {
                _ if name == "Tensor" => Returned::Fixed(quote!(1)),
                PathArguments::AngleBracketed(_) if name == "Vec" => Returned::Spread,
                PathArguments::AngleBracketed(list) if name.ends_with("Result") => {
                    match list.args.first() {
                        Some(GenericArgument::Type(ty)) => returned(ty),
                        _ => Returned::Unknown,
                    }
                }
                _ => Returned::Unknown,
            }
        }
        _ => Returned::Unknown,
    }
}

/// Where `ty` stands, for tokens that check it: errors land on the user's type, and lints know
/// that nobody wrote the rest.
pub fn span_of(ty: &Type) -> Span {
    ty.span().resolved_at(Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(item: &str) -> Result<Function, String> {
        let errors = Errors::new();
        let head = Head::parse(item.parse().unwrap(), &errors);
        let function = head.and_then(|head| head.function(&errors));
        match errors.is_empty() {
            true => {
                assert!(errors.finish().is_empty());
                Ok(function.unwrap())
            }
            false => Err(errors.finish().to_string()),
        }
    }

    #[test]
    fn parameters_are_told_apart() {
        let f =
            check("fn f(ctx: &Ctx<'_>, a: Tensor, b: Tensor, rest: &[Tensor]) -> Tensor { a + }");
        let f = f.unwrap_or_else(|error| panic!("{error}"));
        assert!(f.context.is_some() && f.group.is_some());
        assert_eq!(f.tensors.len(), 2);
    }

    #[test]
    fn refusals() {
        for (item, want) in [
            ("async fn f(a: Tensor) -> Tensor {}", "cannot be `async`"),
            ("unsafe fn f(a: Tensor) -> Tensor {}", "cannot be `unsafe`"),
            ("extern \"C\" fn f(a: Tensor) -> Tensor {}", "remove the `extern`"),
            ("fn f<T>(a: Tensor) -> Tensor {}", "cannot be generic"),
            ("fn f(&self, a: Tensor) -> Tensor {}", "free function"),
            ("fn f(a: Tensor, ...) -> Tensor {}", "last parameter `&[Tensor]`"),
            ("fn f(a: &Tensor) -> Tensor {}", "by value"),
            ("fn f(a: &mut Tensor) -> Tensor {}", "nothing in place"),
            ("fn f(a: Tensor, c: &TransformCtx<'_>) -> Tensor {}", "move it to the front"),
            ("fn f(a: Tensor, b: &str) -> Tensor {}", "this parameter is a reference"),
            ("fn f(a: &[Tensor], b: Tensor) -> Tensor {}", "is the last parameter"),
            ("fn f(ctx: &Ctx) -> Tensor {}", "at least one `Tensor`"),
            ("fn f(a: Tensor) {}", "returns its target"),
        ] {
            let error = check(item).err().unwrap_or_default();
            assert!(error.contains(want), "{item}: {error}");
        }
    }

    #[test]
    fn result_types_are_counted() {
        let count = |ty| match returned(&syn::parse_str(ty).unwrap()) {
            Returned::Fixed(n) => n.to_string(),
            Returned::Spread => "spread".into(),
            Returned::Unknown => "unknown".into(),
        };
        for (ty, want) in [
            ("Tensor", "1"),
            ("candle_core::Result<Tensor>", "1"),
            ("Result<(Tensor, Tensor), E>", "2usize"),
            ("Result<[Tensor; N]>", "N"),
            ("std::io::Result<Vec<Tensor>>", "spread"),
            ("MyPair", "unknown"),
        ] {
            assert_eq!(count(ty), want, "{ty}");
        }
    }

    #[test]
    fn the_fingerprint_sees_code_and_no_layout() {
        let of = |item: &str| {
            let errors = Errors::new();
            let head = Head::parse(item.parse().unwrap(), &errors).unwrap();
            assert!(errors.finish().is_empty());
            head.fingerprint
        };
        let f = of("fn f(a: Tensor) -> Tensor { a * 2 }");
        assert_eq!(f, of("/// Doubles.\nfn f(a: Tensor)\n  -> Tensor {a*2}"));
        assert_ne!(f, of("fn f(a: Tensor) -> Tensor { a * 3 }"));
        assert_ne!(of("fn f() { (a) b }"), of("fn f() { (a b) }"));
    }

    #[test]
    fn a_half_typed_head_keeps_its_name() {
        let errors = Errors::new();
        let head =
            Head::parse("pub fn combine(q: ) -> Tensor {}".parse().unwrap(), &errors).unwrap();
        assert_eq!(head.name, "combine");
        assert!(head.function(&errors).is_none());
        assert!(errors.finish().is_empty(), "the compiler says it");
    }
}
