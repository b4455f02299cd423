//! `kill -9` at fifty moments of an import.

use connector_tests::{Bench, Child, Model, contents, options, tree};
use std::fs;
use std::thread::sleep;
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");
const MOMENTS: u32 = 50;

/// Slow enough at every step that some kill falls into it.
const SLOW: &str = "staging.locked=sleep:25;staging.created=sleep:25;conversion.created=sleep:25;\
                    engine.chunk=sleep:8;conversion.written=sleep:25;conversion.finished=sleep:25;\
                    publish.sync=sleep:25;publish.rename=sleep:25;publish.renamed=sleep:25;\
                    publish.removed=sleep:25";

#[test]
fn an_import_that_is_killed_leaves_the_old_output_or_the_new_one() {
    let new_model = Model::fixture("llama");
    let finished = Bench::new(&new_model);
    finished.import(options(|_| {}));
    let new = contents(&finished.out());
    let older = Bench::new(&Model::fixture("llama3_tied"));
    older.import(options(|_| {}));
    let old = contents(&older.out());

    let bench = Bench::new(&new_model);
    let import = || {
        Child::import(PROGRAM, &bench.source(), &bench.out())
            .arg("--overwrite")
            .arg("--threads")
            .arg("1")
    };
    let begun = Instant::now();
    let ended = import().failpoints(SLOW).run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let whole = begun.elapsed();

    let (mut unfinished, mut published) = (0, 0);
    for moment in 0..MOMENTS {
        // Every other time there is an output to be replaced.
        fs::remove_dir_all(bench.out()).unwrap();
        let before = if moment % 2 == 0 { &None } else { &old };
        for (name, bytes) in before.iter().flatten() {
            let path = bench.out().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::create_dir_all(path).unwrap(),
            }
        }

        let mut child = import().failpoints(SLOW).start();
        sleep(whole * moment / MOMENTS);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = tree(bench.dir()).keys().any(|name| name.starts_with(".out.connector-"));
        let now = contents(&bench.out());
        let at = format!("killed at {moment}/{MOMENTS} of {whole:?}");
        assert!(now == *before || now == new, "{at}: neither the old output nor the new one");
        unfinished += u32::from(left && now == *before);
        published += u32::from(now == new);

        let ended = import().run();
        assert_eq!(ended.code, Some(0), "{at}: {}", ended.text);
        assert!(contents(&bench.out()) == new, "{at}: the next run");
        bench.assert_tidy();
    }
    // The first moment is before everything and the last one behind the rename, unless the machine
    // was busier with the one run that was measured: all that is sure is that most fall inside.
    assert!(
        unfinished > MOMENTS / 2,
        "{unfinished} kills fell into the import, {published} behind it"
    );
}
