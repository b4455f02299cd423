//! What the tests of the operations share: a context, and the plainest way to run moves.

use super::dims::elements;
use crate::key::Captures;
use crate::transform::{
    Class, Config, Kernel, LayOut, Moves, Numbers, Operation, Shape, TransformCtx,
};

/// A context whose model's config has the given fields. (It is leaked, to be short in use.)
pub(super) fn ctx(fields: &[(&str, u64)]) -> TransformCtx<'static> {
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    TransformCtx {
        numbers: Numbers::new(
            Box::leak(Box::new(Config::from_json(serde_json::Value::Object(fields)))),
            None,
        ),
        format: Box::leak(Box::default()),
        captures: Box::leak(Box::new(Captures::new())),
        export: false,
        read: &|key| Err(key.into()),
        #[cfg(feature = "candle")]
        device: &candle_core::Device::Cpu,
    }
}

fn built_in(op: Operation) -> &'static dyn LayOut {
    match op.kernel {
        Kernel::Moves(moves) => moves,
        Kernel::Compute(_) | Kernel::Function(_) => panic!("{} does not move", op.name),
    }
}

pub(super) fn lay_out(
    op: Operation,
    ctx: &TransformCtx<'_>,
    sources: &[Shape],
    wanted: Option<&[Shape]>,
) -> Result<Moves, String> {
    built_in(op).lay_out(ctx.numbers(), sources, wanted)
}

/// Why the operation refuses, in both of its forms if tensors of the shapes can be made.
pub(super) fn refusal(
    op: Operation,
    ctx: &TransformCtx<'_>,
    sources: &[Shape],
    wanted: Option<&[Shape]>,
) -> String {
    let refusal = lay_out(op, ctx, sources, wanted).unwrap_err();
    #[cfg(feature = "candle")]
    if sources.iter().all(|shape| elements(shape).is_ok_and(|n| n < 100)) {
        let bytes: Vec<_> = sources.iter().map(|shape| identities(0, shape)).collect();
        let tensors = tensors(&bytes, sources, 1);
        let on_tensors = built_in(op).apply(ctx, &tensors, wanted).unwrap_err();
        assert_eq!(on_tensors.to_string(), refusal);
    }
    refusal
}

/// The targets, where element i of source s is 100·s + i.
pub(super) fn run(
    op: Operation,
    ctx: &TransformCtx<'_>,
    sources: &[Shape],
    wanted: Option<&[Shape]>,
) -> Vec<Vec<u8>> {
    let moves = lay_out(op, ctx, sources, wanted).unwrap();
    let sources: Vec<_> =
        sources.iter().enumerate().map(|(s, shape)| identities(100 * s as u8, shape)).collect();
    execute(&moves, &sources, 1)
}

fn identities(first: u8, shape: &Shape) -> Vec<u8> {
    (0..elements(shape).unwrap() as u8).map(|i| first + i).collect()
}

/// Runs the moves on elements of `size` bytes.
fn execute(moves: &Moves, sources: &[Vec<u8>], size: usize) -> Vec<Vec<u8>> {
    let bytes = |shape: &Shape| vec![0; elements(shape).unwrap() as usize * size];
    let mut targets: Vec<_> = moves.shapes.iter().map(bytes).collect();
    for m in &moves.moves {
        for (from, to, len) in m.runs() {
            let [from, to, len] = [from, to, len].map(|n| n as usize * size);
            targets[m.target][to..][..len].copy_from_slice(&sources[m.source][from..][..len]);
        }
    }
    targets
}

