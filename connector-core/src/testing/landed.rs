//! Where each element of the sources lands in the model.

use super::elements::{Elements, index, moved, numbers};
use crate::Result;
use crate::mapping::Fold;
use crate::plan::{Finding, FindingKind, Plan, Work};
use crate::transform::{Class, Tensor};
use std::collections::BTreeSet;

/// What the steps of a plan did with the elements.
pub(super) struct Landed<'a> {
    plan: &'a Plan,
    elements: &'a Elements,
    /// By the number of the element.
    fates: Vec<Fate>,
    /// The step that reads an element and is followed right now.
    read_by: Vec<Option<usize>>,
    /// The rules that put elements in several places, as their operation says.
    pub copying: BTreeSet<usize>,
}

/// What has become of an element.
#[derive(Clone, Copy)]
enum Fate {
    NotRead,
    /// By a step, which moves what it reads.
    Read(usize),
    /// In a step that computes.
    Used(usize),
    /// In a step's output, at an index.
    Landed(usize, usize, usize),
}

impl<'a> Landed<'a> {
    pub fn new(plan: &'a Plan, elements: &'a Elements) -> Self {
        let count = elements.count() as usize + 1;
        let (fates, read_by) = (vec![Fate::NotRead; count], vec![None; count]);
        Landed { plan, elements, fates, read_by, copying: BTreeSet::new() }
    }

    /// Follows the elements through a step: the first that is not where it belongs.
    pub fn follow(
        &mut self,
        step: usize,
        inputs: &[Vec<u64>],
        outputs: &[Tensor],
    ) -> Result<Option<Finding>> {
        let mut values = Vec::new();
        for (output, tensor) in outputs.iter().enumerate() {
            match numbers(tensor)? {
                Some(numbers) => values.push(numbers),
                None => {
                    let problem = "is no element of its sources".into();
                    return Ok(Some(self.wrong(step, (output, 0), tensor.dims(), problem)));
                }
            }
        }
        let wrong = self.place(step, inputs, &values);
        Ok(wrong
            .map(|((output, at), problem)| {
                self.wrong(step, (output, at), outputs[output].dims(), problem)
            })
            .or_else(|| self.lost_in(step, inputs)))
    }

    /// Notes where the values of the outputs are; the first that is not where it belongs, and why.
    fn place(
        &mut self,
        number: usize,
        inputs: &[Vec<u64>],
        values: &[Vec<u64>],
    ) -> Option<((usize, usize), String)> {
        let step = &self.plan.steps[number];
        if let Work::Moves(moves) = &step.work {
            let sizes: Vec<u64> = values.iter().map(|values| values.len() as u64).collect();
            let expected = moved(step, moves, inputs, &sizes);
            for (output, (got, want)) in values.iter().zip(&expected).enumerate() {
                if let Some(at) = got.iter().zip(want).position(|(got, want)| got != want) {
                    let name = |number| match number {
                        0 => "nothing".into(),
                        number => self.elements.name(number),
                    };
                    let (got, want) = (name(got[at]), name(want[at]));
                    let problem = format!("holds {got}; its operation puts {want} there");
                    return Some(((output, at), problem));
                }
            }
        }
        for &value in inputs.iter().flatten() {
            self.read_by[value as usize] = Some(number);
            if let fate @ Fate::NotRead = &mut self.fates[value as usize] {
                *fate = Fate::Read(number);
            }
        }
        let operations = &self.plan.mapping.rules[step.rule].operations;
        let copies = operations.iter().any(|operation| operation.class == Class::Copy)
            && !matches!(step.work, Work::Function { .. });
        // Each index of the axis is a step of its own.
        let repeats = matches!(self.plan.mapping.rules[step.rule].fold, Fold::Repeat(_));
        for (output, values) in values.iter().enumerate() {
            for (at, &value) in values.iter().enumerate() {
                // Rows of padding.
                if value == 0 && copies {
                    continue;
                }
                if self.read_by.get(value as usize) != Some(&Some(number)) {
                    return Some(((output, at), "holds no element of its sources".into()));
                }
                match self.fates[value as usize] {
                    Fate::Landed(by, ..)
                        if by == number && copies
                            || repeats && self.plan.steps[by].rule == step.rule =>
                    {
                        self.copying.insert(step.rule);
                    }
                    fate @ (Fate::Landed(..) | Fate::Used(_)) => {
                        let (name, other) = (self.elements.name(value), self.whereabouts(fate));
                        let problem = format!(
                            "holds {name}, which {other}, and nothing says that it is copied"
                        );
                        return Some(((output, at), problem));
                    }
                    Fate::Read(_) | Fate::NotRead => {
                        self.fates[value as usize] = Fate::Landed(number, output, at);
                    }
                }
            }
        }
        None
    }

