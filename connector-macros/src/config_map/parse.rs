use crate::attributes;
use crate::core_path;
use crate::errors::Errors;
use proc_macro2::{Ident, Span, TokenTree};
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{Attribute, Lit, LitStr, Path, Token, Type, braced, bracketed, token};

/// A map as it is written.
pub struct Declaration {
    pub core: Option<Path>,
    /// The type of the model's config.
    pub config: Type,
    /// The rows, with the `#[cfg(…)]` before each.
    pub rows: Vec<(Vec<Attribute>, Row)>,
}

pub enum Row {
    /// `..PATH`
    Include(Path),
    /// `"a" | "b" <=> field = absent via codec`
    Field { names: Vec<LitStr>, model: Ident, absent: Option<Absent>, via: Option<Path> },
    /// `only field = value`
    Only { model: Ident, value: Absent },
    /// `"name" = value`
    Constant { name: LitStr, value: Scalar },
    /// `absent "name" = value`
    Absent { name: LitStr, value: Scalar },
    /// `carry ["a", "b"]`
    Carry { word: Span, names: Vec<LitStr> },
    /// `neutral "name" = value | value`
    Neutral { name: LitStr, values: Vec<Scalar> },
}

/// What stands for a field that is not there.
pub enum Absent {
    Is(Scalar),
    /// `like other_field`
    Like(Ident),
    /// `by function`
    By(Path),
}

/// A value of a config.
pub enum Scalar {
    Null(Span),
    Lit(Lit),
    /// `[]`
    List(Span),
    /// `{}`
    Object(Span),
}

mod word {
    syn::custom_keyword!(only);
    syn::custom_keyword!(absent);
    syn::custom_keyword!(carry);
    syn::custom_keyword!(neutral);
    syn::custom_keyword!(like);
    syn::custom_keyword!(by);
    syn::custom_keyword!(via);
    syn::custom_keyword!(null);
}

syn::custom_punctuation!(Both, <=>);

impl Declaration {
    /// Reads the whole declaration; after its head a mistake costs one row.
    pub fn parse(input: ParseStream<'_>, errors: &Errors) -> syn::Result<Self> {
        let core = core_path::parse_leading(input)?;
        if input.is_empty() {
            return Err(input.error(
                "begin with the type of the model's config: `config_map! { GptConfig { … } }`",
            ));
        }
        let config: Type = input.parse()?;
        if !input.peek(token::Brace) {
            return Err(input.error("expected the rows after the config's type, `GptConfig { … }`"));
        }
        let body;
        braced!(body in input);
        if !input.is_empty() {
            return Err(input.error("the map ends here"));
        }
        let mut rows = Vec::new();
        while !body.is_empty() {
            let row = attributes::cfgs(&body).and_then(|cfgs| Ok((cfgs, row(&body)?)));
            match errors.ok(row) {
                Some(row) => rows.push(row),
                None => skip(&body),
            }
            if !body.is_empty() && errors.ok(body.parse::<Token![,]>()).is_none() {
                skip(&body);
            }
        }
        Ok(Declaration { core, config, rows })
    }
}

