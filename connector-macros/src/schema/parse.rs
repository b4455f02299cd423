use crate::args;
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::role::Words;
use connector_key::MAX_MET;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, LitStr, Path, Token, Type, Visibility, braced, bracketed, parenthesized, token,
};

/// A schema or a block as it is written.
pub struct Declaration {
    pub kind: Kind,
    pub core: Option<Path>,
    pub attributes: Vec<Attribute>,
    pub vis: Visibility,
    pub name: Ident,
    /// What the config is called in expressions.
    pub config: Ident,
    pub config_ty: Type,
    pub axes: Vec<Value>,
    pub fields: Vec<Value>,
    pub flags: Vec<Value>,
    pub one_of: Vec<Exclusive>,
    pub experts: Option<Experts>,
    pub vocabulary: Option<Vocabulary>,
    pub entries: Vec<Entry>,
}

/// `axis e: experts = …;`, `axis e: experts(grouped) = …;`
pub struct Experts {
    pub axis: Ident,
    /// The field of the config that says whether they are named as grouped ones.
    pub grouped: Option<Ident>,
}

/// `one of a, b;`, `at most one of a, b;`
pub struct Exclusive {
    pub flags: Vec<Ident>,
    /// Whether one of them holds always.
    pub exhaustive: bool,
}

/// `vocabulary tokens;`, `vocabulary tokens padded to divisor;`: fields of the config.
pub struct Vocabulary {
    pub tokens: Ident,
    pub divisor: Option<Ident>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Schema,
    Block,
}

/// `axis layer = …;`, `field groups(layer) = …;`, `flag moe(layer) = …;`
pub struct Value {
    /// Its `#[cfg(…)]`.
    pub cfg: Vec<Attribute>,
    pub name: Ident,
    /// What it depends on.
    pub of: Vec<Ident>,
    /// The expression. It stays tokens: what is wrong in it is the compiler's to say. Of a block's
    /// axes and flags there may be none: the schema around it has them.
    pub value: Option<TokenStream>,
}

/// An entry with its `#[cfg(…)]`.
pub struct Entry {
    pub cfg: Vec<Attribute>,
    pub what: What,
}

pub enum What {
    Parameter(Parameter),
    /// `"prefix" [if flags] { … }`
    Prefix {
        prefix: LitStr,
        when: Condition,
        entries: Vec<Entry>,
    },
    /// `..BLOCK [if flags];`
    Include {
        block: Path,
        when: Condition,
    },
}

/// `"name": [shape] [as role] [if flags] [keep dtype] [aka "…" [when flags], …];`
pub struct Parameter {
    pub name: LitStr,
    /// What stands between the brackets.
    pub shape: TokenStream,
    pub said: Option<Words>,
    pub when: Condition,
    pub keep: Option<Ident>,
    pub aka: Vec<Spelling>,
}

/// Another spelling of a parameter's name.
pub struct Spelling {
    pub name: LitStr,
    /// Where it is the one that is written.
    pub when: Option<Condition>,
}

mod word {
    syn::custom_keyword!(axis);
    syn::custom_keyword!(field);
    syn::custom_keyword!(flag);
    syn::custom_keyword!(one);
    syn::custom_keyword!(of);
    syn::custom_keyword!(at);
    syn::custom_keyword!(most);
    syn::custom_keyword!(vocabulary);
    syn::custom_keyword!(padded);
    syn::custom_keyword!(to);
    syn::custom_keyword!(keep);
    syn::custom_keyword!(aka);
    syn::custom_keyword!(when);
}

