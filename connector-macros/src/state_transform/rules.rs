use super::arguments::{Arguments, Sources};
use super::axes::{fold, known_captures};
use crate::args::{count, did_you_mean, list};
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::fold::Fold;
use crate::pattern::{Key, combinations, distinct, expand_all, keys};
use crate::signature::{Argument, Function, Head, Returned, returned};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::LitStr;

/// The rules of a keyed state transform: one, or one for each text of the choices in its keys.
#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
    when: Condition,
    optional: bool,
}

struct Rule {
    sources: Vec<Key>,
    targets: Vec<Key>,
    reads: Vec<Key>,
    fold: Fold,
}

impl Rules {
    pub fn new(
        arguments: &Arguments,
        head: &Head,
        function: Option<&Function>,
        errors: &Errors,
    ) -> Self {
        let (when, optional) = (arguments.when.clone(), arguments.optional);
        let rules = match function {
            Some(function) if arguments.has_keys() => rules(arguments, head, function, errors),
            _ => None,
        };
        Rules { rules: rules.unwrap_or_default(), when, optional }
    }

    /// Whether the function returns its targets as `Vec<Tensor>`.
    pub fn spreads(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.fold, Fold::Spread(_)))
    }

    /// A list of rules of the core.
    pub fn expand(&self, private: &TokenStream, name: &Ident) -> TokenStream {
        let Rules { rules, optional, .. } = self;
        let when = self.when.expand(private);
        let at = core_path::location(private, name.span());
        let rules = rules.iter().map(|rule| {
            let sources = expand_all(&rule.sources, private);
            let targets = expand_all(&rule.targets, private);
            let reads = expand_all(&rule.reads, private);
            let fold = rule.fold.expand(private);
            quote! {
                #private::Rule {
                    sources: #sources,
                    targets: #targets,
                    operations: &[<#name as #private::Transform>::OPERATION],
                    fold: #fold,
                    when: #when,
                    optional: #optional,
                    reads: #reads,
                    said: &[],
                    at: #at,
                }
            }
        });
        quote!(&[#(#rules),*])
    }
}

fn rules(
    arguments: &Arguments,
    head: &Head,
    function: &Function,
    errors: &Errors,
) -> Option<Vec<Rule>> {
    let sources = in_order(arguments.sources.as_ref()?, head, function, errors)?;
    let targets = &arguments.targets;
    count_targets(targets, function, errors);
    if !arguments.reads.is_empty() && !head.reads_from_its_context() {
        let message = format!(
            "`{}` reads nothing from its context, so what `reads` names would be lost\ntake \
             `ctx: &TransformCtx` as the first parameter and call `ctx.read(\"…\")`; to leave a \
             tensor behind on purpose, write an `ignore` row",
            head.name
        );
        errors.on(Listed(&arguments.reads), message);
    }
    let literals = sources.iter().chain(targets).chain(&arguments.reads);
    let mut rules = Vec::new();
    for chosen in combinations(literals, &[], errors)? {
        let sources = keys(&sources, &chosen, errors);
        let targets = keys(targets, &chosen, errors);
        let reads = keys(&arguments.reads, &chosen, errors);
        let (Some(sources), Some(targets), Some(reads)) = (sources, targets, reads) else {
            continue;
        };
        distinct(&sources, "rule", errors);
        distinct(&targets, "rule", errors);
        known_captures(&reads, &sources, &targets, errors);
        if let Some(fold) = fold(arguments, function, &sources, &targets, errors) {
            rules.push(Rule { sources, targets, reads, fold });
        }
    }
    Some(rules)
}

/// The source keys in the order of the parameters.
fn in_order(
    sources: &Sources,
    head: &Head,
    function: &Function,
    errors: &Errors,
) -> Option<Vec<LitStr>> {
    let parameters: Vec<&Argument> = function.tensors.iter().chain(&function.group).collect();
    let named = match sources {
        Sources::ByPosition(keys) if keys.len() == parameters.len() => return Some(keys.clone()),
        Sources::ByPosition(keys) => {
            let (name, n) = (&head.name, parameters.len());
            let takes = match function.group {
                None => count(n, "tensor"),
                Some(_) => format!("{} and a group", count(n - 1, "tensor")),
            };
            let have = count(keys.len(), "source key");
            let advice = match keys.len() < n {
                true => format!(
                    "write one for each parameter, as in `source_key = (\"{}\", \"…\")`",
                    keys[0].value()
                ),
                false => "add a `Tensor` parameter for each key, or remove keys".into(),
            };
            errors.on(Listed(keys), format!("`{name}` takes {takes} but has {have}\n{advice}"));
            return None;
        }
        Sources::ByName(named) => named,
    };
    let known: Vec<String> =
        parameters.iter().filter_map(|p| p.name.as_ref()).map(Ident::to_string).collect();
    let mut well = true;
    for (i, (name, _)) in named.iter().enumerate() {
        if !known.iter().any(|k| name == k) {
            let near = did_you_mean(&name.to_string(), known.iter().map(String::as_str));
            let message = format!(
                "`{}` has no tensor parameter `{name}`{near}\nit has {}",
                head.name,
                list(&known)
            );
            errors.at(name.span(), message);
            well = false;
        } else if named[..i].iter().any(|(earlier, _)| earlier == name) {
            errors.at(name.span(), format!("`{name}` is given twice: keep one"));
            well = false;
        }
    }
    if !well {
        return None;
    }
    let mut out = Vec::new();
    for parameter in parameters {
        let Some(name) = &parameter.name else {
            let message = "this parameter needs a name, because `source_key` gives keys by name";
            errors.on(&parameter.ty, message);
            return None;
        };
        match named.iter().find(|(other, _)| other == name) {
            Some((_, key)) => out.push(key.clone()),
            None => {
                let message = format!(
                    "the parameter `{name}` has no source key: add `{name} = \"…\"` to `source_key`"
                );
                errors.at(name.span(), message);
                well = false;
            }
        }
    }
    well.then_some(out)
}

/// Refuses a number of returned tensors that the type's text shows to be wrong; the rest is for
/// the trait bound on the return type.
fn count_targets(targets: &[LitStr], function: &Function, errors: &Errors) {
    let Returned::Fixed(n) = returned(&function.output) else { return };
    let Ok(n) = n.to_string().trim_end_matches("usize").parse::<usize>() else { return };
    if n != targets.len() {
        let message = format!(
            "this returns {} but the rule has {}\nreturn {}, or a `Result` of it, or {}",
            count(n, "tensor"),
            count(targets.len(), "target key"),
            match targets.len() {
                1 => "one `Tensor`".to_owned(),
                n => format!("`[Tensor; {n}]` or a tuple"),
            },
            match n {
                1 => "keep one target key".to_owned(),
                n => format!("write {n} target keys, as in `target_key = (\"…\", \"…\")`"),
            },
        );
        errors.on(&function.output, message);
    }
}

/// From the first literal to the last, for the span of a message.
struct Listed<'a>(&'a [LitStr]);

impl quote::ToTokens for Listed<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.iter().for_each(|literal| literal.to_tokens(tokens));
    }
}
