use super::arguments::{Arguments, Sources};
use crate::args::{count, did_you_mean, list};
use crate::captures::{
    Captured, Place, agree, all, captured, disagreement, extra, is_name, without,
};
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::fold::{Fold, Written};
use crate::pattern::{Key, combinations, distinct, expand_all, keys, marked, place_of};
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
                    operation: <#name as #private::Transform>::OPERATION,
                    fold: #fold,
                    when: #when,
                    optional: #optional,
                    reads: #reads,
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

/// Which axis the rule folds; a mistake if its two sides do not fit.
fn fold(
    arguments: &Arguments,
    function: &Function,
    sources: &[Key],
    targets: &[Key],
    errors: &Errors,
) -> Option<Fold> {
    let (from, to) = (all(sources), all(targets));
    let refuse = || {
        errors.add(disagreement(Place::Attribute, sources, targets));
        None
    };
    if let Some(group) = &function.group {
        return match (&arguments.fold, from.split_last()) {
            (None, Some((last, others))) => match extra(std::slice::from_ref(last), &to) {
                Some(axis) if agree(others, &to) => Some(Fold::Gather(axis)),
                _ => {
                    let key = sources.last()?;
                    errors.at(key.span(), no_axis_for_group(key, &to));
                    None
                }
            },
            _ => {
                let message = "a function with a group takes the tensors along its axis one by \
                               one: remove `stack`, or take a `Tensor`";
                errors.on(&group.ty, message);
                None
            }
        };
    }
    match &arguments.fold {
        Some(Written::Stack(axis)) => {
            let name = axis.to_string();
            if !from.iter().all(|names| names.contains(&name)) {
                errors.at(axis.span(), absent(&name, "source", "stack", &from));
                return None;
            }
            match agree(&without(&from, &name), &to) {
                true => Some(Fold::Stack(name)),
                false => refuse(),
            }
        }
        Some(Written::Unstack(axis)) => {
            let name = axis.to_string();
            if !to.iter().all(|names| names.contains(&name)) {
                errors.at(axis.span(), absent(&name, "target", "unstack", &to));
                return None;
            }
            match agree(&from, &without(&to, &name)) {
                true => Some(Fold::Unstack(name)),
                false => refuse(),
            }
        }
        None if agree(&from, &to) => match returned(&function.output) {
            Returned::Spread => {
                let key = targets.last()?.text();
                let message = format!(
                    "`Vec<Tensor>` is one tensor for each index of an axis that only the target \
                     key has, but `{key}` has none\n\
                     add one, as in `{key}.{{e}}`, or return `Tensor` for one target, a tuple or \
                     an array for several"
                );
                errors.on(&function.output, message);
                None
            }
            _ => Some(Fold::None),
        },
        None => match (extra(&to, &from), returned(&function.output)) {
            (Some(axis), Returned::Spread | Returned::Unknown) if targets.len() == 1 => {
                Some(Fold::Spread(axis))
            }
            _ => refuse(),
        },
    }
}

/// A group's key without an axis of its own.
fn no_axis_for_group(key: &Key, to: &[Captured]) -> String {
    let text = key.text();
    let stars = captured(key).iter().chain(to.iter().flatten()).any(|capture| !is_name(capture));
    let advice = match stars {
        true => {
            format!("name the captures of all keys, as in `{{layer}}`, and add one to `{text}`")
        }
        false => format!("add one, as in `{text}.{{e}}`, or take a `Tensor`"),
    };
    format!(
        "the last parameter takes a group: its key captures what the target does and one axis \
         more, and `{text}` does not\n{advice}"
    )
}

/// An axis to fold that not every key of its side has.
fn absent(axis: &str, side: &str, verb: &str, keys: &[Captured]) -> String {
    if keys.iter().any(|names| names.iter().any(|name| name == axis)) {
        return format!("some {side} keys have no `{{{axis}}}`: to {verb} along it, all need it");
    }
    let mut names: Vec<String> = Vec::new();
    for name in keys.iter().flatten().filter(|name| is_name(name)) {
        let shown = format!("{{{name}}}");
        if !names.contains(&shown) {
            names.push(shown);
        }
    }
    match names.is_empty() {
        true => format!(
            "no {side} key captures `{{{axis}}}`\nwrite it where the axis is that you {verb}"
        ),
        false => format!(
            "no {side} key captures `{{{axis}}}`\nthey capture {}: name the one that you {verb}",
            list(&names)
        ),
    }
}

/// Refuses a key in `reads` with a capture that is not the same value on both sides of the rule.
fn known_captures(reads: &[Key], sources: &[Key], targets: &[Key], errors: &Errors) {
    let sides = [all(sources), all(targets)];
    // Stars bind by position, from the first.
    let stars = |names: &Captured, star: &str| names.iter().filter(|name| *name == star).count();
    for read in reads {
        let own = captured(read);
        let unknown = |capture: &&String| {
            sides.iter().any(|side| match is_name(capture) {
                true => !side.iter().flatten().any(|name| name == *capture),
                false => !side.iter().any(|key| stars(key, capture) >= stars(&own, capture)),
            })
        };
        if let Some(capture) = own.iter().find(unknown) {
            let text = read.text();
            let (shown, place) = match is_name(capture) {
                true => (format!("{{{capture}}}"), place_of(text, capture)),
                false => (capture.clone(), 0..0),
            };
            let message = format!(
                "`{shown}` is not on both sides of this rule, so it is unknown which tensor is \
                 read{}\na key in `reads` captures what sources and targets both do, or nothing",
                marked(text, place)
            );
            errors.at(read.span(), message);
        }
    }
}

/// From the first literal to the last, for the span of a message.
struct Listed<'a>(&'a [LitStr]);

impl quote::ToTokens for Listed<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.iter().for_each(|literal| literal.to_tokens(tokens));
    }
}
