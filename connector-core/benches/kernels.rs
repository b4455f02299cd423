//! What processors and memory do to bytes between files: casts, hashes, copies.
//!
//! `cargo bench -p connector-core --bench kernels`

use connector_core::engine::cast;
use connector_core::store::Dtype;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// As large as a buffer of the engine.
const BYTES: usize = 256 << 10;

fn casts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cast");
    group.throughput(Throughput::Bytes(BYTES as u64));
    for (source, target) in [
        (Dtype::F32, Dtype::Bf16),
        (Dtype::F32, Dtype::F16),
        (Dtype::Bf16, Dtype::F32),
        (Dtype::F16, Dtype::F32),
        (Dtype::Bf16, Dtype::F16),
        (Dtype::F16, Dtype::Bf16),
        (Dtype::F64, Dtype::F32),
        (Dtype::F64, Dtype::Bf16),
    ] {
        // Numbers between 1 and 2 in every type: the exponent of 1, and a mantissa that varies.
        let size = (source.bits() / 8) as usize;
        let top = match source {
            Dtype::F64 => [0xf0, 0x3f],
            Dtype::F16 => [0x00, 0x3c],
            _ => [0x80, 0x3f],
        };
        let element = |n: usize| {
            let mut bytes = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[..size].to_vec();
            bytes[size - 2] = bytes[size - 2] & 0x0f | top[0];
            bytes[size - 1] = top[1];
            bytes
        };
        let from: Vec<u8> = (0..BYTES / size).flat_map(element).collect();
        let mut to = vec![0; BYTES / size * (target.bits() / 8) as usize];
        group.bench_function(format!("{source} to {target}"), |bench| {
            bench.iter(|| cast(black_box(&from), source, black_box(&mut to), target));
        });
    }
    group.finish();
}

fn bounds(criterion: &mut Criterion) {
    let from = vec![7u8; BYTES];
    let mut to = vec![0u8; BYTES];
    let mut group = criterion.benchmark_group("bound");
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("memcpy", |bench| {
        bench.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    });
    group.bench_function("blake3", |bench| bench.iter(|| blake3::hash(black_box(&from))));
    group.finish();
}

criterion_group!(kernels, casts, bounds);
criterion_main!(kernels);
