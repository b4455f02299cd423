//! What a framework computes otherwise than a model does: its config has no place for a field of the
//! model's, or its classes do not look at it.
//!
//! For all frameworks the table of fields says so ([`Args::Unsaid`]); for a family's own classes, what
//! they imply and which fields they have of their own ([`Frameworks`]). What follows from several
//! fields stands here.

use super::megatron_core::Megatron;
use super::{Frameworks, Otherwise, OwnField};
use crate::base::{Advice, Finding, FindingKind};
use crate::checkpoint::Flavor;
use crate::config::{Args, ConfigFields, Scalar};
use crate::gpt::GptConfig;
use serde::Serialize;
use serde_json::Value;

/// A field of a model's config that a framework's config cannot say, so that a model which the
/// framework builds computes something else with the same weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unsaid {
    /// The framework, `Megatron-LM`.
    pub framework: &'static str,
    /// The field of the model's config, by which it is accepted.
    pub field: &'static str,
    /// What it is in this model.
    pub here: String,
    /// What the framework computes with.
    pub there: String,
    /// What that changes.
    pub changes: &'static str,
}

impl Unsaid {
    /// Why nothing is written unless it is accepted.
    pub(crate) fn finding(&self) -> Finding {
        let Unsaid { framework, field, here, there, changes } = self;
        let problem = format!("{framework} would compute something else, its config cannot say it");
        Finding::new(FindingKind::Framework, *field, problem)
            .note(format!("this model has {here}; {framework} computes with {there}"))
            .note(format!("that changes {changes}; the weights are right"))
            .advise(Advice::Accept { field })
    }

    /// What is said of it once it is accepted.
    pub(crate) fn accepted(&self) -> String {
        let Unsaid { framework, field, here, there, changes } = self;
        format!(
            "accepted: \"{field}\" is {here}, and {framework} computes with {there}, which changes \
             {changes}; the weights are right"
        )
    }
}

