use super::parse::{Declaration, Entry, Parameter, Spelling, Value};
use crate::args::did_you_mean;
use crate::captures::{Place, agree, all, disagreement};
use crate::condition::Condition;
use crate::errors::Errors;
use crate::pattern::{Chosen, Key, KeySpan, choose, combinations, keys};
use connector_key::{MAX_FLAGS, Offset, Part};
use proc_macro2::{Ident, Span};
use std::slice::from_ref;

/// The parameters of a schema with their whole names, one for each text of a choice.
pub struct Parameters<'a> {
    pub list: Vec<Resolved<'a>>,
}

pub struct Resolved<'a> {
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

/// Names of types after `keep`, with the variants of `Dtype`.
const DTYPES: [(&str, &str); 22] = [
    ("bool", "Bool"),
    ("f4", "F4"),
    ("f6_e2m3", "F6E2M3"),
    ("f6_e3m2", "F6E3M2"),
    ("u8", "U8"),
    ("i8", "I8"),
    ("f8_e5m2", "F8E5M2"),
    ("f8_e4m3", "F8E4M3"),
    ("f8_e5m2fnuz", "F8E5M2Fnuz"),
    ("f8_e4m3fnuz", "F8E4M3Fnuz"),
    ("f8_e8m0", "F8E8M0"),
    ("i16", "I16"),
    ("u16", "U16"),
    ("f16", "F16"),
    ("bf16", "Bf16"),
    ("i32", "I32"),
    ("u32", "U32"),
    ("f32", "F32"),
    ("c64", "C64"),
    ("f64", "F64"),
    ("i64", "I64"),
    ("u64", "U64"),
];

/// What the blocks around an entry have said.
#[derive(Clone, Default)]
struct Scope {
    prefix: String,
    when: Condition,
    chosen: Vec<Chosen>,
}

impl<'a> Parameters<'a> {
    pub fn new(declaration: &'a Declaration, errors: &Errors) -> Self {
        let Declaration { axes, fields, flags, .. } = declaration;
        for (what, values) in [("axis", axes), ("field", fields), ("flag", flags)] {
            for (i, value) in values.iter().enumerate() {
                let name = &value.name;
                if values[..i].iter().any(|earlier| earlier.name == *name) {
                    errors.at(name.span(), format!("the {what} `{name}` is declared twice"));
                }
                for axis in &value.of {
                    declared("axis", &axis.to_string(), axis.span(), axes, errors);
                }
            }
        }
        if let Some(flag) = flags.get(MAX_FLAGS) {
            let message = format!(
                "a schema has at most {MAX_FLAGS} flags, and this is one more: the compiler \
                 compares conditions under every combination of them"
            );
            errors.at(flag.name.span(), message);
        }
        let mut resolver = Resolver { declaration, errors, list: Vec::new() };
        resolver.entries(&declaration.entries, &Scope::default());
        Parameters { list: resolver.list }
    }
}

struct Resolver<'a, 'e> {
    declaration: &'a Declaration,
    errors: &'e Errors,
    list: Vec<Resolved<'a>>,
}

