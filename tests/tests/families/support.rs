use connector_core::gpt::GptConfig;
use connector_tests::{Bench, Model, options};
use serde_json::{Map, Value};
use std::fs;

/// The config in `model.yaml` of an import.
pub fn model_config(bench: &Bench) -> Value {
    let text = fs::read_to_string(bench.out().join("context/model.yaml")).unwrap();
    let yaml: Value = serde_saphyr::from_str(&text).unwrap();
    // It is the config of the model, and nothing else.
    let typed: GptConfig = serde_json::from_value(yaml["config"].clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), yaml["config"]);
    yaml["config"].clone()
}

/// Imports the model and compares some fields of its config; null is for absent ones.
#[track_caller]
pub fn imports(model: &Model, want: &Value) {
    let bench = Bench::new(model);
    bench.import(options(|_| {}));
    let got = model_config(&bench);
    for (name, want) in fields(want) {
        assert_eq!(got.get(name).unwrap_or(&Value::Null), want, "{name} of {}", model.config);
    }
}

/// The text with which the model is refused.
#[track_caller]
pub fn refusal(model: &Model) -> String {
    Bench::new(model).refuse(options(|_| {})).to_string()
}

pub fn fields(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}
