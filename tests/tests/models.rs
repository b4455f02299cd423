//! `docs/models.md`, the table of models, is what the registry and the fixtures say.

use connector_core::checkpoint::Flavor;
use connector_core::connector::{Direction, Registration, Registry, TorchDist};
use connector_tests::{Model, accepting, fixture, fixtures, options};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// By which `bridge_state.safetensors` of fixtures were made.
const BRIDGE: &str = "Megatron-Bridge 0.3.1";

const FLAVORS: [(Flavor, &str); 3] = [
    (Flavor::Nemo, "NeMo 2"),
    (Flavor::MegatronLm, "Megatron-LM"),
    (Flavor::MegatronBridge, "Megatron-Bridge"),
];

const HEAD: &str = "\
# Models

What is converted, and what was checked. `connector list` prints the same of the program at hand; a
family of your own is one file more, see the [tutorial](tutorial.md). This file is made by
`CONNECTOR_EXPECTED=overwrite cargo test -p connector-tests --test models`, and a test holds it
current.

Of every model, in both directions and in every spelling of transformers 4 and 5: tensors bit for bit,
config field by field, no element lost (`prove_lossless`), nothing in a config taken for granted
(`prove_config`), checkpoints for the three frameworks there and back, and logits within 1e-4 of those
of transformers in f32. Under a framework stands whether its own config says all that the model
computes. Where it does not, an import for it is refused, unless the fields in the second table are
accepted by name: `connector import … --flavor megatron-lm --accept rope_scaling`.

";

#[test]
fn the_table_of_models_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models.md");
    let text = document();
    if std::env::var("CONNECTOR_EXPECTED").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(text == expected, "CONNECTOR_EXPECTED=overwrite writes {} anew", path.display());
}

fn document() -> String {
    let mut text = String::from(HEAD);
    let titles = ["model", "`architectures`", "directions"];
    let flavors = FLAVORS.map(|(_, name)| name);
    let checked = ["computes", "parameters as", "logits as"];
    let heads = [&titles[..], &flavors, &checked].concat();
    writeln!(text, "| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len())).unwrap();
    let mut unsaid = String::new();
    let all = Registry::get().unwrap().connectors().iter().copied();
    let own = all.filter(|c| {
        c.direction == Direction::Import
            && c.format == "hf"
            && c.name.starts_with("connector_core::families")
    });
    let mut families: Vec<(String, &Registration)> = own.map(|c| (title(c), c)).collect();
    families.sort_by_key(|(title, _)| title.to_lowercase());
    for (title, registration) in families {
        let fixtures = fixtures_of(registration);
        let architectures = registration.architectures.iter().map(|name| format!("`{name}`"));
        let directions = if registration.exports { "import, export" } else { "import" };
        let mut cells =
            vec![title.clone(), architectures.collect::<Vec<_>>().join(", "), directions.into()];
        // By what is to be accepted.
        let mut otherwise: Vec<(String, Vec<&str>)> = Vec::new();
        for (flavor, framework) in FLAVORS {
            let found = fixtures.iter().map(|name| cannot_say(name, flavor));
            // Of one fixture only: of that one's numbers.
            let found: Vec<Option<String>> = found.collect();
            cells.push(match found.iter().filter(|what| what.is_none()).count() {
                0 => "no".into(),
                count if count == found.len() => "yes".into(),
                _ => "in part".into(),
            });
            if let Some(what) = found.into_iter().flatten().next() {
                match otherwise.iter_mut().find(|(fields, _)| *fields == what) {
                    Some((_, frameworks)) => frameworks.push(framework),
                    None => otherwise.push((what, vec![framework])),
                }
            }
        }
        for (what, frameworks) in otherwise {
            writeln!(unsaid, "| {title} | {} | {what} |", frameworks.join(", ")).unwrap();
        }
        cells.push(if registration.connector.computes() { "yes" } else { "no" }.into());
        cells.push(every(&fixtures, golden_by));
        cells.push(every(&fixtures, logits_by));
        writeln!(text, "| {} |", cells.join(" | ")).unwrap();
    }
    text + "\n## What a framework computes otherwise\n\n| model | framework | fields to accept |\n|---|---|---|\n"
        + &unsaid
}

/// What the family's file says that it is.
fn title(registration: &Registration) -> String {
    let module = registration.name.split("::").nth(2).unwrap();
    let file: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../connector-core/src/families"].iter().collect();
    let text = fs::read_to_string(file.join(format!("{module}.rs"))).unwrap();
    let said = text.lines().take_while(|line| line.starts_with("//!"));
    let said: Vec<&str> = said.map(|line| line.trim_start_matches("//!").trim()).collect();
    let said = said.join(" ");
    let (title, _) = said.split_once(", and whatever else calls itself").unwrap_or_else(|| {
        panic!("{module}.rs begins with `{said}`, and not with its models and `, and whatever …`")
    });
    title.into()
}

fn fixtures_of(registration: &Registration) -> Vec<String> {
    let is_its = |name: &String| {
        let config = Model::fixture(name).config;
        let names = config["architectures"].as_array().unwrap().iter();
        names.filter_map(Value::as_str).any(|name| registration.architectures.contains(&name))
    };
    fixtures().into_iter().filter(is_its).collect()
}

/// What of a fixture a framework computes otherwise: the fields to accept.
fn cannot_say(name: &str, flavor: Flavor) -> Option<String> {
    let options = options(|o| o.torch_dist = Some(TorchDist::default().flavor(flavor)));
    let accepted = accepting(&fixture(&format!("{name}/hf")), options).accept;
    let fields: Vec<String> = accepted.iter().map(|field| format!("`{field}`")).collect();
    (!fields.is_empty()).then(|| fields.join(", "))
}

/// Whose parameters they are equal to.
fn golden_by(name: &str) -> String {
    let is_there = |file: &str| fixture(name).join(file).is_file();
    let by = [("nemo_state.safetensors", "NeMo 2"), ("bridge_state.safetensors", BRIDGE)];
    by.into_iter().find(|(file, _)| is_there(file)).map_or("-", |(_, by)| by).into()
}

/// Whose logits they compute.
fn logits_by(name: &str) -> String {
    let config = Model::fixture(name).config;
    format!("transformers {}", config["transformers_version"].as_str().unwrap())
}

fn every(fixtures: &[String], of: fn(&str) -> String) -> String {
    let mut all: Vec<String> = fixtures.iter().map(|name| of(name)).collect();
    all.sort();
    all.dedup();
    all.retain(|text| text != "-");
    all.join(", ")
}
