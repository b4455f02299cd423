//! Numbers that go nowhere: an import refuses to lose them, an export says which rows of padding it
//! leaves out that are not zero.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::{ImportOptions, ModelState, Planned, apply_transforms, verify};
use connector_core::connector::{VerifyOptions, revert_transforms};
use connector_core::engine::NoProgress;
use connector_core::plan::FindingKind;
use connector_core::{
    Error, Mapping, ModelConnector, Result, mapping, model_importer, ops, param_schema,
};
use connector_tests::{Bench, Child, Fill, Model, Stored, Tensor, encode, export_options, options};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;

const PROGRAM: &str = env!("CARGO_BIN_EXE_connector-under-test");

#[derive(Clone, Serialize, Deserialize)]
struct Short {
    rows: usize,
}

param_schema! {
    ShortModel(c: Short) {
        "w": [c.rows, 3];
        // So large that its transpose is not joined with what comes next.
        "t": [c.rows, 300];
    }
}

struct HfShort;

const SHORT: Mapping = mapping! {
    "w" => "w" via ops::prune_rows,
    "t" as transposed => "t" via (ops::transpose, ops::prune_rows),
};

#[model_importer(ShortModel, "hf", architectures = ["ShortForTests"])]
impl ModelConnector for HfShort {
    const MAPPING: Mapping = SHORT;

    fn config(source: &HfCheckpoint) -> Result<Short> {
        Ok(Short { rows: source.fields().required("rows") })
    }
}

/// Of 6 rows and of 200 columns, which become rows, four are kept; the numbers of the others are given.
fn short(rows: f32, columns: f32) -> Model {
    let mut w = Tensor::new("w", "F32", &[6, 3], Fill::Value(|i| if i < 12 { 1.0 } else { 0.0 }));
    let mut t = Tensor::new("t", "F32", &[300, 200], Fill::Zero);
    for (tensor, element, value) in [(&mut w, 5 * 3 + 1, rows), (&mut t, 200 + 7, columns)] {
        tensor.bytes[4 * element..4 * element + 4].copy_from_slice(&value.to_le_bytes());
    }
    let config = json!({ "architectures": ["ShortForTests"], "rows": 4 });
    Model { config, tensors: vec![w, t], ..Model::default() }
}

fn findings(error: Error) -> Vec<String> {
    let Error::Refused(refusal) = error else { panic!("{error}") };
    assert!(refusal.findings.iter().all(|finding| finding.kind == FindingKind::Lost));
    refusal.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn an_import_loses_no_number() {
    let bench = Bench::new(&short(0.0, -0.0));
    bench.import(options(|_| {}));
    assert_eq!(bench.weights()["w"].shape, [4, 3]);
    let left_out = bench.conversion()["plan"]["dropped"].clone();
    assert_eq!(left_out[0]["rows"], "rows 4 to 5");
    assert_eq!(left_out[1]["rows"], "rows 4 to 199");

    let bench = Bench::new(&short(f32::NAN, -7.5));
    let refused = findings(bench.refuse(options(|_| {})));
    for (finding, want) in refused.iter().zip([
        [
            "w: rows 4 to 5 would be lost (",
            "[6, 3], and prune_rows leaves",
            "1 of these 6 elements is",
        ],
        [
            "t: rows 4 to 199 of what transpose makes of it would be lost (",
            "[200, 300], and transpose, prune_rows leaves",
            "1 of these 58800 elements is not zero; the largest is 7.5",
        ],
    ]) {
        want.iter().for_each(|want| assert!(finding.contains(want), "{want} in {finding}"));
        assert!(finding.contains("dropped.rs:"), "{finding}");
    }
    assert_eq!(refused.len(), 2);
    let in_memory = Planned::import(bench.source(), ImportOptions::default()).unwrap().in_memory();
    assert_eq!(findings(in_memory.unwrap_err()), refused);
}

#[test]
fn nor_does_one_in_memory() {
    let tensor = |dims: (usize, usize)| {
        candle_core::Tensor::ones(dims, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap()
    };
    let tensors = [("w".into(), tensor((6, 3))), ("t".into(), tensor((300, 4)))];
    let source = ModelState::new(json!({}), tensors);
    let target = ModelState::of::<ShortModel>(&Short { rows: 4 }).unwrap();
    let error = apply_transforms(&source, &target, &SHORT, &[]).err().expect("a refusal");
    let findings = findings(error);
    assert!(matches!(&findings[..], [one] if one.contains("6 of these 6 elements are not zero")));

    // Of a vocabulary's padding the way back says nothing.
    const PADDED: Mapping = mapping! { "e" => "e" via ops::pad_vocab };
    let model = ModelState::new(json!({ "vocab_size": 4 }), [("e".into(), tensor((6, 3)))]);
    let back = revert_transforms(&model, &ModelState::default(), &PADDED, &[]).unwrap();
    assert_eq!(back.tensors()["e"].dims(), [4, 3]);
}

/// Training, and Megatron-core itself, leave numbers in the rows that no token reaches.
#[test]
fn an_export_says_which_padding_it_leaves_out() {
    const EMBEDDING: &str = "embedding.word_embeddings.weight";
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|o| o.pad_vocab_to_multiple_of = Some(64)));
    let record = bench.export(export_options(|_| {}));
    assert!(record.dropped.is_empty(), "zeros are no loss");
    assert_eq!(record.plan.dropped.len(), 2);

    let mut model = Model::default();
    for (name, Stored { dtype, shape, bytes }) in bench.weights() {
        model.add(Tensor { name, dtype, shape, bytes });
    }
    let bytes = &mut model.tensor(EMBEDDING).bytes;
    bytes[4 * 48 * 97..4 * (48 * 97 + 2)]
        .copy_from_slice(&[7f32, -9.25].map(f32::to_le_bytes).concat());
    fs::write(bench.out().join("weights/model.safetensors"), encode(&model.tensors)).unwrap();
    fs::remove_dir_all(bench.back()).unwrap();
    let (out, back) = (bench.out(), bench.back());
    let ended = Child::new(PROGRAM, &["export"]).arg(out.to_str().unwrap());
    let ended = ended.arg("--output").arg(back.to_str().unwrap()).run();
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    for want in [
        "prune_vocab leaves out rows 97 to 127 of embedding.word_embeddings.weight",
        "rows 97 to 127 of embedding.word_embeddings.weight pad the vocabulary and are not written",
        "2 of 1488 elements are not zero, the largest 9.25",
        "--keep-vocab-padding",
    ] {
        let text = ended.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(want), "{want} in {text}");
    }
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(back.join("conversion.json")).unwrap()).unwrap();
    let want = json!({ EMBEDDING: { "dropped": 1488, "not_zero": 2, "largest": 9.25 } });
    assert_eq!(record["dropped"], want);

    let verified = |a, b| verify(a, b, &VerifyOptions::default(), &NoProgress).unwrap();
    let verification = verified(&out, &back);
    assert!(verification.is_equal(), "{verification:?}");
    assert_eq!(verification.dropped.into_iter().collect::<Vec<_>>(), [(EMBEDDING.to_string(), 2)]);
    // As what an import made of the export they are no zeros.
    assert!(!verified(&back, &out).is_equal());
}
