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
        for io in [Io::Auto, Io::Buffered, Io::Direct, Io::Copy] {
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
    for io in [Io::Direct, Io::Copy] {
        let bench = Bench::new(&model);
        bench.import(options(|o| o.engine.io = io));
        bench.export(export_options(|o| (o.engine.io, o.engine.sync) = (io, false)));
        let back = connector_tests::read_tensors(&bench.back());
        for tensor in &model.tensors {
            assert!(back[&tensor.name].bytes == tensor.bytes, "{io:?}, {}", tensor.name);
        }
    }
}

/// A file system that cannot, from the first request on or only with some files.
#[test]
fn a_system_that_cannot_leaves_it_to_a_buffer() {
    let bench = Bench::new(&Model::llama(2, "BF16"));
    bench.import(options(|o| o.engine.io = Io::Buffered));
    let want = contents(&bench.out());
    for (io, point) in [("copy", "engine.kernel-copy"), ("direct", "engine.direct")] {
        let run = |action: &str| {
            let child = Child::import(PROGRAM, &bench.source(), &bench.back()).arg("--io").arg(io);
            child.failpoints(&format!("{point}={action}")).run()
        };
        // That the system is asked at all, more than three times.
        let ended = run("abort@4");
        assert_eq!(ended.code, None, "{io}: {}", ended.text);
        for action in ["sleep:0", "error@1", "error@3", "error"] {
            let ended = run(action);
            assert_eq!(ended.code, Some(0), "{io}, {action}: {}", ended.text);
            if action.starts_with("error") {
                let told = ended.text.contains("past the cache");
                assert_eq!(told, io == "direct", "{action}: {}", ended.text);
            }
            assert!(contents(&bench.back()) == want, "{io}, {action}");
            std::fs::remove_dir_all(bench.back()).unwrap();
        }
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
