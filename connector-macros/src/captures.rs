use crate::pattern::{Key, KeySpan};
use connector_key::Part;
use std::fmt::Write;

/// What a key captures: names, and `*` and `**` for what has none. Names are sorted, because they
/// bind by name; without names the order counts.
pub type Captured = Vec<String>;

/// Where a rule is written, which decides how to write the way out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In `mapping!`.
    Row,
    /// The two heads of a block in `mapping!`.
    Block,
    /// An `a == b` in `mapping!`.
    Equal,
    /// A name and an `aka` in `param_schema!`.
    Spelling,
    /// In the arguments of `#[state_transform]`.
    Attribute,
}

pub fn captured(key: &Key) -> Captured {
    let mut names = in_order(key);
    if names.iter().any(|name| is_name(name)) {
        names.sort();
    }
    names
}

fn in_order(key: &Key) -> Captured {
    let pattern = key.pattern();
    pattern
        .parts()
        .iter()
        .filter_map(|part| match part {
            Part::Word { name: "" } => Some("*".to_owned()),
            Part::Word { name } | Part::Index { name, .. } => Some((*name).to_owned()),
            Part::Any => Some("**".to_owned()),
            _ => None,
        })
        .collect()
}

pub fn all(keys: &[Key]) -> Vec<Captured> {
    keys.iter().map(captured).collect()
}

pub fn is_name(capture: &str) -> bool {
    !capture.starts_with('*')
}

/// Whether all of these capture the same.
pub fn agree(sources: &[Captured], targets: &[Captured]) -> bool {
    let mut all = sources.iter().chain(targets);
    let Some(first) = all.next() else { return true };
    let mixed = first.iter().any(|c| is_name(c)) && first.iter().any(|c| !is_name(c));
    !mixed && all.all(|other| other == first)
}

/// Whether the captures of one key say those of another: they are the same, or named and more.
pub fn covers(more: &Captured, less: &Captured) -> bool {
    agree(std::slice::from_ref(more), std::slice::from_ref(less))
        || more.iter().all(|c| is_name(c)) && less.iter().all(|c| more.contains(c))
}

/// The one name that every one of `more` has and none of `less`, if without it they agree.
pub fn extra(more: &[Captured], less: &[Captured]) -> Option<String> {
    let lacking = |name: &&String| is_name(name) && !less.iter().any(|l| l.contains(*name));
    let axis = more.first()?.iter().find(lacking)?;
    let all_have_it = more.iter().all(|names| names.contains(axis));
    (all_have_it && agree(&without(more, axis), less)).then(|| axis.clone())
}

/// `all` without the name `axis`.
pub fn without(all: &[Captured], axis: &str) -> Vec<Captured> {
    all.iter().map(|names| names.iter().filter(|name| *name != axis).cloned().collect()).collect()
}

/// The mistake of sources and targets that do not capture the same.
pub fn disagreement(place: Place, sources: &[Key], targets: &[Key]) -> syn::Error {
    if let Some(error) = odd_one(place, sources, targets) {
        return error;
    }
    let mut out = match place {
        Place::Spelling => "the two spellings of this parameter capture different things".into(),
        _ => format!("the keys of this {} capture different things", place.what()),
    };
    let width = sources.iter().chain(targets).map(|key| key.text().len()).max().unwrap_or(0);
    for key in sources.iter().chain(targets) {
        let _ = write!(out, "\n  {:width$}  captures {}", key.text(), describe(&in_order(key)));
    }
    let _ = write!(out, "\n{}", advice(place, &all(sources), &all(targets)));
    match place {
        Place::Spelling => syn::Error::new_spanned(KeySpan(targets, &[]), out),
        _ => syn::Error::new_spanned(KeySpan(sources, targets), out),
    }
}

impl Place {
    fn what(self) -> &'static str {
        match self {
            Place::Row | Place::Equal => "row",
            Place::Block => "block",
            Place::Spelling => "parameter",
            Place::Attribute => "rule",
        }
    }
}

