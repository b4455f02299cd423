//! What the command line tells its caller, and that a failure leaves nothing.

use connector_tests::{Bench, Child, Ended, Model, Tensor, contents, encode, tree};
use std::fs;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

fn import(bench: &Bench, args: &[&str]) -> (Option<i32>, String) {
    let child = Child::import(PROGRAM, &bench.source(), &bench.out());
    let ended = args.iter().fold(child, |child, arg| child.arg(arg)).run();
    (ended.code, ended.text)
}

#[test]
fn an_import_succeeds() {
    let bench = Bench::new(&Model::fixture("llama"));
    let (code, text) = import(&bench, &[]);
    assert_eq!(code, Some(0), "{text}");
    let again = Bench::new(&Model::fixture("llama"));
    again.import(Default::default());
    assert!(contents(&bench.out()) == contents(&again.out()), "the library writes the same");
}

#[test]
fn spoilt_checkpoints_end_with_3_or_4_and_the_name_of_what_is_wrong() {
    type Spoil = fn(&mut Model);
    let cases: [(&str, Spoil); 7] = [
        ("model.norms.weight", |m| m.rename("model.norm.weight", "model.norms.weight")),
        ("model.norm.weight", |m| drop(m.remove("model.norm.weight"))),
        ("surplus.weight", |m| m.add(Tensor::noise("surplus.weight", &[1]))),
        ("lm_head.weight", |m| m.add(m.tensors[0].named("lm_head.weight"))),
        ("model.norm.weight", |m| m.resize("model.norm.weight", 47)),
        ("model.layers.1.self_attn.k_proj.weight", |m| {
            drop(m.remove("model.layers.1.self_attn.k_proj.weight"));
        }),
        ("config.json", |m| m.config = Default::default()),
    ];
    for (name, spoil) in cases {
        let mut model = Model::fixture("llama");
        spoil(&mut model);
        let bench = Bench::new(&model);
        let before = tree(bench.dir());
        let (code, text) = import(&bench, &[]);
        assert!(matches!(code, Some(3 | 4)), "{code:?}: {text}");
        assert!(text.contains(name), "{name} in {text}");
        assert!(tree(bench.dir()) == before, "{name}");
    }
}

