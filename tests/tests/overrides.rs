//! What a connector does in its own way: `config`, `init`, `apply`, `convert_state`, `tokenizer`.

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::cache::Cache;
use connector_core::connector::{Direction, Job, Record, State, VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::GptConfig;
use connector_core::schema::{Configured, Instance, Schema};
use connector_core::store::Dtype;
use connector_core::{
    CandleError, ConnectorMixin, Error, Mapping, ModelConnector, Result, Tensor, model_importer,
};
use connector_tests::{Bench, Model, assert_same_tensors, export_options, fixture, options};
use serde_json::Value;

const NORM: &str = "decoder.final_layernorm.weight";

/// Reads a longer context into the model than `config.json` says, and takes one file for the
/// tokenizer.
struct Longer;

#[model_importer(LlamaModel, "longer")]
impl ModelConnector for Longer {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        let mut config = HfLlama::config(source)?;
        config.seq_length *= 4;
        Ok(config)
    }

    fn tokenizer(files: &[String]) -> Vec<String> {
        files.iter().filter(|name| name.starts_with("special_")).cloned().collect()
    }
}

/// Says what it does in the record's place, and does nothing of what is called `forbidden`.
struct Picky;

#[model_importer(LlamaModel, "picky", export)]
impl ModelConnector for Picky {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        HfLlama::source_config(config, original)
    }

    fn apply(job: &Job<'_>) -> Result<Record> {
        if job.output().ends_with("forbidden") {
            let (way, tensors) =
                (job.planned().direction(), job.planned().source().tensors().len());
            return Err(Error::ModelConfig {
                reason: format!("{way:?} of {tensors} is forbidden"),
            });
        }
        job.convert()
    }
}

/// A model whose last norm is longer than its config says, and that has no more than two layers.
struct Taller;

struct OneMore(Box<dyn Instance>);

impl Instance for OneMore {
    fn schema(&self) -> &'static Schema {
        self.0.schema()
    }

    fn axis(&self, axis: usize) -> usize {
        self.0.axis(axis)
    }

    fn field(&self, field: usize, at: &[usize]) -> u64 {
        self.0.field(field, at)
    }

    fn flag(&self, flag: usize, at: &[usize]) -> bool {
        self.0.flag(flag, at)
    }

    fn shape(&self, parameter: usize, at: &[usize]) -> Vec<usize> {
        let mut shape = self.0.shape(parameter, at);
        shape[0] += usize::from(self.schema().parameters[parameter].pattern.to_string() == NORM);
        shape
    }
}

#[model_importer(LlamaModel, "taller")]
impl ModelConnector for Taller {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }

    fn init(config: &GptConfig) -> Result<Option<Box<dyn Instance>>> {
        if config.num_layers > 2 {
            let reason = format!("{} layers are too many", config.num_layers);
            return Err(Error::ModelConfig { reason });
        }
        let declared = Box::new(Configured::<LlamaModel>(config.clone()));
        Ok(Some(Box::new(OneMore(declared))))
    }
}

/// Converts as planned, and then does with the last norm what the config's `trouble` says.
struct Own;

#[model_importer(LlamaModel, "own", dynamic)]
impl ModelConnector for Own {
    const MAPPING: Mapping = HfLlama::MAPPING;

    fn config(source: &HfCheckpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }

    fn convert_state(state: &mut State<'_>) -> Result<()> {
        assert_eq!(state.planned().direction(), Direction::Import);
        let norm = state.tensor("model.norm.weight")?;
        let trouble = state.planned().format_config().json()["_trouble"].as_str().map(String::from);
        match trouble.as_deref() {
            None => {
                state.convert()?;
                state.put(NORM, &(norm + 1.0).map_err(CandleError::from)?)
            }
            Some("bytes") => {
                state.convert()?;
                let bytes = state.bytes("model.norm.weight")?;
                state.put_bytes(NORM, &bytes[..bytes.len() - 1])
            }
            Some("shape") => state.put(NORM, &Tensor::cat(&[&norm, &norm], 0).unwrap()),
            Some("type") => state.put(NORM, &norm.to_dtype(candle_core::DType::F64).unwrap()),
            Some("source") => state.tensor("no.such").map(drop),
            Some("output") => state.put("no.such", &norm),
            Some("partly") => state.put(NORM, &norm),
            Some(other) => panic!("{other}"),
        }
    }
}