/// The mistake of one key that lacks what the others on both sides have: no fold makes it good.
fn odd_one(place: Place, sources: &[Key], targets: &[Key]) -> Option<syn::Error> {
    let (from, to) = (all(sources), all(targets));
    let folds = !only(&from, &to).is_empty() || !only(&to, &from).is_empty();
    if folds || !matches!(place, Place::Row | Place::Attribute) {
        return None;
    }
    let keys = || sources.iter().chain(targets);
    let most = keys().map(captured).max_by_key(Vec::len)?;
    if most.iter().any(|capture| !is_name(capture)) {
        return None;
    }
    let odd = keys().find(|key| captured(key) != most)?;
    let (text, what) = (odd.text(), place.what());
    let lacking: Captured =
        most.iter().filter(|name| !captured(odd).contains(name)).cloned().collect();
    let lacking = describe(&lacking);
    let reads = match place {
        Place::Attribute => format!(
            "\nif `{text}` is one tensor for all of them, name it in `reads` and ask the context \
             for it"
        ),
        _ => String::new(),
    };
    let message = format!(
        "`{text}` captures {}, but other keys of this {what} capture {}\n\
         all keys of a {what} capture the same: add {lacking} to `{text}`{reads}",
        describe(&in_order(odd)),
        describe(&most),
    );
    Some(syn::Error::new(odd.span(), message))
}

