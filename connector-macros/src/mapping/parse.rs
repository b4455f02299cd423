use crate::args::{did_you_mean, list, skip_to_comma};
use crate::attributes;
use crate::condition::Condition;
use crate::errors::Errors;
use crate::fold::{Written, axis};
use crate::role::{self, Words};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::buffer::Cursor;
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, LitStr, Path, Token, braced, parenthesized, token};

/// One entry of a mapping as it is written.
pub enum Entry {
    Rule(RuleRow),
    Block(BlockRow),
    Include(Path),
    Rules(Path),
    OneOf(Span, Vec<Branch>),
    Equal(EqualRow),
    Ignore {
        pattern: LitStr,
        when: Condition,
        extent: Extent,
    },
    /// A row under `#[cfg(…)]`.
    Cfg(Vec<Attribute>, Box<Entry>),
}

impl Entry {
    /// Whether it ends with braces, after which no comma is needed.
    fn is_closed(&self) -> bool {
        match self {
            Entry::Block(_) | Entry::OneOf(..) => true,
            Entry::Cfg(_, entry) => entry.is_closed(),
            _ => false,
        }
    }
}

/// From the first token of a row to the last of its suffixes; of a block, of its head.
#[derive(Clone, Copy)]
pub struct Extent {
    pub from: Span,
    pub to: Span,
}

impl Extent {
    /// What has been read since `start`.
    fn since(start: Cursor<'_>, input: ParseStream<'_>) -> Self {
        let (mut at, end) = (start, input.cursor());
        let from = start.span();
        let mut to = from;
        while at != end {
            let Some((token, next)) = at.token_tree() else { break };
            to = token.span();
            at = next;
        }
        Extent { from, to }
    }
}

/// Two tokens, for the span of a message.
impl ToTokens for Extent {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend([self.from, self.to].map(|span| TokenTree::Ident(Ident::new("_row", span))));
    }
}

/// `SRC [as role] => DST [as role] [via op | via (op, …)] [stack axis | unstack axis | repeat axis]
/// [when flags] [optional]`
pub struct RuleRow {
    pub sources: Vec<LitStr>,
    pub targets: Vec<LitStr>,
    /// What the targets are, then what the sources are.
    pub said: Vec<Option<Words>>,
    pub suffix: Suffix,
    pub extent: Extent,
}

/// `[copy] "left" == "right" [when flags]`
pub struct EqualRow {
    pub left: LitStr,
    pub right: LitStr,
    /// Whether export writes the left one.
    pub copy: bool,
    pub when: Condition,
    pub extent: Extent,
}

/// `"prefix" => "prefix" [repeat axis] [when flags] [optional] { rows }`
pub struct BlockRow {
    pub source: LitStr,
    pub target: LitStr,
    pub when: Condition,
    pub optional: bool,
    pub repeat: Option<Ident>,
    pub rows: Vec<Entry>,
    pub extent: Extent,
}

/// `name { rows }` in a `one_of`.
pub struct Branch {
    pub name: Ident,
    pub rows: Vec<Entry>,
}

/// `op`, `op each`
pub struct Via {
    pub operation: Path,
    /// Whether it is applied to each group of as many tensors as it takes.
    pub each: bool,
}

impl Parse for Via {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let operation = input.call(Path::parse_mod_style)?;
        let each = input.parse::<Option<word::each>>()?.is_some();
        Ok(Via { operation, each })
    }
}

/// What follows the keys of a row, in any order.
#[derive(Default)]
pub struct Suffix {
    /// The operations, one after the other.
    pub via: Vec<Via>,
    pub fold: Option<Written>,
    pub when: Option<Condition>,
    pub optional: bool,
    /// The first word of each, for messages.
    words: Vec<Ident>,
}

mod word {
    syn::custom_keyword!(via);
    syn::custom_keyword!(each);
    syn::custom_keyword!(stack);
    syn::custom_keyword!(unstack);
    syn::custom_keyword!(repeat);
    syn::custom_keyword!(when);
    syn::custom_keyword!(optional);
    syn::custom_keyword!(copy);
    syn::custom_keyword!(ignore);
    syn::custom_keyword!(one_of);
}

