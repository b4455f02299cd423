//! What a user may ask for.

use connector_core::connector::TorchDist;
use connector_core::engine::Io;
use connector_core::plan::FindingKind;
use connector_core::store::{Dtype, Overwrite};
use connector_core::{Error, ImportOptions, import_ckpt};
use connector_tests::{
    Bench, Fill, Model, Stored, Tensor, assert_same_tensors, config, fixture, llama, options,
    read_tensors, tree,
};
use half::{bf16, f16};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

fn nemo_state() -> BTreeMap<String, Stored> {
    read_tensors(&fixture("llama/nemo_state.safetensors"))
}

fn dtype(dtype: Dtype) -> ImportOptions {
    options(|o| o.plan.dtype = Some(dtype))
}

/// Values at which casts differ: the largest ones, ties, subnormals, zeros, not-a-number.
fn extremes(i: usize) -> f32 {
    const VALUES: [f32; 12] = [
        0.0,
        -0.0,
        1.0,
        -1.5,
        65504.0,
        65520.0,
        1e-8,
        1e-40,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NAN,
    ];
    match VALUES.get(i % 16) {
        Some(&value) => value,
        None => f32::from_bits(0x3f80_0000 | (i as u32).wrapping_mul(0x9e37_79b9) >> 9),
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[test]
fn casts_round_once_and_count_what_is_lost() {
    let mut model = llama(config(json!({})));
    // The rest is small enough for every type.
    for tensor in &mut model.tensors {
        *tensor = Tensor::new(
            &tensor.name,
            "F32",
            &tensor.shape,
            Fill::Value(|i| (i % 251) as f32 / 256.0),
        );
    }
    for name in ["model.layers.0.self_attn.o_proj.weight", "model.layers.1.self_attn.k_proj.weight"]
    {
        let shape = model.tensor(name).shape.clone();
        *model.tensor(name) = Tensor::new(name, "F32", &shape, Fill::Value(extremes));
    }
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let plain = bench.weights();

    type Cast = fn(f32) -> (Vec<u8>, f32);
    let to_bf16: Cast = |x| (bf16::from_f32(x).to_le_bytes().into(), bf16::from_f32(x).to_f32());
    let to_f16: Cast = |x| (f16::from_f32(x).to_le_bytes().into(), f16::from_f32(x).to_f32());
    for (target, name, cast) in [(Dtype::Bf16, "BF16", to_bf16), (Dtype::F16, "F16", to_f16)] {
        let bench = Bench::new(&model);
        bench.import(dtype(target));
        let mut losses = serde_json::Map::new();
        let mut want = BTreeMap::new();
        for (key, stored) in &plain {
            let (mut infinite, mut zero) = (0, 0);
            let mut bytes = Vec::new();
            for value in floats(&stored.bytes) {
                let (cast, back) = cast(value);
                infinite += u64::from(value.is_finite() && back.is_infinite());
                zero += u64::from(value != 0.0 && back == 0.0);
                bytes.extend(cast);
            }
            if (infinite, zero) != (0, 0) {
                losses.insert(key.clone(), json!({"to_infinity": infinite, "to_zero": zero}));
            }
            want.insert(
                key.clone(),
                Stored { dtype: name.into(), shape: stored.shape.clone(), bytes },
            );
        }
        assert_same_tensors(&bench.weights(), &want);
        let record = bench.conversion();
        assert_eq!(losses.len(), 2, "the test has something to lose: {losses:?}");
        assert_eq!(record["losses"], json!(losses));
        assert_eq!(record["options"]["dtype"], name);
        assert_eq!(record["plan"]["casts"], 15);
    }
}

#[test]
fn widening_loses_nothing() {
    let bench = Bench::new(&Model::fixture("llama3_tied"));
    bench.import(dtype(Dtype::F32));
    let plain = read_tensors(&fixture("llama3_tied/nemo_state.safetensors"));
    let widen = |stored: &Stored| {
        let halves = stored.bytes.chunks_exact(2);
        let bytes = halves.flat_map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32().to_le_bytes());
        Stored { dtype: "F32".into(), shape: stored.shape.clone(), bytes: bytes.collect() }
    };
    let want = plain.iter().map(|(name, stored)| (name.clone(), widen(stored))).collect();
    assert_same_tensors(&bench.weights(), &want);
    assert_eq!(bench.conversion()["losses"], json!({}));
}

#[test]
fn a_cast_to_the_type_a_tensor_has_is_none() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(dtype(Dtype::F32));
    assert_same_tensors(&bench.weights(), &nemo_state());
    assert_eq!(bench.conversion()["plan"]["casts"], 0);
}

