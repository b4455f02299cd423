use super::names::{declared, dtype, unbound, undeclared};
use super::parse::{Declaration, Entry, Experts, Kind, Parameter, Spelling, Value, What};
use crate::captures::{Place, agree, all, captured, disagreement};
use crate::condition::Condition;
use crate::core_path;
use crate::errors::Errors;
use crate::pattern::{Chosen, Key, choose, combinations, keys, marked, place_of};
use connector_key::{MAX_FLAGS, Offset, Part};
use proc_macro2::{Ident, TokenStream};
use std::slice::from_ref;
use syn::{Attribute, LitStr, Path};

/// The parameters of a schema with their whole names, one for each text of a choice, and the blocks
/// that it includes.
pub struct Parameters<'a> {
    pub list: Vec<Item<'a>>,
}

pub struct Item<'a> {
    /// Its `#[cfg(…)]`, and those of the prefixes around it.
    pub cfg: Vec<Attribute>,
    pub what: Resolved<'a>,
}

pub enum Resolved<'a> {
    Parameter(Named<'a>),
    Include(Included<'a>),
}

pub struct Included<'a> {
    pub block: &'a Path,
    pub prefix: String,
    pub when: Condition,
}

pub struct Named<'a> {
    pub key: Key,
    pub when: Condition,
    pub aka: Vec<Key>,
    /// Which of `aka` is written, and when.
    pub written_as: Vec<(Condition, usize)>,
    /// The variant of `Dtype`.
    pub keep: Option<Ident>,
    /// The axes in the name, by their numbers.
    pub axes: Vec<usize>,
    pub written: &'a Parameter,
}

/// What the blocks around an entry have said.
#[derive(Clone, Default)]
struct Scope {
    cfg: Vec<Attribute>,
    prefix: String,
    when: Condition,
    chosen: Vec<Chosen>,
    /// How many captures the prefix has, which have been looked at.
    captures: usize,
}

impl<'a> Parameters<'a> {
    pub fn new(declaration: &'a Declaration, errors: &Errors) -> Self {
        let Declaration { axes, fields, flags, .. } = declaration;
        for (what, values) in [("axis", axes), ("field", fields), ("flag", flags)] {
            for (i, value) in values.iter().enumerate() {
                let name = &value.name;
                let again = |earlier: &&Value| earlier.name == *name;
                let twice = values[..i].iter().find(again);
                // Of several with conditions at most one may be there.
                if twice.is_some_and(|earlier| earlier.cfg.is_empty() || value.cfg.is_empty()) {
                    let message = format!("the {what} `{name}` is declared twice: keep one");
                    errors.at(name.span(), message);
                }
                for axis in &value.of {
                    declared("axis", axis, axes, errors);
                }
                if let ("field" | "flag", Some(expression)) = (what, &value.value) {
                    unbound(expression, axes, &value.of, errors, |axis| {
                        format!(
                            "the {what} `{name}` depends on `{axis}`: declare it as `{what} \
                             {name}({axis}) = …;`"
                        )
                    });
                }
            }
        }
        if let Some(flag) = flags.get(MAX_FLAGS) {
            let message = format!(
                "a schema has at most {MAX_FLAGS} flags\n\
                 make one flag of some that stand together in conditions, `flag name = c.a && c.b;`"
            );
            errors.at(flag.name.span(), message);
        }
        for flag in declaration.one_of.iter().flat_map(|of| &of.flags) {
            declared("flag", flag, flags, errors);
        }
        let mut resolver = Resolver { declaration, errors, list: Vec::new() };
        resolver.entries(&declaration.entries, &Scope::default());
        Parameters { list: resolver.list }
    }
}

struct Resolver<'a, 'e> {
    declaration: &'a Declaration,
    errors: &'e Errors,
    list: Vec<Item<'a>>,
}

