//! Checkpoints as training leaves them: several iterations, and a config that Megatron-Bridge or
//! Megatron-LM wrote.

use connector_core::connector::{Planned, Verification, VerifyOptions, verify};
use connector_core::engine::NoProgress;
use connector_core::{Advice, Error, ExportOptions, checkpoint, export_ckpt};
use connector_tests::{
    Bench, Child, Ended, assert_same_tensors, export_options, fixture, read_tensors, tree,
};
use std::fs;
use std::path::{Path, PathBuf};

fn sample(path: &str) -> PathBuf {
    fixture(&format!("torch_dist/{path}"))
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A directory of a run that is at iteration 120.
fn run(model: &str, kind: &str) -> (Bench, PathBuf) {
    let bench = Bench::empty();
    let iteration = bench.source().join("iter_0000120");
    copy(&sample(&format!("{model}/{kind}")), &iteration);
    fs::write(bench.source().join("latest_checkpointed_iteration.txt"), "120").unwrap();
    (bench, iteration)
}

fn export(bench: &Bench, change: impl FnOnce(&mut ExportOptions)) -> Result<(), String> {
    let before = tree(&bench.source());
    let done = export_ckpt(bench.source(), bench.back(), export_options(change));
    assert_eq!(tree(&bench.source()), before, "the source is not touched");
    done.map(drop).map_err(|error| error.to_string())
}

/// Exports, and holds the result against the original: its tensors and what its config means.
fn assert_exports(bench: &Bench, model: &str) {
    export(bench, |_| {}).unwrap();
    let hf = sample(&format!("{model}/hf"));
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));
    assert_equal(&verified(&hf, &bench.back(), |_| {}));
    assert_equal(&verified(&hf, &bench.source(), |_| {}));
}

fn verified(
    source: &Path,
    checkpoint: &Path,
    change: impl FnOnce(&mut VerifyOptions),
) -> Verification {
    let mut options = VerifyOptions::default();
    change(&mut options);
    verify(source, checkpoint, &options, &NoProgress).unwrap()
}

fn assert_equal(verification: &Verification) {
    assert!(verification.is_equal(), "{:?}", verification.differences);
}

#[test]
fn a_run_of_megatron_bridge_exports_with_its_config_and_tokenizer() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    fs::copy(sample("llama/run_config.yaml"), iteration.join("run_config.yaml")).unwrap();
    let tokenizer = iteration.join("tokenizer");
    fs::create_dir(&tokenizer).unwrap();
    fs::write(tokenizer.join("tokenizer.json"), "{}").unwrap();
    // Without a word on how weights were initialised it is Megatron-core's default.
    export(&bench, |_| {}).unwrap();
    let hf = sample("llama/hf");
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&hf));
    let names: Vec<_> = tree(&bench.back()).into_keys().collect();
    assert_eq!(names, ["config.json", "conversion.json", "model.safetensors", "tokenizer.json"]);
    let differences = verified(&hf, &bench.back(), |_| {}).differences;
    let keys: Vec<_> = differences.iter().map(|difference| difference.key()).collect();
    assert_eq!(keys, ["init_method_std"]);
}

#[test]
fn a_run_of_megatron_lm_exports_by_its_command_line() {
    for (model, kind) in [("llama", "mcore-per_layer"), ("mixtral", "mcore-nemo")] {
        let (bench, iteration) = run(model, kind);
        fs::copy(sample(&format!("{model}/args.pt")), iteration.join("common.pt")).unwrap();
        assert_exports(&bench, model);
        assert!(!bench.back().join("run_config.yaml").exists());
    }
}