#[test]
fn integers_are_not_cast() {
    let mut model = Model::fixture("llama");
    *model.tensor("model.norm.weight") =
        Tensor::new("model.norm.weight", "I64", &[48], Fill::Noise);
    let bytes = model.tensor("model.norm.weight").bytes.clone();
    let bench = Bench::new(&model);
    bench.import(dtype(Dtype::Bf16));
    let weights = bench.weights();
    let kept = &weights["decoder.final_layernorm.weight"];
    assert_eq!((kept.dtype.as_str(), &kept.bytes), ("I64", &bytes));
    assert_eq!(weights["output_layer.weight"].dtype, "BF16");
}

#[test]
fn ignored_tensors_are_left_out_and_recorded() {
    let mut model = Model::fixture("llama");
    model.add(Tensor::noise("vision.patch.weight", &[4]));
    model.add(Tensor::noise("vision.layers.0.weight", &[4]));
    let bench = Bench::new(&model);
    let ignore = |patterns: &[&str]| {
        options(|o| o.plan.ignore = patterns.iter().map(|p| p.to_string()).collect())
    };
    let text = bench.refuse(ignore(&["vision.*"])).to_string();
    assert!(
        text.contains("vision.patch.weight") && text.contains("vision.layers.0.weight"),
        "{text}"
    );
    bench.import(ignore(&["vision.**"]));
    assert_same_tensors(&bench.weights(), &nemo_state());
    let record = bench.conversion();
    let ignored = json!([
        ["vision.layers.0.weight", "the pattern vision.**"],
        ["vision.patch.weight", "the pattern vision.**"],
    ]);
    assert_eq!(record["plan"]["ignored"], ignored);
    assert_eq!(
        (&record["complete"], &record["options"]["ignore"]),
        (&json!(true), &json!(["vision.**"]))
    );

    // What is needed cannot be left out unnoticed.
    let text = Bench::new(&model).refuse(ignore(&["vision.**", "model.norm.*"])).to_string();
    assert!(text.contains("needs model.norm.weight"), "{text}");
    let text = Bench::new(&model).refuse(ignore(&["vision.{"])).to_string();
    assert!(text.contains("malformed key pattern"), "{text}");
}

#[test]
fn only_writes_what_is_asked_for_and_says_that_it_is_not_all() {
    let bench = Bench::new(&Model::fixture("llama"));
    let only = vec!["decoder.layers.1.**".to_string(), "output_layer.*".into()];
    bench.import(options(|o| o.plan.only = only.clone()));
    let mut want = nemo_state();
    want.retain(|name, _| name.starts_with("decoder.layers.1.") || name == "output_layer.weight");
    assert_eq!(want.len(), 7);
    assert_same_tensors(&bench.weights(), &want);
    let record = bench.conversion();
    assert_eq!((&record["complete"], &record["options"]["only"]), (&json!(false), &json!(only)));
    assert_eq!((&record["plan"]["parameters"], &record["plan"]["skipped"]), (&json!(7), &json!(8)));
}

/// A model that is not whole is no better for being imported in parts.
#[test]
fn only_does_not_hide_what_is_wrong_elsewhere() {
    let mut model = Model::fixture("llama");
    model.remove("model.layers.0.mlp.down_proj.weight");
    let only = vec!["decoder.layers.1.**".to_string()];
    let text = Bench::new(&model).refuse(options(|o| o.plan.only = only)).to_string();
    assert!(text.contains("model.layers.0.mlp.down_proj.weight"), "{text}");
}