impl Declaration {
    /// Reads the whole declaration; after its head a mistake costs one entry.
    pub fn parse(kind: Kind, input: ParseStream<'_>, errors: &Errors) -> syn::Result<Self> {
        let core = core_path::parse_leading(input)?;
        let attributes = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !input.peek(syn::Ident) {
            return Err(
                input.error("expected the model and its config, `pub MyModel(c: MyConfig) { … }`")
            );
        }
        let name: Ident = input.parse()?;
        if !input.peek(token::Paren) {
            let message = format!("expected the config, as in `{name}(c: MyConfig) {{ … }}`");
            return Err(input.error(message));
        }
        let head;
        parenthesized!(head in input);
        let config = head.parse()?;
        head.parse::<Token![:]>()?;
        let config_ty = head.parse()?;
        head.parse::<Option<Token![,]>>()?;
        let body;
        braced!(body in input);
        let mut this = Declaration {
            kind,
            core,
            attributes,
            vis,
            name,
            config,
            config_ty,
            axes: Vec::new(),
            fields: Vec::new(),
            flags: Vec::new(),
            one_of: Vec::new(),
            experts: None,
            vocabulary: None,
            entries: Vec::new(),
        };
        this.body(&body, errors);
        if !input.is_empty() {
            return Err(input.error(
                "the declaration ends here; give each model and each block a macro of its own",
            ));
        }
        Ok(this)
    }