/// Rows up to the end of `input`. A mistake costs one row; reading goes on after the next comma.
pub fn rows(input: ParseStream<'_>, errors: &Errors) -> Vec<Entry> {
    let mut rows = Vec::new();
    while !input.is_empty() {
        let start = input.cursor();
        let row = errors.ok(attributed(input, errors));
        let closed = row.as_ref().is_some_and(Entry::is_closed);
        if row.is_none() {
            skip_to_comma(input);
        } else if !closed && !input.is_empty() && !input.peek(Token![,]) {
            if begins_row(input) {
                let end = Extent::since(start, input).to;
                errors.at(end, "a `,` is missing behind this row");
            } else {
                errors.add(unknown_suffix(input));
                skip_to_comma(input);
            }
        }
        rows.extend(row);
        // Cannot fail: what stands here is a comma, a row after a block, or the end.
        let _ = input.parse::<Option<Token![,]>>();
    }
    rows
}

/// Whether what stands here can only be the next row.
fn begins_row(input: ParseStream<'_>) -> bool {
    input.peek(LitStr)
        || input.peek(Token![#])
        || input.peek(token::Paren)
        || input.peek(Token![..])
        || input.peek(word::copy)
        || input.peek(word::ignore)
        || input.peek(word::one_of)
}

/// The first words of what may follow the keys of a row.
const SUFFIXES: [&str; 6] = ["via", "stack", "unstack", "repeat", "when", "optional"];

fn unknown_suffix(input: ParseStream<'_>) -> syn::Error {
    if input.peek(Token![if]) {
        return input.error("the condition of a row is `when`: write `when tied`, not `if tied`");
    }
    let near = match input.fork().parse::<Ident>() {
        Ok(word) => did_you_mean(&word.to_string(), SUFFIXES),
        Err(_) => String::new(),
    };
    input.error(format!("expected `,`, or one of {}{near}", list(&SUFFIXES)))
}

/// A row with the attributes before it.
fn attributed(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Entry> {
    let cfgs = attributes::cfgs(input)?;
    let entry = entry(input, errors)?;
    Ok(if cfgs.is_empty() { entry } else { Entry::Cfg(cfgs, Box::new(entry)) })
}

fn entry(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Entry> {
    let start = input.cursor();
    if input.peek(LitStr) || input.peek(token::Paren) {
        return keyed(input, errors);
    }
    if input.peek(Token![..]) {
        input.parse::<Token![..]>()?;
        return Ok(Entry::Include(input.call(Path::parse_mod_style)?));
    }
    if input.peek(word::ignore) && input.peek2(LitStr) {
        input.parse::<word::ignore>()?;
        let pattern = input.parse()?;
        let when = only_when(input, "`ignore`")?;
        return Ok(Entry::Ignore { pattern, when, extent: Extent::since(start, input) });
    }
    if input.peek(word::copy) && input.peek2(LitStr) {
        input.parse::<word::copy>()?;
        let left = input.parse()?;
        if !input.peek(Token![==]) {
            return Err(input.error("expected `==` and the key that this is a copy of"));
        }
        return equal(input, start, left, true).map(Entry::Equal);
    }
    if input.peek(word::one_of) && input.peek2(token::Brace) {
        return one_of(input, errors);
    }
    if input.peek(syn::Ident)
        || input.peek(Token![::])
        || input.peek(Token![crate])
        || input.peek(Token![self])
        || input.peek(Token![super])
    {
        return Ok(Entry::Rules(input.call(Path::parse_mod_style)?));
    }
    Err(input.error(
        "expected a row: `\"source\" => \"target\"`, `\"a\" == \"b\"`, \
         `copy \"a\" == \"b\"`, `ignore \"key\"`, `..OTHER_MAPPING`, `one_of { … }`, or the name of a state transform",
    ))
}

/// A row that begins with a key or a tuple of keys.
fn keyed(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Entry> {
    let start = input.cursor();
    let (sources, of_sources) = role::keys(input, &SUFFIXES)?;
    if input.peek(Token![==]) {
        let ([left], [None]) = (&sources[..], &of_sources[..]) else {
            return Err(input.error("`==` compares two keys, without `as` and not tuples of them"));
        };
        return equal(input, start, left.clone(), false).map(Entry::Equal);
    }
    if input.peek(Token![->]) {
        let arrow: Token![->] = input.parse()?;
        return Err(syn::Error::new_spanned(arrow, "between source and target stands `=>`"));
    }
    if !input.peek(Token![=>]) {
        return Err(input.error("expected `=>` and the target, or `==` and the key it equals"));
    }
    input.parse::<Token![=>]>()?;
    let (targets, mut said) = role::keys(input, &SUFFIXES)?;
    said.extend(of_sources);
    let suffix = suffix(input, errors)?;
    let extent = Extent::since(start, input);
    if !input.peek(token::Brace) {
        return Ok(Entry::Rule(RuleRow { sources, targets, said, suffix, extent }));
    }
    let content;
    braced!(content in input);
    let rows = rows(&content, errors);
    let ([source], [target], [None, None]) = (&sources[..], &targets[..], &said[..]) else {
        let message = "a block has one prefix on each side, without `as`";
        return Err(syn::Error::new(sources[0].span(), message));
    };
    let of_rows = |word: &&Ident| !["repeat", "when", "optional"].iter().any(|of| *word == of);
    for word in suffix.words.iter().filter(of_rows) {
        let message = format!(
            "`{word}` belongs to the rows inside; a block takes `repeat`, `when` and `optional`"
        );
        errors.at(word.span(), message);
    }
    let (source, target) = (source.clone(), target.clone());
    let (when, optional) = (suffix.when.unwrap_or_default(), suffix.optional);
    let repeat = match suffix.fold {
        Some(Written::Repeat(axis)) => Some(axis),
        _ => None,
    };
    Ok(Entry::Block(BlockRow { source, target, when, optional, repeat, rows, extent }))
}

/// What follows the left key of a comparison.
fn equal(
    input: ParseStream<'_>,
    start: Cursor<'_>,
    left: LitStr,
    copy: bool,
) -> syn::Result<EqualRow> {
    input.parse::<Token![==]>()?;
    let right = input.parse()?;
    let when = only_when(input, "`==`")?;
    Ok(EqualRow { left, right, copy, when, extent: Extent::since(start, input) })
}

fn suffix(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Suffix> {
    let mut suffix = Suffix::default();
    loop {
        let word: Ident = if input.peek(word::via)
            || input.peek(word::stack)
            || input.peek(word::unstack)
            || input.peek(word::repeat)
            || input.peek(word::when)
            || input.peek(word::optional)
        {
            input.parse()?
        } else {
            return Ok(suffix);
        };
        let folds = |word: &Ident| word == "stack" || word == "unstack" || word == "repeat";
        if suffix.words.contains(&word) {
            errors.at(word.span(), format!("`{word}` is given twice: keep one"));
        } else if folds(&word) && suffix.words.iter().any(folds) {
            errors.at(word.span(), "a row stacks, unstacks or repeats one axis: keep one of them");
        }
        match word.to_string().as_str() {
            "via" => suffix.via = operations(input)?,
            "stack" => suffix.fold = Some(Written::Stack(axis(input, "stack expert")?)),
            "unstack" => suffix.fold = Some(Written::Unstack(axis(input, "unstack expert")?)),
            "repeat" => suffix.fold = Some(Written::Repeat(axis(input, "repeat layer")?)),
            "when" => suffix.when = Some(input.parse()?),
            _ => suffix.optional = true,
        }
        suffix.words.push(word);
    }
}

/// One operation, or several in parentheses: without them, the next row might be another.
fn operations(input: ParseStream<'_>) -> syn::Result<Vec<Via>> {
    if !input.peek(token::Paren) {
        return Ok(vec![input.parse()?]);
    }
    let content;
    let parens = parenthesized!(content in input);
    let all = content.parse_terminated(Via::parse, Token![,])?;
    if all.is_empty() {
        let message = "`via` names the operations that are applied, one after the other: \
                       `via (first, second)`";
        return Err(syn::Error::new(parens.span.join(), message));
    }
    Ok(all.into_iter().collect())
}

/// The suffix of a row that takes nothing but `when`.
fn only_when(input: ParseStream<'_>, row: &str) -> syn::Result<Condition> {
    if input.peek(word::when) {
        input.parse::<word::when>()?;
        return input.parse();
    }
    match input.is_empty() || input.peek(Token![,]) {
        true => Ok(Condition::default()),
        false => Err(input.error(format!("expected `,`, or `when`: {row} takes nothing else"))),
    }
}

fn one_of(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Entry> {
    let token: word::one_of = input.parse()?;
    let content;
    braced!(content in input);
    let mut branches: Vec<Branch> = Vec::new();
    while !content.is_empty() {
        if !(content.peek(syn::Ident) && content.peek2(token::Brace)) {
            return Err(content.error("expected a branch, `name { rows }`"));
        }
        let name: Ident = content.parse()?;
        if branches.iter().any(|earlier| earlier.name == name) {
            errors.at(
                name.span(),
                format!("a branch is called `{name}` already; choose another name"),
            );
        }
        let inner;
        braced!(inner in content);
        branches.push(Branch { name, rows: rows(&inner, errors) });
        content.parse::<Option<Token![,]>>()?;
    }
    if branches.len() < 2 {
        let message = "`one_of` is a choice: give it at least two branches, `name { rows }`";
        errors.at(token.span, message);
    }
    Ok(Entry::OneOf(token.span, branches))
}