impl<'a> Resolver<'a, '_> {
    fn entries(&mut self, entries: &'a [Entry], scope: &Scope) {
        let errors = self.errors;
        for Entry { cfg, what } in entries {
            let scope = &Scope { cfg: [&scope.cfg[..], cfg].concat(), ..scope.clone() };
            match what {
                What::Parameter(parameter) => self.parameter(parameter, scope),
                What::Include { block, when } => self.include(block, when, scope),
                What::Prefix { prefix, when, entries } => {
                    self.condition(when);
                    let Some(all) = combinations([prefix], &scope.chosen, errors) else { continue };
                    for chosen in all {
                        // A malformed prefix is reported once, not for every name inside.
                        let Some(key) = Key::new(&scope.prefix, prefix, &chosen, errors) else {
                            continue;
                        };
                        self.name(&key, scope.captures);
                        let captures = captured(&key).len();
                        let prefix = key.text().to_owned();
                        let when = scope.when.and(when);
                        let cfg = scope.cfg.clone();
                        self.entries(entries, &Scope { cfg, prefix, when, chosen, captures });
                    }
                }
            }
        }
    }

    fn include(&mut self, block: &'a Path, when: &Condition, scope: &Scope) {
        self.condition(when);
        let when = scope.when.and(when);
        let at = core_path::span(block);
        let prefix = LitStr::new(&scope.prefix, at);
        let axes = match scope.prefix.is_empty() {
            true => Some(Vec::new()),
            // What is wrong with it was reported at the prefix.
            false => Key::new("", &prefix, &[], self.errors)
                .and_then(|key| self.name(&key, scope.captures)),
        };
        if let Some(axes) = axes {
            self.indices_of_flags(&scope.prefix, &when, &axes);
        }
        let what = Resolved::Include(Included { block, prefix: scope.prefix.clone(), when });
        self.list.push(Item { cfg: scope.cfg.clone(), what });
    }

    fn parameter(&mut self, written: &'a Parameter, scope: &Scope) {
        let errors = self.errors;
        self.condition(&written.when);
        written.aka.iter().filter_map(|spelling| spelling.when.as_ref()).for_each(|when| {
            self.condition(when);
        });
        let keep = written.keep.as_ref().and_then(|keep| dtype(keep, errors));
        let spellings = written.aka.iter().map(|spelling| &spelling.name);
        let literals = [&written.name].into_iter().chain(spellings);
        let Some(combinations) = combinations(literals, &scope.chosen, errors) else { return };
        for chosen in combinations {
            let Some(key) = Key::new(&scope.prefix, &written.name, &chosen, errors) else {
                continue;
            };
            let prefix = (!scope.prefix.is_empty()).then(|| format!("{}.", scope.prefix));
            let aka = written.aka.iter().map(|Spelling { name, .. }| {
                let text = choose(&name.value(), &chosen);
                let text = format!("{}{text}", prefix.as_deref().unwrap_or_default());
                LitStr::new(&text, name.span())
            });
            let mut aka = keys(&aka.collect::<Vec<_>>(), &[], errors).unwrap_or_default();
            for other in &aka {
                self.spelling(&key, other);
            }
            let Some(axes) = self.name(&key, scope.captures) else { continue };
            let when = scope.when.and(&written.when);
            if when.is_never() {
                let message = format!(
                    "`{}` never exists: its condition and those of the prefixes around it exclude \
                     each other\ncorrect one of the conditions, or drop the parameter",
                    key.text()
                );
                errors.at(key.span(), message);
            }
            self.indices_of_flags(key.text(), &when, &axes);
            self.indices_of_shape(&key, &written.shape, &axes);
            let spelt = written.aka.iter().zip(0..aka.len());
            let mut written_as: Vec<(Condition, usize)> =
                spelt.filter_map(|(s, number)| Some((s.when.clone()?, number))).collect();
            if let Some(Experts { grouped, .. }) = self.of_experts(&key)
                && let Some(spelling) = self.grouped(&key)
            {
                let when = grouped.as_ref().map(Condition::flag);
                written_as.extend(when.map(|when| (when, aka.len())));
                aka.push(spelling);
            }
            for (when, _) in &written_as {
                self.indices_of_flags(key.text(), when, &axes);
            }
            let same = |item: &Item<'_>| match &item.what {
                Resolved::Parameter(earlier) => {
                    // Of several with conditions at most one may be there.
                    earlier.key.pattern() == key.pattern()
                        && (item.cfg.is_empty() || scope.cfg.is_empty())
                }
                Resolved::Include(_) => false,
            };
            if self.list.iter().any(same) {
                let message = format!("the parameter `{}` is declared twice: keep one", key.text());
                errors.at(key.span(), message);
            }
            let keep = keep.clone();
            let named = Named { key, when, aka, written_as, keep, axes, written };
            self.list.push(Item { cfg: scope.cfg.clone(), what: Resolved::Parameter(named) });
        }
    }

    /// The axis of experts, if a name has it.
    fn of_experts(&self, key: &Key) -> Option<&'a Experts> {
        let experts = self.declaration.experts.as_ref()?;
        captured(key).iter().any(|name| experts.axis == name).then_some(experts)
    }

    /// The name of an expert's parameter as Megatron-core's grouped ones have it:
    /// `mlp.experts.linear_fc1.weight{e}` for `mlp.experts.local_experts.{e}.linear_fc1.weight`.
    fn grouped(&self, key: &Key) -> Option<Key> {
        let axis = &self.declaration.experts.as_ref()?.axis;
        let local = format!("experts.local_experts.{{{axis}}}.");
        let parts = key.text().split_once(&local);
        let parts = parts.filter(|(before, _)| before.is_empty() || before.ends_with('.'));
        let Some((before, after)) = parts else {
            let message = format!(
                "the parameters of experts are called as Megatron-core's, \
                 `….{local}linear_fc1.weight`: torch_dist stores them under names that follow from it\n\
                 call it so, or declare `{axis}` without `: experts`"
            );
            self.errors.at(key.span(), message);
            return None;
        };
        let text = format!("{before}experts.{after}{{{axis}}}");
        Key::new("", &LitStr::new(&text, key.span()), &[], self.errors)
    }

    /// The axes in a name, if it captures nothing but declared ones. Of the first `seen` captures,
    /// which are those of the prefix, the mistakes are reported there.
    fn name(&self, key: &Key, seen: usize) -> Option<Vec<usize>> {
        let Declaration { axes, fields, .. } = self.declaration;
        let report = |number: usize, what: &str, name: &str, values: &[Value]| {
            if number >= seen {
                let place = marked(key.text(), place_of(key.text(), name));
                let message = undeclared(what, name, values, &place);
                self.errors.at(key.span(), message);
            }
        };
        let mut found = Some(Vec::new());
        let pattern = key.pattern();
        for part in pattern.parts() {
            if let Part::Field { name } = part
                && !fields.iter().any(|declared| declared.name == name)
            {
                report(usize::MAX, "field", name, fields);
            }
        }
        let captures = pattern.parts().iter().filter(|part| part.is_capture());
        for (number, part) in captures.enumerate() {
            let Part::Index { name, offset, .. } = part else {
                let message = "a parameter's name has named axes only\nwrite `{layer}` with \
                               `axis layer = …;` declared, not `*`, `**` or `{name:word}`";
                if number >= seen {
                    self.errors.at(key.span(), message);
                }
                found = None;
                continue;
            };
            let axis = axes.iter().position(|axis| axis.name == name);
            if axis.is_none() {
                report(number, "axis", name, axes);
            }
            found = found.zip(axis).map(|(found, axis)| [found, vec![axis]].concat());
            if let Offset::Field(field) = offset
                && !fields.iter().any(|declared| declared.name == field)
            {
                report(number, "field", field, fields);
            }
        }
        found
    }

    /// Refuses a shape that asks for the layer of a parameter without layers.
    fn indices_of_shape(&self, key: &Key, shape: &TokenStream, axes: &[usize]) {
        let all = &self.declaration.axes;
        let named = axes.iter().map(|number| &all[*number]);
        let bound: Vec<Ident> = named
            .chain(all.iter().filter(|axis| self.is_outer(axis)))
            .map(|axis| axis.name.clone())
            .collect();
        unbound(shape, all, &bound, self.errors, |axis| {
            format!(
                "this shape depends on `{axis}`, but the name `{}` has no `{{{axis}}}`\n\
                 an axis has a value only where the name has it",
                key.text()
            )
        });
    }

    /// Whether an axis is one of the schema around a block: the names there have it.
    fn is_outer(&self, axis: &Value) -> bool {
        self.declaration.kind == Kind::Block && axis.value.is_none()
    }

    fn spelling(&self, key: &Key, other: &Key) {
        let (names, others) = (all(from_ref(key)), all(from_ref(other)));
        if key.pattern() == other.pattern() {
            self.errors
                .at(other.span(), "this is the parameter's name already: remove it from `aka`");
        } else if !agree(&names, &others) {
            self.errors.add(disagreement(Place::Spelling, from_ref(key), from_ref(other)));
        }
    }

    fn condition(&self, condition: &Condition) {
        for flag in condition.flags() {
            declared("flag", flag, &self.declaration.flags, self.errors);
        }
        for (axis, field) in condition.compared() {
            declared("axis", axis, &self.declaration.axes, self.errors);
            if let Some(field) = field {
                declared("field", field, &self.declaration.fields, self.errors);
            }
        }
    }

    /// Refuses a condition that asks for the layer of a parameter without layers.
    fn indices_of_flags(&self, name: &str, when: &Condition, axes: &[usize]) {
        let Declaration { axes: all, flags, .. } = self.declaration;
        for (axis, _) in when.compared() {
            let bound = axes.iter().any(|number| all[*number].name == *axis);
            if !bound && all.iter().any(|other| other.name == *axis && !self.is_outer(other)) {
                let message = format!(
                    "this compares `{axis}`, but the name `{name}` has no `{{{axis}}}`\n\
                     write it there, or a flag without an axis here"
                );
                self.errors.at(axis.span(), message);
            }
        }
        for used in when.flags() {
            let Some(flag) = flags.iter().find(|flag| flag.name == *used) else { continue };
            for axis in &flag.of {
                let bound = axes.iter().any(|number| all[*number].name == *axis);
                if !bound && all.iter().any(|other| other.name == *axis && !self.is_outer(other)) {
                    let message = format!(
                        "the flag `{used}` depends on `{axis}`, but the name `{name}` has no \
                         `{{{axis}}}`\nwrite it there, or a flag without an axis here"
                    );
                    self.errors.at(used.span(), message);
                }
            }
        }
    }
}
