//! What is the same in two checkpoints is said to be; what is not is named, with its first element.

use connector_core::connector::{Difference, Element, Verification, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_core::store::Dtype;
use connector_core::{Error, Result};
use connector_tests::{
    Bench, Child, Model, Tensor, config, encode, export_options, llama, options, read_tensors, tree,
};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

const FIXTURES: [&str; 2] = ["llama", "llama3_tied"];

/// The model as `source`, its import as `out`, and the export of that as `back`.
fn round_trip(model: &Model) -> Bench {
    let bench = Bench::new(model);
    bench.import(options(|_| {}));
    bench.export(export_options(|_| {}));
    bench
}

fn compare(source: &Path, checkpoint: &Path) -> Result<Verification> {
    verify(source, checkpoint, &VerifyOptions::default(), &NoProgress)
}

#[track_caller]
fn verified(source: &Path, checkpoint: &Path) -> Verification {
    compare(source, checkpoint).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn assert_equal(source: &Path, checkpoint: &Path) -> Verification {
    let verification = verified(source, checkpoint);
    assert!(verification.is_equal(), "{verification:?}");
    verification
}

/// Changes the tensors of the one file in a directory.
fn change(dir: &Path, change: impl FnOnce(&mut Model)) {
    let mut model = Model::default();
    for (name, stored) in read_tensors(dir) {
        let (dtype, shape, bytes) = (stored.dtype, stored.shape, stored.bytes);
        model.add(Tensor { name, dtype, shape, bytes });
    }
    change(&mut model);
    fs::write(dir.join("model.safetensors"), encode(&model.tensors)).unwrap();
}

/// Sets an element of an F32 tensor, and returns how the old value and the new one read.
fn set(model: &mut Model, name: &str, index: [usize; 2]) -> (String, String) {
    let tensor = model.tensor(name);
    let at = (index[0] * tensor.shape[1] + index[1]) * 4;
    let element: [u8; 4] = tensor.bytes[at..at + 4].try_into().unwrap();
    tensor.bytes[at..at + 4].copy_from_slice(&7.25f32.to_le_bytes());
    (format!("{:?}", f32::from_le_bytes(element)), "7.25".into())
}

#[test]
fn a_round_trip_is_equal_in_every_direction() {
    for name in FIXTURES {
        let bench = round_trip(&Model::fixture(name));
        let before = tree(bench.dir());
        let [source, out, back] = [bench.source(), bench.out(), bench.back()];
        let tensors = bench.weights().len();
        for (source, checkpoint, count) in [
            (&source, &out, tensors),
            (&out, &back, tensors),
            (&out, &source, tensors),
            (&back, &out, tensors),
            (&source, &back, read_tensors(&source).len()),
            (&out, &out, tensors),
        ] {
            let verification = assert_equal(source, checkpoint);
            assert_eq!(verification.equal, count);
            let bytes: usize =
                read_tensors(&weights(checkpoint)).values().map(|t| t.bytes.len()).sum();
            assert_eq!(verification.bytes, bytes as u64, "{}", checkpoint.display());
            assert!(verification.left_out.is_empty() && verification.casts.is_empty());
        }
        assert!(tree(bench.dir()) == before, "nothing is written");
    }
}

fn weights(dir: &Path) -> std::path::PathBuf {
    if dir.join("weights").exists() { dir.join("weights") } else { dir.into() }
}

#[test]
fn the_first_element_that_differs_is_told_with_both_values() {
    const FC1: &str = "decoder.layers.1.mlp.linear_fc1.weight";
    const UP: &str = "model.layers.1.mlp.up_proj.weight";
    let bench = round_trip(&Model::fixture("llama"));
    let mut values = Default::default();
    // Two elements, of which the second is the first in the tensor. `up` is behind 80 rows of `gate`.
    change(&bench.out().join("weights"), |model| {
        set(model, FC1, [159, 47]);
        values = set(model, FC1, [83, 5]);
    });
    let (old, new) = values;
    let want = |source: &str, checkpoint: &str| Difference::Values {
        key: FC1.into(),
        index: vec![83, 5],
        source: source.into(),
        checkpoint: checkpoint.into(),
        differ: 2,
        elements: 160 * 48,
        origin: None,
    };
    let check = |source: &Path, checkpoint: &Path, want: Difference| {
        let verification = verified(source, checkpoint);
        assert!(!verification.is_equal());
        let [difference] = &verification.differences[..] else { panic!("{verification:?}") };
        let (mut got, mut origin) = (difference.clone(), None);
        if let Difference::Values { origin: found, .. } = &mut got {
            origin = found.take();
        }
        assert_eq!(got, want);
        assert_eq!(verification.equal, 14);
        origin
    };
    let origin = check(&bench.source(), &bench.out(), want(&old, &new));
    let Some(Element { key, index, .. }) = origin else { panic!("it has an origin") };
    assert_eq!((key.as_str(), index), (UP, vec![3, 5]));
    check(&bench.out(), &bench.back(), want(&new, &old));

    // By names, on the format's side.
    change(&bench.back(), |model| drop(set(model, UP, [3, 5])));
    let verification = verified(&bench.source(), &bench.back());
    let [Difference::Values { key, index, source, checkpoint, differ: 1, .. }] =
        &verification.differences[..]
    else {
        panic!("{verification:?}")
    };
    assert_eq!((key.as_str(), &index[..]), (UP, &[3, 5][..]));
    assert_eq!((source, checkpoint), (&old, &new));
}

#[test]
fn the_command_ends_with_5_and_tells_where() {
    let bench = round_trip(&Model::fixture("llama"));
    let paths = [bench.source(), bench.out(), bench.back()];
    let [source, out, back] = paths.each_ref().map(|path| path.to_str().unwrap());
    let run = |args: &[&str]| Child::new(PROGRAM, args).run();
    for args in [["verify", source, out], ["verify", out, back], ["verify", source, back]] {
        let ended = run(&args);
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        assert!(ended.text.contains("bit for bit"), "{}", ended.text);
    }
    // One bit.
    change(&bench.back(), |model| {
        let bytes = &mut model.tensor("model.layers.0.self_attn.k_proj.weight").bytes;
        *bytes.last_mut().unwrap() ^= 1;
    });
    for (args, key) in [
        (["verify", source, back], "model.layers.0.self_attn.k_proj.weight"),
        (["verify", out, back], "decoder.layers.0.self_attention.linear_qkv.weight"),
        (["diff", source, back], "model.layers.0.self_attn.k_proj.weight"),
    ] {
        let ended = run(&args);
        assert_eq!(ended.code, Some(5), "{}", ended.text);
        assert!(ended.text.contains(key) && ended.text.contains("[15, 47]"), "{}", ended.text);
        let ended = run(&[&args[..], &["--json"]].concat());
        assert_eq!(ended.code, Some(5), "{}", ended.text);
        let document: Value = serde_json::from_str(&ended.text).unwrap();
        assert_eq!(document["schema"], format!("connector.{}/1", args[0]));
        assert_eq!(document["is_equal"], false);
        let difference = &document["differences"][0];
        assert_eq!((&difference["kind"], &difference["key"]), (&json!("values"), &json!(key)));
        assert_eq!(difference["differ"], 1);
    }
    for command in ["verify", "diff"] {
        let ended = run(&[command, source, "nowhere"]);
        assert_eq!(ended.code, Some(4), "{}", ended.text);
        assert!(ended.text.contains("nowhere: does not exist"), "{}", ended.text);
        assert!(!ended.text.contains("help"), "what the other is: {}", ended.text);
    }
}

#[test]
fn casts_are_followed_in_the_direction_in_which_they_were_made() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.plan.dtype = Some(Dtype::Bf16)));
    bench.export(export_options(|o| o.plan.dtype = Some(Dtype::F16)));
    for (source, checkpoint, from, to, count) in [
        (bench.source(), bench.out(), "f32", "bf16", 15),
        (bench.out(), bench.back(), "bf16", "f16", 15),
    ] {
        let casts = assert_equal(&source, &checkpoint).casts;
        let cast: Vec<_> = casts.iter().map(|c| (&*c.from, &*c.to, c.tensors)).collect();
        assert_eq!(cast, [(from, to, count)]);
    }
    // Back to the wider type it is another number.
    let verification = verified(&bench.out(), &bench.source());
    assert_eq!(verification.differences.len(), 15);
    // As they are, types differ.
    let verification =
        diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
    let dtypes = verification.differences.iter().filter(|difference| {
        matches!(difference, Difference::Dtype { source, checkpoint, .. }
            if (&**source, &**checkpoint) == ("f32", "f16"))
    });
    assert_eq!(dtypes.count(), 21);
}

