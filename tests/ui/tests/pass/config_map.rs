#![deny(warnings, clippy::all, unused_qualifications)]

use connector_core::config::{Codec, ConfigMap, NOT};
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::gpt::{self, GptConfig};
use connector_core::{Mapping, ModelConnector, config_map, model_importer};
use serde_json::{Map, Value};

fn twice(model: &Map<String, Value>) -> Value {
    let width = model.get("hidden_size").and_then(Value::as_u64).unwrap_or(0);
    (2 * width).into()
}

const SAME: Codec = Codec { read: |value| Ok(value.clone()), write: Value::clone };

/// Every kind of row.
const MORE: ConfigMap = config_map! { crate = connector_core; GptConfig {
    "act" | "hidden_act" <=> activation_func = "silu" via SAME,
    "inner" <=> moe_ffn_hidden_size = by twice,
    "no_bias" <=> attention_bias = true via NOT,
    only qk_layernorm = false,
    only moe_router_topk = null,
    neutral "what" = 1 | 1.5 | "x" | [] | {},
    neutral "nothing" = null,
    carry ["note",],
    "kind" = "mine",
}};

struct Mine;

#[model_importer(LlamaModel, "mine", architectures = ["Mine"])]
impl ModelConnector for Mine {
    const MAPPING: Mapping = HfLlama::MAPPING;

    const CONFIG: Option<ConfigMap> = Some(config_map! { GptConfig {
        ..gpt::CORE, ..gpt::ROPE, ..MORE, absent "act" = "silu",
    }});
}

fn main() {
    assert_eq!(Mine::ARCHITECTURES, ["Mine"]);
}