fn in_format(format: &str) -> connector_core::ImportOptions {
    options(|options| {
        options.format = format.into();
        options.model = Some("LlamaModel".into());
    })
}

fn llama() -> Bench {
    Bench::new(&Model::fixture("llama"))
}

#[test]
fn an_own_config_is_the_models() {
    let bench = llama();
    bench.import(in_format("longer"));
    let yaml = std::fs::read_to_string(bench.out().join("context/model.yaml")).unwrap();
    let original = Model::fixture("llama").config["max_position_embeddings"].as_u64().unwrap();
    assert!(yaml.contains(&format!("seq_length: {}\n", 4 * original)), "{yaml}");
}

#[test]
fn an_own_tokenizer_is_what_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let source = fixture("llama/hf");
    let mut options = in_format("longer");
    options.cache = Some(Cache::at(dir.path()));
    let model = LlamaModel::import_from(source, options).unwrap();
    assert_eq!(model.tokenizer, [model.path.join("special_tokens_map.json")]);
}

#[test]
fn an_own_init_is_what_the_plan_fills() {
    let bench = llama();
    let error = bench.refuse(in_format("taller")).to_string();
    assert!(error.contains("[49]") && error.contains("[48]"), "{error}");
    let mut model = Model::fixture("llama");
    model.config["num_hidden_layers"] = 3.into();
    let error = Bench::new(&model).refuse(in_format("taller")).to_string();
    assert!(error.contains("3 layers are too many"), "{error}");
}

#[test]
fn an_own_apply_decides_in_both_directions() {
    let bench = llama();
    bench.import(in_format("picky"));
    let options = || export_options(|options| options.format = "picky".into());
    bench.export(options());
    let forbidden = bench.dir().join("forbidden");
    let error = bench
        .unchanged(|| connector_core::import_ckpt(bench.source(), &forbidden, in_format("picky")));
    assert!(error.to_string().contains("Import of 21 is forbidden"), "{error}");
    let error = bench.unchanged(|| connector_core::export_ckpt(bench.out(), &forbidden, options()));
    assert!(error.to_string().contains("Export of 15 is forbidden"), "{error}");
}

#[test]
fn an_own_convert_state_puts_what_it_computes() {
    let (bench, plain) = (llama(), llama());
    bench.import(in_format("own"));
    plain.import(options(|_| {}));
    let (mut got, mut want) = (bench.weights(), plain.weights());
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let (norm, before) = (got.remove(NORM).unwrap(), want.remove(NORM).unwrap());
    let want_norm: Vec<f32> = floats(&before.bytes).iter().map(|x| x + 1.0).collect();
    assert_eq!(floats(&norm.bytes), want_norm);
    assert_same_tensors(&got, &want);

    // Its rows do not say what the norm is, so nothing can be verified under them.
    let mut verify_options = VerifyOptions::default();
    verify_options.format = "own".into();
    verify_options.model = Some("LlamaModel".into());
    let error = verify(bench.source(), bench.out(), &verify_options, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("converts its state in its own way"), "{error}");
}

#[test]
fn what_is_put_is_cast_as_the_rest() {
    let bench = llama();
    let cast = options(|options| {
        options.plan.dtype = Some(Dtype::Bf16);
        options.format = "own".into();
        options.model = Some("LlamaModel".into());
    });
    bench.import(cast);
    assert!(bench.weights().values().all(|tensor| tensor.dtype == "BF16"));
}

#[test]
fn an_own_convert_state_that_does_not_fit_writes_nothing() {
    for (trouble, want) in [
        ("bytes", "was put as 191 bytes"),
        ("shape", "was put as F32 [96]"),
        ("type", "was put as F64 [48]"),
        ("source", "is no tensor of the source"),
        ("output", "is no output of this plan"),
        ("partly", "was not written"),
        ("panic", "Own panicked in convert_state: panic"),
    ] {
        let mut model = Model::fixture("llama");
        model.config["_trouble"] = trouble.into();
        let mut options = in_format("own");
        options.plan.carry.push("_trouble".into());
        let error = Bench::new(&model).refuse(options).to_string();
        assert!(error.contains(want), "{trouble}: {error}");
        assert!(trouble == "panic" || error.contains("overrides.rs:"), "{error}");
    }
}