impl Megatron<'_> {
    /// What `flavor`'s framework computes otherwise. `frameworks` says what its own classes for the
    /// family are.
    pub fn unsaid(&self, flavor: Flavor, frameworks: Option<&Frameworks>) -> Vec<Unsaid> {
        let classes = frameworks.and_then(|frameworks| frameworks.own_of(flavor));
        let framework = flavor.framework();
        let mut unsaid = Vec::new();
        let mut add = |field, here: String, there: String, changes| {
            unsaid.push(Unsaid { framework, field, here, there, changes });
        };
        if self.is("attention_bias") != self.is("mlp_bias") && self.get("mlp_bias").is_some() {
            let (field, of) = match self.is("mlp_bias") {
                true => ("attention_bias", "attention has biases, which the checkpoint has not"),
                false => ("mlp_bias", "the MLP has biases, which the checkpoint has not"),
            };
            add(field, "false".into(), "true: one field is for both".into(), of);
        }
        if self.activation(flavor).is_none() {
            let here = self.text("activation_func").unwrap_or_default().to_string();
            add("activation_func", here, "gelu".into(), "what every MLP computes");
        }
        if let Some((here, there)) = self.rope_unsaid(flavor, frameworks) {
            add("rope_scaling", here, there, "the rotary frequencies, and so all attention");
        }
        let score = self.text("moe_router_score_function");
        if self.is("moe_router_enable_expert_bias") && score != Some("sigmoid") {
            let here = "true, beside a softmax".to_string();
            let changes =
                "which experts are chosen: Megatron-core has these biases beside a sigmoid";
            add("moe_router_enable_expert_bias", here, "false".into(), changes);
        }
        // Not so in layers that do not rotate: Megatron-core's spec is one for all layers.
        let ropeless = self.get("no_rope_freq").is_some();
        if self.is("qk_l2_norm") && ropeless && !classes.is_some_and(|own| own.own_layers) {
            let (here, there) = ("in layers that rotate", "in all layers");
            add("qk_l2_norm", here.into(), there.into(), "the scores of layers that do not rotate");
        }
        for Otherwise { field, there, changes } in classes.map_or(&[][..], |own| own.otherwise) {
            let here = self.get(field).unwrap_or(&Value::Null);
            add(field, here.to_string(), (*there).into(), changes);
        }
        let own = classes.map_or(&[][..], |classes| classes.own);
        for field in GptConfig::FIELDS {
            let here = self.get(field.name);
            let core = field.core.map_or(Value::Null, Scalar::value);
            let is_own = |own: &&OwnField| own.model == field.name;
            match (own.iter().find(is_own), field.args) {
                (Some(OwnField { name, via: Some(via), .. }), _) => {
                    if let Some(here) = here.filter(|here| (via.write)(here).is_null()) {
                        let there = format!("what the default of \"{name}\" is");
                        add(field.name, here.to_string(), there, "the layers that it names");
                    }
                }
                (None, Args::Unsaid(changes)) => {
                    let implied = classes.and_then(|classes| classes.implies(field.name));
                    let there = implied.map_or_else(|| core.clone(), Scalar::value);
                    let here = here.unwrap_or(&core);
                    if *here != there {
                        add(field.name, here.to_string(), there.to_string(), changes);
                    }
                }
                _ => {}
            }
        }
        unsaid
    }

    /// The scaling of rotary frequencies that is not said, and what is said instead.
    fn rope_unsaid(
        &self,
        flavor: Flavor,
        frameworks: Option<&Frameworks>,
    ) -> Option<(String, String)> {
        let none = || "none".to_string();
        let scaling = self.get("rope_scaling")?;
        match scaling["rope_type"].as_str() {
            Some("yarn") => Some((format!("YaRN, {scaling}"), none())),
            Some("longrope") => Some((format!("LongRoPE, {scaling}"), none())),
            Some("llama3") if flavor == Flavor::Nemo => {
                let class = frameworks.and_then(|frameworks| frameworks.nemo.llama3_config);
                class.is_none().then(|| (format!("Llama 3.1's, {scaling}"), none()))
            }
            // Megatron-core's own scaling takes a factor and has constants for all else
            // (`RotaryEmbedding._apply_scaling`).
            Some("llama3") => {
                let names = ["low_freq_factor", "high_freq_factor", "old_context_len"];
                let found = names.map(|name| scaling[name].as_f64());
                (found != [1.0, 4.0, 8192.0].map(Some)).then(|| {
                    let [low, high, length] = names.map(|name| &scaling[name]);
                    let here = format!("{low}, {high} and {length} in its {}", names.join(", "));
                    (here, "1, 4 and 8192".into())
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::megatron_core::tests::config;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_no_field_says_is_listed() {
        let llama3 = |low: f64, length: u64| {
            json!({"rope_scaling": {
                "rope_type": "llama3", "scale_factor": 8.0, "low_freq_factor": low,
                "high_freq_factor": 4.0, "old_context_len": length,
            }})
        };
        for (change, want) in [
            (json!({}), &[][..]),
            (json!({"attention_bias": true, "mlp_bias": true}), &[]),
            (
                json!({"attention_bias": true}),
                &[("mlp_bias", "false", "true: one field is for both")],
            ),
            (json!({"activation_func": "gelu"}), &[("activation_func", "gelu", "gelu")]),
            (
                json!({"apply_embedding_scaling": true}),
                &[("apply_embedding_scaling", "true", "false")],
            ),
            (
                json!({"rope_scaling": {"rope_type": "yarn"}}),
                &[("rope_scaling", "YaRN, {\"rope_type\":\"yarn\"}", "none")],
            ),
            (llama3(1.0, 8192), &[]),
            (
                json!({"num_moe_experts": 4, "moe_router_enable_expert_bias": true}),
                &[("moe_router_enable_expert_bias", "true, beside a softmax", "false")],
            ),
            (
                llama3(2.0, 64),
                &[(
                    "rope_scaling",
                    "2.0, 4.0 and 64 in its low_freq_factor, high_freq_factor, old_context_len",
                    "1, 4 and 8192",
                )],
            ),
        ] {
            let config = config(change.clone());
            let unsaid = Megatron::new(&config).unwrap().unsaid(Flavor::MegatronLm, None);
            let found: Vec<_> =
                unsaid.iter().map(|u| (u.field, u.here.as_str(), u.there.as_str())).collect();
            assert_eq!(found, want, "{change}");
        }
    }
}
