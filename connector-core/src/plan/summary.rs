use super::{IgnoredBy, Plan, Step, Work, group_keys};
use crate::base::{TensorInfo, parallel};
use crate::key::{Part, Pattern};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A plan in numbers.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many tensors the source has.
    pub tensors: usize,
    /// How many parameters are written.
    pub parameters: usize,
    /// How many parameters exist that were not asked for.
    pub skipped: usize,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written, of outputs whose shape is known.
    pub bytes_out: u64,
    /// The rules that are used, the most used first.
    pub rules: Vec<RuleUse>,
    /// Source tensors left behind on purpose, grouped, with who asked for it.
    pub ignored: Vec<(String, IgnoredBy)>,
    /// Source tensors that add nothing and were compared instead, grouped.
    pub compared: Vec<String>,
    /// Elements that go nowhere, of tensors that are read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<DroppedRows>,
    /// Targets that are not written, because an `optional` row found none of its sources, grouped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Outputs whose type changes.
    pub casts: usize,
}

/// Rows, or other elements, of tensors that a rule reads and does not take anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DroppedRows {
    /// The tensors, grouped.
    pub keys: String,
    /// Which rows: `rows 97 to 127`.
    pub rows: String,
    /// The operation that leaves them out.
    pub operation: String,
    /// Where the rule is written.
    pub at: String,
}

/// How often a rule is used.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RuleUse {
    /// The operation.
    pub operation: String,
    /// The rule in short: `q_proj, k_proj, v_proj → linear_qkv`.
    pub label: String,
    /// The whole source patterns.
    pub sources: Vec<String>,
    /// The whole target patterns.
    pub targets: Vec<String>,
    /// Where it is written.
    pub at: String,
    /// How many times it is applied.
    pub steps: usize,
    /// Whether a user's function does it.
    pub function: bool,
    /// Whether it only gives tensors other names, whatever its operation is called.
    pub rename: bool,
}

impl Plan {
    /// The plan in numbers. `tensors` are those of the source.
    pub fn summary(&self, tensors: &[TensorInfo]) -> Summary {
        let mut uses: Vec<Vec<&Step>> = vec![Vec::new(); self.mapping.rules.len()];
        let mut bytes_in = 0;
        for step in &self.steps {
            uses[step.rule].push(step);
            bytes_in += step
                .inputs
                .iter()
                .map(|input| {
                    let tensor = &tensors[input.tensor];
                    match input.index {
                        Some(_) => {
                            tensor.bytes() / tensor.shape.first().map_or(1, |&n| n.max(1) as u64)
                        }
                        None => tensor.bytes(),
                    }
                })
                .sum::<u64>();
        }
        let rules = parallel::map(parallel::cores(), uses.len(), |rule| self.rule_use(&uses[rule]));
        let mut rules: Vec<RuleUse> = rules.into_iter().flatten().collect();
        rules.sort_by_key(|rule| Reverse(rule.steps));

        let mut by: BTreeMap<&IgnoredBy, Vec<String>> = BTreeMap::new();
        for ignored in &self.ignored {
            by.entry(&ignored.by).or_default().push(tensors[ignored.tensor].name.clone());
        }
        let ignored = by.into_iter().flat_map(|(who, keys)| {
            group_keys(keys).into_iter().map(move |group| (group.text, who.clone()))
        });
        let compared = self.equal.iter().map(|equal| tensors[equal.left].name.clone());
        Summary {
            tensors: tensors.len(),
            parameters: self.outputs.len(),
            skipped: self.skipped,
            bytes_in,
            bytes_out: self.outputs.iter().filter_map(|output| output.bytes()).sum(),
            rules,
            ignored: ignored.collect(),
            compared: group_keys(compared).into_iter().map(|group| group.text).collect(),
            dropped: self.dropped_rows(tensors),
            absent: group_keys(self.absent.iter().cloned()).into_iter().map(|g| g.text).collect(),
            casts: self.outputs.iter().filter(|output| output.dtype != output.made_as).count(),
        }
    }

    fn dropped_rows(&self, tensors: &[TensorInfo]) -> Vec<DroppedRows> {
        let mut alike: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
        for dropped in &self.dropped {
            let keys = alike.entry((dropped.rule, dropped.text())).or_default();
            keys.push(tensors[dropped.tensor].name.clone());
        }
        let rows = |((rule, rows), keys): ((usize, String), Vec<String>)| {
            let rule = &self.mapping.rules[rule];
            let (operation, at) = (rule.name(), rule.rule.at.to_string());
            group_keys(keys).into_iter().map(move |group| DroppedRows {
                keys: group.text,
                rows: rows.clone(),
                operation: operation.clone(),
                at: at.clone(),
            })
        };
        alike.into_iter().flat_map(rows).collect()
    }

    /// The use of a rule in its steps, if there are any.
    fn rule_use(&self, steps: &[&Step]) -> Option<RuleUse> {
        let rule = &self.mapping.rules[steps.first()?.rule];
        let list =
            |patterns: &[Pattern<'_>]| patterns.iter().map(short).collect::<Vec<_>>().join(", ");
        Some(RuleUse {
            operation: rule.name(),
            label: format!("{} → {}", list(&rule.sources), list(&rule.targets)),
            sources: rule.sources.iter().map(|s| s.to_string()).collect(),
            targets: rule.targets.iter().map(|t| t.to_string()).collect(),
            at: rule.rule.at.to_string(),
            steps: steps.len(),
            function: steps.iter().any(|step| matches!(step.work, Work::Function { .. })),
            rename: steps.iter().all(|step| self.is_rename(step)),
        })
    }

    /// Whether a step takes one tensor over as it is.
    fn is_rename(&self, step: &Step) -> bool {
        let ([input], [output], Work::Moves(moves)) =
            (&step.inputs[..], &step.outputs[..], &step.work)
        else {
            return false;
        };
        let [only] = &moves[..] else { return false };
        let whole = self.outputs[*output].elements() == Some(only.elements());
        let straight = only.from == 0 && only.to == 0 && only.runs().nth(1).is_none();
        input.index.is_none() && whole && straight
    }
}

/// The part of a pattern that tells it from its neighbours: `q_proj` of
/// `model.layers.{layer}.self_attn.q_proj.weight`.
fn short(pattern: &Pattern<'_>) -> String {
    let texts = pattern.parts().iter().filter_map(|part| match part {
        Part::Text(text) => Some(*text),
        _ => None,
    });
    let segments: Vec<&str> =
        texts.flat_map(|text| text.split('.')).filter(|s| !s.is_empty()).collect();
    let telling = segments.iter().rev().find(|s| !matches!(**s, "weight" | "bias"));
    let telling = telling.or(segments.last()).map_or(String::new(), |s| s.to_string());
    if segments.last() == Some(&"bias") { format!("{telling}.bias") } else { telling }
}