    /// Adds what follows from the axis of experts and the vocabulary: the flag of their spelling, and
    /// the number that operations ask for.
    pub fn add_what_follows(&mut self, private: &TokenStream) {
        let config = &self.config;
        if let Some(Experts { axis, grouped: Some(field) }) = &self.experts {
            let is_outer = self.axes.iter().any(|a| a.name == *axis && a.value.is_none());
            let value = quote_spanned!(field.span()=> #private::is_true(&#config.#field));
            let value = (!is_outer).then_some(value);
            let (cfg, of) = (Vec::new(), Vec::new());
            self.flags.push(Value { cfg, name: field.clone(), of, value });
        }
        if let Some(Vocabulary { tokens, .. }) = &self.vocabulary {
            let name = Ident::new("vocab_size", tokens.span());
            let value = Some(quote_spanned!(tokens.span()=> #config.#tokens));
            let (cfg, of) = (Vec::new(), Vec::new());
            self.fields.push(Value { cfg, name, of, value });
        }
    }

    fn body(&mut self, input: ParseStream<'_>, errors: &Errors) {
        while !input.is_empty() {
            let read = self.one(input, errors);
            if errors.ok(read).is_none() {
                skip(input);
            }
        }
    }

    fn one(&mut self, input: ParseStream<'_>, errors: &Errors) -> syn::Result<()> {
        let cfg = cfg(input, errors)?;
        let is_axis = input.peek(word::axis);
        if input.peek(word::vocabulary) && input.peek2(syn::Ident) {
            let vocabulary = vocabulary(input)?;
            if self.vocabulary.is_some() {
                errors.at(vocabulary.tokens.span(), "a model has one vocabulary: keep one");
            }
            self.vocabulary = Some(vocabulary);
            return Ok(());
        }
        if input.peek(word::at) || input.peek(word::one) && input.peek2(word::of) {
            if let Some(cfg) = cfg.first() {
                errors.on(cfg, "put `#[cfg(…)]` on the flags, of which some may be left out");
            }
            self.one_of.push(exclusive(input)?);
            return Ok(());
        }
        let list = match input.peek2(syn::Ident) {
            true if is_axis => &mut self.axes,
            true if input.peek(word::field) => &mut self.fields,
            true if input.peek(word::flag) => &mut self.flags,
            _ => {
                self.entries.push(entry(cfg, input, errors, true)?);
                return Ok(());
            }
        };
        let (value, experts) = value(cfg, input, self.kind, errors)?;
        if let Some(experts) = experts {
            if self.experts.is_some() {
                errors.at(experts.axis.span(), "a model has one axis of experts: keep one");
            }
            self.experts = Some(experts);
        }
        if is_axis && !value.of.is_empty() {
            let message = "an axis has one length for the whole model: write `axis name = …;`";
            errors.at(value.name.span(), message);
        }
        if let (true, Some(cfg)) = (is_axis, value.cfg.first()) {
            errors.on(cfg, "an axis is always there: put `#[cfg(…)]` on what has it in its name");
        }
        list.push(value);
        Ok(())
    }
}

/// The `#[cfg(…)]` before an entry. What is documented stays in the source.
fn cfg(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Vec<Attribute>> {
    let mut all = input.call(Attribute::parse_outer)?;
    all.retain(|attribute| {
        let is = |name| attribute.path().is_ident(name);
        if !is("cfg") && !is("doc") {
            errors.on(attribute, "an entry of a declaration takes `#[cfg(…)]` and `///` only");
        }
        is("cfg")
    });
    Ok(all)
}

fn exclusive(input: ParseStream<'_>) -> syn::Result<Exclusive> {
    let exhaustive = input.parse::<Option<word::at>>()?.is_none();
    if !exhaustive {
        input.parse::<word::most>()?;
    }
    input.parse::<word::one>()?;
    let of: word::of = input.parse()?;
    let flags = Punctuated::<Ident, Token![,]>::parse_separated_nonempty(input)?;
    input.parse::<Token![;]>()?;
    if !(2..=MAX_MET).contains(&flags.len()) {
        let message = format!("`one of` takes from 2 to {MAX_MET} flags: `one of a, b, c;`");
        return Err(syn::Error::new(of.span, message));
    }
    Ok(Exclusive { flags: flags.into_iter().collect(), exhaustive })
}

fn vocabulary(input: ParseStream<'_>) -> syn::Result<Vocabulary> {
    input.parse::<word::vocabulary>()?;
    let tokens = input.parse()?;
    let mut divisor = None;
    if input.parse::<Option<word::padded>>()?.is_some() {
        input.parse::<word::to>()?;
        divisor = Some(input.parse()?);
    }
    input.parse::<Token![;]>()?;
    Ok(Vocabulary { tokens, divisor })
}

/// `: experts`, `: experts(grouped)`
fn experts(axis: &Ident, input: ParseStream<'_>, errors: &Errors) -> syn::Result<Option<Experts>> {
    if input.parse::<Option<Token![:]>>()?.is_none() {
        return Ok(None);
    }
    let what: Ident = input.parse()?;
    if what != "experts" {
        let message =
            format!("an axis is one of `experts` or of nothing: `axis {axis}: experts = …;`");
        errors.at(what.span(), message);
    }
    let mut grouped = None;
    if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        grouped = Some(content.parse()?);
    }
    Ok(Some(Experts { axis: axis.clone(), grouped }))
}

fn value(
    cfg: Vec<Attribute>,
    input: ParseStream<'_>,
    kind: Kind,
    errors: &Errors,
) -> syn::Result<(Value, Option<Experts>)> {
    let what: Ident = input.parse()?;
    let name: Ident = input.parse()?;
    let experts = if what == "axis" { experts(&name, input, errors)? } else { None };
    let mut of = Vec::new();
    if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        of = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?.into_iter().collect();
    }
    if kind == Kind::Block && what != "field" && input.parse::<Option<Token![;]>>()?.is_some() {
        return Ok((Value { cfg, name, of, value: None }, experts));
    }
    if !input.peek(Token![=]) {
        return Err(input.error(format!("expected `=` and the value of the {what} `{name}`")));
    }
    input.parse::<Token![=]>()?;
    let mut tokens = Vec::new();
    while !input.is_empty() && !input.peek(Token![;]) {
        tokens.push(input.parse::<TokenTree>()?);
    }
    if tokens.is_empty() {
        return Err(input.error(format!("expected the value of the {what} `{name}`")));
    }
    input.parse::<Token![;]>()?;
    Ok((Value { cfg, name, of, value: Some(tokens.into_iter().collect()) }, experts))
}

fn entry(
    cfg: Vec<Attribute>,
    input: ParseStream<'_>,
    errors: &Errors,
    top: bool,
) -> syn::Result<Entry> {
    let entry = |what| Entry { cfg, what };
    if input.peek(Token![..]) {
        input.parse::<Token![..]>()?;
        let block = input.call(Path::parse_mod_style)?;
        let when = condition(input)?;
        input.parse::<Token![;]>()?;
        return Ok(entry(What::Include { block, when }));
    }
    if !input.peek(LitStr) {
        return Err(input.error(match top {
            true => {
                "expected `axis name = …;`, `field name = …;`, `flag name = …;`, `one of a, b;`, `vocabulary \
                 tokens padded to divisor;`, a parameter \
                 `\"name\": [shape];`, parameters under a prefix `\"prefix\" { … }`, or a block \
                 `..BLOCK;`"
            }
            false => {
                "expected a parameter `\"name\": [shape];`, parameters under a prefix `\"prefix\" \
                 { … }`, or a block `..BLOCK;`; axes, fields and flags are declared outside of \
                 prefixes"
            }
        }));
    }
    let name: LitStr = input.parse()?;
    if input.peek(Token![:]) {
        return parameter(name, input, errors).map(What::Parameter).map(entry);
    }
    let when = condition(input)?;
    if !input.peek(token::Brace) {
        return Err(input
            .error("expected `: [shape];` after a parameter's name, or `{ … }` after a prefix"));
    }
    let content;
    braced!(content in input);
    let mut entries = Vec::new();
    while !content.is_empty() {
        let inner =
            self::cfg(&content, errors).and_then(|cfg| self::entry(cfg, &content, errors, false));
        match errors.ok(inner) {
            Some(entry) => entries.push(entry),
            None => skip(&content),
        }
    }
    Ok(entry(What::Prefix { prefix: name, when, entries }))
}

/// `[if flags]`
fn condition(input: ParseStream<'_>) -> syn::Result<Condition> {
    match input.parse::<Option<Token![if]>>()? {
        Some(_) => input.parse(),
        None => Ok(Condition::default()),
    }
}

fn parameter(name: LitStr, input: ParseStream<'_>, errors: &Errors) -> syn::Result<Parameter> {
    input.parse::<Token![:]>()?;
    if !input.peek(token::Bracket) {
        return Err(input.error("expected the shape, as in `[c.rows, c.hidden]`"));
    }
    let content;
    bracketed!(content in input);
    let shape = content.parse()?;
    let (said, when) = (None, Condition::default());
    let mut parameter = Parameter { name, shape, said, when, keep: None, aka: Vec::new() };
    let mut seen: Vec<String> = Vec::new();
    while !input.is_empty() && !input.peek(Token![;]) {
        let known = input.peek(Token![if])
            || input.peek(Token![as])
            || input.peek(word::keep)
            || input.peek(word::aka);
        if input.peek(word::when) {
            return Err(input.error(
                "the condition of a parameter is `if`: write `if tied`, not `when tied`; `when` \
                 stands behind an `aka`",
            ));
        }
        if !known {
            return Err(input.error("expected `;`, or one of `as`, `if`, `keep`, `aka`"));
        }
        let word = match input.peek(Token![as]) {
            true => input.fork().call(Ident::parse_any)?,
            false => input.call(Ident::parse_any)?,
        };
        if seen.iter().any(|earlier| word == earlier) {
            errors.at(word.span(), format!("`{word}` is given twice: keep one"));
        }
        match word.to_string().as_str() {
            "as" => parameter.said = Words::parse(input, &["keep", "aka"])?,
            "if" => parameter.when = input.parse()?,
            "keep" => parameter.keep = Some(input.parse()?),
            _ => parameter.aka = spellings(input)?,
        }
        seen.push(word.to_string());
    }
    input.parse::<Token![;]>()?;
    Ok(parameter)
}

/// `"…", "…" when flags`
fn spellings(input: ParseStream<'_>) -> syn::Result<Vec<Spelling>> {
    let mut list = Vec::new();
    loop {
        let names = args::strings(input)?;
        let when = match input.parse::<Option<word::when>>()? {
            Some(_) => Some(input.parse::<Condition>()?),
            None => None,
        };
        list.extend(names.into_iter().map(|name| Spelling { name, when: when.clone() }));
        if input.parse::<Option<Token![,]>>()?.is_none() {
            return Ok(list);
        }
    }
}

/// Drops tokens up to where the next entry begins: after a `;` or a block.
fn skip(input: ParseStream<'_>) {
    while !input.is_empty() {
        let (semicolon, brace) = (input.peek(Token![;]), input.peek(token::Brace));
        if input.parse::<TokenTree>().is_err() || semicolon || brace {
            return;
        }
    }
}
