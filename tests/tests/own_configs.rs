//! Configs as the frameworks' own importers wrote them are read back: of each fixture that has one, in
//! place of what connector wrote.

use connector_core::Planned;
use connector_core::checkpoint::Flavor;
use connector_core::connector::{TorchDist, VerifyOptions, diff};
use connector_core::engine::NoProgress;
use connector_tests::{Bench, Model, export_options, fixture, fixtures, options};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

fn read(name: &str, file: &str) -> Option<Map<String, Value>> {
    let bytes = fs::read(fixture(&format!("{name}/{file}"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A Python object by its path, as YAML has it.
fn object(path: &str) -> Value {
    json!({ "_target_": path, "_call_": false })
}

/// The model's config that an import of the directory has, but for what only training goes by.
fn config(dir: &Path) -> Value {
    let planned = Planned::import(dir, options(|_| {})).unwrap();
    let mut config = planned.model_config().json().clone();
    for training in ["init_method_std", "moe_aux_loss_coeff", "moe_router_load_balancing_type"] {
        config.as_object_mut().unwrap().remove(training);
    }
    config
}

/// Exports what lies in `out`, without the original, and compares it with the source.
fn comes_back(bench: &Bench, name: &str) {
    bench.export(export_options(|_| {}));
    let same = diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
    assert!(same.is_equal(), "{name}: {same:?}");
    assert_eq!(config(&bench.back()), config(&bench.source()), "{name}");
}

#[test]
fn bridges_own() {
    let mut seen = 0;
    for name in fixtures() {
        let Some(mut own) = read(&name, "bridge_config.json") else { continue };
        let bench = Bench::new(&Model::fixture(&name));
        let flavor = TorchDist::default().flavor(Flavor::MegatronBridge);
        bench.import(options(|o| o.torch_dist = Some(flavor)));
        let folder = bench.out().join("iter_0000000");
        let file = folder.join("run_config.yaml");
        let mut run: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let provider = own.remove("provider").unwrap();
        let activation = match own["activation_func"].as_str().unwrap() {
            "silu" => "torch.nn.functional.silu".into(),
            name => format!("megatron.core.activations.{name}"),
        };
        own.insert("activation_func".into(), object(&activation));
        own.insert("_target_".into(), provider);
        run["model"] = own.into();
        fs::write(&file, run.to_string()).unwrap();
        for file in ["model.yaml", "config.json"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        fs::remove_file(bench.out().join("conversion.json")).unwrap();
        println!("{name}");
        comes_back(&bench, &name);
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
}
