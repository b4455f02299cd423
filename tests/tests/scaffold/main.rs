//! `connector scaffold`: drafts of the fixtures, as they are checked in beside this file, compile
//! and import to the right tensors; whatever a checkpoint holds, the draft is Rust.
//!
//! `CONNECTOR_EXPECTED=overwrite` writes the drafts anew.

mod finch;
mod llama;
mod mixtral;

use connector_tests::{
    Bench, Child, Ended, Fill, Model, Stored, Tensor, assert_same_tensors, contents,
    export_options, fixture, interleave_qkv, options, read_tensors,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn scaffold(source: &Path, args: &[&str]) -> Ended {
    let child = Child::new(env!("CARGO_BIN_EXE_connector-under-test"), &["scaffold"]);
    args.iter().fold(child.arg(source.to_str().unwrap()), |child, arg| child.arg(arg)).run()
}

/// The draft of `model` alone.
fn draft(model: &Model, args: &[&str]) -> String {
    let bench = Bench::new(model);
    let ended = scaffold(&bench.source(), &[&["--quiet"], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    ended.text
}

/// The fixture under a name that no importer claims, now or later.
fn wren() -> Model {
    let mut model = Model::fixture("mixtral");
    model.config["architectures"] = json!(["WrenForCausalLM"]);
    model
}

/// A Llama whose `model_type` nobody knows, and whose queries and keys are normed.
fn finch() -> Model {
    let mut model = Model::fixture("llama");
    model.config["architectures"] = json!(["FinchForCausalLM"]);
    model.config["model_type"] = json!("finch");
    for layer in 0..2 {
        for norm in ["q_norm", "k_norm"] {
            let name = format!("model.layers.{layer}.self_attn.{norm}.weight");
            model.add(Tensor::noise(&name, &[8]));
        }
    }
    model
}

fn assert_expected(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scaffold/{name}.rs"));
    if std::env::var("CONNECTOR_EXPECTED").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(
        text == expected,
        "the draft is not {}; CONNECTOR_EXPECTED=overwrite writes it anew:\n{text}",
        path.display()
    );
}

#[test]
fn the_drafts_are_as_expected() {
    assert_expected("llama", &draft(&Model::fixture("llama"), &[]));
    assert_expected("mixtral", &draft(&wren(), &[]));
    assert_expected("finch", &draft(&finch(), &[]));
}

#[test]
fn the_draft_of_a_new_architecture_imports_and_exports() {
    let model = finch();
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    bench.export(export_options(|_| {}));
    let file = |dir: PathBuf| read_tensors(&dir.join("model.safetensors"));
    assert_same_tensors(&file(bench.back()), &file(bench.source()));
    let back = fs::read(bench.back().join("config.json")).unwrap();
    let back: Value = serde_json::from_slice(&back).unwrap();
    for (name, value) in model.config.as_object().unwrap() {
        assert_eq!(&back[name], value, "{name}");
    }
}

/// What a draft says of a config, by a line that tells.
#[test]
fn drafts_say_what_each_field_of_the_config_is() {
    for (name, value, want) in [
        // The family's own map reads it, as long as it knows every field.
        ("pad_token_id", json!(0), "Option<ConfigMap> = HfLlama::CONFIG;"),
        ("residual_scale", json!(0.5), "// neutral \"residual_scale\" = 0.5,"),
        ("residual_scale", json!(0.5), "// \"residual_scale\" <=> residual_scale,"),
        ("residual_scale", json!(0.5), "compile_error!("),
        (
            "residual_scale",
            json!(0.5),
            "\"architectures\", \"attention_dropout\", \"bos_token_id\",",
        ),
        ("use_qk_norm", json!(false), "neutral \"use_qk_norm\" = false,"),
        ("use_qk_norm", json!(false), "..gpt::CORE,"),
        ("sliding_window", json!(16), "..gpt::WINDOW,"),
        ("hidden_act", json!("gelu"), "\"hidden_act\" <=> activation_func,"),
    ] {
        let mut model = Model::fixture("llama");
        if name != "pad_token_id" {
            model.config["model_type"] = json!("finch");
        }
        model.config[name] = value.clone();
        let text = draft(&model, &[]);
        assert!(text.contains(want), "{name} {value}: no {want}\n{text}");
    }
}

#[test]
fn the_draft_of_llama_imports_to_nemos_bytes() {
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(options(|options| options.model = Some("MyLlama".into())));
    let want = read_tensors(&fixture("llama/nemo_state.safetensors"));
    assert_same_tensors(&bench.weights(), &want);
}

#[test]
fn the_draft_of_mixtral_imports_every_tensor_to_its_place() {
    let model = wren();
    let bench = Bench::new(&model);
    bench.import(options(|_| {}));
    let of = |name: &str| model.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    let mut want = BTreeMap::new();
    let mut put = |name: String, shape: &[usize], bytes: Vec<u8>| {
        want.insert(name, Stored { dtype: "BF16".into(), shape: shape.into(), bytes });
    };
    let same = [
        ("model.embed_tokens", "embedding.word_embeddings"),
        ("model.norm", "decoder.final_layernorm"),
        ("lm_head", "output_layer"),
    ];
    for (from, to) in same {
        let Tensor { shape, bytes, .. } = of(&format!("{from}.weight"));
        put(format!("{to}.weight"), shape, bytes.clone());
    }
    for layer in 0..2 {
        let (from, to) = (format!("model.layers.{layer}"), format!("decoder.layers.{layer}"));
        for (a, b) in [
            ("input_layernorm.weight", "self_attention.linear_qkv.layer_norm_weight"),
            ("post_attention_layernorm.weight", "pre_mlp_layernorm.weight"),
            ("self_attn.o_proj.weight", "self_attention.linear_proj.weight"),
            ("block_sparse_moe.gate.weight", "mlp.router.weight"),
        ] {
            let Tensor { shape, bytes, .. } = of(&format!("{from}.{a}"));
            put(format!("{to}.{b}"), shape, bytes.clone());
        }
        let [q, k, v] =
            ["q", "k", "v"].map(|part| &of(&format!("{from}.self_attn.{part}_proj.weight")).bytes);
        let name = format!("{to}.self_attention.linear_qkv.weight");
        put(name, &[64, 32], interleave_qkv(q, k, v, 2));
        for expert in 0..4 {
            let from = format!("{from}.block_sparse_moe.experts.{expert}");
            let to = format!("{to}.mlp.experts.local_experts.{expert}");
            let [w1, w2, w3] =
                ["w1", "w2", "w3"].map(|part| &of(&format!("{from}.{part}.weight")).bytes);
            put(format!("{to}.linear_fc1.weight"), &[80, 32], [&w1[..], w3].concat());
            put(format!("{to}.linear_fc2.weight"), &[32, 40], w2.clone());
        }
    }
    assert_same_tensors(&bench.weights(), &want);
}

#[test]
fn shards_and_one_file_give_the_same_draft() {
    let model = wren();
    let bench = Bench::empty();
    model.write_shards(&bench.source(), 4, true);
    let ended = scaffold(&bench.source(), &["--quiet"]);
    assert_eq!(ended.text, draft(&model, &[]));
}

#[test]
fn a_summary_stands_beside_the_draft() {
    let bench = Bench::new(&Model::fixture("llama"));
    let text = scaffold(&bench.source(), &[]).text;
    for want in [
        "MyLlamaModel · 21 of 21 tensors understood",
        "nothing: it compiles as it is",
        "HfLlama imports LlamaForCausalLM already: name the model, MyLlama, to choose this draft",
        "`--model MyLlama` chooses this draft",
    ] {
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(want), "{want}\n{text}");
    }
}

#[test]
fn json_has_the_draft_and_what_is_left() {
    let mut model = wren();
    model.config["residual_scale"] = json!(0.5);
    model.rename("model.norm.weight", "model.last.weight");
    let bench = Bench::new(&model);
    let document: Value =
        serde_json::from_str(&scaffold(&bench.source(), &["--json"]).text).unwrap();
    assert_eq!(document["schema"], "connector.scaffold/1");
    let draft = &document["draft"];
    assert_eq!((&draft["tensors"], &draft["understood"]), (&json!(41), &json!(40)));
    assert_eq!(draft["undecided"].as_array().unwrap().len(), 2, "{draft}");
    assert!(draft["text"].as_str().unwrap().contains("param_schema! {"));
}

#[test]
fn an_output_that_is_there_is_not_replaced() {
    let bench = Bench::new(&wren());
    let file = bench.dir().join("wren.rs");
    let args = ["--output", file.to_str().unwrap()];
    assert_eq!(scaffold(&bench.source(), &args).code, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), draft(&wren(), &[]));
    fs::write(&file, "mine").unwrap();
    let ended = scaffold(&bench.source(), &args);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("is there already"), "{}", ended.text);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    let nowhere = bench.dir().join("no/such/wren.rs");
    let ended = scaffold(&bench.source(), &["--output", nowhere.to_str().unwrap()]);
    assert_eq!(ended.code, Some(4), "{}", ended.text);
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let bench = Bench::empty();
    let made = |name: &str, model: &Model| -> PathBuf {
        let dir = bench.dir().join(name);
        model.write(&dir);
        dir
    };
    fs::create_dir(bench.dir().join("empty")).unwrap();
    let config = json!({"architectures": ["X"]});
    let no_tensors = Model { config: config.clone(), ..Model::default() };
    let no_config = Model { tensors: vec![Tensor::noise("a", &[1])], ..Model::default() };
    let broken = made("broken", &wren());
    let file = broken.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    for (dir, code, want) in [
        (bench.dir().join("empty"), 4, "no checkpoint of safetensors"),
        (bench.dir().join("missing"), 4, "does not exist"),
        (made("no-tensors", &no_tensors), 3, "there is not one tensor"),
        (made("no-config", &no_config), 3, "config.json   is not there"),
        (broken, 4, "model.safetensors"),
    ] {
        let ended = scaffold(&dir, &[]);
        assert_eq!(ended.code, Some(code), "{}: {}", dir.display(), ended.text);
        assert!(ended.text.contains(want), "{}: {}", dir.display(), ended.text);
        assert!(!ended.text.contains("param_schema"), "{}", ended.text);
    }
    let ended = scaffold(&made("whole", &wren()), &["--like", "sparrow"]);
    assert_eq!(ended.code, Some(2), "{}", ended.text);
    assert!(ended.text.contains("no importer from hf for model sparrow"), "{}", ended.text);
}