    /// The first element that a step computes with and that is in none of its outputs. What a step
    /// leaves that only moves, others may take.
    fn lost_in(&self, number: usize, inputs: &[Vec<u64>]) -> Option<Finding> {
        let moves = matches!(self.plan.steps[number].work, Work::Moves(_));
        let is_lost = |value: &&u64| matches!(self.fates[**value as usize], Fate::Read(_));
        let lost = inputs.iter().flatten().filter(|_| !moves).find(is_lost);
        lost.map(|&value| self.lost(number, value))
    }

    /// Notes that a step computes with elements: the first that another step takes too.
    pub fn used(&mut self, number: usize, inputs: &[Vec<u64>]) -> Option<Finding> {
        for &value in inputs.iter().flatten() {
            match self.fates[value as usize] {
                Fate::Used(by) if by == number => {}
                fate @ (Fate::Landed(..) | Fate::Used(_)) => {
                    let rule = &self.plan.mapping.rules[self.plan.steps[number].rule];
                    let (name, other) = (rule.name(), self.whereabouts(fate));
                    let problem = format!(
                        "is used by {name} and {other}, and nothing says that it is copied"
                    );
                    let finding =
                        Finding::new(FindingKind::Unequal, self.elements.name(value), problem);
                    return Some(finding.rule(rule.rule.at));
                }
                Fate::Read(_) | Fate::NotRead => self.fates[value as usize] = Fate::Used(number),
            }
        }
        None
    }

    /// Of each step the first element that it reads and nobody puts anywhere.
    pub fn finish(&self) -> Vec<Finding> {
        let mut steps = BTreeSet::new();
        let lost = self.fates.iter().enumerate().filter_map(|(value, fate)| match fate {
            Fate::Read(step) if steps.insert(*step) => Some(self.lost(*step, value as u64)),
            _ => None,
        });
        lost.collect()
    }

    fn lost(&self, step: usize, value: u64) -> Finding {
        let rule = &self.plan.mapping.rules[self.plan.steps[step].rule];
        let problem = format!("is lost: `{}` puts it nowhere", rule.name());
        Finding::new(FindingKind::Unequal, self.elements.name(value), problem).rule(rule.rule.at)
    }

    /// Where an element is, as the end of a sentence.
    fn whereabouts(&self, fate: Fate) -> String {
        let rule = |step: usize| &self.plan.mapping.rules[self.plan.steps[step].rule].rule;
        match fate {
            Fate::NotRead | Fate::Read(_) => "is nowhere yet".into(),
            Fate::Used(step) => format!("the rule at {} computes with", rule(step).at),
            Fate::Landed(step, output, at) => {
                let output = &self.plan.outputs[self.plan.steps[step].outputs[output]];
                let place = index(output.shape.as_deref().unwrap_or_default(), at as u64);
                format!("is {}{place} too ({})", output.name, rule(step).at)
            }
        }
    }

    fn wrong(
        &self,
        number: usize,
        (output, at): (usize, usize),
        shape: &[usize],
        problem: String,
    ) -> Finding {
        let step = &self.plan.steps[number];
        let subject =
            format!("{}{}", self.plan.outputs[step.outputs[output]].name, index(shape, at as u64));
        Finding::new(FindingKind::Unequal, subject, problem)
            .rule(self.plan.mapping.rules[step.rule].rule.at)
    }
}
