use super::Context;
use super::function::{apply, does_not_fit, tensor_bytes};
use crate::engine::{Error, Result};
use crate::plan::{Input, Plan, Work};
use crate::store::TensorInfo;
use crate::transform::{BoxError, Tensor};
use std::collections::BTreeMap;

/// Gives the tensor of an input.
pub(crate) type Fetch<'a> = dyn Fn(Input) -> Result<Tensor> + 'a;

/// Gives the inputs from tensors that are in memory, in the order of the plan's sources.
pub(crate) fn among(tensors: &[Tensor]) -> impl Fn(Input) -> Result<Tensor> {
    |input| match input.index {
        Some(index) => tensors[input.tensor].get(index).map_err(Error::candle),
        None => Ok(tensors[input.tensor].clone()),
    }
}

/// Reads elements of tensors that are in memory.
pub(crate) fn read_among(tensors: &[Tensor]) -> impl Fn(usize, u64, u64, &mut [u8]) -> Result<()> {
    |tensor, from, len, bytes| {
        let all = tensors[tensor].flatten_all();
        let part = all.and_then(|all| all.narrow(0, from as usize, len as usize));
        tensor_bytes(&part.map_err(Error::candle)?, |part| {
            bytes.copy_from_slice(part);
            Ok(())
        })
    }
}

/// Runs a plan on tensors, on whatever device they are: built-in operations in their candle form.
/// `infos` are the plan's sources, and `fetch` gives their tensors.
pub(crate) fn run_in_memory(
    plan: &Plan,
    infos: &[TensorInfo],
    fetch: &Fetch<'_>,
    context: &Context<'_>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut made = BTreeMap::new();
    for number in 0..plan.steps.len() {
        let results = run_step(plan, number, infos, fetch, context)?;
        let outputs = plan.steps[number].outputs.iter().map(|&o| plan.outputs[o].name.clone());
        made.extend(outputs.zip(results));
    }
    Ok(made)
}

/// Runs one step: the tensors of its outputs.
pub(crate) fn run_step(
    plan: &Plan,
    number: usize,
    infos: &[TensorInfo],
    fetch: &Fetch<'_>,
    context: &Context<'_>,
) -> Result<Vec<Tensor>> {
    let step = &plan.steps[number];
    let rule = &plan.mapping.rules[step.rule];
    let stacked = rule.is_stacked();
    let arity = rule.sources.len().max(1);
    let calls = match step.work {
        Work::Compute { calls, .. } | Work::Function { calls } => calls.max(1),
        Work::Moves(_) if stacked => step.inputs.len() / arity,
        Work::Moves(_) => 1,
    };
    let read = |info: &TensorInfo| -> Result<Tensor, BoxError> {
        match infos.iter().position(|other| other.name == info.name) {
            Some(tensor) => Ok(fetch(Input { tensor, index: None })?),
            None => Err(info.name.clone().into()),
        }
    };
    let mut results: Vec<Vec<Tensor>> = Vec::with_capacity(calls);
    for inputs in step.inputs.chunks(step.inputs.len() / calls) {
        let inputs = inputs.iter().map(|&input| fetch(input)).collect::<Result<Vec<_>>>()?;
        let outputs = apply(plan, number, inputs, context, infos, &read)?;
        for (&output, tensor) in step.outputs.iter().zip(&outputs) {
            let Some(shape) = &plan.outputs[output].shape else { continue };
            let part = if stacked { &shape[1.min(shape.len())..] } else { &shape[..] };
            if part != tensor.dims() {
                return Err(does_not_fit(plan, output, tensor, part));
            }
        }
        results.push(outputs);
    }
    if !stacked {
        return Ok(results.pop().unwrap_or_default());
    }
    let stack = |target| {
        let parts: Vec<&Tensor> = results.iter().map(|outputs| &outputs[target]).collect();
        Tensor::stack(&parts, 0).map_err(Error::candle)
    };
    (0..step.outputs.len()).map(stack).collect()
}
