//! The directories of NeMo, Megatron-LM and Megatron-Bridge: what is written for each against what
//! they write, and back.

use connector_core::checkpoint::Flavor;
use connector_core::checkpoint::torch_dist::LayerLayout;
use connector_core::connector::{Planned, TorchDist, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_core::{ImportOptions, export_ckpt};
use connector_tests::{
    Bench, Child, Model, accepting, assert_same_tensors, export_options, fixture, fixtures,
    options, read_tensors, tree,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FLAVORS: [Flavor; 3] = [Flavor::Nemo, Flavor::MegatronLm, Flavor::MegatronBridge];

fn for_framework(flavor: Flavor) -> ImportOptions {
    options(|o| o.torch_dist = Some(TorchDist::default().flavor(flavor)))
}

fn imported(name: &str, flavor: Flavor) -> Bench {
    let bench = Bench::new(&Model::fixture(name));
    bench.import(accepting(&bench.source(), for_framework(flavor)));
    bench
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn yaml_file(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_flavor_goes_back_to_where_it_came_from() {
    for name in &fixtures() {
        for flavor in FLAVORS {
            let bench = imported(name, flavor);
            let nothing = VerifyOptions::default();
            let same = verify(bench.source(), bench.out(), &nothing, &NoProgress).unwrap();
            assert!(same.is_equal(), "{name} {flavor:?}: {same:?}");
            bench.export(export_options(|_| {}));
            let back = diff(bench.source(), bench.back(), &nothing, &NoProgress).unwrap();
            assert!(back.is_equal(), "{name} {flavor:?}");
            // The files too, wherever the flavor puts them.
            let beside = |dir: &Path| {
                let mut files = BTreeMap::new();
                for file in tree(dir).into_keys() {
                    let path = dir.join(&file);
                    if !file.contains("safetensors") && path.is_file() {
                        files.insert(file, fs::read(path).unwrap());
                    }
                }
                files.remove("conversion.json");
                files
            };
            assert_eq!(beside(&bench.back()), beside(&bench.source()), "{name} {flavor:?}");
        }
    }
}

#[test]
fn each_framework_finds_its_files_where_it_looks() {
    for (flavor, want) in [
        (
            Flavor::Nemo,
            &[
                "context/artifacts/generation_config.json",
                "context/config.json",
                "context/io.json",
                "context/model.yaml",
                "context/nemo_tokenizer/special_tokens_map.json",
                "context/nemo_tokenizer/tokenizer.json",
                "context/nemo_tokenizer/tokenizer_config.json",
                "conversion.json",
                "weights/.metadata",
                "weights/__0_0.distcp",
                "weights/common.pt",
                "weights/metadata.json",
            ][..],
        ),
        (
            Flavor::MegatronLm,
            &[
                "conversion.json",
                "latest_checkpointed_iteration.txt",
                "release/.metadata",
                "release/__0_0.distcp",
                "release/common.pt",
                "release/metadata.json",
                "release/tokenizer/config.json",
                "release/tokenizer/generation_config.json",
                "release/tokenizer/model.yaml",
                "release/tokenizer/special_tokens_map.json",
                "release/tokenizer/tokenizer.json",
                "release/tokenizer/tokenizer_config.json",
            ],
        ),
        (
            Flavor::MegatronBridge,
            &[
                "conversion.json",
                "iter_0000000/.metadata",
                "iter_0000000/__0_0.distcp",
                "iter_0000000/common.pt",
                "iter_0000000/metadata.json",
                "iter_0000000/run_config.yaml",
                "iter_0000000/tokenizer/config.json",
                "iter_0000000/tokenizer/generation_config.json",
                "iter_0000000/tokenizer/model.yaml",
                "iter_0000000/tokenizer/special_tokens_map.json",
                "iter_0000000/tokenizer/tokenizer.json",
                "iter_0000000/tokenizer/tokenizer_config.json",
                "iter_0000000/train_state.pt",
                "latest_checkpointed_iteration.txt",
                "latest_train_state.pt",
            ],
        ),
    ] {
        let bench = imported("llama", flavor);
        let files = tree(&bench.out()).into_keys();
        let files: Vec<_> = files.filter(|name| bench.out().join(name).is_file()).collect();
        assert_eq!(files, want, "{flavor:?}");
    }
    let tracker = |flavor| {
        let bench = imported("llama", flavor);
        fs::read_to_string(bench.out().join("latest_checkpointed_iteration.txt")).unwrap()
    };
    assert_eq!(tracker(Flavor::MegatronLm), "release");
    assert_eq!(tracker(Flavor::MegatronBridge), "0");
}

/// A graph of Fiddle as what it builds: a call is `{"call": path, argument: …}`.
fn built(graph: &Value, node: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let inside = |item: &str, mark: &str| {
        let name = item.split('\'').nth(1).unwrap_or(item);
        assert!(item.starts_with(mark), "{item}");
        name.to_string()
    };
    match node["type"].as_str() {
        Some("leaf") => return node["value"].clone(),
        Some("pyref") => return json!(text(&node["module"]) + "." + &text(&node["name"])),
        Some("ref") => {}
        _ => panic!("{node}"),
    }
    let key = text(&node["key"]);
    assert_eq!(graph["refcounts"][&key], 1);
    let object = &graph["objects"][&key];
    let items = object["items"].as_array().unwrap();
    match object["type"]["name"].as_str().unwrap() {
        "Config" => {
            let metadata = &graph["objects"][text(&object["metadata"]["key"])];
            let mut call = Map::new();
            for item in metadata["items"].as_array().unwrap() {
                match inside(item[0].as_str().unwrap(), "Attr").as_str() {
                    "fn_or_cls" => drop(call.insert("call".into(), built(graph, &item[1]))),
                    "argument_names" => {
                        let names = &graph["objects"][text(&item[1]["key"])]["items"];
                        let names = names.as_array().unwrap().iter().map(|name| text(&name[1]));
                        let given = items.iter().map(|i| inside(i[0].as_str().unwrap(), "Attr"));
                        assert!(names.eq(given), "{key}");
                    }
                    _ => {}
                }
            }
            for item in items {
                call.insert(inside(item[0].as_str().unwrap(), "Attr"), built(graph, &item[1]));
            }
            Value::Object(call)
        }
        "dict" => items
            .iter()
            .map(|item| (inside(item[0].as_str().unwrap(), "Key"), built(graph, &item[1])))
            .collect::<Map<_, _>>()
            .into(),
        "tuple" | "list" => items.iter().map(|item| built(graph, &item[1])).collect(),
        other => panic!("{other}"),
    }
}

fn io_json(path: &Path) -> Value {
    let graph = json_file(path);
    assert_eq!(graph["version"], "0.0.1");
    built(&graph, &graph["root"])
}

/// How a run is spread over devices, which NeMo's trainer writes into the config of a model: each is
/// the default of its class.
const OF_THE_RUN: [&str; 14] = [
    "tensor_model_parallel_size",
    "pipeline_model_parallel_comm_backend",
    "pipeline_model_parallel_size",
    "virtual_pipeline_model_parallel_size",
    "sequence_parallel",
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "moe_extended_tp",
    "use_te_rng_tracker",
    "pipeline_dtype",
    "microbatch_group_size_per_vp_stage",
    "num_layers_in_first_pipeline_stage",
    "num_layers_in_last_pipeline_stage",
];
const OF_THE_RUN_TOO: [&str; 3] = [
    "pipeline_model_parallel_layout",
    "account_for_embedding_in_pipeline_split",
    "account_for_loss_in_pipeline_split",
];

#[test]
fn io_json_builds_what_nemo_builds() {
    // Fields with another value than NeMo writes, and why.
    let padded = ("make_vocab_size_divisible_by", json!(1), json!(128));
    let heads = ("kv_channels", json!(8), json!(null));
    for (name, sample, differing) in [
        ("llama", "torch_dist/nemo/context/io.json", &[][..]),
        // NeMo pads every Mixtral, and leaves the size of heads to be computed.
        ("mixtral", "torch_dist/nemo-mixtral/io.json", &[padded, heads]),
    ] {
        let bench = imported(name, Flavor::Nemo);
        let mut got = io_json(&bench.out().join("context/io.json"));
        let mut want = io_json(&fixture(sample));
        // The folder in which NeMo found the tokenizer that it copied.
        let folder =
            |context: &Value| context["model"]["tokenizer"]["pretrained_model_name"].clone();
        assert_eq!(folder(&got), "nemo_tokenizer");
        want["model"]["tokenizer"]["pretrained_model_name"] = folder(&got);
        // Of the optimizer only what its defaults are not.
        let (given, all) = (&got["model"]["optim"]["config"], &want["model"]["optim"]["config"]);
        for (field, value) in given.as_object().unwrap() {
            assert_eq!(all[field], *value, "{field}");
        }
        got["model"]["optim"]["config"] = json!(null);
        want["model"]["optim"]["config"] = json!(null);

        let config = |context: &mut Value| match context["model"]["config"].take() {
            Value::Object(fields) => fields,
            other => panic!("{other}"),
        };
        let (mut ours, mut theirs) = (config(&mut got), config(&mut want));
        assert_eq!(got, want, "{name}");
        for field in OF_THE_RUN.iter().chain(&OF_THE_RUN_TOO) {
            assert!(theirs.remove(*field).is_some() && !ours.contains_key(*field), "{field}");
        }
        for (field, our, their) in differing {
            assert_eq!(ours.remove(*field).as_ref(), Some(our), "{field}");
            assert_eq!(theirs.remove(*field).as_ref(), Some(their), "{field}");
        }
        for (field, value) in &theirs {
            assert_eq!(ours.get(field), Some(value), "{name}: {field}");
        }
        // What NeMo leaves to the defaults of its class is said here, where it is the model's.
        let more: BTreeSet<_> =
            ours.keys().filter(|field| !theirs.contains_key(*field)).map(String::as_str).collect();
        let common = [
            "activation_func",
            "add_bias_linear",
            "add_qkv_bias",
            "cp_comm_type",
            "layernorm_zero_centered_gamma",
            "normalization",
            "num_moe_experts",
            "position_embedding_type",
            "qk_layernorm",
            "rotary_interleaved",
            "rotary_percent",
            "window_size",
        ];
        let of_experts = [
            "add_bias_linear",
            "add_qkv_bias",
            "cp_comm_type",
            "layernorm_zero_centered_gamma",
            "moe_aux_loss_coeff",
            "moe_ffn_hidden_size",
            "moe_grouped_gemm",
            "moe_input_jitter_eps",
            "moe_layer_freq",
            "moe_router_load_balancing_type",
            "fp16",
            "qk_layernorm",
            "rotary_interleaved",
            "rotary_percent",
            "share_embeddings_and_output_weights",
            "vocab_size",
            "window_size",
        ];
        let expected: BTreeSet<&str> = match name {
            "llama" => common.into(),
            _ => of_experts.into(),
        };
        assert_eq!(more, expected, "{name}");
    }
}

#[test]
fn the_config_of_each_family_is_the_class_that_nemo_has_for_it() {
    for (name, model, config, fields) in [
        ("llama3_tied", "llama.LlamaModel", "llama.Llama31Config", json!({"old_context_len": 64})),
        ("mistral", "mistral.MistralModel", "mistral.MistralConfig7B", json!({"seq_length": 512})),
        (
            "gemma",
            "gemma.GemmaModel",
            "gemma.GemmaConfig",
            json!({
                "activation_func": "nemo.collections.llm.fn.activation.openai_gelu",
                "layernorm_zero_centered_gamma": true,
                "share_embeddings_and_output_weights": true,
            }),
        ),
        (
            "gemma2",
            "gemma2.Gemma2Model",
            "gemma2.Gemma2Config",
            // Fields that only this class has, and the scale that one of them says.
            json!({
                "query_pre_attn_scalar": 20, "attn_logit_softcapping": 50.0,
                "final_logit_softcapping": 30.0, "softmax_scale": null,
            }),
        ),
        (
            "nemotron",
            "nemotron.NemotronModel",
            "nemotron.NemotronConfig",
            json!({
                "activation_func": "nemo.collections.llm.fn.activation.squared_relu",
                "rotary_percent": 0.5, "gated_linear_unit": false, "normalization": "LayerNorm",
            }),
        ),
        (
            "starcoder2",
            "starcoder2.Starcoder2Model",
            "starcoder2.Starcoder2Config",
            json!({"add_bias_linear": true}),
        ),
        ("phi3", "phi3mini.Phi3Model", "phi3mini.Phi3Config", json!({})),
    ] {
        let bench = imported(name, Flavor::Nemo);
        let context = io_json(&bench.out().join("context/io.json"));
        let path = |name: &str| format!("nemo.collections.llm.gpt.model.{name}");
        assert_eq!(context["model"]["call"], path(model));
        assert_eq!(context["model"]["config"]["call"], path(config));
        for (field, value) in fields.as_object().unwrap() {
            assert_eq!(context["model"]["config"][field], *value, "{name}: {field}");
        }
        let yaml = yaml_file(&bench.out().join("context/model.yaml"));
        assert_eq!(yaml["_target_"], path(model));
    }
}

/// NeMo runs Llama 4 as a Llama with a config of its own, which says which layers do not rotate by a
/// number, where they are so regular.
#[test]
fn a_class_for_another_config_says_what_it_can() {
    let bench = imported("llama4_text", Flavor::Nemo);
    let context = io_json(&bench.out().join("context/io.json"));
    let config = &context["model"]["config"];
    assert_eq!(config["call"], "nemo.collections.llm.gpt.model.llama.Llama4Config");
    for (field, value) in [
        ("nope_layer_interval", json!(4)),
        ("no_rope_freq", Value::Null),
        ("attention_chunk_size", json!(8)),
        ("qk_l2_norm", json!(true)),
        ("rotary_interleaved", json!(true)),
        ("moe_apply_probs_on_input", json!(true)),
        ("moe_layer_freq", json!([0, 1, 0, 1])),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    let mut model = Model::fixture("llama4_text");
    model.config["no_rope_layers"] = json!([1, 0, 1, 1]);
    model.config.as_object_mut().unwrap().shift_remove("layer_types");
    model.config["use_qk_norm"] = json!(false);
    let bench = Bench::new(&model);
    let refused = bench.refuse(for_framework(Flavor::Nemo)).to_string();
    assert!(refused.contains("no_rope_freq: NeMo would compute something else"), "{refused}");
    assert!(refused.contains("the default of \"nope_layer_interval\""), "{refused}");
    let options = accepting(&bench.source(), for_framework(Flavor::Nemo));
    let planned = Planned::import(bench.source(), options).unwrap();
    planned.run(bench.out(), &NoProgress).unwrap();
    let context = io_json(&bench.out().join("context/io.json"));
    // The class has another default.
    assert_eq!(context["model"]["config"]["qk_l2_norm"], false);
}

#[test]
fn run_config_says_what_megatron_bridge_says_of_the_same_model() {
    let bench = Bench::empty();
    let source = fixture("torch_dist/llama/hf");
    let planned = Planned::import(&source, for_framework(Flavor::MegatronBridge)).unwrap();
    planned.run(bench.out(), &NoProgress).unwrap();
    let got = yaml_file(&bench.out().join("iter_0000000/run_config.yaml"));
    let want = yaml_file(&fixture("torch_dist/llama/run_config.yaml"));
    assert_eq!(got["checkpoint"], want["checkpoint"]);
    // Without a tokenizer in the source there is none to be loaded.
    assert_eq!(got["tokenizer"]["tokenizer_type"], "NullTokenizer");
    let same = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    let (got, want) = (got["model"].as_object().unwrap(), want["model"].as_object().unwrap());
    let differing: Vec<_> = want
        .iter()
        .filter(|(field, value)| got.get(*field).is_none_or(|got| !same(got, value)))
        .map(|(field, _)| field.as_str())
        .collect();
    // How it is run: the sample's run has no kernels that fuse. What is a default. The padding of
    // the sample's vocabulary.
    assert_eq!(
        differing,
        [
            "make_vocab_size_divisible_by",
            "bias_activation_fusion",
            "bias_dropout_fusion",
            "masked_softmax_fusion",
            "gradient_accumulation_fusion",
            "apply_rope_fusion"
        ]
    );
}

#[test]
fn each_family_has_its_provider_and_its_tokenizer_beside_it() {
    for (name, provider, activation) in [
        ("llama3_tied", "gpt_provider.GPTModelProvider", "torch.nn.functional.silu"),
        ("mistral", "mistral.mistral_provider.MistralModelProvider", "torch.nn.functional.silu"),
        ("mixtral", "gpt_provider.GPTModelProvider", "torch.nn.functional.silu"),
        ("gemma", "gemma.gemma_provider.GemmaModelProvider", "megatron.core.activations.fast_gelu"),
    ] {
        let bench = imported(name, Flavor::MegatronBridge);
        let config = yaml_file(&bench.out().join("iter_0000000/run_config.yaml"));
        let model = &config["model"];
        assert_eq!(model["_target_"], format!("megatron.bridge.models.{provider}"));
        assert_eq!(model["activation_func"], json!({"_target_": activation, "_call_": false}));
        assert_eq!(model["num_moe_experts"].is_number(), name == "mixtral");
        assert_eq!(model["rope_scaling"] == true, name == "llama3_tied");
        // An empty path: Megatron-Bridge takes it for the folder `tokenizer` beside the file.
        let place = json!({"_target_": "pathlib.PosixPath", "_call_": true});
        assert_eq!(config["tokenizer"]["tokenizer_model"], place);
    }
}

#[test]
fn what_a_framework_computes_otherwise_is_refused_or_accepted_by_its_field() {
    for (name, flavor, want) in [
        ("llama", Flavor::Nemo, &[][..]),
        ("llama", Flavor::MegatronLm, &[]),
        ("llama3_tied", Flavor::Nemo, &[]),
        ("llama3_tied", Flavor::MegatronLm, &["rope_scaling"]),
        ("llama3_tied", Flavor::MegatronBridge, &["rope_scaling"]),
        ("gemma", Flavor::Nemo, &[]),
        ("gemma", Flavor::MegatronBridge, &[]),
        ("gemma", Flavor::MegatronLm, &["activation_func", "apply_embedding_scaling"]),
    ] {
        let bench = Bench::new(&Model::fixture(name));
        let options = accepting(&bench.source(), for_framework(flavor));
        assert_eq!(options.accept, want, "{name} {flavor:?}");
        // Without a framework nothing is refused, and with one nothing is written.
        bench.import(connector_tests::options(|_| {}));
        if want.is_empty() {
            continue;
        }
        let bench = Bench::new(&Model::fixture(name));
        let refused = bench.refuse(for_framework(flavor)).to_string();
        assert!(want.iter().all(|field| refused.contains(field)), "{refused}");
        assert!(!bench.out().exists());
        bench.import(options);
        let record = json_file(&bench.out().join("conversion.json"));
        let accepted = record["options"]["accepted"].as_array().unwrap();
        let fields: Vec<&str> = accepted.iter().filter_map(|a| a["field"].as_str()).collect();
        assert_eq!(fields, want, "{name} {flavor:?}");
        for said in ["framework", "here", "there", "changes"] {
            assert!(accepted[0][said].as_str().is_some_and(|text| !text.is_empty()), "{said}");
        }
    }
}

#[test]
fn what_need_not_be_accepted_is_said() {
    let bench = Bench::new(&Model::fixture("llama"));
    let mut options = for_framework(Flavor::Nemo);
    options.accept.push("rope_scaling".into());
    let planned = Planned::import(bench.source(), options).unwrap();
    let [warning] = planned.warnings() else { panic!("{:?}", planned.warnings()) };
    assert!(warning.contains("\"rope_scaling\" is accepted, and need not be"), "{warning}");
}

#[test]
fn tensors_are_spread_over_as_many_files_as_asked_for() {
    let plain = Bench::new(&Model::fixture("mixtral"));
    plain.import(options(|_| {}));
    for (files, layers) in [(2, LayerLayout::Stacked), (5, LayerLayout::PerLayer)] {
        let bench = Bench::new(&Model::fixture("mixtral"));
        let torch_dist = TorchDist::default().files(files).layers(layers);
        let torch_dist = torch_dist.flavor(Flavor::MegatronLm);
        bench.import(ImportOptions::default().torch_dist(torch_dist));
        let folder = bench.out().join("release");
        let lens: Vec<_> = (0..)
            .map_while(|n| folder.join(format!("__0_{n}.distcp")).metadata().ok())
            .map(|file| file.len())
            .collect();
        assert_eq!(lens.len(), files);
        let (least, most) = (lens.iter().min().unwrap(), lens.iter().max().unwrap());
        assert!(*most < 3 * least, "{lens:?}");
        export_ckpt(bench.out(), bench.back(), export_options(|_| {})).unwrap();
        assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
    }
    // More files than records.
    let bench = Bench::new(&Model::fixture("llama"));
    bench.import(ImportOptions::default().torch_dist(TorchDist::default().files(1000)));
    export_ckpt(bench.out(), bench.back(), export_options(|_| {})).unwrap();
    assert_same_tensors(&read_tensors(&bench.back()), &read_tensors(&bench.source()));
}

#[test]
fn an_option_of_torch_dist_asks_for_it_and_safetensors_refuses_it() {
    let bench = Bench::new(&Model::fixture("llama"));
    let program = env!("CARGO_BIN_EXE_connector-under-test");
    let done = Child::import(program, &bench.source(), &bench.out())
        .arg("--flavor=megatron-lm")
        .arg("--files=2")
        .run();
    assert_eq!(done.code, Some(0), "{}", done.text);
    assert!(done.text.contains("--use-checkpoint-args"), "{}", done.text);
    assert!(bench.out().join("release/__0_1.distcp").is_file());
    for option in ["--flavor=nemo", "--files=2", "--layout=stacked", "--accept=rope_scaling"] {
        let refused = Child::import(program, &bench.source(), &bench.back())
            .arg("--container=safetensors")
            .arg(option)
            .run();
        assert_eq!(refused.code, Some(2), "{}", refused.text);
        let name = option.split('=').next().unwrap();
        assert!(refused.text.contains(name), "{}", refused.text);
        assert!(refused.text.contains("--container torch_dist"), "{}", refused.text);
    }
}