fn row(input: ParseStream<'_>) -> syn::Result<Row> {
    if input.peek(Token![..]) {
        input.parse::<Token![..]>()?;
        return input.parse().map(Row::Include);
    }
    if input.peek(word::only) {
        input.parse::<word::only>()?;
        let model: Ident = input.parse()?;
        let what = format!("what `{model}` is in every model: `only {model} = true`");
        return Ok(Row::Only { value: absent(input, &what)?, model });
    }
    if input.peek(word::absent) {
        input.parse::<word::absent>()?;
        let name = name(input)?;
        input.parse::<Token![=]>()?;
        return Ok(Row::Absent { name, value: scalar(input)? });
    }
    if input.peek(word::carry) {
        let word = input.parse::<word::carry>()?.span;
        if !input.peek(token::Bracket) {
            return Err(input.error("`carry` takes a list: write `carry [\"bos_token_id\"]`"));
        }
        let list;
        bracketed!(list in input);
        let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
        return Ok(Row::Carry { word, names: names.into_iter().collect() });
    }
    if input.peek(word::neutral) {
        input.parse::<word::neutral>()?;
        let name = name(input)?;
        input.parse::<Token![=]>()?;
        let mut values = vec![scalar(input)?];
        while input.parse::<Option<Token![|]>>()?.is_some() {
            values.push(scalar(input)?);
        }
        return Ok(Row::Neutral { name, values });
    }
    if !input.peek(LitStr) {
        return Err(input.error(
            "expected a row: `\"its_name\" <=> field`, `\"its_name\" = value`, `only field = value`, \
             `absent \"its_name\" = value`, `neutral \"its_name\" = value`, `carry [\"its_name\"]` or \
             `..MAP`",
        ));
    }
    let mut names = vec![name(input)?];
    while input.parse::<Option<Token![|]>>()?.is_some() {
        names.push(name(input)?);
    }
    if input.peek(Token![=>]) {
        return Err(input.error("a config is read in both directions: write `<=>`"));
    }
    if input.peek(Token![=]) && names.len() == 1 {
        input.parse::<Token![=]>()?;
        let name = names.remove(0);
        return Ok(Row::Constant { name, value: scalar(input)? });
    }
    if !input.peek(Both) {
        return Err(input.error(
            "expected `<=>` and the model's field, or `=` and the value that every file has",
        ));
    }
    input.parse::<Both>()?;
    if input.peek(LitStr) {
        return Err(input.error("the model's field is a name without quotes: `\"a\" <=> a_field`"));
    }
    let model: Ident = input.parse()?;
    let mut row = Row::Field { names, model, absent: None, via: None };
    if let Row::Field { model, absent: value, via, .. } = &mut row {
        if input.peek(Token![=]) {
            *value = Some(absent(input, &format!("what `{model}` is if the file does not say"))?);
        }
        if input.parse::<Option<word::via>>()?.is_some() {
            *via = Some(input.parse()?);
        }
    }
    if !input.is_empty() && !input.peek(Token![,]) {
        return Err(input.error("expected `,`, or one of `= value`, `via codec`"));
    }
    Ok(row)
}

fn name(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let name: LitStr = input.parse()?;
    match name.value().is_empty() {
        true => Err(syn::Error::new(name.span(), "a field's name may not be empty")),
        false => Ok(name),
    }
}

/// `= value`, `= like field`, `= by function`
fn absent(input: ParseStream<'_>, what: &str) -> syn::Result<Absent> {
    if !input.peek(Token![=]) {
        return Err(input.error(format!("expected `=` and {what}")));
    }
    input.parse::<Token![=]>()?;
    if input.parse::<Option<word::like>>()?.is_some() {
        return input.parse().map(Absent::Like);
    }
    if input.parse::<Option<word::by>>()?.is_some() {
        return input.parse().map(Absent::By);
    }
    scalar(input).map(Absent::Is)
}

fn scalar(input: ParseStream<'_>) -> syn::Result<Scalar> {
    if input.peek(word::null) {
        return Ok(Scalar::Null(input.parse::<word::null>()?.span));
    }
    if input.peek(token::Bracket) || input.peek(token::Brace) {
        let TokenTree::Group(group) = input.parse()? else { unreachable!("it is a group") };
        if !group.stream().is_empty() {
            let message = "a list or an object is empty here: `[]`, `{}`";
            return Err(syn::Error::new(group.span(), message));
        }
        return Ok(match group.delimiter() {
            proc_macro2::Delimiter::Bracket => Scalar::List(group.span()),
            _ => Scalar::Object(group.span()),
        });
    }
    let value = input.fork().parse::<Lit>();
    match value {
        Ok(Lit::Bool(_) | Lit::Int(_) | Lit::Float(_) | Lit::Str(_)) => {
            let value = input.parse().map(Scalar::Lit);
            match input.peek(Token![*]) || input.peek(Token![+]) || input.peek(Token![-]) {
                true => Err(input.error("a value is one literal: `131_072`, not `4096 * 32`")),
                false => value,
            }
        }
        _ => Err(input.error(
            "expected a value: `true`, `8`, `1e-6`, `\"silu\"`, `null`, `[]` or `{}`; what follows \
             from other fields is `like other_field` or `by a_function`",
        )),
    }
}

/// Drops tokens up to the next row.
fn skip(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
    // The comma too, unless the caller takes it.
}
