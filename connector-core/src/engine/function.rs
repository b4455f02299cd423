use super::cast::Tally;
use super::whole::{extent, write_part};
use super::{Context, Job};
use crate::base::stage::stage;
use crate::base::{CandleError, parallel};
use crate::engine::{Error, Result};
use crate::plan::{Finding, FindingKind, Input, Output, Plan, Step, Work};
use crate::store::{self, Dtype, Source, TensorInfo, read_elements};
use crate::transform::{BoxError, Kernel, Numbers, ReadTensor, Tensor, TransformCtx};
use candle_core::{CpuStorage, DType, Device, Shape, Storage, WithDType};
use half::{bf16, f16};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a step that calls a user's function, once for each index of a stacked axis.
pub(super) fn run(job: &Job<'_>, number: usize, tally: &Tally) -> Result<()> {
    stage!("function");
    let step = &job.plan.steps[number];
    let Work::Function { calls } = step.work else { return Ok(()) };
    let arity = step.inputs.len() / calls.max(1);
    for call in 0..calls {
        job.cancel.check()?;
        let inputs = step.inputs[call * arity..][..arity].iter();
        let inputs = inputs.map(|&input| read_input(job.source, input, job.context.device));
        let inputs = inputs.collect::<Result<Vec<Tensor>>>()?;
        let read = |tensor: &TensorInfo| Ok(read_tensor(job.source, tensor, job.context.device)?);
        let infos = job.source.tensors();
        let results = apply(job.plan, number, inputs, &job.context, infos, &read)?;
        for (&output, result) in step.outputs.iter().zip(&results) {
            let first = check(job.plan, output, result, calls, call)?;
            tensor_bytes(result, |bytes| write_part(job, output, first, bytes, tally))?;
        }
    }
    Ok(())
}

/// Calls functions on tensors of zeros of the sources' shapes, before anything is written: every
/// one whose result's shape only it knows, of the others one for each rule. So a function that
/// returns what the schema does not want is refused here, and its type is known; `requested` is
/// the type that floats are cast to.
///
/// # Errors
/// [`Error::Function`] if a function fails, [`Error::Refused`] if its result does not fit.
pub(crate) fn probe(
    plan: &mut Plan,
    source: &dyn Source,
    requested: Option<Dtype>,
    context: &Context<'_>,
) -> Result<()> {
    let mut known: HashMap<usize, Vec<Dtype>> = HashMap::new();
    for number in 0..plan.steps.len() {
        let Work::Function { calls } = plan.steps[number].work else { continue };
        let step = plan.steps[number].clone();
        let complete = step.outputs.iter().all(|&output| plan.outputs[output].shape.is_some());
        let dtypes = match known.get(&step.rule).filter(|_| complete) {
            Some(dtypes) => dtypes.clone(),
            None => {
                let results = call_on_zeros(plan, number, calls, source, context)?;
                let stacked = plan.mapping.rules[step.rule].is_stacked();
                for (&output, result) in step.outputs.iter().zip(&results) {
                    let stack: &[usize] = if stacked { &[calls] } else { &[] };
                    let shape = [stack, result.dims()].concat();
                    let shape = plan.outputs[output].shape.get_or_insert(shape).clone();
                    let part = if stacked { &shape[1..] } else { &shape[..] };
                    if part != result.dims() {
                        return Err(does_not_fit(plan, output, result, part));
                    }
                }
                results.iter().map(|r| dtype_of(plan, &step, r)).collect::<Result<Vec<_>>>()?
            }
        };
        for (&output, &dtype) in step.outputs.iter().zip(&dtypes) {
            let output = &mut plan.outputs[output];
            // Of sources of several types, the result may have any of them.
            let types = step.inputs.iter().map(|input| source.tensors()[input.tensor].dtype);
            if !types.into_iter().any(|given| given == dtype) {
                let function = plan.mapping.rules[step.rule].name();
                tracing::warn!("{function} turns {} into {dtype}: {}", output.made_as, output.name);
            }
            // A parameter that the schema keeps was not to be cast from its source's type either.
            let kept = output.made_as.is_castable() && requested != Some(output.dtype);
            output.made_as = dtype;
            output.dtype = requested.filter(|_| dtype.is_castable() && !kept).unwrap_or(dtype);
        }
        known.insert(step.rule, dtypes);
    }
    Ok(())
}

