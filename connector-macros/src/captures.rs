use crate::pattern::Key;
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

/// The message for sources and targets that do not capture the same.
pub fn disagreement(place: Place, sources: &[Key], targets: &[Key]) -> String {
    let what = match place {
        Place::Row | Place::Equal => "row",
        Place::Block => "block",
        Place::Spelling => "parameter",
        Place::Attribute => "rule",
    };
    let mut out = match place {
        Place::Spelling => "the two spellings of this parameter capture different things".into(),
        _ => format!("the two sides of this {what} capture different things"),
    };
    let width = sources.iter().chain(targets).map(|key| key.text().len()).max().unwrap_or(0);
    for key in sources.iter().chain(targets) {
        let _ = write!(out, "\n  {:width$}  captures {}", key.text(), describe(&in_order(key)));
    }
    let _ = write!(out, "\n{}", advice(place, &all(sources), &all(targets)));
    out
}

fn describe(captured: &Captured) -> String {
    match captured.iter().any(|c| is_name(c)) {
        false if captured.is_empty() => "nothing".into(),
        false if captured.iter().all(|c| c == "*") => captured.len().to_string(),
        false => captured.join(", "),
        true => {
            let show = |c: &String| if is_name(c) { format!("{{{c}}}") } else { c.clone() };
            captured.iter().map(show).collect::<Vec<_>>().join(", ")
        }
    }
}

fn advice(place: Place, sources: &[Captured], targets: &[Captured]) -> String {
    match place {
        Place::Equal => {
            return "both keys need the same captures: nothing tells which tensors to compare"
                .into();
        }
        Place::Spelling => return "another spelling of a name has the same axes".into(),
        Place::Row | Place::Block | Place::Attribute => {}
    }
    let every = || sources.iter().chain(targets).flatten();
    let fold = |verb: &str, axis: &str| match place {
        Place::Attribute => format!("`{verb} = {axis}`"),
        Place::Row | Place::Equal | Place::Spelling => format!("`{verb} {axis}`"),
        Place::Block => format!("`{verb} {axis}` in its rows"),
    };
    let stack = |axis: &str| {
        let group = match place {
            Place::Attribute => ", or take them as a last parameter `&[Tensor]`",
            _ => "",
        };
        format!("say {} if the tensors along `{{{axis}}}` become one{group}", fold("stack", axis))
    };
    let unstack = |axis: &str| {
        let spread = match place {
            Place::Attribute => ", or return them as `Vec<Tensor>`",
            _ => "",
        };
        let say = fold("unstack", axis);
        format!("say {say} if one tensor becomes those along `{{{axis}}}`{spread}")
    };
    if every().any(|c| is_name(c)) && every().any(|c| !is_name(c)) {
        return "`*` binds by position and `{name}` by name: name all of them, as in `{layer}`"
            .into();
    }
    if !every().any(|c| is_name(c)) {
        let most = |side: &[Captured]| side.iter().map(Vec::len).max().unwrap_or(0);
        let more = match most(sources).cmp(&most(targets)) {
            std::cmp::Ordering::Greater => format!(", and {}", stack("e")),
            std::cmp::Ordering::Less => format!(", and {}", unstack("e")),
            std::cmp::Ordering::Equal => String::new(),
        };
        return format!(
            "`*` binds by position, so every key needs the same: name them, as in `{{layer}}` and \
             `{{e}}`{more}"
        );
    }
    let only = |here: &[Captured], there: &[Captured]| {
        let mut names: Vec<String> = Vec::new();
        for name in here.iter().flatten() {
            if !there.iter().any(|t| t.contains(name)) && !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    };
    match (&only(sources, targets)[..], &only(targets, sources)[..]) {
        ([axis], []) => stack(axis),
        ([], [axis]) => unstack(axis),
        ([a, ..], [b, ..]) => format!(
            "if `{{{a}}}` and `{{{b}}}` are the same, give them one name; a name on both sides is \
             the same value"
        ),
        _ => "every key of a rule needs the same captures".into(),
    }
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
            (Place::Row, "a.*.*", "b.*", "name them, as in `{layer}` and `{e}`, and say `stack e`"),
            (Place::Row, "a.*", "b.{layer}", "`*` binds by position and `{name}` by name"),
            (Place::Row, "a.{l}", "b.{layer}", "if `{l}` and `{layer}` are the same"),
            (Place::Block, "a.{l}.{e}", "b.{l}", "say `stack e` in its rows"),
        ] {
            let message = disagreement(place, &keys(&[sources]), &keys(&[targets]));
            assert!(message.contains(want), "{message}");
        }
        let message = disagreement(Place::Row, &keys(&["layers.*.*"]), &keys(&["x"]));
        assert!(message.contains("\n  layers.*.*  captures 2\n  x           captures nothing\n"));
    }
}
