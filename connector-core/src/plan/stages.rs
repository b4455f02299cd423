//! What the built-in operations of a rule do, one after the other.

use super::{Act, Stage, Work};
use crate::mapping::FlatRule;
use crate::transform::{Kernel, Kind, Move, Moves, Numbers, Shape, compose};

/// Two sources, by their numbers, that must hold the same bytes.
pub(super) type Same = (usize, usize);

/// What operations do over all their calls.
pub(super) struct Laid {
    /// The types and shapes of the targets.
    pub kinds: Vec<Kind>,
    pub work: Work,
    pub equal: Vec<Same>,
}

/// `calls` are the sources of each, and `wanted` the targets' shapes of one.
///
/// # Errors
/// Sentences that say which operation does not fit what it is given.
pub(super) fn lay_out(
    rule: &FlatRule,
    numbers: &Numbers<'_>,
    calls: &[Vec<Kind>],
    wanted: Option<&[Shape]>,
) -> Result<Laid, Vec<String>> {
    let Some(first) = calls.first() else { return Err(vec!["it has no sources".into()]) };
    if let Some(ragged) = calls.iter().find(|call| *call != first) {
        let [first, ragged] = [first, ragged].map(|kinds| shown(kinds));
        return Err(vec![format!("the tensors along the axis differ: {first}; {ragged}")]);
    }
    let (stages, equal) = stages(rule, numbers, first, wanted)?;
    let arity = first.len();
    let all = (0..calls.len()).map(|call| call * arity);
    let equal = all.flat_map(|at| equal.iter().map(move |(one, other)| (one + at, other + at)));
    let equal = equal.collect();
    let mut kinds = stages.last().map_or_else(Vec::new, |stage| stage.results.clone());
    let work = match joined(stages) {
        Err(stages) => Work::Compute { stages, calls: calls.len() },
        Ok(moves) if calls.len() == 1 => Work::Moves(moves),
        Ok(moves) => {
            let mut all = Vec::with_capacity(moves.len() * calls.len());
            for call in 0..calls.len() {
                all.extend(moves.iter().map(|m| {
                    let size: u64 = kinds[m.target].1.iter().map(|&n| n as u64).product();
                    Move { source: m.source + call * arity, to: m.to + call as u64 * size, ..*m }
                }));
            }
            Work::Moves(all)
        }
    };
    if rule.is_stacked() {
        kinds.iter_mut().for_each(|(_, shape)| shape.insert(0, calls.len()));
    }
    Ok(Laid { kinds, work, equal })
}

/// What the operations do in one call, and which pairs of its sources must hold the same bytes.
fn stages(
    rule: &FlatRule,
    numbers: &Numbers<'_>,
    sources: &[Kind],
    wanted: Option<&[Shape]>,
) -> Result<(Vec<Stage>, Vec<Same>), Vec<String>> {
    let mut stages: Vec<Stage> = Vec::with_capacity(rule.operations.len());
    let mut same = Vec::new();
    for (number, operation) in rule.operations.iter().enumerate() {
        let given = stages.last().map_or(sources, |stage| &stage.results);
        let wanted = wanted.filter(|_| number + 1 == rule.operations.len());
        let before = number.checked_sub(1).map(|before| rule.operations[before].name);
        let wrong = |error: String| match before {
            None => {
                let kinds = rule.sources.iter().zip(given);
                let sources = kinds.map(|(pattern, (_, shape))| format!("{pattern} is {shape:?}"));
                let error = format!("{}: {error}", operation.name);
                std::iter::once(error).chain(sources).collect()
            }
            Some(before) => vec![
                format!("{}, after {before}: {error}", operation.name),
                format!("{before} gives {}", shown(given)),
            ],
        };
        let groups = given.chunks((given.len() / operation.groups(given.len())).max(1));
        let (act, results) = match operation.kernel {
            Kernel::Moves(moves) => {
                let (mut all, mut results) = (Vec::new(), Vec::new());
                for (group, given) in groups.enumerate() {
                    let first = group * given.len();
                    let wanted = wanted.and_then(|all| match operation.each {
                        true => all.chunks(operation.targets).nth(group),
                        false => Some(all),
                    });
                    let shapes: Vec<Shape> = given.iter().map(|(_, shape)| shape.clone()).collect();
                    let laid = moves.lay_out(numbers, &shapes, wanted).map_err(wrong)?;
                    if number > 0 && !laid.equal.is_empty() {
                        let error =
                            "it compares what is in the checkpoint, so that it must come first";
                        return Err(wrong(error.into()));
                    }
                    same.extend(laid.equal.into_iter().map(|other| (first, first + other)));
                    let target = results.len();
                    all.extend(laid.moves.into_iter().map(|m| Move {
                        source: first + m.source,
                        target: target + m.target,
                        ..m
                    }));
                    let dtype = given.first().map(|(dtype, _)| *dtype);
                    results.extend(laid.shapes.into_iter().filter_map(|s| Some((dtype?, s))));
                }
                (Act::Moves(all), results)
            }
            Kernel::Compute(compute) => {
                let results = groups.map(|given| compute.target(given).map_err(wrong));
                (Act::Compute(compute), results.collect::<Result<_, _>>()?)
            }
            Kernel::Function(_) => return Err(vec!["it is a function, which is called".into()]),
        };
        stages.push(Stage { act, results });
    }
    Ok((stages, same))
}