fn call_on_zeros(
    plan: &Plan,
    number: usize,
    calls: usize,
    source: &dyn Source,
    context: &Context<'_>,
) -> Result<Vec<Tensor>> {
    let step = &plan.steps[number];
    let zeros = |tensor: &TensorInfo, shape: &[usize]| -> Result<Tensor> {
        let dtype = to_candle_dtype(tensor.dtype).ok_or_else(|| unsupported(tensor))?;
        Tensor::zeros(shape, dtype, context.device).map_err(Error::candle)
    };
    let inputs = step.inputs[..step.inputs.len() / calls.max(1)].iter().map(|&input| {
        let tensor = &source.tensors()[input.tensor];
        zeros(tensor, input_shape(tensor, input))
    });
    let inputs = inputs.collect::<Result<Vec<Tensor>>>()?;
    let read = |tensor: &TensorInfo| Ok(zeros(tensor, &tensor.shape)?);
    let results = apply(plan, number, inputs, context, source.tensors(), &read);
    results.map_err(|error| match error {
        Error::Function { name, at, output, source } => {
            let source = format!("tried on zeros, before anything is read: {source}").into();
            Error::Function { name, at, output, source }
        }
        error => error,
    })
}

fn dtype_of(plan: &Plan, step: &Step, result: &Tensor) -> Result<Dtype> {
    from_candle_dtype(result.dtype()).ok_or_else(|| {
        let problem = format!("the function's result is {:?}", result.dtype());
        let name = &plan.outputs[step.outputs[0]].name;
        let rule = plan.mapping.rules[step.rule].rule.at;
        Error::refused(vec![Finding::new(FindingKind::Dtype, name, problem).rule(rule)])
    })
}

/// The dimensions of an input: those of its tensor, or of one index of the first.
fn input_shape(tensor: &TensorInfo, input: Input) -> &[usize] {
    match input.index {
        Some(_) => tensor.shape.get(1..).unwrap_or_default(),
        None => &tensor.shape,
    }
}

/// Applies the operations of a step's rule to the tensors of one call, one after the other. Panics of a
/// user's function are errors: a mistake in one rule must not leave a half-written directory.
pub(super) fn apply(
    plan: &Plan,
    number: usize,
    mut tensors: Vec<Tensor>,
    context: &Context<'_>,
    infos: &[TensorInfo],
    load: &dyn Fn(&TensorInfo) -> Result<Tensor, BoxError>,
) -> Result<Vec<Tensor>> {
    let step = &plan.steps[number];
    let rule = &plan.mapping.rules[step.rule];
    let read = |key: &str| -> Result<Tensor, BoxError> {
        let listed = step.reads.iter().map(|&tensor| &infos[tensor]);
        match listed.into_iter().find(|tensor| tensor.name == key) {
            Some(tensor) => load(tensor),
            None => Err(format!("`{key}` is not among the tensors that this rule `reads`").into()),
        }
    };
    let ctx = transform_ctx(step, context, &read);
    parallel::start_rayon();
    for (stage, operation) in rule.operations.iter().enumerate() {
        let last = stage + 1 == rule.operations.len();
        let failed = |source: BoxError| Error::Function {
            name: operation.name,
            at: rule.rule.at,
            output: plan.outputs[step.outputs[0]].name.clone(),
            source: without_backtrace(source),
        };
        let wanted = last.then(|| wanted(plan, step)).flatten();
        let groups = operation.groups(tensors.len());
        let arity = tensors.len() / groups;
        let mut made = Vec::new();
        for group in 0..groups {
            let given = &tensors[group * arity..][..arity];
            let wanted = wanted.as_deref().and_then(|all| match operation.each {
                true => all.chunks(operation.targets).nth(group),
                false => Some(all),
            });
            let results = match operation.kernel {
                Kernel::Moves(moves) => moves.apply(&ctx, given, wanted),
                Kernel::Compute(compute) => compute.apply(given).map(|tensor| vec![tensor]),
                Kernel::Function(function) => {
                    let call = AssertUnwindSafe(|| (function.call)(&ctx, given.to_vec()));
                    catch_unwind(call).unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
                        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                        Err(format!("it panicked: {}", text.unwrap_or_default()).into())
                    })
                }
            };
            made.extend(results.map_err(failed)?);
        }
        tensors = made;
        if last && tensors.len() != step.outputs.len() {
            let (got, want) = (tensors.len(), step.outputs.len());
            return Err(failed(format!("it returned {got} tensors, {want} are wanted").into()));
        }
    }
    Ok(tensors)
}

