//! Every rule of every importer of the crate with its indices shifted or crossed, swallowed by an
//! `ignore`, with two operands or two targets exchanged, or laid out otherwise: the proof, which is what
//! the compiler evaluates, refuses each.

use super::{Flags, Message, Proof, count, flatten};
use crate::connector::Registry;
use crate::key::Pattern;
use crate::mapping::{Block, Branch, Direction, Ignore, Mapping, OneOf, Row, Rule, Rules};
use crate::ops;
use crate::schema::Schema;
use crate::transform::{Operation, Transform};
use std::fmt::Write as _;

/// At least as many as any importer has keys.
const KEYS: usize = 256;

/// What is done to the keys of a rule.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    Shift {
        source: bool,
        capture: usize,
    },
    Cross {
        source: bool,
    },
    Swallow,
    /// An operand and the one behind it change places.
    Swap {
        operand: usize,
    },
    /// The targets are those of this rule, which has those of the one to change.
    Exchange {
        with: usize,
    },
    /// A transpose more, or one less.
    Transpose,
    /// Concatenated where it is grouped or interleaved, or the other way round.
    Order,
}

/// A rule with whole keys.
struct Made {
    sources: Vec<Pattern<'static>>,
    targets: Vec<Pattern<'static>>,
    operations: &'static [Operation],
}

/// A copy of rows with whole keys, in which one rule, or each, is changed.
struct Copy<'a> {
    mutation: Mutation,
    /// The rule to change, by its number; `None` for all.
    only: Option<usize>,
    rules: usize,
    changed: bool,
    /// What the rules of the original make.
    known: &'a [Made],
    seen: Vec<Made>,
}

fn leak<T>(list: Vec<T>) -> &'static [T] {
    Vec::leak(list)
}

impl Copy<'_> {
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
        let (mut said, mut operations) = (rule.said.to_vec(), rule.operations.to_vec());
        self.seen.push(Made {
            sources: sources.clone(),
            targets: targets.clone(),
            operations: rule.operations,
        });
        if let (Mutation::Exchange { with }, Some(only)) = (self.mutation, self.only)
            && (number == only || number == with)
        {
            let other = if number == only { with } else { only };
            targets.clone_from(&self.known[other].targets);
            self.changed = true;
        }
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
            match self.mutation {
                Mutation::Swap { operand } if operand + 1 < sources.len() => {
                    sources.swap(operand, operand + 1);
                    if !said.is_empty() {
                        said.swap(targets.len() + operand, targets.len() + operand + 1);
                    }
                    self.changed = true;
                }
                Mutation::Transpose => {
                    let transpose = ops::transpose::OPERATION;
                    match operations.iter().position(|operation| operation.name == transpose.name) {
                        Some(at) => drop(operations.remove(at)),
                        None => operations.push(transpose),
                    }
                    if operations.is_empty() {
                        operations.push(ops::rename::OPERATION);
                    }
                    self.changed = true;
                }
                Mutation::Order => {
                    for operation in &mut operations {
                        let other = match operation.name {
                            "merge_qkv" => ops::concat3::OPERATION,
                            "merge_qkv_concat" | "deinterleave_rows" => ops::rename::OPERATION,
                            "merge_fc1" => continue,
                            _ if is_fused(&targets) => ops::deinterleave_rows::OPERATION,
                            _ => continue,
                        };
                        *operation = other;
                        self.changed = true;
                    }
                }
                _ => {}
            }
            if let Mutation::Swallow = self.mutation {
                let (pattern, when, at) = (sources[0], rule.when, rule.at);
                out.push(Row::Ignore(Ignore { pattern, when, at }));
                self.changed = true;
            }
        }
        let (sources, targets) = (leak(sources), leak(targets));
        let (said, operations) = (leak(said), leak(operations));
        let reads = leak(all(source, rule.reads));
        out.push(Row::Rule(Rule { sources, targets, reads, said, operations, ..*rule }));
    }
}

/// Whether it has the rows of gate and up.
fn is_fused(targets: &[Pattern<'static>]) -> bool {
    targets.iter().any(|target| target.to_string().contains("linear_fc1.weight"))
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

fn mutated<'a>(
    rows: &'static [Row],
    mutation: Mutation,
    only: Option<usize>,
    known: &'a [Made],
) -> (Copy<'a>, Vec<Row>) {
    let mut copy = Copy { mutation, only, rules: 0, changed: false, known, seen: Vec::new() };
    let rows = copy.rows(rows, &Pattern::EMPTY, &Pattern::EMPTY);
    (copy, rows)
}

/// What can be done to one rule by itself.
const OF_ONE_RULE: [Mutation; 11] = [
    Mutation::Shift { source: true, capture: 0 },
    Mutation::Shift { source: true, capture: 1 },
    Mutation::Shift { source: false, capture: 0 },
    Mutation::Shift { source: false, capture: 1 },
    Mutation::Cross { source: true },
    Mutation::Cross { source: false },
    Mutation::Swallow,
    Mutation::Swap { operand: 0 },
    Mutation::Swap { operand: 1 },
    Mutation::Transpose,
    Mutation::Order,
];

impl Made {
    /// Whether another model comes of it if both make what the other does. Targets of other operations
    /// have other shapes.
    fn may_exchange(&self, other: &Made) -> bool {
        let names = |made: &Made| made.operations.iter().map(|o| o.name).collect::<Vec<_>>();
        self.targets.len() == other.targets.len()
            && self.targets != other.targets
            && self.sources != other.sources
            && names(self) == names(other)
    }
}

fn no_mutant_is_proven() {
    let (mut mutants, mut missed) = (0, String::new());
    for importer in Registry::get().unwrap().connectors() {
        let proven = importer.direction == Direction::Import && !importer.dynamic;
        let (true, Some(schema)) = (proven, importer.connector.schema()) else { continue };
        let rows = importer.connector.mapping().rows;
        let (copy, same) = mutated(rows, Mutation::Swallow, Some(usize::MAX), &[]);
        assert_eq!(mistakes(*schema, same), "", "{}", importer.name);
        for source in [false, true] {
            let shift = Mutation::Shift { source, capture: 0 };
            let whole = mistakes(*schema, mutated(rows, shift, None, &[]).1);
            assert!(whole.contains("shifted?"), "{} shifted as a whole: {whole}", importer.name);
            mutants += 1;
        }
        let known = copy.seen;
        for only in 0..copy.rules {
            let alike = |with: &usize| known[*with].may_exchange(&known[only]);
            let others = (only + 1..copy.rules).filter(alike);
            let exchanges = others.map(|with| Mutation::Exchange { with });
            for mutation in OF_ONE_RULE.into_iter().chain(exchanges) {
                let (copy, rows) = mutated(rows, mutation, Some(only), &known);
                if copy.changed && mistakes(*schema, rows).is_empty() {
                    let target = known[only].targets[0];
                    writeln!(missed, "{}: {mutation:?} of {target}", importer.name).unwrap();
                }
                mutants += usize::from(copy.changed);
            }
        }
    }
    assert!(missed.is_empty(), "of {mutants} mutants are proven:\n{missed}");
    assert!(mutants > 2500, "only {mutants} mutants");
}

#[test]
fn no_mutant_of_a_shipped_importer_is_proven() {
    // What the compiler interprets takes much of a stack.
    let thread = std::thread::Builder::new().stack_size(1 << 28);
    thread.spawn(no_mutant_is_proven).unwrap().join().unwrap();
}