#[test]
fn a_field_that_is_missing_is_named_and_hf_config_supplies_it() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    let config = fs::read_to_string(sample("llama/run_config.yaml")).unwrap();
    let without = |name: &str| -> String {
        config.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\n")).collect()
    };
    for name in ["hidden_size", "vocab_size: ", "layernorm_epsilon"] {
        fs::write(iteration.join("run_config.yaml"), without(name)).unwrap();
        let error = export(&bench, |_| {}).unwrap_err();
        let name = name.trim_end_matches(": ");
        let advice = Advice::TakeConfig.to_string();
        assert!(error.contains("run_config.yaml") && error.contains(&advice), "{error}");
        assert!(error.contains(&format!("\"{name}\" is not given")), "{error}");
        bench.assert_tidy();
    }
    fs::write(iteration.join("run_config.yaml"), without("  _target_: mega")).unwrap();
    let error = export(&bench, |_| {}).unwrap_err();
    assert!(error.contains("model._target_"), "{error}");
    let hf = sample("llama/hf");
    export(&bench, |options| options.trained.hf_config = Some(hf.clone())).unwrap();
    let with = |options: &mut VerifyOptions| options.trained.hf_config = Some(hf.clone());
    assert_equal(&verified(&hf, &bench.source(), with));
}

#[test]
fn the_file_that_says_the_config_is_the_one_that_is_blamed() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    let config = fs::read_to_string(sample("llama/run_config.yaml")).unwrap();
    let wrong = config.replacen("  num_layers: 3", "  num_layers: three", 1);
    assert_ne!(wrong, config);
    fs::write(iteration.join("run_config.yaml"), wrong).unwrap();
    let error = export(&bench, |_| {}).unwrap_err();
    assert!(error.contains("run_config.yaml: config: \"num_layers\": invalid type"), "{error}");

    let given = bench.dir().join("given");
    fs::create_dir(&given).unwrap();
    let file = given.join("config.json");
    let original = fs::read_to_string(sample("llama/hf/config.json")).unwrap();
    let wrong = original.replacen("\"num_hidden_layers\"", "\"num_hidden_layer\"", 1);
    fs::write(&file, wrong).unwrap();
    let error = export(&bench, |options| options.trained.hf_config = Some(given)).unwrap_err();
    let blamed = format!("{}: \"num_hidden_layers\" is missing", file.display());
    assert!(error.contains(&blamed), "{error}");
}

#[test]
fn what_was_copied_is_told_with_where_it_was() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    fs::copy(sample("llama/run_config.yaml"), iteration.join("run_config.yaml")).unwrap();
    let (source, hf, out) = (bench.source(), sample("llama/hf"), bench.back());
    let (source, hf, out) = (source.to_str().unwrap(), hf.to_str().unwrap(), out.to_str().unwrap());
    let export = ["export", source, "--output", out, "--overwrite"];
    let told = |more: &[&str]| {
        let Ended { code, text } = command(&[&export[..], more].concat());
        assert_eq!(code, Some(0), "{text}");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let bare = told(&[]);
    let made = "config.json is made from run_config.yaml alone: the checkpoint has no original; no \
                other files lie beside the tensors";
    assert!(bare.contains(made), "{bare}");
    let given = told(&["--hf-config", hf]);
    let copied = format!("config.json is {hf}/config.json; 1 file copied from {hf}/");
    assert!(given.contains(&copied), "{given}");

    copy(Path::new(hf), &iteration.join("tokenizer"));
    fs::remove_file(iteration.join("tokenizer/model.safetensors")).unwrap();
    let beside = told(&[]);
    let copied = "config.json is iter_0000120/tokenizer/config.json but for";
    assert!(beside.contains(copied), "{beside}");
    assert!(beside.contains("1 file copied from iter_0000120/tokenizer/"), "{beside}");
}

