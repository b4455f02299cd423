//! Gemma 1 and 1.1, CodeGemma, and whatever else calls itself `GemmaForCausalLM`.

use crate::checkpoint::Fields;
use crate::config::{ConfigMap, Part, Row, Scalar};
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, param_schema};
use serde_json::json;

param_schema! {
    /// Gemma as a Megatron-core GPT model with fused layers (its Transformer Engine spec). Its norms
    /// multiply by 1 + weight on both sides, so that the weights are the same.
    pub GemmaModel(c: GptConfig) {
        axis layer = c.num_layers;
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::ATTENTION_BIASES;
            ..gpt::GATED_MLP;
        }
    }
}

/// Gemma from and to Hugging Face. NeMo's `HFGemmaImporter`.
pub struct HfGemma;

#[model_importer(GemmaModel, "hf", architectures = ["GemmaForCausalLM"], export)]
impl ModelConnector for HfGemma {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::ATTENTION_BIASES,
            ..gpt::GATED_MLP,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "gemma",
        ..gpt::CORE,
        absent "num_key_value_heads" = 16,
        absent "head_dim" = 256,
        absent "max_position_embeddings" = 8192,
        absent "tie_word_embeddings" = true,
        only layernorm_zero_centered_gamma = true,
        only apply_embedding_scaling = true,
        ..ACTIVATION,
        "attention_bias" <=> attention_bias = false,
        ..gpt::ROPE,
        ..gpt::NO_WINDOW,
        neutral "use_bidirectional_attention" = false,
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(
        Frameworks::GENERIC
            .nemo("nemo.collections.llm.gpt.model.gemma", "GemmaModel", "GemmaConfig")
            .bridge_provider("megatron.bridge.models.gemma.gemma_provider.GemmaModelProvider")
            .bridge(&["Gemma", "CodeGemma"])
            .implied(&[("apply_embedding_scaling", Scalar::Bool(true))]),
    );
}

/// The activation, which two fields name. `hidden_activation`, where it is, comes first. Without it
/// `gelu` is what Gemma 1's files say, and they mean the approximation with tanh: transformers up
/// to 4.47 knew and looked at `hidden_activation` only (its pull request 29402); later ones take
/// them at their word, and compute what the model was not trained with.
const ACTIVATION: ConfigMap = gpt::part(
    const {
        &[Row::Part(Part {
            names: &ACTIVATIONS,
            model: &["activation_func"],
            read: |reading| {
                let activation = activation(&reading.fields);
                reading.put("activation_func", activation);
            },
            write: |writing| {
                let activation = writing.get("activation_func");
                ACTIVATIONS.iter().for_each(|name| writing.put(name, activation.clone()));
            },
        })]
    },
);

const ACTIVATIONS: [&str; 2] = ["hidden_activation", "hidden_act"];

fn activation(fields: &Fields<'_>) -> &'static str {
    const TANH: &str = "gelu_pytorch_tanh";
    const EXACT: &str = "gelu";
    let said = ACTIVATIONS.map(|name| fields.optional::<String>(name));
    match [said[0].as_deref(), said[1].as_deref()] {
        [None, None] => {
            fields.defaulted(ACTIVATIONS[1], &TANH);
            TANH
        }
        [None | Some(TANH), None | Some(TANH | EXACT)] => TANH,
        [Some(EXACT), Some(EXACT)] => EXACT,
        [newer, older] => {
            let or_null = |name: Option<&str>| json!(name).to_string();
            let (newer, older) = (or_null(newer), or_null(older));
            let name = if newer == "null" { ACTIVATIONS[1] } else { ACTIVATIONS[0] };
            let problem = format!(
                "is not clear: \"{}\" is {newer}, \"{}\" is {older}; this importer knows \
                 \"{TANH}\", and \"{EXACT}\" where both say so",
                ACTIVATIONS[0], ACTIVATIONS[1]
            );
            fields.refuse(name, problem);
            TANH
        }
    }
}