#[test]
fn padding_is_zeros() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(64)));
    bench.export(export_options(|_| {}));
    let padded = assert_equal(&bench.source(), &bench.out()).padded;
    assert_eq!(padded, ["embedding.word_embeddings.weight", "output_layer.weight"]);
    assert!(assert_equal(&bench.out(), &bench.back()).padded.is_empty());

    change(&bench.out().join("weights"), |model| {
        set(model, "output_layer.weight", [100, 2]);
    });
    let verification = verified(&bench.source(), &bench.out());
    let [Difference::Values { key, index, source, checkpoint, origin: None, .. }] =
        &verification.differences[..]
    else {
        panic!("{verification:?}")
    };
    assert_eq!((key.as_str(), &index[..]), ("output_layer.weight", &[100, 2][..]));
    assert_eq!((source.as_str(), checkpoint.as_str()), ("0.0", "7.25"));
    // An export leaves these rows out, whatever training made of them.
    assert_equal(&bench.out(), &bench.back());

    fs::remove_dir_all(bench.back()).unwrap();
    bench.export(export_options(|o| o.keep_vocab_padding = true));
    assert_equal(&bench.out(), &bench.back());
}

#[test]
fn what_only_one_side_has_is_named() {
    let bench = round_trip(&Model::fixture("llama"));
    const NORM: &str = "decoder.final_layernorm.weight";
    const FC2: &str = "decoder.layers.0.mlp.linear_fc2.weight";
    change(&bench.out().join("weights"), |model| {
        model.rename(NORM, "norm");
        model.resize(FC2, 47);
    });
    let has = |verification: &Verification, wanted: &[Difference]| {
        assert_eq!(verification.differences.len(), wanted.len(), "{verification:?}");
        for difference in wanted {
            assert!(verification.differences.contains(difference), "{difference:?}");
        }
        assert_eq!(verification.equal, 13);
    };
    let missing = |key: &str| Difference::Missing { key: key.into() };
    let unexpected = |key: &str| Difference::Unexpected { key: key.into() };
    let shape = |source: usize, checkpoint: usize| Difference::Shape {
        key: FC2.into(),
        source: vec![source, 80],
        checkpoint: vec![checkpoint, 80],
    };
    let verification = verified(&bench.source(), &bench.out());
    has(&verification, &[missing(NORM), unexpected("norm"), shape(48, 47)]);
    let verification = verified(&bench.out(), &bench.source());
    has(&verification, &[unexpected(NORM), missing("norm"), shape(47, 48)]);

    let ignore = ["norm".into(), NORM.into(), FC2.into()].into();
    let mut options = VerifyOptions::default();
    options.ignore = ignore;
    let verification = verify(bench.source(), bench.out(), &options, &NoProgress).unwrap();
    assert_eq!(verification.differences, [shape(48, 47)], "both have it");
    assert_eq!(verification.left_out.len(), 2);
}