#[test]
fn whatever_a_checkpoint_holds_the_draft_is_rust() {
    let mut names: Vec<&str> = vec![
        "a\"b.weight",
        "layers.0.{x}",
        "layers.1.{x}",
        "a*",
        "ü.é",
        "a..b",
        ".",
        "//",
        "*/",
        "\\",
        "\\n",
        "\"); }",
        "{layer}",
        "layers.18446744073709551615.x",
        "model.layers.0.\u{202e}",
        "model.layers.3.self_attn.q_proj.weight",
        "r#\"",
        "'",
        "#![",
        "model.layers.{}.weight",
    ];
    for architecture in ["Evil\"; }ForCausalLM", "", "\u{202e}Für", "../..", "fn"] {
        let config = json!({
            "architectures": [architecture], "hidden_size": 8, "type": 3, "we\"ird\n_scale": 2.5,
            "a.b_heads": 7, "self": 8, "attention\\": "\"", "text_config": {"num_heads": 2},
            "num_hidden_layers": u64::MAX, "activation_gate": {"a": ["\u{202e}"]}, "crate": 8,
        });
        let tensors = names.iter().map(|name| Tensor::new(name, "F32", &[8, 3], Fill::Zero));
        let model = Model { config, tensors: tensors.collect(), ..Model::default() };
        let text = draft(&model, &[]);
        if let Err(error) = syn::parse_file(&text) {
            panic!("{architecture}: {error}\n{text}");
        }
        assert!(!text.contains('\u{202e}'), "{text}");
        names.pop();
    }
}