/// That no element of a target is reached twice; and of a bijective operation, that each is
/// reached, from an element of its own.
fn check_coverage(op: Operation, moves: &Moves, sources: &[Shape]) {
    let zeros = |shape: &Shape| vec![0u32; elements(shape).unwrap() as usize];
    let mut taken: Vec<_> = sources.iter().map(zeros).collect();
    let mut reached: Vec<_> = moves.shapes.iter().map(zeros).collect();
    for m in &moves.moves {
        assert_eq!(m.elements(), m.runs().map(|(_, _, len)| len).sum::<u64>());
        for (from, to, len) in m.runs() {
            let [from, to, len] = [from, to, len].map(|n| n as usize);
            taken[m.source][from..][..len].iter_mut().for_each(|n| *n += 1);
            reached[m.target][to..][..len].iter_mut().for_each(|n| *n += 1);
        }
    }
    let (mut taken, mut reached) = (taken.iter().flatten(), reached.iter().flatten());
    if op.class == Class::Bijective {
        assert!(reached.all(|&n| n == 1) && taken.all(|&n| n == 1), "{}", op.name);
        assert!(moves.equal.is_empty(), "{}", op.name);
    } else {
        assert!(reached.all(|&n| n <= 1), "{}", op.name);
    }
}

/// Checks the operation and its inverse on tensors of the given shapes: coverage, that the
/// inverse brings back the sources, that the candle form gives the same bytes. `wanted` are the
/// shapes of the targets, `back` those of the sources where the inverse asks for them.
pub(super) fn check(
    op: Operation,
    ctx: &TransformCtx<'_>,
    sources: &[Shape],
    wanted: Option<&[Shape]>,
    back: Option<&[Shape]>,
) {
    let inverse = op.inverse.unwrap()();
    assert_eq!(inverse.inverse.unwrap()().name, op.name);
    let moves = lay_out(op, ctx, sources, wanted).unwrap();
    assert_eq!((op.sources, op.targets), (sources.len(), moves.shapes.len()));
    check_coverage(op, &moves, sources);
    let moves_back = lay_out(inverse, ctx, &moves.shapes, back).unwrap();
    assert_eq!(moves_back.shapes, sources);
    check_coverage(inverse, &moves_back, &moves.shapes);
    for size in [1, 2, 4, 8] {
        let data: Vec<_> = (0..).zip(sources).map(|(s, shape)| noise(s, shape, size)).collect();
        let targets = execute(&moves, &data, size);
        assert_eq!(execute(&moves_back, &targets, size), data, "{}", inverse.name);
        #[cfg(feature = "candle")]
        {
            check_candle(op, ctx, (&data, sources), wanted, (&targets, &moves.shapes));
            check_candle(inverse, ctx, (&targets, &moves.shapes), back, (&data, sources));
        }
    }
}

/// Bytes of every value, so that floats are NaN, infinite and subnormal too.
fn noise(seed: u64, shape: &Shape, size: usize) -> Vec<u8> {
    let bytes = elements(shape).unwrap() * size as u64;
    let mix = |i: u64| (i + 1 + (seed << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    (0..bytes).map(|i| (mix(i) >> 24) as u8).collect()
}

#[cfg(feature = "candle")]
fn tensors(data: &[Vec<u8>], shapes: &[Shape], size: usize) -> Vec<crate::Tensor> {
    use candle_core::DType;
    let dtype = match size {
        1 => DType::U8,
        2 => DType::BF16,
        4 => DType::F32,
        _ => DType::I64,
    };
    let tensor = |(bytes, shape): (&Vec<u8>, &Shape)| {
        crate::Tensor::from_raw_buffer(bytes, dtype, shape, &candle_core::Device::Cpu).unwrap()
    };
    data.iter().zip(shapes).map(tensor).collect()
}

/// Checks that the candle form takes the first tensors to the second ones.
#[cfg(feature = "candle")]
fn check_candle(
    op: Operation,
    ctx: &TransformCtx<'_>,
    (data, sources): (&[Vec<u8>], &[Shape]),
    wanted: Option<&[Shape]>,
    (targets, shapes): (&[Vec<u8>], &[Shape]),
) {
    let size = data[0].len() / elements(&sources[0]).unwrap() as usize;
    let results = built_in(op).apply(ctx, &tensors(data, sources, size), wanted).unwrap();
    assert_eq!(results.len(), shapes.len());
    for ((result, bytes), shape) in results.iter().zip(targets).zip(shapes) {
        let mut found = Vec::new();
        result.write_bytes(&mut found).unwrap();
        assert_eq!((result.dims(), &found), (&shape[..], bytes), "{}", op.name);
    }
}