#[test]
fn a_padded_vocabulary_has_rows_of_zeros() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(64)));
    let mut want = nemo_state();
    for name in ["embedding.word_embeddings.weight", "output_layer.weight"] {
        let stored = want.get_mut(name).unwrap();
        stored.shape[0] = 128;
        stored.bytes.resize(128 * 48 * 4, 0);
    }
    assert_same_tensors(&bench.weights(), &want);
    assert_eq!(bench.conversion()["options"]["pad_vocab_to_multiple_of"], 64);
    let yaml = fs::read_to_string(bench.out().join("context/model.yaml")).unwrap();
    assert!(
        yaml.contains("make_vocab_size_divisible_by: 64") && yaml.contains("vocab_size: 97"),
        "{yaml}"
    );
}

#[test]
fn padding_does_not_hide_missing_rows() {
    for (rows, name) in [
        (96, "model.embed_tokens.weight"),
        (98, "model.embed_tokens.weight"),
        (1, "lm_head.weight"),
    ] {
        let mut model = Model::fixture("llama");
        model.resize(name, rows);
        for multiple in [None, Some(64)] {
            let refused =
                Bench::new(&model).refuse(options(|o| o.pad_vocab_to_multiple_of = multiple));
            let text = refused.to_string();
            assert!(
                text.contains(&format!("has {rows} rows and the vocabulary 97 tokens")),
                "{text}"
            );
        }
    }
}

#[test]
fn hostile_paddings_are_refused() {
    let bench = Bench::new(&Model::fixture("llama"));
    for multiple in [usize::MAX, usize::MAX / 2, 1 << 60, 1 << 40] {
        bench.refuse(options(|o| o.pad_vocab_to_multiple_of = Some(multiple)));
    }
}

#[test]
fn shards_have_an_index_and_the_same_tensors() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.max_shard_size = 40_000));
    assert_same_tensors(&bench.weights(), &nemo_state());
    let weights = bench.out().join("weights");
    let index = fs::read(weights.join("model.safetensors.index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), 15);
    for (tensor, shard) in map {
        let shard = read_tensors(&weights.join(shard.as_str().unwrap()));
        assert!(shard.contains_key(tensor), "{tensor}");
        let size: usize = shard.values().map(|stored| stored.bytes.len()).sum();
        assert!(size <= 40_000, "{size}");
    }
    let total: usize = nemo_state().values().map(|stored| stored.bytes.len()).sum();
    assert_eq!(index["metadata"]["total_size"], total);
    let names: Vec<String> = tree(&weights).into_keys().collect();
    assert_eq!(
        names.len(),
        bench.conversion()["weights"].as_array().unwrap().len() + 1,
        "{names:?}"
    );

    // A tensor that is larger than a shard has one of its own.
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.max_shard_size = 1));
    assert_same_tensors(&bench.weights(), &nemo_state());
    assert_eq!(tree(&bench.out().join("weights")).len(), 16);
}

#[test]
fn hashes_are_those_of_the_tensors_bytes() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.hash = true));
    let want: BTreeMap<String, String> = nemo_state()
        .into_iter()
        .map(|(name, stored)| (name, blake3::hash(&stored.bytes).to_hex().to_string()))
        .collect();
    assert_eq!(bench.conversion()["hashes"], json!(want));
    let plain = Bench::new(&Model::fixture("llama"));
    plain.import(options(|_| {}));
    assert_eq!(plain.conversion().get("hashes"), None);
}

