//! What in a config is nothing that [`GPTModel`](super::GPTModel) computes.

use super::spec::Activation;
use crate::gpt::GptConfig;
use crate::plan::{Finding, FindingKind};
use crate::{Error, Result};

/// Refuses what in a config makes no model, or is nothing that the model computes.
pub(super) fn refuse(config: &GptConfig) -> Result<Activation> {
    let finding = |field: &str, problem: String| {
        Finding::new(FindingKind::Config, "the model's config", format!("\"{field}\" {problem}"))
    };
    let misfits = config.misfits().into_iter();
    let mut findings: Vec<Finding> = misfits.map(|m| finding(m.field, m.problem)).collect();
    let mut refuse = |field: &str, problem: String| findings.push(finding(field, problem));
    let only = |found: &str, known: &str| format!("is \"{found}\"; this model computes {known}");
    if config.position_embedding_type != "rope" {
        let problem = only(&config.position_embedding_type, "\"rope\"");
        refuse("position_embedding_type", problem);
    }
    let activation = Activation::named(&config.activation_func);
    if activation.is_none() {
        let known = Activation::NAMED.map(|(name, _)| format!("\"{name}\"")).join(", ");
        refuse("activation_func", only(&config.activation_func, &known));
    }
    let rotated = config.kv_channels as f64 * config.rotary_percent.unwrap_or(1.0);
    if rotated < 2.0 || !(rotated as usize).is_multiple_of(2) {
        let (field, what) = match config.rotary_percent {
            Some(share) => {
                ("rotary_percent", format!("{share} of heads of {}", config.kv_channels))
            }
            None => ("kv_channels", config.kv_channels.to_string()),
        };
        refuse(field, format!("is {what}; rotations take pairs"));
    }
    if config.window_size.is_some_and(|(_, after)| after != 0) {
        let problem = "lets tokens see those after them; this model computes causal attention";
        refuse("window_size", problem.into());
    }
    if !config.gated_linear_unit
        && (config.activation_func_clamp_value.is_some() || config.glu_linear_offset.is_some())
    {
        let problem = "is false; this model clamps and offsets gated linear units alone";
        refuse("gated_linear_unit", problem.into());
    }
    if config.layernorm_position.is_some() && config.experts() > 0 {
        let problem = "puts norms after experts; this model has them after a dense MLP";
        refuse("layernorm_position", problem.into());
    }
    match activation {
        Some(activation) if findings.is_empty() => Ok(activation),
        _ => Err(Error::refused(findings)),
    }
}
