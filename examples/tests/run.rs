//! Runs every example, and holds the model of one's own against its checkpoint.

#[allow(dead_code, reason = "its main trains for longer")]
#[path = "../finetune/main.rs"]
mod finetune;
#[path = "../in_memory.rs"]
mod in_memory;
#[path = "../own_model/model.rs"]
mod model;
#[path = "../qkv.rs"]
mod qkv;

use candle_core::{Device, IndexOp, Tensor, safetensors};
use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::Registry;
use connector_core::scaffold::draft;
use connector_core::{ImportOptions, import_ckpt};
use std::collections::HashMap;
use std::path::Path;

#[test]
fn qkv() {
    qkv::main().unwrap();
}

#[test]
fn in_memory() {
    in_memory::main().unwrap();
}

/// A few steps; and again, which finds the run finished and exports it anew.
#[test]
fn finetune() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        finetune::run(dir.path(), 5).unwrap();
    }
    assert!(dir.path().join("hf/model.safetensors").is_file());
    assert!(std::fs::read_to_string(dir.path().join("default.svg")).unwrap().contains("<svg"));
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).unwrap()
}

#[test]
fn own_model() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("own_model/checkpoint");
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("sparrow");
    let imported = import_ckpt(&source, &output, ImportOptions::default()).unwrap();
    assert_eq!(imported.plan.parameters, 17);
    assert_eq!(imported.plan.ignored.len(), 1);

    let load =
        |path: &Path| -> HashMap<String, Tensor> { safetensors::load(path, &Device::Cpu).unwrap() };
    let before = load(&source.join("model.safetensors"));
    let after = load(&output.join("weights/model.safetensors"));
    for layer in 0..2 {
        let block = format!("sparrow.blocks.{layer}");
        let decoder = format!("decoder.layers.{layer}");
        let stacked = &after[&format!("{decoder}.mlp.experts.linear_fc1.weight")];
        let down = &before[&format!("{block}.down.weight")];
        for expert in 0..3 {
            let up = &before[&format!("{block}.experts.{expert}.up.weight")];
            assert_eq!(values(&stacked.i(expert).unwrap()), values(up));
            let fc2 = &after[&format!("{decoder}.mlp.experts.linear_fc2.weight{expert}")];
            assert_eq!(values(fc2), values(&down.i(expert).unwrap()));
        }
        // 4 query heads in 2 groups, heads of 2 rows: q0 q1 k0 v0, q2 q3 k1 v1.
        let qkv = &before[&format!("{block}.attn.qkv.weight")];
        let merged = &after[&format!("{decoder}.self_attention.linear_qkv.weight")];
        let rows = [0, 1, 2, 3, 8, 9, 12, 13, 4, 5, 6, 7, 10, 11, 14, 15];
        for (row, from) in rows.into_iter().enumerate() {
            assert_eq!(values(&merged.i(row).unwrap()), values(&qkv.i(from).unwrap()), "row {row}");
        }
    }
    let patches = &before["sparrow.patches.weight"];
    let flat = &after["vision.patch_embedding.weight"];
    assert_eq!(flat.dims(), [8, 12]);
    assert_eq!(values(flat), values(patches));
}

#[test]
fn a_draft_like_the_own_model_takes_its_rules_over() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("own_model/checkpoint");
    let like = Registry::get().unwrap().importer("hf", Some("sparrow"), &[]).unwrap();
    let draft = draft(&HfCheckpoint::open(source).unwrap(), Some(like)).unwrap();
    assert_eq!((draft.tensors, draft.understood), (19, 19));
    for want in [
        "axis expert = c.n_experts;",
        r#""sparrow.patches.weight" => "vision.patch_embedding.weight" via flatten_patches,"#,
        "own_model/model.rs:",
        r#""attn.qkv.weight" => "self_attention.linear_qkv.weight" via ops::merge_qkv_concat,"#,
        r#""experts.{expert}.up.weight" => "mlp.experts.linear_fc1.weight" stack expert,"#,
        r#""down.weight" => "mlp.experts.linear_fc2.weight{expert}" unstack expert,"#,
        r#"ignore "attn.mask","#,
        // What the function makes, the model's schema tells; nothing says what 12 is.
        "[c.hidden_size, compile_error!(\"decide: this dimension is 12, which may be ",
    ] {
        assert!(draft.text.contains(want), "{want}\n{}", draft.text);
    }
    let of_config = draft.undecided.last().unwrap();
    assert!(of_config.starts_with("\"patch_size\" is 2: "), "{of_config}");
    assert_eq!(draft.undecided.len(), 2, "{:?}", draft.undecided);
}
