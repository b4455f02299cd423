//! Seed-OSS, and whatever else calls itself `SeedOssForCausalLM`.

use crate::config::ConfigMap;
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};

param_schema! {
    /// Seed-OSS as a Megatron-core GPT model: Llama with biases of queries, keys and values, and heads
    /// of any size.
    pub SeedOssModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag qkv_bias = c.add_qkv_bias;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::QKV_BIASES if qkv_bias;
            ..gpt::GATED_MLP;
        }
    }
}

/// Seed-OSS from and to Hugging Face. No framework's own tool converts it.
pub struct HfSeedOss;

#[model_importer(SeedOssModel, "hf", architectures = ["SeedOssForCausalLM"], export)]
impl ModelConnector for HfSeedOss {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::QKV_BIASES,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "seed_oss",
        ..gpt::CORE,
        absent "num_key_value_heads" = 8,
        absent "head_dim" = 128,
        absent "max_position_embeddings" = 524_288,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        "attention_bias" <=> add_qkv_bias = true,
        // No released model has these.
        neutral "attention_out_bias" = false,
        neutral "mlp_bias" = false,
        ..gpt::ROPE,
        carry ["residual_dropout"],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}
