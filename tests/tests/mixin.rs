//! What a model's type can do: NeMo's `ConnectorMixin`, `AutoModel`, `AutoResume`.

use connector_core::connector::Resume;
use connector_core::connector::cache::Cache;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::GptConfig;
use connector_core::{
    AutoResume, ConnectorMixin, Error, ImportOptions, Mapping, ModelConnector, Planned, Result,
    model_importer, store,
};
use connector_tests::{fixture, options, read_tensors};
use std::path::Path;

fn llama() -> String {
    fixture("llama/hf").to_str().unwrap().into()
}

/// Options with a cache of their own.
fn cached(dir: &Path) -> ImportOptions {
    options(|options| options.cache = Some(Cache::at(dir.join("cache"))))
}

/// Llama in a format of its own; what else it may do in its own way, `overrides.rs` shows.
struct Picky;

#[model_importer(LlamaModel, "picky")]
impl ModelConnector for Picky {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &connector_core::checkpoint::HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

#[test]
fn a_model_is_imported_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let model = LlamaModel::import_from(llama(), cached(dir.path())).unwrap();
    assert_eq!(model.config.num_layers, 2);
    let out = dir.path().join("out");
    LlamaModel::import_ckpt(llama(), Some(&out), ImportOptions::default()).unwrap();
    let stored = read_tensors(&out.join("weights"));
    assert_eq!(model.tensors.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>());
    for (name, tensor) in &model.tensors {
        assert_eq!(tensor.dims(), stored[name].shape, "{name}");
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(bytes == stored[name].bytes, "{name}");
    }
    let tokenizer = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"];
    assert_eq!(model.path, fixture("llama/hf"));
    assert_eq!(model.tokenizer, tokenizer.map(|name| model.path.join(name)));
    assert!(!dir.path().join("cache").exists(), "nothing is written");
}

#[test]
fn the_type_is_the_model_that_is_meant() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let path = LlamaModel::import_ckpt(llama(), Some(&out), ImportOptions::default()).unwrap();
    assert_eq!(path, out);
    assert!(matches!(
        LlamaModel::import_ckpt(llama(), Some(&out), ImportOptions::default()),
        Err(Error::Store(store::Error::OutputExists { .. }))
    ));
    LlamaModel::import_ckpt(
        llama(),
        Some(&out),
        ImportOptions::default().overwrite(store::Overwrite::Yes),
    )
    .unwrap();
    let back = LlamaModel::export_ckpt(&out, "hf", None).unwrap();
    assert_eq!(back, dir.path().join("out-hf"));
    let original = std::fs::read(fixture("llama/hf/config.json")).unwrap();
    assert_eq!(std::fs::read(back.join("config.json")).unwrap(), original);
    let planned = LlamaModel::exporter("hf", &out).unwrap();
    assert_eq!(planned.registration().model, "LlamaModel");
    let auto = Planned::import(llama(), ImportOptions::default()).unwrap();
    assert_eq!(
        auto.registration().name,
        LlamaModel::importer(llama(), ImportOptions::default()).unwrap().registration().name
    );
}

#[test]
fn a_format_is_any_string() {
    let dir = tempfile::tempdir().unwrap();
    let source = format!("picky://{}", llama());
    let out = dir.path().join("out");
    LlamaModel::import_ckpt(&source, Some(&out), ImportOptions::default()).unwrap();
    let record = std::fs::read_to_string(out.join("conversion.json")).unwrap();
    assert!(record.contains("\"format\": \"picky\""), "{record}");
    let error = LlamaModel::importer(format!("unknown://{}", llama()), ImportOptions::default())
        .err()
        .unwrap();
    assert!(matches!(&error, Error::NoImporter { format, .. } if format == "unknown"), "{error}");
    let error = LlamaModel::importer("hf://no/such/model", ImportOptions::default()).err().unwrap();
    assert!(matches!(error, Error::Hub(_)));
}

#[test]
fn training_begins_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoints = dir.path().join("checkpoints");
    let resume = AutoResume {
        resume_from_directory: Some(checkpoints.clone()),
        resume_if_exists: true,
        resume_ignore_no_checkpoint: true,
        import_path: Some(llama()),
        options: cached(dir.path()),
        ..AutoResume::default()
    };
    let Resume::Imported(path) = resume.setup().unwrap() else { panic!("an import") };
    assert!(path.join("weights/model.safetensors").exists());
    assert_eq!(resume.setup().unwrap(), Resume::Imported(path));
    let last = checkpoints.join("llama--step=100-last");
    std::fs::create_dir_all(&last).unwrap();
    assert_eq!(resume.setup().unwrap(), Resume::Trained(last));
}
