//! What every importer that is linked in has: a fixture, and with it both directions, every flavor,
//! and a proof of its config. A family without one fails here.

use connector_core::Planned;
use connector_core::checkpoint::Flavor;
use connector_core::connector::{
    Direction, Registration, Registry, TorchDist, VerifyOptions, diff, verify,
};
use connector_core::engine::NoProgress;
use connector_core::testing::{Origin, prove_config, prove_import};
use connector_tests::{
    Bench, Model, accepting, assert_same_tensors, export_options, fixture, fixtures, golden,
    options, variant,
};
use serde_json::Value;
use std::fs;

/// The importers of this crate's families, and the fixtures of each.
fn families() -> Vec<(&'static Registration, Vec<String>)> {
    let all = Registry::get().unwrap().connectors().iter().copied();
    let own = all.filter(|c| {
        c.direction == Direction::Import
            && c.format == "hf"
            && c.name.starts_with("connector_core::families")
    });
    let of = |registration: &'static Registration| {
        let is_its = |name: &String| {
            let config = Model::fixture(name).config;
            let names = config["architectures"].as_array().unwrap().iter();
            names.filter_map(Value::as_str).any(|name| registration.architectures.contains(&name))
        };
        (registration, fixtures().into_iter().filter(is_its).collect())
    };
    own.map(of).collect()
}

#[test]
fn every_family_has_a_fixture() {
    let families = families();
    assert!(families.len() > 5);
    for (registration, fixtures) in families {
        assert!(!fixtures.is_empty(), "{} has none in tests/fixtures", registration.name);
    }
}

#[test]
fn every_family_imports_to_the_golden_state_and_comes_back() {
    for (registration, fixtures) in families() {
        for name in &fixtures {
            let bench = Bench::new(&Model::fixture(name));
            bench.import(options(|_| {}));
            if let Some(golden) = golden(name) {
                assert_same_tensors(&bench.weights(), &golden);
            }
            assert_eq!(bench.conversion()["model"], registration.model);
            let (source, out) = (bench.source(), bench.out());
            let same = verify(&source, &out, &VerifyOptions::default(), &NoProgress).unwrap();
            assert!(same.is_equal(), "{name}: {same:?}");
            bench.export(export_options(|_| {}));
            let same = diff(&source, bench.back(), &VerifyOptions::default(), &NoProgress);
            assert!(same.unwrap().is_equal(), "{name}");
            let config = |dir: &std::path::Path| fs::read(dir.join("config.json")).unwrap();
            assert!(config(&bench.back()) == config(&source), "{name}");
        }
    }
}

/// A checkpoint of a framework says by itself which model it is, without the file that connector
/// writes beside it and without the original.
#[test]
fn every_family_is_known_by_what_each_framework_has_of_it() {
    for (registration, fixtures) in families() {
        for name in &fixtures {
            for flavor in [Flavor::Nemo, Flavor::MegatronLm, Flavor::MegatronBridge] {
                let bench = Bench::new(&Model::fixture(name));
                let options = options(|o| {
                    o.torch_dist = Some(TorchDist::default().flavor(flavor));
                });
                let options = accepting(&bench.source(), options);
                let accepted = options.accept.clone();
                bench.import(options);
                // Of a family that the framework cannot say, it is refused otherwise.
                let unsaid = !accepted.is_empty();
                assert_eq!(unsaid, cannot_say(name, flavor), "{name} {flavor:?}: {accepted:?}");
                // By what frameworks have of it, Phi-3 is Llama, whose checkpoints have other keys.
                let phi = name == "phi3" && flavor != Flavor::Nemo;
                if !unsaid && !phi && flavor != Flavor::Nemo {
                    for entry in walk(&bench.out()) {
                        let is = |name: &str| entry.ends_with(name);
                        if ["model.yaml", "config.json", "conversion.json"].iter().any(|n| is(n)) {
                            fs::remove_file(&entry).unwrap();
                        }
                    }
                }
                bench.export(export_options(|_| {}));
                let record: Value = serde_json::from_slice(
                    &fs::read(bench.back().join("conversion.json")).unwrap(),
                )
                .unwrap();
                // Without a window Mistral is Llama, and Seed-OSS is Qwen2: weights and what is
                // computed with them.
                let want = match (name.as_str(), flavor) {
                    ("mistral", Flavor::MegatronLm) => "LlamaModel",
                    ("seed_oss", Flavor::MegatronLm | Flavor::MegatronBridge) => "Qwen2Model",
                    _ => registration.model,
                };
                assert_eq!(record["model"], want, "{name} {flavor:?}");
                let same =
                    diff(bench.source(), bench.back(), &VerifyOptions::default(), &NoProgress);
                assert!(same.unwrap().is_equal(), "{name} {flavor:?}");
            }
        }
    }
}

/// Of which families a framework cannot say all that they compute.
fn cannot_say(name: &str, flavor: Flavor) -> bool {
    match name {
        // Classes of NeMo's and Megatron-Bridge's own say it.
        "gemma" => flavor == Flavor::MegatronLm,
        // Its own classes have windows in the other layers.
        "gemma2" => true,
        // The scaling of Llama 3.1 with other numbers.
        "llama3_tied" => flavor != Flavor::Nemo,
        // Norms of queries and keys over the whole width; two rotary embeddings; YaRN, LongRoPE; chunks.
        "olmo2" | "olmoe" | "minimax_m2" | "gemma3_text" | "gpt_oss" | "ministral3"
        | "phi4_mini" => true,
        // Norms after; factors; biases for the choice of experts beside a softmax.
        "glm4" | "exaone4" | "granite" | "ernie4_5_moe" => true,
        "llama4_text" => flavor != Flavor::Nemo,
        _ => false,
    }
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let inside = |path: std::path::PathBuf| match path.is_dir() {
        true => walk(&path),
        false => vec![path],
    };
    entries.flat_map(inside).collect()
}

#[test]
fn no_family_loses_an_element() {
    for (registration, fixtures) in families() {
        for name in &fixtures {
            let planned = Planned::import(fixture(&format!("{name}/hf")), options(|_| {})).unwrap();
            assert_eq!(planned.registration().at, registration.at);
            let shown = prove_import(&planned);
            let shown = shown.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(matches!(shown.origin, Origin::Checkpoint(_)), "{name}: {shown:?}");
            assert_eq!(shown.sources, planned.source().tensors().len(), "{name}: {shown}");
            assert!(shown.computed.is_empty() && shown.copying.is_empty(), "{name}: {shown}");
        }
    }
}

#[test]
fn nothing_in_a_config_is_taken_for_granted() {
    for (registration, fixtures) in families() {
        for name in &fixtures {
            let other = variant(name, "config").expect("the other spelling");
            let other = serde_json::from_slice(&other).unwrap();
            for config in [Model::fixture(name).config, other] {
                let shown = prove_config(registration, &config);
                let shown = shown.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(shown.refused > 40 && shown.returned > 20, "{name}: {shown:?}");
            }
        }
    }
}
