//! Groups of experts, and experts that see every token.

use crate::config::{Codec, Part};
use serde_json::Value;

const GROUPS: &str = "n_group";
const CHOSEN: &str = "topk_group";
const SHARED: &str = "n_shared_experts";

/// `n_group` and `topk_group`: experts are chosen from the best groups. Of one group there are none.
///
/// A group is as good as its two best experts in transformers, as its best `topk / topk_group` in
/// Megatron-core, so that other numbers would be another model there.
pub(super) const EXPERT_GROUPS: Part = Part {
    names: &[GROUPS, CHOSEN],
    model: &["moe_router_num_groups", "moe_router_group_topk"],
    read: |reading| {
        let fields = &reading.fields;
        let (groups, chosen) = (fields.or(GROUPS, 1usize), fields.or(CHOSEN, 1usize));
        if chosen == 0 || chosen > groups {
            fields.malformed(CHOSEN, format!("is {chosen}; there are {groups} groups"));
        } else if groups > 1 && reading.size("moe_router_topk") != 2 * chosen {
            let problem = format!(
                "is {chosen}, of which {} experts are chosen; Megatron-core scores a group by its \
                 two best, as transformers does, only if two are chosen for each group",
                reading.size("moe_router_topk")
            );
            fields.refuse(CHOSEN, problem);
        }
        let of_several = |number: usize| if groups > 1 { number.into() } else { Value::Null };
        let (groups, chosen) = (of_several(groups), of_several(chosen));
        reading.put("moe_router_num_groups", groups);
        reading.put("moe_router_group_topk", chosen);
    },
    write: |writing| {
        for (name, field) in [(GROUPS, "moe_router_num_groups"), (CHOSEN, "moe_router_group_topk")]
        {
            writing.put(name, writing.get(field).as_u64().unwrap_or(1));
        }
    },
};

/// `n_shared_experts`, each as wide as an expert, which are one: `moe_shared_expert_intermediate_size`.
/// After the width of an expert.
pub(super) const SHARED_EXPERTS: Part = Part {
    names: &[SHARED],
    model: &["moe_shared_expert_intermediate_size"],
    read: |reading| {
        let count: usize = reading.fields.or(SHARED, 1);
        if count == 0 {
            reading.fields.malformed(SHARED, "is 0; it should be 1 or more");
        }
        let width = count.saturating_mul(reading.size("moe_ffn_hidden_size"));
        reading.put("moe_shared_expert_intermediate_size", width);
    },
    write: |writing| {
        let size = |name| writing.get(name).as_u64().unwrap_or(0);
        let width = size("moe_shared_expert_intermediate_size");
        writing.put(SHARED, width / size("moe_ffn_hidden_size").max(1));
    },
};

/// A number that is 1.
pub(super) const ONE: Codec = Codec {
    read: |value| match value.as_u64() {
        Some(1) => Ok(value.clone()),
        _ => Err(format!("is {value}; this importer knows 1")),
    },
    write: Value::clone,
};
