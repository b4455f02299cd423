//! Adapters as the Hugging Face library peft has them.

use super::Lora;
use super::checkpoint::to_json;
use crate::connector::{ModelState, Recorded, convert};
use crate::mapping::FlatMapping;
use crate::model::Loaded;
use crate::store::write_new;
use crate::{CandleError, Error, Result};
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The adapter of one module of the transformers model.
pub(super) struct Module {
    /// `model.layers.0.self_attn.q_proj`.
    name: String,
    /// `[dim, in]`.
    a: Tensor,
    /// `[out, dim]`.
    b: Tensor,
}

/// The adapters of the modules that a projection was made of.
///
/// Which these are, and which rows of `B` are whose, the importer's mapping says: `B` goes back
/// through it as the weight would.
pub(super) fn split(
    base: &Loaded,
    projection: &str,
    a: &Tensor,
    b: &Tensor,
) -> Result<Vec<Module>> {
    let config = serde_json::to_value(&base.config).map_err(Error::config)?;
    let weight = format!("{projection}.weight");
    let mut mapping = FlatMapping::new(&base.registration.connector.mapping(), &[]).reversed();
    mapping.rules.retain(|rule| rule.sources.iter().any(|source| source.matches(&weight)));
    mapping.equal.clear();
    let state = ModelState::new(config, [(weight, b.clone())]);
    let format = ModelState::new(Value::Null, []);
    let parts = convert(&state, &format, &mapping)?.into_tensors();
    let module = |(name, b): (String, Tensor)| {
        let name = name.strip_suffix(".weight").unwrap_or(&name).into();
        Module { name, a: a.clone(), b }
    };
    Ok(parts.into_iter().map(module).collect())
}

/// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`.
pub(super) fn write(dir: &Path, lora: &Lora, base: &Path, modules: &[Module]) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for Module { name, a, b } in modules {
        for (tensor, part) in [(a, "lora_A"), (b, "lora_B")] {
            let tensor = tensor.contiguous().map_err(Error::candle)?;
            tensors.insert(format!("base_model.model.{name}.{part}.weight"), tensor);
        }
    }
    let metadata = [("format".to_string(), "pt".to_string())].into();
    let path = dir.join("adapter_model.safetensors");
    let bytes = safetensors::serialize(&tensors, Some(metadata))
        .map_err(|error| CandleError(error.to_string()))?;
    write_new(&path, &bytes)?;
    let names = modules.iter().filter_map(|module| module.name.rsplit('.').next());
    // What `LoraConfig` of peft has by default, and what this adapter is.
    let config = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": repository(base)?,
        "r": lora.dim,
        "lora_alpha": lora.alpha,
        "lora_dropout": 0.0,
        "target_modules": names.collect::<BTreeSet<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "modules_to_save": null,
        "use_dora": false,
        "use_rslora": false,
    });
    Ok(write_new(&dir.join("adapter_config.json"), &to_json(&config)?)?)
}

/// The model's name on the hub, if it was imported from there.
fn repository(base: &Path) -> Result<Option<String>> {
    Ok(Recorded::read(base)?.and_then(Recorded::repository))
}
