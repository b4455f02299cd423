//! Mistral 7B, NeMo 12B, Ministral 8B, and whatever else calls itself `MistralForCausalLM`.

use super::gpt::{self, Defaults, Family, GptConfig};
use crate::checkpoint::{Checkpoint, Fields, Frameworks, NemoNames};
use crate::connector::ModelConnector;
use crate::mapping::Mapping;
use crate::{Result, mapping, model_importer, param_schema};
use serde_json::{Map, Value};

param_schema! {
    /// Mistral as a Megatron-core GPT model with fused layers (its Transformer Engine spec). The
    /// heads may be wider or narrower than the model over their number.
    pub MistralModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag tied = c.share_embeddings_and_output_weights;

        "embedding.word_embeddings.weight": [c.vocab_rows(), c.hidden_size];
        "output_layer.weight": [c.vocab_rows(), c.hidden_size] if !tied;
        "decoder.final_layernorm.weight": [c.hidden_size];
        "decoder.layers.{layer}" {
            "self_attention.linear_qkv.layer_norm_weight": [c.hidden_size];
            "self_attention.linear_qkv.weight": [c.qkv_rows(), c.hidden_size];
            "self_attention.linear_proj.weight": [c.hidden_size, c.query_width()];
            "mlp.linear_fc1.layer_norm_weight": [c.hidden_size];
            "mlp.linear_fc1.weight": [2 * c.ffn_hidden_size, c.hidden_size];
            "mlp.linear_fc2.weight": [c.hidden_size, c.ffn_hidden_size];
        }
    }
}

/// Mistral from and to Hugging Face. NeMo's `HFMistralImporter`, which however takes the window for
/// the length of the sequences.
pub struct HfMistral;

#[model_importer(MistralModel, "hf", architectures = ["MistralForCausalLM"], export)]
impl ModelConnector for HfMistral {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
        },
    };

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks {
        nemo: NemoNames {
            module: "nemo.collections.llm.gpt.model.mistral",
            model: "MistralModel",
            config: "MistralConfig7B",
            llama3_config: None,
            also: &[],
        },
        bridge: "megatron.bridge.models.mistral.mistral_provider.MistralModelProvider",
        scale_embedding: false,
    });

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        FAMILY.config(source)
    }

    fn source_config(config: &GptConfig, original: Option<&Value>) -> Result<Value> {
        Ok(FAMILY.source_config(config, original))
    }
}

const FAMILY: Family = Family {
    architecture: "MistralForCausalLM",
    model_type: "mistral",
    defaults: Defaults {
        num_query_groups: Some(8),
        kv_channels: None,
        seq_length: 4096 * 32,
        layernorm_epsilon: 1e-6,
        rotary_base: 10_000.0,
        tied: false,
    },
    read,
    write,
    harmless: &[],
};

/// The window of a file that does not have the field. Null, as v0.2 and later have, is none.
const WINDOW: usize = 4096;

fn read(fields: &Fields<'_>, config: &mut GptConfig) {
    config.activation_func = gpt::silu(fields);
    config.window_size = gpt::window(fields, config.num_layers, Some(WINDOW));
}

fn write(config: &GptConfig, fields: &mut Map<String, Value>) {
    fields.insert("sliding_window".into(), gpt::sliding_window(config));
}