/// Whether they were taken on the way, or what was written had to be read.
#[test]
fn hashes_are_the_same_however_tensors_are_written() {
    let model = Model::llama(2, "BF16");
    for torch_dist in [None, Some(TorchDist::default())] {
        let hashes = |io, threads| {
            let bench = Bench::new(&model);
            bench.import(options(|o| {
                (o.hash, o.torch_dist) = (true, torch_dist);
                (o.engine.io, o.engine.threads, o.engine.max_memory) = (io, threads, 3 << 20);
            }));
            bench.conversion()["hashes"].clone()
        };
        let want = hashes(Io::Buffered, 1);
        assert_eq!(want.as_object().map(|all| all.len()), Some(15));
        for (io, threads) in [(Io::Buffered, 3), (Io::Direct, 1), (Io::Direct, 3), (Io::Copy, 2)] {
            assert_eq!(hashes(io, threads), want, "{torch_dist:?}, {io:?}, {threads} threads");
        }
    }
}

#[test]
fn too_little_memory_is_refused_and_the_rule_named() {
    let bench = Bench::new(&Model::fixture("llama"));
    let with = |bytes| options(|o| (o.engine.max_memory, o.engine.threads) = (bytes, 2));
    let error = bench.refuse(with(1000));
    let text = error.to_string();
    let Error::Refused(refusal) = error else { panic!("{text}") };
    let [finding] = refusal.findings.as_slice() else { panic!("{text}") };
    assert_eq!(finding.kind, FindingKind::Resource);
    assert!(finding.subject.ends_with("self_attention.linear_qkv.weight"), "{text}");
    assert!(finding.problem.starts_with("merge_qkv takes"), "{text}");
    assert!(finding.rule.as_deref().is_some_and(|rule| rule.contains("rows.rs:")), "{text}");

    // What it says suffices does, and a byte less does not.
    let least: u64 = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
    bench.refuse(with(least - 1));
    bench.import(with(least));
    assert_same_tensors(&bench.weights(), &nemo_state());
}

#[test]
fn source_and_output_may_not_overlap() {
    let bench = Bench::new(&Model::fixture("llama"));
    for overwrite in [Overwrite::No, Overwrite::Yes] {
        for out in ["source", "source/out", "source/new/out", "", "source/../source"] {
            let out = bench.dir().join(out);
            let error = bench.unchanged(|| {
                import_ckpt(bench.source(), &out, options(|o| o.overwrite = overwrite))
            });
            let text = error.to_string();
            assert!(text.contains("overlap") || text.contains("name the new directory"), "{text}");
        }
    }
}

#[test]
fn an_output_that_exists_is_left_alone() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let text = bench.refuse(options(|_| {})).to_string();
    assert!(
        text.contains("already exists") && text.contains("replace it, or choose another output"),
        "{text}"
    );
}

#[test]
fn overwrite_replaces_an_output_and_nothing_else() {
    let bench = Bench::new(&Model::fixture("llama"));
    let overwrite = || options(|o| o.overwrite = Overwrite::Yes);
    bench.import(overwrite());
    fs::write(bench.out().join("context/note.txt"), "of the old one").unwrap();

    let other = Model::fixture("llama3_tied");
    fs::remove_dir_all(bench.source()).unwrap();
    other.write(&bench.source());
    bench.import(overwrite());
    assert_same_tensors(
        &bench.weights(),
        &read_tensors(&fixture("llama3_tied/nemo_state.safetensors")),
    );
    assert!(!bench.out().join("context/note.txt").exists());

    // Not a directory of somebody else's, nor a file.
    fs::remove_file(bench.out().join("conversion.json")).unwrap();
    assert!(bench.refuse(overwrite()).to_string().contains("did not write it"));
    fs::remove_dir_all(bench.out()).unwrap();
    fs::write(bench.out(), "precious").unwrap();
    assert!(bench.refuse(overwrite()).to_string().contains("not a directory"));
}

/// A refused import must not cost the output that it was to replace.
#[test]
fn a_refusal_keeps_the_old_output() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|_| {}));
    let mut model = Model::fixture("llama");
    model.remove("model.norm.weight");
    model.write(&bench.source());
    bench.refuse(options(|o| o.overwrite = Overwrite::Yes));
    assert_same_tensors(&bench.weights(), &nemo_state());
}
