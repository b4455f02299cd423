use crate::base::{Advice, Finding, FindingKind, Location, group_keys, indices_as, natural_order};
use std::collections::BTreeMap;

/// A finding about one key, before grouping.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub kind: FindingKind,
    pub key: String,
    pub problem: Problem,
    pub notes: Vec<String>,
    pub rule: Option<Location>,
}

/// What is wrong with a number of tensors of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    Unused,
    NeverProduced,
    NoRule,
    Doubled,
    WrongShape,
    WrongType,
    Unable,
    NotParameter,
    Shared,
    PartlyUsed,
    ReadTwice,
    Repeated,
    Idle,
}

impl Problem {
    fn text(self, count: usize) -> String {
        let s = if count == 1 { ("", "es") } else { ("s", "") };
        let are = if count == 1 { "is" } else { "are" };
        let have = if count == 1 { "has" } else { "have" };
        match self {
            Problem::Unused => format!("{count} tensor{} match{} no rule", s.0, s.1),
            Problem::NeverProduced => format!("{count} parameter{} {are} never produced", s.0),
            Problem::NoRule => format!("{count} parameter{} {have} no rule", s.0),
            Problem::Doubled => format!("{count} tensor{} would be written twice", s.0),
            Problem::WrongShape => format!("{count} tensor{} {have} the wrong shape", s.0),
            Problem::WrongType => format!("{count} tensor{} {have} the wrong type", s.0),
            Problem::Unable => format!("{count} tensor{} cannot be made", s.0),
            Problem::NotParameter => format!("{count} tensor{} {are} no parameter", s.0),
            Problem::Shared => format!("{count} name{} {have} two parameters", s.0),
            Problem::PartlyUsed => format!("{count} tensor{} {are} converted in part only", s.0),
            Problem::ReadTwice => format!("{count} tensor{} match{} two rules", s.0, s.1),
            Problem::Repeated => format!("{count} tensor{} {are} in the checkpoint twice", s.0),
            Problem::Idle => format!("{count} pattern{} match{} no parameter", s.0, s.1),
        }
    }
}

impl Problem {
    fn advice(self) -> Vec<Advice> {
        if self == Problem::Idle { vec![Advice::CorrectOnly] } else { Vec::new() }
    }
}

/// Joins findings that say the same of keys that differ only in their indices.
pub(crate) fn group(singles: Vec<Single>) -> Vec<Finding> {
    type Alike = (FindingKind, Problem, Vec<String>, Option<Location>);
    let mut alike: BTreeMap<Alike, Vec<Single>> = BTreeMap::new();
    for single in singles {
        // Notes may name keys; their indices must not keep findings apart.
        let notes = single.notes.iter().map(|note| without_indices(note)).collect();
        alike.entry((single.kind, single.problem, notes, single.rule)).or_default().push(single);
    }
    let mut findings = Vec::new();
    for ((kind, problem, _, rule), singles) in alike {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for single in singles {
            by_key.insert(single.key, single.notes);
        }
        for group in group_keys(by_key.keys().cloned()) {
            let notes = group.keys.iter().map(|key| by_key[key].clone()).collect::<Vec<_>>();
            findings.push(Finding {
                kind,
                subject: group.text,
                problem: problem.text(group.keys.len()),
                notes: merge_notes(&notes),
                advice: problem.advice(),
                rule: rule.map(|at| at.to_string()),
                keys: group.keys,
            });
        }
    }
    // What is alike has been put together; a reader looks for names.
    findings.sort_by_cached_key(|finding| (finding.kind, natural_order(&finding.keys[0])));
    findings
}

/// The notes of all members of a group; where they differ in indices, as ranges.
fn merge_notes(members: &[Vec<String>]) -> Vec<String> {
    let merge_words = |words: Vec<&str>| {
        let (_, tail) = bare(words[0]);
        let keys = words.iter().map(|word| bare(word).0.to_string());
        group_keys(keys).first().map_or(String::new(), |group| format!("{}{tail}", group.text))
    };
    let merge_line = |line: usize| {
        let lines: Vec<Vec<&str>> = members.iter().map(|m| m[line].split(' ').collect()).collect();
        let words = (0..lines[0].len()).map(|word| lines.iter().map(|l| l[word]).collect());
        words.map(merge_words).collect::<Vec<_>>().join(" ")
    };
    (0..members.first().map_or(0, Vec::len)).map(merge_line).collect()
}

/// A note with `#` in the place of indices: notes that are the same so can be merged.
fn without_indices(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let (key, tail) = bare(word);
        indices_as(key, "#") + tail
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A word of a note, which may be a key, without the punctuation behind it.
fn bare(word: &str) -> (&str, &str) {
    word.split_at(word.trim_end_matches([',', ';', ':', '?']).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(key: String, note: String) -> Single {
        let (kind, problem) = (FindingKind::MissingSource, Problem::NeverProduced);
        Single { kind, key, problem, notes: vec![note], rule: None }
    }

    #[test]
    fn findings_that_differ_in_indices_are_one() {
        for (key, needs, subject, note) in [
            ("d.#.x", "m.#.y, which", "d.{0..11}.x", "it needs m.{0..11}.y, which is not there"),
            ("d.weight#", "m.weight#", "d.weight{0..11}", "it needs m.weight{0..11} is not there"),
            ("d.#", "m.#, or", "d.{0..11}", "it needs m.{0..11}, or is not there"),
            ("d.#", "# of", "d.{0..11}", "it needs {0..11} of is not there"),
            ("d.#", "m.x, # of", "d.{0..11}", "it needs m.x, {0..11} of is not there"),
        ] {
            let singles = (0..12).map(|i| {
                let fill = |text: &str| text.replace('#', &i.to_string());
                missing(fill(key), format!("it needs {} is not there", fill(needs)))
            });
            let findings = group(singles.collect());
            assert_eq!(findings.len(), 1, "{needs}");
            assert_eq!(findings[0].subject, subject);
            assert_eq!(findings[0].problem, "12 parameters are never produced");
            assert_eq!(findings[0].notes, [note]);
            assert_eq!(findings[0].keys.len(), 12);
        }
    }

    #[test]
    fn findings_that_differ_in_more_stay_apart() {
        let singles = vec![
            missing("d.0.x".into(), "it is [4, 8]".into()),
            missing("d.1.x".into(), "it is [4, 9]".into()),
            missing("d.0.y".into(), "it is [4, 8]".into()),
            Single { kind: FindingKind::Shape, ..missing("d.0.x".into(), "it is [4, 8]".into()) },
        ];
        let subjects: Vec<String> = group(singles).into_iter().map(|f| f.subject).collect();
        assert_eq!(subjects, ["d.0.x", "d.0.y", "d.1.x", "d.0.x"], "by kind, then by name");
    }
}
