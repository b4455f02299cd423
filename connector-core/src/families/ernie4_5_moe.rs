//! ERNIE 4.5 with experts, and whatever else calls itself `Ernie4_5_MoeForCausalLM`.

use crate::config::{ConfigMap, Part, Row};
use crate::connector::ModelConnector;
use crate::framework::Frameworks;
use crate::gpt::{self, GptConfig};
use crate::mapping::Mapping;
use crate::{config_map, mapping, model_importer, ops, param_schema};
use serde_json::{Value, json};

param_schema! {
    /// ERNIE 4.5 with experts as a Megatron-core GPT model: in some layers routers by a softmax, with a
    /// bias for the choice, and an expert that sees every token.
    pub Ernie45MoeModel(c: GptConfig) {
        axis layer = c.num_layers;
        flag experts(layer) = c.has_experts(layer);
        ..gpt::ENDS;
        "decoder.layers.{layer}" {
            ..gpt::ATTENTION;
            ..gpt::GATED_MLP if !experts;
            ..gpt::EXPERTS if experts;
            ..gpt::SHARED_EXPERT if experts;
            "mlp.router.expert_bias": [c.experts()] if experts keep f32;
        }
    }
}

/// ERNIE 4.5 with experts from and to Hugging Face. Megatron-Bridge takes its router for one by
/// sigmoids, which is another model: Megatron-core has biases for the choice beside those alone.
pub struct HfErnie45Moe;

#[model_importer(Ernie45MoeModel, "hf", architectures = ["Ernie4_5_MoeForCausalLM"], export)]
impl ModelConnector for HfErnie45Moe {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            ..gpt::ATTENTION,
            ..gpt::GATED_MLP,
            ..gpt::EXPERTS,
            ..gpt::SHARED_EXPERT,
            "mlp.moe_statics.e_score_correction_bias"
                => "mlp.router.expert_bias" via ops::squeeze,
        },
    };

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        "model_type" = "ernie4_5_moe",
        ..gpt::CORE,
        absent "num_key_value_heads" = 4,
        absent "max_position_embeddings" = 131_072,
        absent "tie_word_embeddings" = true,
        absent "rms_norm_eps" = 1e-5,
        "hidden_act" <=> activation_func = "silu" via gpt::SILU,
        neutral "use_bias" = false,
        only rotary_interleaved = true,
        ..gpt::ROPE,
        absent "rope_theta" = 500_000.0,
        "moe_num_experts" | "num_experts" <=> num_moe_experts = 64,
        "moe_k" | "num_experts_per_tok" <=> moe_router_topk = 6,
        "moe_intermediate_size" <=> moe_ffn_hidden_size = 1536,
        ..SPARSE,
        only moe_router_enable_expert_bias = true,
        // Softmax over all, then scaling the chosen ones to a sum of 1, is softmax over the chosen. The
        // sum never is as small as this.
        only moe_router_pre_softmax = false,
        neutral "moe_norm_min" = 1e-12,
        only moe_router_load_balancing_type = "aux_loss",
        "router_aux_loss_coef" <=> moe_aux_loss_coeff = 0.001,
        only moe_grouped_gemm = true,
        // How it was trained, and what is not part of the model without layers that predict further
        // tokens.
        carry [
            "moe_capacity", "moe_gate", "moe_use_aux_free", "num_nextn_predict_layers",
            "output_router_logits",
        ],
    }});

    const FRAMEWORKS: Option<Frameworks> = Some(Frameworks::GENERIC);
}

/// Which layers are mixtures, and how wide the expert that sees every token is.
const SPARSE: ConfigMap = gpt::part(const { &[Row::Part(SHARED), Row::Part(LAYERS)] });

const COUNT: &str = "moe_num_shared_experts";

/// Experts that see every token, which are one.
const SHARED: Part = Part {
    names: &[COUNT],
    model: &["moe_shared_expert_intermediate_size"],
    read: |reading| {
        let count: usize = reading.fields.or(COUNT, 2);
        if count == 0 {
            reading.fields.refuse(COUNT, "is 0; this importer knows 1 and more");
        }
        let width = count.saturating_mul(reading.size("moe_ffn_hidden_size"));
        reading.put("moe_shared_expert_intermediate_size", width);
    },
    write: |writing| {
        let size = |name| writing.get(name).as_u64().unwrap_or(0);
        let width = size("moe_shared_expert_intermediate_size");
        writing.put(COUNT, width / size("moe_ffn_hidden_size").max(1));
    },
};

const START: &str = "moe_layer_start_index";
const END: &str = "moe_layer_end_index";
const INTERVAL: &str = "moe_layer_interval";

/// From a first to a last layer, of which the last is -1, the last of every so many is a mixture.
const LAYERS: Part = Part {
    names: &[START, END, INTERVAL],
    model: &["moe_layer_freq"],
    read: |reading| {
        let fields = &reading.fields;
        let (start, end): (usize, i64) = (fields.or(START, 1), fields.or(END, -1));
        let every: usize = fields.or(INTERVAL, 1);
        if every == 0 {
            fields.malformed(INTERVAL, "is 0; it should be 1 or more");
        }
        let kind = |layer: usize| {
            let within = layer >= start && (end == -1 || layer as i64 <= end);
            usize::from(within && (layer + 1).is_multiple_of(every.max(1)))
        };
        let kinds: Vec<usize> =
            (0..reading.size("num_layers").min(gpt::MOST_LAYERS)).map(kind).collect();
        if !kinds.contains(&1) {
            fields.refuse(START, format!("is {start}, and no layer has experts"));
        }
        reading.put("moe_layer_freq", if kinds.contains(&0) { json!(kinds) } else { Value::Null });
    },
    write: |writing| {
        let layers = writing.get("moe_layer_freq").as_array().map_or(&[][..], Vec::as_slice);
        let sparse: Vec<usize> =
            (0..layers.len()).filter(|layer| layers[*layer] == json!(1)).collect();
        let first = sparse.first().copied().unwrap_or(0);
        let last = sparse.last().map_or(json!(-1), |last| json!(last));
        writing.put(INTERVAL, sparse.get(1).map_or(1, |second| second - first));
        writing.put(START, first);
        writing.put(END, last);
    },
};