/// The names that the keys of one side have and no key of the other.
fn only(here: &[Captured], there: &[Captured]) -> Captured {
    let mut names = Captured::new();
    for name in here.iter().flatten() {
        if !there.iter().any(|t| t.contains(name)) && !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn describe(captured: &Captured) -> String {
    match captured.iter().any(|c| is_name(c)) {
        false if captured.is_empty() => "nothing".into(),
        false if captured.iter().all(|c| c == "*") => format!("{} `*`", captured.len()),
        _ => {
            let show = |c: &String| match is_name(c) {
                true => format!("`{{{c}}}`"),
                false => format!("`{c}`"),
            };
            captured.iter().map(show).collect::<Vec<_>>().join(", ")
        }
    }
}

fn advice(place: Place, sources: &[Captured], targets: &[Captured]) -> String {
    match place {
        Place::Equal => {
            return "the right key may capture less than the left one, and nothing else: what the \
                    left one captures says which tensor it must equal"
                .into();
        }
        Place::Spelling => return "another spelling of a name has the same axes".into(),
        Place::Row | Place::Block | Place::Attribute => {}
    }
    let every = || sources.iter().chain(targets).flatten();
    if every().any(|c| is_name(c)) && every().any(|c| !is_name(c)) {
        return "`*` binds by position and `{name}` by name: name all of them, as in `{layer}`"
            .into();
    }
    if !every().any(|c| is_name(c)) {
        let most = |side: &[Captured]| side.iter().map(Vec::len).max().unwrap_or(0);
        let more = match most(sources).cmp(&most(targets)) {
            std::cmp::Ordering::Greater => format!("\nthen {}", stack(place, "e")),
            std::cmp::Ordering::Less => format!("\nthen {}", unstack(place, "e")),
            std::cmp::Ordering::Equal => String::new(),
        };
        return format!(
            "`*` binds by position, so each key needs as many: write names instead, as in \
             `{{layer}}` and `{{e}}`{more}"
        );
    }
    let some = |side: &[Captured], axis: &String| side.iter().any(|names| !names.contains(axis));
    match (&only(sources, targets)[..], &only(targets, sources)[..]) {
        ([axis], []) if some(sources, axis) => some_only(axis, "source", "stack"),
        ([], [axis]) if some(targets, axis) => some_only(axis, "target", "unstack"),
        ([axis], []) => stack(place, axis),
        ([], [axis]) => unstack(place, axis),
        ([a, ..], [b, ..]) => format!(
            "if `{{{a}}}` and `{{{b}}}` are the same, give them one name; a name on both sides is \
             the same value"
        ),
        (more, []) | ([], more) => format!(
            "`stack` and `unstack` fold one axis, and {} are on one side only",
            describe(&more.to_vec())
        ),
    }
}

fn stack(place: Place, axis: &str) -> String {
    let group = match place {
        Place::Attribute => ", or take them as a last parameter `&[Tensor]`",
        _ => "",
    };
    format!(
        "say {} if the tensors along `{{{axis}}}` become one{group}",
        fold(place, "stack", axis)
    )
}

fn unstack(place: Place, axis: &str) -> String {
    let spread = match place {
        Place::Attribute => ", or return them as `Vec<Tensor>`",
        _ => "",
    };
    let [say, repeat] = ["unstack", "repeat"].map(|verb| fold(place, verb, axis));
    format!(
        "say {say} if one tensor becomes those along `{{{axis}}}`{spread}, {repeat} if it is each of them"
    )
}

fn fold(place: Place, verb: &str, axis: &str) -> String {
    match place {
        Place::Attribute => format!("`{verb} = {axis}`"),
        Place::Block => format!("`{verb} {axis}` in its rows"),
        Place::Row | Place::Equal | Place::Spelling => format!("`{verb} {axis}`"),
    }
}

fn some_only(axis: &str, side: &str, verb: &str) -> String {
    format!(
        "`{{{axis}}}` is in some {side} keys and not in others: write it in all and say \
         `{verb}`, or in none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Errors;
    use proc_macro2::Span;
    use syn::LitStr;

    fn keys(texts: &[&str]) -> Vec<Key> {
        let errors = Errors::new();
        let literal = |text| LitStr::new(text, Span::call_site());
        let keys = texts.iter().map(|t| Key::new("", &literal(t), &[], &errors).unwrap()).collect();
        assert!(errors.finish().is_empty());
        keys
    }

    fn agrees(sources: &[&str], targets: &[&str]) -> bool {
        agree(&all(&keys(sources)), &all(&keys(targets)))
    }

    #[test]
    fn names_bind_by_name_and_stars_by_position() {
        assert!(agrees(&["a.*.b", "c.*.d"], &["e.*"]));
        assert!(agrees(&["a.{x}.{y}"], &["b.{y}.{x}"]));
        assert!(agrees(&["a.**.b.*"], &["c.**.d.*"]));
        assert!(!agrees(&["a.**.b.*"], &["c.*.d.**"]));
        assert!(!agrees(&["a.*"], &["b.{layer}"]));
        assert!(!agrees(&["a.*.{e}"], &["b.*.{e}"]));
        assert!(!agrees(&["a.*", "b.c"], &["d.*"]));
    }

    #[test]
    fn an_extra_axis_is_found() {
        let found = |more: &[&str], less: &[&str]| extra(&all(&keys(more)), &all(&keys(less)));
        assert_eq!(found(&["a.{l}.{e}"], &["b.{l}"]).as_deref(), Some("e"));
        assert_eq!(found(&["a.{l}.{e}.{f}"], &["b.{l}"]), None);
        assert_eq!(found(&["a.*.*"], &["b.*"]), None);
        assert_eq!(found(&["a.{l}.{e}", "c.{l}"], &["b.{l}"]), None);
    }

    #[test]
    fn the_message_says_the_way_out() {
        for (place, sources, targets, want) in [
            (
                Place::Row,
                "a.{l}.{e}",
                "b.{l}",
                "say `stack e` if the tensors along `{e}` become one",
            ),
            (Place::Attribute, "a.{l}.{e}", "b.{l}", "say `stack = e`"),
            (Place::Attribute, "a.{l}", "b.{l}.{e}", "or return them as `Vec<Tensor>`"),
            (Place::Row, "a.*.*", "b.*", "as in `{layer}` and `{e}`\nthen say `stack e`"),
            (
                Place::Row,
                "a.{l}.{e}.{f}",
                "b.{l}",
                "fold one axis, and `{e}`, `{f}` are on one side",
            ),
            (Place::Row, "a.*", "b.{layer}", "`*` binds by position and `{name}` by name"),
            (Place::Row, "a.{l}", "b.{layer}", "if `{l}` and `{layer}` are the same"),
            (Place::Block, "a.{l}.{e}", "b.{l}", "say `stack e` in its rows"),
        ] {
            let error = disagreement(place, &keys(&[sources]), &keys(&[targets]));
            let message = error.to_string();
            assert!(message.contains(want), "{message}");
        }
        let of = |sources: &[&str], targets: &[&str]| {
            disagreement(Place::Attribute, &keys(sources), &keys(targets)).to_string()
        };
        let stars = of(&["layers.*.*"], &["x"]);
        assert!(stars.contains("\n  layers.*.*  captures 2 `*`\n  x           captures nothing\n"));
        let odd = of(&["a.{l}", "shared"], &["b.{l}"]);
        assert!(odd.starts_with("`shared` captures nothing, but other keys"), "{odd}");
        assert!(odd.contains("add `{l}` to `shared`\nif `shared` is one tensor"), "{odd}");
        let some = of(&["a.{l}.{e}", "b.{l}"], &["c.{l}"]);
        assert!(some.contains("`{e}` is in some source keys and not in others"), "{some}");
    }
}
