//! However bytes get from file to file, what is written is the same.

use connector_core::ImportOptions;
use connector_core::engine::Io;
use connector_core::store::Dtype;
use connector_tests::{Bench, Child, Model, contents, export_options, options};
use std::collections::BTreeMap;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

/// What an import writes.
fn imported(
    model: &Model,
    change: impl FnOnce(&mut ImportOptions),
) -> BTreeMap<String, Option<Vec<u8>>> {
    let bench = Bench::new(model);
    bench.import(options(change));
    let mut written = contents(&bench.out()).unwrap();
    // It tells where the source was.
    assert!(written.remove("conversion.json").is_some());
    written
}

#[test]
fn every_way_writes_the_same() {
    let model = Model::llama(1, "BF16");
    for dtype in [None, Some(Dtype::F32)] {
        let want = imported(&model, |o| {
            o.plan.dtype = dtype;
            (o.engine.io, o.engine.threads) = (Io::Buffered, 1);
        });
        for io in [Io::Auto, Io::Buffered, Io::Copy] {
            for (threads, sync, max_memory) in
                [(1, true, 2 << 30), (2, false, 8 << 20), (7, true, 4 << 20)]
            {
                let got = imported(&model, |o| {
                    o.plan.dtype = dtype;
                    (o.engine.io, o.engine.threads) = (io, threads);
                    (o.engine.sync, o.engine.max_memory) = (sync, max_memory);
                });
                assert!(got == want, "{io:?}, {threads} threads, sync {sync}, to {dtype:?}");
            }
        }
    }
}

#[test]
fn and_back_again() {
    let model = Model::llama(1, "F16");
    let bench = Bench::new(&model);
    bench.import(options(|o| o.engine.io = Io::Copy));
    bench.export(export_options(|o| (o.engine.io, o.engine.sync) = (Io::Copy, false)));
    for tensor in &model.tensors {
        let back = connector_tests::read_tensors(&bench.back());
        assert!(back[&tensor.name].bytes == tensor.bytes, "{}", tensor.name);
    }
}

/// A file system that cannot copy, from the first request on or only between some files.
#[test]
fn a_kernel_that_cannot_copy_leaves_it_to_a_buffer() {
    let bench = Bench::new(&Model::llama(2, "BF16"));
    bench.import(options(|o| o.engine.io = Io::Buffered));
    let want = contents(&bench.out());
    let copy = |points: &str| {
        let child = Child::import(PROGRAM, &bench.source(), &bench.back()).arg("--io").arg("copy");
        child.failpoints(points).run()
    };
    // That the kernel is asked at all, more than three times.
    let ended = copy("engine.kernel-copy=abort@4");
    assert_eq!(ended.code, None, "{}", ended.text);
    for points in ["", "engine.kernel-copy=error@1", "engine.kernel-copy=error@3"] {
        let ended = copy(points);
        assert_eq!(ended.code, Some(0), "{points}: {}", ended.text);
        assert!(contents(&bench.back()) == want, "{points}");
        std::fs::remove_dir_all(bench.back()).unwrap();
    }
}

/// What goes into the cache must survive a power cut, or half of it would be found again.
#[test]
fn the_cache_is_always_synced() {
    let bench = Bench::new(&Model::llama(1, "BF16"));
    let source = bench.source();
    let import = Child::new(PROGRAM, &["import"]).arg(source.to_str().unwrap()).arg("--no-sync");
    let ended = import.env("NEMO_HOME", bench.dir().join("cache")).run();
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("--output"), "{}", ended.text);
}
