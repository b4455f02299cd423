use crate::args;
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::fold::{Written, axis};
use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::punctuated::Punctuated;
use syn::{LitStr, Path, Token, parenthesized, token};

const KNOWN: [&str; 10] = [
    "source_key",
    "target_key",
    "inverse",
    "when",
    "optional",
    "stack",
    "unstack",
    "repeat",
    "reads",
    "crate",
];

/// The arguments of `#[state_transform(…)]`.
#[derive(Default)]
pub struct Arguments {
    pub sources: Option<Sources>,
    pub targets: Vec<LitStr>,
    pub inverse: Option<Path>,
    pub when: Condition,
    pub optional: bool,
    pub fold: Option<Written>,
    pub reads: Vec<LitStr>,
    pub core: Option<Path>,
}

/// `source_key`.
pub enum Sources {
    /// A string or a tuple of strings.
    ByPosition(Vec<LitStr>),
    /// `source_key(q = "…", k = "…")`.
    ByName(Vec<(Ident, LitStr)>),
}

impl Arguments {
    pub fn parse(tokens: TokenStream, errors: &Errors) -> Self {
        let mut this = Arguments::default();
        // Those that say something about a rule and so need keys.
        let mut of_rules: Vec<Ident> = Vec::new();
        let (mut source, mut target) = (None, None);
        args::read("state_transform", tokens, &KNOWN, errors, |name, input| {
            if ["when", "optional", "stack", "unstack", "repeat", "reads"]
                .iter()
                .any(|rule| name == rule)
            {
                of_rules.push(name.clone());
            }
            let argument = name.to_string();
            match argument.as_str() {
                "source_key" => source = Some(name.clone()),
                "target_key" => target = Some(name.clone()),
                _ => {}
            }
            this.read(&argument, name, input)
        });
        match (&source, &target) {
            (Some(name), None) => errors
                .at(name.span(), "`source_key` needs a `target_key`: add `target_key = \"…\"`"),
            (None, Some(name)) => errors
                .at(name.span(), "`target_key` needs a `source_key`: add `source_key = \"…\"`"),
            (None, None) => {
                for name in &of_rules {
                    let message = format!(
                        "`{name}` says something of keys, and this function has none\n\
                         add `source_key` and `target_key`, or write `{name}` in the rows of the \
                         mapping that apply the function with `via`"
                    );
                    errors.at(name.span(), message);
                }
            }
            (Some(_), Some(_)) => {}
        }
        this
    }

    fn read(&mut self, argument: &str, name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        match argument {
            "source_key" if input.peek(token::Paren) => self.sources = Some(by_name(input)?),
            "optional" => self.optional = true,
            _ => {
                input.parse::<Token![=]>()?;
                match argument {
                    "source_key" => self.sources = Some(Sources::ByPosition(args::strings(input)?)),
                    "target_key" => self.targets = args::strings(input)?,
                    "inverse" => self.inverse = Some(input.call(Path::parse_mod_style)?),
                    "when" => self.when = input.parse()?,
                    "reads" => self.reads = args::strings(input)?,
                    "stack" => self.fold(name, Written::Stack(axis(input, "stack = expert")?))?,
                    "unstack" => {
                        self.fold(name, Written::Unstack(axis(input, "unstack = expert")?))?
                    }
                    "repeat" => self.fold(name, Written::Repeat(axis(input, "repeat = layer")?))?,
                    _ => self.core = Some(core_path::parse_value(input)?),
                }
            }
        }
        Ok(())
    }

    fn fold(&mut self, name: &Ident, fold: Written) -> syn::Result<()> {
        if self.fold.is_some() {
            let message = "a rule stacks, unstacks or repeats one axis: keep one of `stack`, `unstack`, `repeat`";
            return Err(syn::Error::new(name.span(), message));
        }
        self.fold = Some(fold);
        Ok(())
    }

    /// Whether this is a whole rule, not only an operation.
    pub fn has_keys(&self) -> bool {
        self.sources.is_some() && !self.targets.is_empty()
    }
}

fn by_name(input: ParseStream<'_>) -> syn::Result<Sources> {
    let content;
    parenthesized!(content in input);
    let pair = |input: ParseStream<'_>| {
        if input.peek(LitStr) {
            return Err(input.error(
                "inside `source_key(…)` keys are given by parameter, `q = \"…\"`; \
                 by position they are `source_key = (\"…\", \"…\")`",
            ));
        }
        let name = input.call(Ident::parse_any)?;
        input.parse::<Token![=]>()?;
        Ok((name, input.parse()?))
    };
    let pairs = Punctuated::<(Ident, LitStr), Token![,]>::parse_terminated_with(&content, pair)?;
    Ok(Sources::ByName(pairs.into_iter().collect()))
}