impl<'a> Resolver<'a, '_> {
    fn entries(&mut self, entries: &'a [Entry], scope: &Scope) {
        let errors = self.errors;
        for entry in entries {
            match entry {
                Entry::Parameter(parameter) => self.parameter(parameter, scope),
                Entry::Block { prefix, when, entries } => {
                    self.condition(when);
                    let Some(all) = combinations([prefix], &scope.chosen, errors) else { continue };
                    for chosen in all {
                        // A malformed prefix is reported once, not for every name inside.
                        let Some(key) = Key::new(&scope.prefix, prefix, &chosen, errors) else {
                            continue;
                        };
                        let prefix = key.text().to_owned();
                        let when = scope.when.and(when);
                        self.entries(entries, &Scope { prefix, when, chosen });
                    }
                }
            }
        }
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
                syn::LitStr::new(&text, name.span())
            });
            let aka = keys(&aka.collect::<Vec<_>>(), &[], errors).unwrap_or_default();
            for other in &aka {
                self.spelling(&key, other);
            }
            let Some(axes) = self.name(&key) else { continue };
            let when = scope.when.and(&written.when);
            self.indices_of_flags(&key, &when, &axes);
            let spelt = written.aka.iter().zip(0..aka.len());
            let written_as: Vec<(Condition, usize)> =
                spelt.filter_map(|(s, number)| Some((s.when.clone()?, number))).collect();
            for (when, _) in &written_as {
                self.indices_of_flags(&key, when, &axes);
            }
            if self.list.iter().any(|earlier| earlier.key.pattern() == key.pattern()) {
                errors.at(key.span(), format!("the parameter `{}` is declared twice", key.text()));
            }
            let keep = keep.clone();
            self.list.push(Resolved { key, when, aka, written_as, keep, axes, written });
        }
    }

    /// The axes in a name, if it captures nothing but declared ones.
    fn name(&self, key: &Key) -> Option<Vec<usize>> {
        let Declaration { axes, fields, .. } = self.declaration;
        let mut found = Some(Vec::new());
        for part in key.pattern().parts() {
            match part {
                Part::Index { name, offset } => {
                    let axis = declared("axis", name, key.span(), axes, self.errors);
                    found = found.zip(axis).map(|(found, axis)| [found, vec![axis]].concat());
                    if let Offset::Field(field) = offset {
                        declared("field", field, key.span(), fields, self.errors);
                    }
                }
                part if part.is_capture() => {
                    let message = "a parameter's name has named axes only: write `{layer}` with \
                                   `axis layer = …;` declared, not `*`, `**` or `{name:word}`";
                    self.errors.at(key.span(), message);
                    found = None;
                }
                _ => {}
            }
        }
        found
    }

    fn spelling(&self, key: &Key, other: &Key) {
        let (names, others) = (all(from_ref(key)), all(from_ref(other)));
        if key.pattern() == other.pattern() {
            self.errors
                .at(other.span(), "this is the parameter's name already: remove it from `aka`");
        } else if !agree(&names, &others) {
            let message = disagreement(Place::Spelling, from_ref(key), from_ref(other));
            self.errors.on(KeySpan(from_ref(other), &[]), message);
        }
    }

    fn condition(&self, condition: &Condition) {
        for flag in condition.flags() {
            declared("flag", &flag.to_string(), flag.span(), &self.declaration.flags, self.errors);
        }
    }

    /// Refuses a condition that asks for the layer of a parameter without layers.
    fn indices_of_flags(&self, key: &Key, when: &Condition, axes: &[usize]) {
        let Declaration { axes: all, flags, .. } = self.declaration;
        for name in when.flags() {
            let Some(flag) = flags.iter().find(|flag| flag.name == *name) else { continue };
            for axis in &flag.of {
                let bound = axes.iter().any(|number| all[*number].name == *axis);
                if !bound && all.iter().any(|declared| declared.name == *axis) {
                    let message = format!(
                        "the flag `{name}` depends on `{axis}`, but the name `{}` has no \
                         `{{{axis}}}`",
                        key.text()
                    );
                    self.errors.at(name.span(), message);
                }
            }
        }
    }
}

/// The number of what is called `name`; a mistake if nothing is.
fn declared(
    what: &str,
    name: &str,
    span: Span,
    values: &[Value],
    errors: &Errors,
) -> Option<usize> {
    let found = values.iter().position(|value| value.name == name);
    if found.is_none() {
        let known: Vec<String> = values.iter().map(|value| value.name.to_string()).collect();
        let near = did_you_mean(name, known.iter().map(String::as_str));
        let way_out = match near.is_empty() {
            true => format!("; declare it with `{what} {name} = …;`"),
            false => near,
        };
        let article = if what == "axis" { "an" } else { "a" };
        errors.at(span, format!("`{name}` is not {article} {what} of this schema{way_out}"));
    }
    found
}

fn dtype(keep: &Ident, errors: &Errors) -> Option<Ident> {
    let name = keep.to_string();
    let found = DTYPES.iter().find(|(known, _)| *known == name);
    if found.is_none() {
        let list = DTYPES.map(|(known, _)| known).join(", ");
        let near = did_you_mean(&name, DTYPES.map(|(known, _)| known));
        errors.at(keep.span(), format!("`{name}` is not a type of numbers{near} (known: {list})"));
    }
    found.map(|(_, variant)| Ident::new(variant, keep.span().resolved_at(Span::mixed_site())))
}