/// Stages that only move elements as the moves of all of them, if these can be listed.
fn joined(mut stages: Vec<Stage>) -> Result<Vec<Move>, Vec<Stage>> {
    if let [Stage { act: Act::Moves(moves), .. }] = &mut stages[..] {
        return Ok(std::mem::take(moves));
    }
    let moves = |stage: &Stage| match &stage.act {
        Act::Moves(moves) => {
            let shapes = stage.results.iter().map(|(_, shape)| shape.clone()).collect();
            Some(Moves { shapes, moves: moves.clone(), equal: Vec::new() })
        }
        Act::Compute(_) => None,
    };
    let all = stages.split_first().and_then(|(first, others)| {
        others.iter().try_fold(moves(first)?, |all, next| compose(&all, &moves(next)?))
    });
    all.map(|all| all.moves).ok_or(stages)
}

fn shown(kinds: &[Kind]) -> String {
    let kinds = kinds.iter().map(|(dtype, shape)| format!("{dtype} {shape:?}"));
    kinds.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{Free, begin, nothing, plan};
    use super::*;
    use crate::base::Dtype;
    use crate::key::Pattern;
    use crate::mapping::{Direction, FlatMapping, Fold, Mapping, Rule};
    use crate::transform::{Config, Operation, Transform};
    use crate::{Location, key::Condition, mapping, ops};
    use proptest::prelude::*;

    /// A row of these operations, from `a` to `b`.
    fn row(operations: &[Operation]) -> FlatRule {
        let operations: &'static [Operation] = operations.to_vec().leak();
        let key = |text| -> &'static [Pattern<'static>] { vec![Pattern::new(text)].leak() };
        let rule: &'static Rule = Box::leak(Box::new(Rule {
            sources: key("a"),
            targets: key("b"),
            operations,
            fold: Fold::None,
            when: Condition::ALWAYS,
            optional: false,
            reads: &[],
            said: &[],
            at: Location { file: "", line: 1, column: 1 },
        }));
        FlatMapping::new(&Mapping { rows: &[] }, &[std::slice::from_ref(rule)]).rules.remove(0)
    }

    fn laid(rule: &FlatRule, shape: &[usize]) -> (Vec<Move>, Shape) {
        let config = Config::default();
        let calls = [vec![(Dtype::F32, shape.to_vec())]];
        let numbers = Numbers::new(&config, None);
        let laid = lay_out(rule, &numbers, &calls, None).unwrap_or_else(|e| panic!("{e:?}"));
        match laid.work {
            Work::Moves(moves) => (moves, laid.kinds[0].1.clone()),
            work => panic!("{work:?}"),
        }
    }

    fn run(moves: &[Move], source: &[u32]) -> Vec<u32> {
        let mut made = vec![0; source.len()];
        for (from, to, len) in moves.iter().flat_map(Move::runs) {
            let [from, to, len] = [from, to, len].map(|n| n as usize);
            made[to..to + len].copy_from_slice(&source[from..from + len]);
        }
        made
    }

    proptest! {
        #[test]
        fn a_chain_does_what_its_operations_do_and_comes_back(
            numbers in prop::collection::vec(0usize..3, 1..5),
            (rows, columns) in (1usize..5, 1usize..5),
        ) {
            let known = [
                ops::transpose::OPERATION,
                ops::interleave_rows::OPERATION,
                ops::deinterleave_rows::OPERATION,
            ];
            let chain: Vec<Operation> = numbers.iter().map(|&number| known[number]).collect();
            let shape = [2 * rows, 2 * columns];
            let source: Vec<u32> = (1..).take(4 * rows * columns).collect();
            let rule = row(&chain);
            let (moves, there) = laid(&rule, &shape);

            let mut apart = (source.clone(), shape.to_vec());
            for &operation in &chain {
                let (moves, shape) = laid(&row(&[operation]), &apart.1);
                apart = (run(&moves, &apart.0), shape);
            }
            let made = run(&moves, &source);
            prop_assert_eq!((&made, &there), (&apart.0, &apart.1));

            let mapping = FlatMapping { rules: vec![rule], ..FlatMapping::default() };
            let back = mapping.reversed();
            prop_assert_eq!(back.direction, Direction::Export);
            let (moves, back) = laid(&back.rules[0], &there);
            prop_assert_eq!((run(&moves, &made), &back[..]), (source, &shape[..]));
        }
    }

    const CHAINS: Mapping = mapping! {
        ("gate", "up") => "small" via (ops::merge_fc1, ops::interleave_rows),
        "table" => "large" via (ops::transpose, ops::deinterleave_rows),
        ("blocks", "scales") => "numbers" via (ops::dequantise_mxfp4, ops::deinterleave_rows),
    };

    #[test]
    fn moves_are_joined_where_they_can_be_listed() {
        let source =
            ["gate: 3 4", "up: 3 4", "table: 200 300", "blocks: 4 2 16 u8", "scales: 4 2 u8"];
        let planned = plan::<Free>(&nothing(), CHAINS, &source);
        let plan = planned.plan();
        let work = |name: &str| {
            let output = plan.outputs.iter().find(|output| output.name == name).unwrap();
            let shape = output.shape.clone().unwrap();
            (&plan.steps[output.step].work, output.made_as, shape)
        };
        let (Work::Moves(moves), Dtype::F32, shape) = work("small") else { panic!() };
        let rows = |source| Move::run(source, 0, 0, 4 * source as u64, 4).repeated(3, 4, 8);
        assert_eq!((&moves[..], &shape[..]), (&[rows(0), rows(1)][..], &[6, 4][..]));
        // Each element of a transpose moves by itself.
        let (Work::Compute { stages, calls: 1 }, Dtype::F32, shape) = work("large") else {
            panic!()
        };
        assert_eq!((stages.len(), &shape[..]), (2, &[300, 200][..]));
        let (Work::Compute { stages, .. }, Dtype::Bf16, shape) = work("numbers") else { panic!() };
        assert!(matches!([&stages[0].act, &stages[1].act], [Act::Compute(_), Act::Moves(_)]));
        assert_eq!(shape, [4, 64]);
    }

    #[test]
    fn what_does_not_fit_is_told_by_its_operation() {
        let refused =
            |mapping, source: &str| plan::<Free>(&nothing(), mapping, &[source]).refused();
        const ODD: Mapping = mapping! { "a" => "b" via (ops::transpose, ops::interleave_rows) };
        let want = "shape b: interleave_rows, after transpose: [3, 2] has an odd number of rows; \
                    transpose gives F32 [3, 2]";
        begin(&refused(ODD, "a: 2 3"), &[want]);
        begin(&refused(ODD, "a: 2"), &["shape b: transpose: [2] has no two dimensions"]);
        const SAME: Mapping = mapping! { "a" => "b" via (ops::duplicate2, ops::same2) };
        begin(&refused(SAME, "a: 4"), &["shape b: same2, after duplicate2: "]);
    }
}