/// A Llama of someone else: another prefix, norms of q and k, one name that nobody knows.
fn fork() -> Model {
    let mut model = Model::fixture("llama");
    model.config["architectures"] = json!(["ForkForCausalLM"]);
    for tensor in &mut model.tensors {
        tensor.name = tensor.name.replace("model.layers", "transformer.blocks");
        tensor.name =
            tensor.name.replace("model.", "transformer.").replace("down_proj", "contract");
    }
    for layer in 0..2 {
        for norm in ["q_norm", "k_norm"] {
            let name = format!("transformer.blocks.{layer}.self_attn.{norm}.weight");
            model.add(Tensor::noise(&name, &[8]));
        }
    }
    model
}

#[test]
fn like_a_model_takes_its_rules_over_and_lists_what_it_has_more() {
    for name in ["llama", "LLAMA", "LlamaModel"] {
        let text = draft(&fork(), &["--like", name]);
        for want in [
            r#"=> "embedding.word_embeddings.weight" via ops::pad_vocab,"#,
            r#""transformer.blocks.{layer}" => "decoder.layers.{layer}" {"#,
            "..gpt::ATTENTION,",
            "..gpt::QK_NORMS,",
            r#""self_attention.q_layernorm.weight": [c.kv_channels];"#,
            r#""mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];"#,
            r#"// "mlp.contract.weight" => "mlp.linear_fc2.weight","#,
            r#"// Decide: LlamaModel has this parameter, and makes it of "mlp.down_proj.weight"."#,
        ] {
            assert!(text.contains(want), "{want}\n{text}");
        }
        let makes = |line: &str| line.contains(r#"=> "mlp.linear_fc2.weight""#);
        assert!(text.lines().filter(|l| makes(l)).all(|l| l.trim().starts_with("//")), "{text}");
    }
}

#[test]
fn the_source_is_left_as_it_was() {
    let bench = Bench::new(&wren());
    let before = contents(&bench.source());
    scaffold(&bench.source(), &[]);
    assert_eq!(contents(&bench.source()), before);
}