/// The same numbers under another config are another model.
#[test]
fn configs_are_compared_too() {
    let bench = round_trip(&Model::fixture("llama"));
    let yaml = bench.out().join("context/model.yaml");
    let text = fs::read_to_string(&yaml).unwrap();
    fs::write(&yaml, text.replace("rotary_base: 10000.0", "rotary_base: 20000")).unwrap();
    let config = |source: f64, checkpoint: f64| Difference::Config {
        key: "rotary_base".into(),
        source: json!(source),
        checkpoint: json!(checkpoint),
    };
    let verification = verified(&bench.source(), &bench.out());
    assert_eq!(verification.differences, [config(10_000.0, 20_000.0)]);
    let verification = verified(&bench.out(), &bench.source());
    assert_eq!(verification.differences, [config(20_000.0, 10_000.0)]);

    fs::remove_dir_all(bench.back()).unwrap();
    bench.export(export_options(|_| {}));
    assert_equal(&bench.out(), &bench.back());
    let verification = verified(&bench.source(), &bench.back());
    assert_eq!(verification.differences, [config(10_000.0, 20_000.0)]);
}

#[test]
fn a_checkpoint_that_is_no_such_model_differs_and_a_source_is_refused() {
    let bench = round_trip(&Model::fixture("llama"));
    change(&bench.back(), |model| drop(model.remove("model.norm.weight")));
    let verification = verified(&bench.out(), &bench.back());
    assert!(!verification.is_equal());
    assert_eq!(verification.refused.len(), 1);
    assert!(verification.refused[0].notes[0].contains("model.norm.weight"));
    let error = compare(&bench.back(), &bench.out()).unwrap_err();
    assert!(matches!(&error, Error::Refused(r) if r.findings.len() == 1), "{error}");
    // By names it is plain.
    let verification = verified(&bench.source(), &bench.back());
    assert_eq!(verification.differences, [Difference::Missing { key: "model.norm.weight".into() }]);
}