#[test]
fn an_iteration_can_be_asked_for() {
    let (bench, _) = run("llama", "mcore-per_layer");
    copy(&sample("mixtral/mcore-nemo"), &bench.source().join("iter_0000060"));
    let export = |iteration, hf: &str| {
        let options = export_options(|options| {
            options.trained.iteration = iteration;
            options.trained.hf_config = Some(sample(hf));
        });
        Planned::export(bench.source(), options)
    };
    assert_eq!(export(None, "llama/hf").unwrap().registration().model, "LlamaModel");
    let earlier = export(Some(60), "mixtral/hf").unwrap();
    assert_eq!(earlier.registration().model, "MixtralModel");
    let error = export(Some(61), "mixtral/hf").err().unwrap();
    assert!(
        matches!(
            error,
            Error::Checkpoint(checkpoint::Error::NoSuchIteration { iteration: 61, .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("60, 120"), "{error}");
    let hf = sample("mixtral/hf");
    assert_equal(&verified(&hf, &bench.source(), |options| {
        options.trained.iteration = Some(60);
        options.trained.hf_config = Some(hf.clone());
    }));
}

#[test]
fn a_command_line_that_is_no_data_is_refused() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    fs::write(iteration.join("common.pt"), b"PK but no archive").unwrap();
    let error = export(&bench, |_| {}).unwrap_err();
    let advice = Advice::TakeConfig.to_string();
    assert!(error.contains("common.pt") && error.contains(&advice), "{error}");
    bench.assert_tidy();
}

fn command(args: &[&str]) -> Ended {
    Child::new(env!("CARGO_BIN_EXE_connector-under-test"), args).run()
}

#[test]
fn commands_open_the_iteration_that_is_asked_for() {
    let (bench, _) = run("llama", "mcore-stacked");
    copy(&sample("mixtral/mcore-nemo"), &bench.source().join("iter_0000060"));
    let (source, hf) = (bench.source(), sample("mixtral/hf"));
    let (source, hf) = (source.to_str().unwrap(), hf.to_str().unwrap());
    let router = "decoder.layers.0.mlp.router.weight";
    for (args, code, want) in [
        (&["plan", source, "--iteration", "60", "--hf-config", hf][..], 0, "MixtralModel"),
        (&["explain", source, router, "--iteration", "60", "--hf-config", hf], 0, "gate.weight"),
        (&["inspect", source, "--iteration", "60"], 0, "mlp.router.weight"),
        (&["inspect", source], 0, "linear_qkv"),
        (&["verify", hf, source, "--iteration", "60", "--hf-config", hf], 0, "bit for bit"),
        (&["diff", source, source, "--iteration", "60"], 0, "bit for bit"),
        (&["plan", source, "--iteration", "61", "--hf-config", hf], 2, "60, 120"),
        (&["inspect", source, "--iteration", "61"], 2, "60, 120"),
        (&["plan", source, "--iteration", "60"], 3, "--hf-config DIR"),
        (&["plan", hf, "--iteration", "60"], 2, "--iteration"),
        (&["plan", hf, "--hf-config", hf], 2, "--hf-config"),
    ] {
        let Ended { code: got, text } = command(args);
        assert_eq!(got, Some(code), "{args:?}: {text}");
        assert!(text.contains(want), "{args:?}: {text}");
    }
}

#[test]
fn a_damaged_tensor_is_found_by_reading_every_byte() {
    let (bench, iteration) = run("llama", "mcore-stacked");
    let source = bench.source();
    let check = ["inspect", source.to_str().unwrap(), "--check"];
    let sound = command(&check);
    assert_eq!(sound.code, Some(0), "{}", sound.text);
    assert!(sound.text.contains("as they were written"), "{}", sound.text);
    let file = iteration.join("__0_0.distcp");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    let damaged = command(&check);
    // Half of the file is the data of tensors; the rest says how to read them.
    assert_eq!(damaged.code, Some(5), "{}", damaged.text);
    assert!(damaged.text.contains("has the CRC"), "{}", damaged.text);
    let plain = fixture("llama/hf");
    let none = command(&["inspect", plain.to_str().unwrap(), "--check"]);
    assert!(none.text.contains("safetensors has none"), "{}", none.text);
}