/// The shapes of what one call gives, if all are known.
fn wanted(plan: &Plan, step: &Step) -> Option<Vec<Vec<usize>>> {
    let stacked = usize::from(plan.mapping.rules[step.rule].is_stacked());
    let shapes = step.outputs.iter().map(|&output| plan.outputs[output].shape.as_deref());
    shapes.map(|shape| Some(shape?.get(stacked..)?.to_vec())).collect()
}

/// An error of candle without the backtrace that its text carries under `RUST_BACKTRACE`.
fn without_backtrace(source: BoxError) -> BoxError {
    match source.downcast::<candle_core::Error>() {
        Ok(error) => Error::candle(*error).to_string().into(),
        Err(source) => source,
    }
}

/// What an operation of a step may ask.
pub(super) fn transform_ctx<'a>(
    step: &'a Step,
    context: &Context<'a>,
    read: &'a ReadTensor<'a>,
) -> TransformCtx<'a> {
    let instance = context.instance.map(|instance| (instance, step.at.as_slice()));
    TransformCtx {
        numbers: Numbers::new(context.model, instance),
        format: context.format,
        captures: &step.captures,
        export: context.export,
        read,
        device: context.device,
    }
}

/// Checks a result against the plan. Returns the element at which it begins in the output.
fn check(plan: &Plan, output: usize, result: &Tensor, calls: usize, call: usize) -> Result<u64> {
    let Output { shape, made_as, step, .. } = &plan.outputs[output];
    let wanted = shape.as_deref().unwrap_or_default();
    let stacked = plan.mapping.rules[plan.steps[*step].rule].is_stacked();
    let part = if stacked { wanted.get(1..).unwrap_or_default() } else { wanted };
    let fits = part == result.dims() && from_candle_dtype(result.dtype()) == Some(*made_as);
    if !fits || (stacked && wanted.first() != Some(&calls)) {
        return Err(does_not_fit(plan, output, result, part));
    }
    Ok(call as u64 * part.iter().map(|&n| n as u64).product::<u64>())
}

pub(super) fn does_not_fit(plan: &Plan, output: usize, result: &Tensor, wanted: &[usize]) -> Error {
    let Output { name, made_as, step, .. } = &plan.outputs[output];
    let rule = &plan.mapping.rules[plan.steps[*step].rule];
    let (function, dtype, dims) = (rule.name(), result.dtype(), result.dims());
    let finding = Finding::new(FindingKind::Shape, name, "the function's result does not fit")
        .note(format!("{function} returned {dtype:?} {dims:?}"))
        .note(format!("{made_as} {wanted:?} is wanted"))
        .rule(rule.rule.at);
    Error::refused(vec![finding])
}

/// Reads an input of a step: a tensor, or one index of its first dimension.
///
/// # Errors
/// As [`read_tensor`].
pub(crate) fn read_input(source: &dyn Source, input: Input, device: &Device) -> Result<Tensor> {
    let tensor = &source.tensors()[input.tensor];
    let (from, len) = extent(tensor, input);
    load(source, tensor, from, len, input_shape(tensor, input), device)
}

