use super::{IgnoredBy, Plan};
use crate::base::{Dtype, FileId, TensorInfo};
use serde::{Serialize, Serializer};
use std::fmt;

/// What the plan does with one tensor, of either side.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The rule's operation; empty if no rule is applied.
    pub operation: String,
    /// Where the rule is written.
    pub at: String,
    /// What its patterns captured.
    pub captures: String,
    /// The tensors that it reads.
    pub inputs: Vec<InputView>,
    /// The tensors that it writes.
    pub outputs: Vec<OutputView>,
    /// How many moves of elements it is; 0 for what computes.
    pub moves: usize,
    /// Why the tensor is not converted, if it is not.
    pub remark: Option<Remark>,
}

/// Why a tensor is not converted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// It is left behind on purpose.
    LeftBehind(IgnoredBy),
    /// Nothing of it was asked for.
    NotAskedFor,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::LeftBehind(by) => write!(f, "left behind by {by}"),
            Remark::NotAskedFor => f.write_str("not converted: nothing of it was asked for"),
            Remark::Other(text) => f.write_str(text),
        }
    }
}

/// As its text.
impl Serialize for Remark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A source tensor, with its place.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct InputView {
    /// Its key.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its type.
    pub dtype: String,
    /// The index along its first dimension, if one is taken.
    pub index: Option<usize>,
    /// The file, and its first byte and the one behind its last, for each piece.
    pub places: Vec<(String, u64, u64)>,
}

/// A tensor that is written.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OutputView {
    /// Its key.
    pub name: String,
    /// Its number in [`Plan::outputs`].
    pub number: usize,
    /// Its dimensions, if they are known before the function runs.
    pub shape: Option<Vec<usize>>,
    /// Its type.
    pub dtype: String,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// The type it is cast from, if it is cast.
    pub cast_from: Option<String>,
}

impl Plan {
    /// What happens to `key`, a name of either side; `None` if neither has it. The plan was made for
    /// `tensors`; `file` says what a file of theirs is called.
    pub fn explain(
        &self,
        key: &str,
        tensors: &[TensorInfo],
        file: &dyn Fn(FileId) -> String,
    ) -> Option<Vec<Explanation>> {
        let view = |tensor: usize, index| input_view(&tensors[tensor], index, file);
        let tensor = tensors.iter().position(|tensor| tensor.name == key);
        let steps = self.steps.iter().enumerate().filter(|(number, step)| {
            step.inputs.iter().any(|input| Some(input.tensor) == tensor)
                || self.outputs.iter().any(|output| output.step == *number && output.name == key)
        });
        let mut found: Vec<Explanation> =
            steps.map(|(number, _)| self.explain_step(number, &view)).collect();
        let remark = |remark: Remark| Explanation {
            operation: String::new(),
            at: String::new(),
            captures: String::new(),
            inputs: tensor.into_iter().map(|tensor| view(tensor, None)).collect(),
            outputs: Vec::new(),
            moves: 0,
            remark: Some(remark),
        };
        let is = |number: usize| Some(number) == tensor;
        let ignored = self.ignored.iter().filter(|ignored| is(ignored.tensor));
        found.extend(ignored.map(|ignored| remark(Remark::LeftBehind(ignored.by.clone()))));
        let other = |text: String| remark(Remark::Other(text));
        found.extend(self.equal.iter().filter(|equal| is(equal.left)).map(|equal| {
            let right = &tensors[equal.right].name;
            other(format!("adds nothing: it must hold the same bytes as {right} ({})", equal.at))
        }));
        let dropped = self.dropped.iter().filter(|dropped| is(dropped.tensor));
        found.extend(dropped.map(|dropped| {
            let rule = &self.mapping.rules[dropped.rule];
            let what = dropped.text();
            other(format!("{} leaves {what} out, which go nowhere ({})", rule.name(), rule.rule.at))
        }));
        let copies = self.copies.iter().filter(|copy| copy.name == key);
        found.extend(copies.map(|copy| other(format!("a copy of {} ({})", copy.of, copy.at))));
        let reads = self.steps.iter().filter(|step| step.reads.iter().any(|&read| is(read)));
        found.extend(reads.map(|step| {
            let rule = &self.mapping.rules[step.rule];
            let output = &self.outputs[step.outputs[0]].name;
            other(format!("read by {} for {output} ({})", rule.name(), rule.rule.at))
        }));
        if self.absent.iter().any(|absent| absent == key) {
            found.push(other(
                "not written: an `optional` row makes it, and its sources are absent".into(),
            ));
        }
        // A plan is complete, so that what it has nothing to say about was not asked for.
        if found.is_empty() && tensor.is_some() {
            found.push(remark(Remark::NotAskedFor));
        }
        (!found.is_empty()).then_some(found)
    }

    fn explain_step(
        &self,
        number: usize,
        view: &dyn Fn(usize, Option<usize>) -> InputView,
    ) -> Explanation {
        let step = &self.steps[number];
        let rule = &self.mapping.rules[step.rule];
        let cast = |made: Dtype, dtype: Dtype| (made != dtype).then(|| made.to_string());
        Explanation {
            operation: rule.name(),
            at: rule.rule.at.to_string(),
            captures: step.captures.to_string(),
            inputs: step.inputs.iter().map(|input| view(input.tensor, input.index)).collect(),
            outputs: step
                .outputs
                .iter()
                .map(|&number| {
                    let output = &self.outputs[number];
                    OutputView {
                        name: output.name.clone(),
                        number,
                        shape: output.shape.clone(),
                        dtype: output.dtype.to_string(),
                        bytes: output.bytes(),
                        cast_from: cast(output.made_as, output.dtype),
                    }
                })
                .collect(),
            moves: match &step.work {
                super::Work::Moves(moves) => moves.len(),
                super::Work::Compute { .. } | super::Work::Function { .. } => 0,
            },
            remark: None,
        }
    }
}

fn input_view(
    tensor: &TensorInfo,
    index: Option<usize>,
    file: &dyn Fn(FileId) -> String,
) -> InputView {
    let places = tensor.boxes();
    let places = places.iter().map(|piece| {
        let elements = piece.size.iter().map(|&n| n as u64).product();
        let bytes = tensor.dtype.size(elements).unwrap_or(0);
        (file(piece.file), piece.offset, piece.offset + bytes)
    });
    InputView {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: tensor.dtype.to_string(),
        index,
        places: places.collect(),
    }
}
