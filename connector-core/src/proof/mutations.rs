//! Every rule of every importer of the crate with its indices shifted or crossed, or swallowed by an
//! `ignore`: the proof, which is what the compiler evaluates, refuses each.

use super::{Flags, Message, Proof, count, flatten};
use crate::connector::Registry;
use crate::key::Pattern;
use crate::mapping::{Block, Branch, Direction, Ignore, Mapping, OneOf, Row, Rule, Rules};
use crate::schema::Schema;

/// At least as many as any importer has keys.
const KEYS: usize = 256;

/// What is done to the keys of a rule.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Shift { source: bool, capture: usize },
    Cross { source: bool },
    Swallow,
}

/// A copy of rows with whole keys, in which one rule, or each, is changed.
struct Copy {
    mutation: Mutation,
    /// The rule to change, by its number; `None` for all.
    only: Option<usize>,
    rules: usize,
    changed: bool,
}

fn leak<T>(list: Vec<T>) -> &'static [T] {
    Vec::leak(list)
}

impl Copy {
    fn rows(
        &mut self,
        rows: &[Row],
        source: &Pattern<'static>,
        target: &Pattern<'static>,
    ) -> Vec<Row> {
        let mut out = Vec::new();
        for row in rows {
            match row {
                Row::Rule(rule) => self.rule(rule, source, target, &mut out),
                Row::Rules(Rules { rules, .. }) => {
                    rules.iter().for_each(|rule| self.rule(rule, source, target, &mut out));
                }
                Row::Block(block) => {
                    let (source, target) = (source.join(&block.source), target.join(&block.target));
                    let rows = leak(self.rows(block.rows, &source, &target));
                    let (source, target) = (Pattern::EMPTY, Pattern::EMPTY);
                    out.push(Row::Block(Block { source, target, rows, ..*block }));
                }
                Row::Include(include) => {
                    out.extend(self.rows(include.mapping.rows, source, target))
                }
                Row::OneOf(one_of) => {
                    let branches = one_of.branches.iter().map(|branch| Branch {
                        rows: leak(self.rows(branch.rows, source, target)),
                        ..*branch
                    });
                    let branches = leak(branches.collect());
                    out.push(Row::OneOf(OneOf { branches, ..*one_of }));
                }
                Row::Equal(equal) => {
                    let [left, right] = [equal.left, equal.right].map(|key| source.join(&key));
                    out.push(Row::Equal(crate::mapping::Equal { left, right, ..*equal }));
                }
                Row::Ignore(ignore) => {
                    let pattern = source.join(&ignore.pattern);
                    out.push(Row::Ignore(Ignore { pattern, ..*ignore }));
                }
            }
        }
        out
    }

    fn rule(
        &mut self,
        rule: &Rule,
        source: &Pattern<'static>,
        target: &Pattern<'static>,
        out: &mut Vec<Row>,
    ) {
        let number = self.rules;
        self.rules += 1;
        let all = |prefix: &Pattern<'static>, keys: &[Pattern<'static>]| {
            keys.iter().map(|key| prefix.join(key)).collect::<Vec<_>>()
        };
        let (mut sources, mut targets) = (all(source, rule.sources), all(target, rule.targets));
        if self.only.is_none_or(|only| only == number) {
            let keys = match self.mutation {
                Mutation::Shift { source: true, .. } | Mutation::Cross { source: true } => {
                    &mut sources
                }
                _ => &mut targets,
            };
            for key in keys.iter_mut() {
                let text = key.to_string();
                let mut names: Vec<String> =
                    key.names().map(|name| format!("{{{name}}}")).collect();
                names.retain(|name| text.contains(name.as_str()));
                let changed = match (self.mutation, &names[..]) {
                    (Mutation::Shift { capture, .. }, names) => names
                        .get(capture)
                        .map(|name| text.replacen(name.as_str(), &name.replace('{', "{1 + "), 1)),
                    (Mutation::Cross { .. }, [one, other]) => {
                        let crossed = text.replace(one.as_str(), "{}").replace(other.as_str(), one);
                        Some(crossed.replace("{}", other))
                    }
                    _ => None,
                };
                if let Some(changed) = changed {
                    *key = Pattern::new(changed.leak());
                    self.changed = true;
                }
            }
            if let Mutation::Swallow = self.mutation {
                let (pattern, when, at) = (sources[0], rule.when, rule.at);
                out.push(Row::Ignore(Ignore { pattern, when, at }));
                self.changed = true;
            }
        }
        let (sources, targets) = (leak(sources), leak(targets));
        let reads = leak(all(source, rule.reads));
        out.push(Row::Rule(Rule { sources, targets, reads, ..*rule }));
    }
}

/// What the compiler would say of `rows`.
fn mistakes(schema: Schema, rows: Vec<Row>) -> String {
    let mapping: &'static Mapping = Box::leak(Box::new(Mapping { rows: leak(rows) }));
    assert!(count(mapping.rows) <= KEYS);
    let flags = Flags::of(Some(schema), None).comparing(mapping.rows, Some(schema));
    let flat = Box::new(flatten::<KEYS>(mapping, flags));
    let proof = Proof::new("Importer", Some(schema), None, &flat, &[], false);
    let mut text = Message::EMPTY;
    for finding in proof.findings.all() {
        text = proof.describe(text.paragraph(), *finding, true);
    }
    text.as_str().to_string()
}

fn mutated(rows: &'static [Row], mutation: Mutation, only: Option<usize>) -> (Copy, Vec<Row>) {
    let mut copy = Copy { mutation, only, rules: 0, changed: false };
    let rows = copy.rows(rows, &Pattern::EMPTY, &Pattern::EMPTY);
    (copy, rows)
}

fn no_mutant_is_proven() {
    let mut mutants = 0;
    for importer in Registry::get().unwrap().connectors() {
        let proven = importer.direction == Direction::Import && !importer.dynamic;
        let (true, Some(schema)) = (proven, importer.connector.schema()) else { continue };
        let rows = importer.connector.mapping().rows;
        let (copy, same) = mutated(rows, Mutation::Swallow, Some(usize::MAX));
        assert_eq!(mistakes(*schema, same), "", "{}", importer.name);
        for source in [false, true] {
            let shift = Mutation::Shift { source, capture: 0 };
            let whole = mistakes(*schema, mutated(rows, shift, None).1);
            assert!(whole.contains("shifted?"), "{} shifted as a whole: {whole}", importer.name);
            mutants += 1;
        }
        for only in 0..copy.rules {
            for mutation in [
                Mutation::Shift { source: true, capture: 0 },
                Mutation::Shift { source: true, capture: 1 },
                Mutation::Shift { source: false, capture: 0 },
                Mutation::Shift { source: false, capture: 1 },
                Mutation::Cross { source: true },
                Mutation::Cross { source: false },
                Mutation::Swallow,
            ] {
                let (copy, rows) = mutated(rows, mutation, Some(only));
                if copy.changed {
                    let text = mistakes(*schema, rows);
                    assert!(
                        !text.is_empty(),
                        "{}: {mutation:?} of rule {only} is proven",
                        importer.name
                    );
                    mutants += 1;
                }
            }
        }
    }
    assert!(mutants > 1000, "only {mutants} mutants");
}

#[test]
fn what_is_shifted_crossed_or_swallowed_is_not_proven() {
    // What the compiler interprets takes much of a stack.
    let thread = std::thread::Builder::new().stack_size(1 << 28);
    thread.spawn(no_mutant_is_proven).unwrap().join().unwrap();
}
