//! An outside family: GLM-4 (0414), declared here as a user of the crate would. It has parts that no
//! single family of the crate joins: four norms, and neighbours that are rotated in half of each head.

use connector_core::checkpoint::Flavor;
use connector_core::config::ConfigMap;
use connector_core::connector::{Registry, TorchDist, VerifyOptions, diff, verify};
use connector_core::engine::NoProgress;
use connector_core::framework::Frameworks;
use connector_core::gpt::{self, GptConfig};
use connector_core::model::{LoadOptions, Loaded, LogitDistance};
use connector_core::testing::prove_config;
use connector_core::{
    DeviceChoice, Mapping, ModelConnector, Planned, config_map, mapping, model_importer,
    param_schema,
};
use connector_tests::{Bench, Model, export_options, fixture, options};

param_schema! {
    /// GLM-4 as a Megatron-core GPT model.
    pub Glm4Model(c: GptConfig) {
        axis layer = c.num_layers;
        flag qkv_bias = c.add_qkv_bias;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES if qkv_bias;
            ..gpt::GATED_MLP;
            "self_attention.linear_proj.post_layernorm.weight": [c.hidden_size];
            "mlp.linear_fc2.post_layernorm.weight": [c.hidden_size];
        }
    }
}

/// GLM-4 from and to Hugging Face.
pub struct HfGlm4;

#[model_importer(Glm4Model, "hf", architectures = ["Glm4ForCausalLM"], export)]
impl ModelConnector for HfGlm4 {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            "post_self_attn_layernorm.weight" => "self_attention.linear_proj.post_layernorm.weight",
            "post_attention_layernorm.weight" => "mlp.linear_fc1.layer_norm_weight",
            "mlp.gate_up_proj.weight" => "mlp.linear_fc1.weight",
            "mlp.down_proj.weight" => "mlp.linear_fc2.weight",
            "post_mlp_layernorm.weight" => "mlp.linear_fc2.post_layernorm.weight",
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "glm4",
        ..gpt::CORE,
        absent "num_key_value_heads" = 2,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 131_072,
        absent "rms_norm_eps" = 1.5625e-7,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> add_qkv_bias = false,
        only layernorm_position = "both",
        only rotary_interleaved = true,
        ..gpt::PARTIAL_ROPE,
        absent "partial_rotary_factor" = 0.5,
        ..gpt::ROPE,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}

const FIXTURE: &str = "outside/glm4";

#[test]
fn it_computes_what_transformers_does() {
    let mut options = LoadOptions::default();
    options.dtype = Some(candle_core::DType::F32);
    options.device = DeviceChoice::Cpu;
    let loaded = Loaded::open(fixture(&format!("{FIXTURE}/hf")), &options).unwrap();
    assert_eq!(loaded.registration.model, "Glm4Model");
    let file = fixture(&format!("{FIXTURE}/logits.safetensors"));
    let device = candle_core::Device::Cpu;
    let reference = candle_core::safetensors::load(file, &device).unwrap();
    let logits = loaded.model().unwrap().forward(&reference["input_ids"]).unwrap();
    let apart = LogitDistance::between(&logits, &reference["logits"]).unwrap();
    assert!(apart.largest < 1e-4, "{apart:?}");
}

#[test]
fn it_goes_every_way_and_frameworks_say_what_they_cannot() {
    for flavor in [None, Some(Flavor::Nemo), Some(Flavor::MegatronLm), Some(Flavor::MegatronBridge)]
    {
        let bench = Bench::new(&Model::fixture(FIXTURE));
        let options = options(|o| {
            o.torch_dist = flavor.map(|flavor| TorchDist::default().flavor(flavor));
        });
        let planned = Planned::import(bench.source(), options.clone()).unwrap();
        let warned = planned.warnings().iter().any(|w| w.contains("layernorm_position"));
        assert_eq!(warned, flavor.is_some(), "{flavor:?}: {:?}", planned.warnings());
        bench.import(options);
        let (source, out) = (bench.source(), bench.out());
        let same = verify(&source, &out, &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(same.is_equal(), "{flavor:?}: {same:?}");
        bench.export(export_options(|_| {}));
        let same = diff(&source, bench.back(), &VerifyOptions::default(), &NoProgress).unwrap();
        assert!(same.is_equal(), "{flavor:?}: {same:?}");
    }
}

#[test]
fn nothing_in_its_config_is_taken_for_granted() {
    let importer = Registry::get().unwrap().importer("hf", Some("glm4"), &[]).unwrap();
    for file in ["hf/config.json", "variants/config.transformers4.json"] {
        let text = std::fs::read(fixture(&format!("{FIXTURE}/{file}"))).unwrap();
        let shown = prove_config(importer, &serde_json::from_slice(&text).unwrap()).unwrap();
        assert!(shown.refused > 40 && shown.returned > 20, "{file}: {shown:?}");
    }
}