#[test]
fn a_cut_file_ends_with_3_or_4() {
    let model = Model::fixture("llama");
    let bench = Bench::new(&model);
    let bytes = encode(&model.tensors);
    fs::write(bench.source().join("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
    let before = tree(bench.dir());
    let (code, text) = import(&bench, &[]);
    assert!(matches!(code, Some(3 | 4)), "{code:?}: {text}");
    assert!(text.contains("model.safetensors") && text.contains("cut off"), "{text}");
    assert!(tree(bench.dir()) == before);
}

#[test]
fn mistakes_of_the_caller_end_with_2() {
    let bench = Bench::new(&Model::fixture("llama"));
    let before = tree(bench.dir());
    for args in
        [&["--dtype", "fp8"][..], &["--frobnicate"], &["--only", "a..b"], &["--max-memory", "x"]]
    {
        let (code, text) = import(&bench, args);
        assert_eq!(code, Some(2), "{args:?}: {text}");
    }
    let ended = Child::import(PROGRAM, &bench.source(), &bench.source().join("out")).run();
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(tree(bench.dir()) == before);
}

/// What people type out of habit is taken, or told how it is said here.
#[test]
fn habits_of_other_tools_are_met() {
    let bench = Bench::new(&Model::fixture("llama"));
    let (code, text) = import(&bench, &["--dtype", "bfloat16", "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    for (args, want) in [
        (&["out"][..], "tip: the output is given as '--output out'"),
        (&["--device", "cuda"], "built without CUDA"),
    ] {
        let (code, text) = import(&bench, args);
        assert!(code != Some(0) && text.contains(want), "{text}");
    }
    let config = bench.source().join("config.json");
    let ended = Child::import(PROGRAM, &config, &bench.out()).run();
    let want = format!("name the directory of the checkpoint: {}", bench.source().display());
    assert!(ended.text.contains(&want), "{}", ended.text);
}

#[test]
fn a_source_that_is_not_there_ends_with_4() {
    let bench = Bench::empty();
    let (code, text) = import(&bench, &[]);
    assert_eq!(code, Some(4), "{text}");
    assert!(tree(bench.dir()).is_empty());
}

#[test]
fn commands_that_only_look_write_nothing() {
    let bench = Bench::new(&Model::fixture("llama"));
    let before = tree(bench.dir());
    let source = bench.source();
    let source = source.to_str().unwrap();
    for args in [
        &["plan", source][..],
        &["inspect", source],
        &["explain", source, "decoder.layers.0.mlp.linear_fc1.weight"],
        &["list"],
    ] {
        let ended = Child::new(PROGRAM, args).run();
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.text);
    }
    let (code, text) = import(&bench, &["--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(tree(bench.dir()) == before);
}

#[test]
fn an_export_tells_its_caller_as_an_import_does() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(Default::default());
    let [source, out, back] = [bench.source(), bench.out(), bench.back()];
    let [source, out, back] = [&source, &out, &back].map(|path| path.to_str().unwrap());
    let run = |args: &[&str]| {
        let ended = Child::new(PROGRAM, args).run();
        (ended.code, ended.text)
    };
    let before = tree(bench.dir());
    for (args, code, says) in [
        (&["export", out, "-o", back, "--dry-run"][..], 0, "can be written"),
        (&["plan", out], 0, "read backwards"),
        (&["explain", out, "model.layers.1.mlp.up_proj.weight"], 0, "split_fc1"),
        (&["explain", out, "decoder.layers.1.mlp.linear_fc1.weight"], 0, "split_fc1"),
        (&["plan", out, "--pad-vocab-to-multiple-of", "8"], 2, "is to be exported"),
        (&["export", out], 2, "--output"),
        (&["export", out, "-o", back, "--to", "gguf"], 2, "no exporter of LlamaModel to gguf"),
        (&["export", out, "-o", &format!("{out}/hf")], 2, "overlap"),
        (&["export", source, "-o", back], 4, "import"),
        (&["import", out, "-o", back], 4, "export"),
        (&["verify", source, out], 0, "bit for bit"),
    ] {
        let (ended, text) = run(args);
        assert_eq!(ended, Some(code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
    assert!(tree(bench.dir()) == before);

    let (code, text) = run(&["export", out, "-o", back, "--hash", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], "connector.export/1");
    assert_eq!(document["plan"]["direction"], "export");
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.back().join("conversion.json")).unwrap()).unwrap();
    assert_eq!(document["result"]["record"], record);
    assert_eq!(record["hashes"].as_object().unwrap().len(), 21);
    assert_eq!(run(&["export", out, "-o", back]).0, Some(2), "it is there already");
    assert_eq!(run(&["export", out, "-o", back, "--overwrite"]).0, Some(0));
}

/// No thread can be started with a stack of this size: there is no room for it.
const NO_THREADS: (&str, &str) = ("RUST_MIN_STACK", "70368744177664");

#[test]
fn without_threads_everything_is_done_on_one() {
    let bench = Bench::new(&Model::fixture("llama"));
    let source = bench.source().to_string_lossy().into_owned();
    let run = |args: &[&str]| Child::new(PROGRAM, args).env(NO_THREADS.0, NO_THREADS.1).run();
    let plan = run(&["plan", &source]);
    assert_eq!(plan.code, Some(0), "{}", plan.text);
    let import = Child::import(PROGRAM, &bench.source(), &bench.out());
    let ended = import.env(NO_THREADS.0, NO_THREADS.1).run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    let again = Bench::new(&Model::fixture("llama"));
    again.import(Default::default());
    assert!(contents(&bench.out()) == contents(&again.out()), "the same as with threads");
    let ended = run(&["generate", &source, "--prompt", "we", "--max-tokens", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}

#[cfg(unix)]
#[test]
fn a_limit_on_the_size_of_files_is_an_error_as_a_full_disk_is() {
    let bench = Bench::new(&Model::fixture("llama"));
    let before = tree(bench.dir());
    let limited = r#"ulimit -f 8; exec "$0" "$@""#;
    let [source, out] = [bench.source(), bench.out()].map(|path| path.display().to_string());
    let ended = Child::new("sh", &["-c", limited, PROGRAM, "import", &source, "-o", &out]).run();
    assert_eq!(ended.code, Some(4), "{}", ended.text);
    assert!(ended.text.contains("File too large"), "{}", ended.text);
    assert!(tree(bench.dir()) == before);
}

#[test]
fn a_tokenizer_that_the_crate_cannot_take_ends_with_4() {
    let text = Model::fixture("llama").files.remove("tokenizer.json").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let double =
        serde_json::json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let of_nothing = serde_json::json!({
        "type": "TemplateProcessing", "pair": [], "special_tokens": {},
        "single": [{"SpecialToken": {"id": "<none>", "type_id": 0}}],
    });
    let chain = |field: &str| serde_json::json!({"type": "Sequence", field: vec![&double; 60]});
    for (field, part, want) in [
        ("normalizer", chain("normalizers"), "times as long"),
        ("decoder", chain("decoders"), "times as long"),
        ("post_processor", of_nothing, "tokenizer"),
        ("pre_tokenizer", serde_json::json!({"type": "FixedLength", "length": 0}), "tokenizers"),
    ] {
        let mut json = json.clone();
        json[field] = part;
        let mut model = Model::fixture("llama");
        model.files.insert("tokenizer.json".into(), serde_json::to_vec(&json).unwrap());
        let bench = Bench::new(&model);
        let source = bench.source().to_string_lossy().into_owned();
        let args = ["generate", &source, "--prompt", "a bad banana", "--max-tokens", "2"];
        let Ended { code, text } = Child::new(PROGRAM, &args).run();
        assert_eq!(code, Some(4), "{field}: {text}");
        assert!(text.contains("tokenizer.json") && text.contains(want), "{field}: {text}");
        assert!(!text.contains("panicked"), "{field}: {text}");
    }
}