#[test]
fn tensors_that_add_nothing_need_no_counterpart() {
    let mut model = llama(config(json!({"tie_word_embeddings": true})));
    model.add(model.tensors[0].named("lm_head.weight"));
    model.add(Tensor::noise("model.layers.0.self_attn.rotary_emb.inv_freq", &[4]));
    let bench = round_trip(&model);
    for (source, checkpoint) in [
        (bench.source(), bench.out()),
        (bench.source(), bench.back()),
        (bench.out(), bench.source()),
    ] {
        let left_out = assert_equal(&source, &checkpoint).left_out;
        let keys: Vec<&str> = left_out.iter().map(|(keys, _)| keys.as_str()).collect();
        assert_eq!(keys.len(), 2, "{left_out:?}");
        assert!(keys.contains(&"lm_head.weight"), "{left_out:?}");
        assert!(left_out.iter().any(|(_, why)| why.contains("repeats model.embed_tokens.weight")));
    }
    assert!(assert_equal(&bench.out(), &bench.back()).left_out.is_empty());
    // One that should repeat another and does not.
    change(&bench.source(), |model| {
        set(model, "lm_head.weight", [0, 0]);
    });
    assert!(matches!(compare(&bench.source(), &bench.out()), Err(Error::Refused(_))));
    assert_eq!(verified(&bench.out(), &bench.source()).refused.len(), 1);
}

#[test]
fn what_was_left_out_on_request_is_in_the_record() {
    let mut model = Model::fixture("llama");
    model.add(Tensor::noise("model.extra", &[2]));
    let bench = Bench::new(&model);
    bench.import(options(|o| o.plan.ignore = vec!["model.extra".into()]));
    let left_out = assert_equal(&bench.source(), &bench.out()).left_out;
    assert_eq!(
        left_out,
        [("model.extra".to_string(), "ignored by the pattern model.extra".to_string())]
    );

    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.plan.only = vec!["decoder.layers.0.**".into()]));
    assert_eq!(assert_equal(&bench.source(), &bench.out()).equal, 6);
}

#[test]
fn files_are_compared_as_they_are() {
    let bench = Bench::empty();
    let [one, other] = ["one", "other"].map(|name| bench.dir().join(format!("{name}.safetensors")));
    let tensor = |dtype: &str| Tensor::new("x", dtype, &[3, 4], connector_tests::Fill::Noise);
    for dtype in ["F32", "BF16", "F64", "I8", "I64", "U16", "BOOL", "F8_E4M3", "F4", "F6_E2M3"] {
        let (a, mut b) = (tensor(dtype), tensor(dtype));
        fs::write(&one, encode([&a])).unwrap();
        fs::write(&other, encode([&b])).unwrap();
        let options = VerifyOptions::default();
        assert!(diff(&one, &other, &options, &NoProgress).unwrap().is_equal(), "{dtype}");
        *b.bytes.last_mut().unwrap() ^= 1;
        fs::write(&other, encode([&b])).unwrap();
        let verification = diff(&one, &other, &options, &NoProgress).unwrap();
        let [Difference::Values { index, source, checkpoint, .. }] = &verification.differences[..]
        else {
            panic!("{dtype}: {verification:?}")
        };
        assert_eq!(index[0], 2, "{dtype}");
        assert!(source != checkpoint, "{dtype}: {source}");
    }
}