/// Reads a whole tensor.
///
/// # Errors
/// [`Io`](crate::store::Error::Io); [`Error::Refused`] if candle has no such type.
pub(crate) fn read_tensor(
    source: &dyn Source,
    tensor: &TensorInfo,
    device: &Device,
) -> Result<Tensor> {
    load(source, tensor, 0, tensor.elements(), &tensor.shape, device)
}

/// Reads elements straight into the memory that the tensor keeps.
fn load(
    source: &dyn Source,
    tensor: &TensorInfo,
    from: u64,
    len: u64,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor> {
    fn typed<T: WithDType + bytemuck::Pod>(
        fill: &dyn Fn(&mut [u8]) -> store::Result<()>,
        len: u64,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor> {
        let mut elements = vec![<T as bytemuck::Zeroable>::zeroed(); len as usize];
        fill(bytemuck::cast_slice_mut(&mut elements))?;
        Tensor::from_vec(elements, Shape::from(shape), device).map_err(Error::candle)
    }
    let fill = |bytes: &mut [u8]| read_elements(source, tensor, from, len, bytes);
    match tensor.dtype {
        Dtype::U8 => typed::<u8>(&fill, len, shape, device),
        Dtype::U32 => typed::<u32>(&fill, len, shape, device),
        Dtype::I16 => typed::<i16>(&fill, len, shape, device),
        Dtype::I32 => typed::<i32>(&fill, len, shape, device),
        Dtype::I64 => typed::<i64>(&fill, len, shape, device),
        Dtype::Bf16 => typed::<bf16>(&fill, len, shape, device),
        Dtype::F16 => typed::<f16>(&fill, len, shape, device),
        Dtype::F32 => typed::<f32>(&fill, len, shape, device),
        Dtype::F64 => typed::<f64>(&fill, len, shape, device),
        _ => Err(unsupported(tensor)),
    }
}

/// Lends the tensor's bytes, in row-major order.
pub(crate) fn tensor_bytes<E: From<Error>>(
    tensor: &Tensor,
    write: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    fn typed<T: WithDType + bytemuck::Pod>(storage: &CpuStorage) -> Result<&[u8]> {
        Ok(bytemuck::cast_slice(T::cpu_storage_as_slice(storage).map_err(Error::candle)?))
    }
    // Files are written from the host's memory, wherever the function ran.
    let tensor =
        tensor.to_device(&Device::Cpu).and_then(|t| t.contiguous()).map_err(Error::candle)?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::from(CandleError("the result could not be read back".into())).into());
    };
    let bytes = match tensor.dtype() {
        DType::U8 => typed::<u8>(storage),
        DType::U32 => typed::<u32>(storage),
        DType::I16 => typed::<i16>(storage),
        DType::I32 => typed::<i32>(storage),
        DType::I64 => typed::<i64>(storage),
        DType::BF16 => typed::<bf16>(storage),
        DType::F16 => typed::<f16>(storage),
        DType::F32 => typed::<f32>(storage),
        DType::F64 => typed::<f64>(storage),
        _ => {
            return Err(Error::from(CandleError("the result could not be read back".into())).into());
        }
    }?;
    // A narrowed tensor shares the storage of the whole.
    let size = tensor.dtype().size_in_bytes();
    let start = layout.start_offset() * size;
    write(&bytes[start..start + tensor.elem_count() * size])
}

/// candle's name for a type, where candle computes with it.
pub(crate) fn to_candle_dtype(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::U8 => DType::U8,
        Dtype::U32 => DType::U32,
        Dtype::I16 => DType::I16,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        Dtype::Bf16 => DType::BF16,
        Dtype::F16 => DType::F16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        _ => return None,
    })
}

pub(crate) fn from_candle_dtype(dtype: DType) -> Option<Dtype> {
    Dtype::all().find(|&ours| to_candle_dtype(ours) == Some(dtype))
}

fn unsupported(tensor: &TensorInfo) -> Error {
    let problem = format!("candle cannot compute with {}", tensor.dtype);
    Error::refused(vec![Finding::new(FindingKind::Dtype, &tensor.name, problem)])
}
