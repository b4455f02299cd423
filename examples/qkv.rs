//! The smallest state transform: query, key and value projections become one tensor per layer.
//!
//! Run it with `cargo run -p connector-examples --example qkv`.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use candle_core::Device;
use connector_core::transform::StateTransform;
use connector_core::{
    Mapping, ModelState, Tensor, TransformCtx, apply_transforms, mapping, state_transform,
    transforms,
};
use serde_json::json;

// The keys stand on the function. Each `*` stands for one segment of a key, here the layer; tensors
// belong together when it stands for the same layer in all of them. The function has one parameter
// for each source key: forget one, and this does not compile.
//
// For a real model this one would be wrong: Megatron interleaves the three by query group, the
// shapes are the same, and nothing can tell. `via ops::merge_qkv` in a mapping does it.
#[state_transform(
    source_key = (
        "model.layers.*.self_attn.q_proj.weight",
        "model.layers.*.self_attn.k_proj.weight",
        "model.layers.*.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.*.self_attention.linear_qkv.weight",
)]
fn combine_qkv(
    _ctx: &TransformCtx,
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> candle_core::Result<Tensor> {
    Tensor::cat(&[q, k, v], 0)
}

// Everything that only changes its name is a row of a mapping.
const RENAMES: Mapping = mapping! {
    "model.layers.*.self_attn.o_proj.weight" => "decoder.layers.*.self_attention.linear_proj.weight",
    "model.norm.weight" => "decoder.final_layernorm.weight",
};

/// Converts a made-up model of 12 layers.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The function is still an ordinary function; the rule of the same name is data beside it.
    let rule = &combine_qkv::RULES[0];
    println!("{} makes {}", rule.operations[0].name, rule.targets[0]);

    // Layer 10 comes after layer 2 here, although its name sorts before: captures are joined by
    // value, not by their place in a sorted list.
    let device = Device::Cpu;
    let mut tensors = vec![("model.norm.weight".to_string(), Tensor::ones(8, F32, &device)?)];
    for layer in 0..12 {
        for (name, rows) in [("q_proj", 8), ("k_proj", 4), ("v_proj", 4), ("o_proj", 8)] {
            let key = format!("model.layers.{layer}.self_attn.{name}.weight");
            tensors.push((key, Tensor::full(layer as f32, (rows, 8), &device)?));
        }
    }
    let source = ModelState::new(json!({}), tensors);
    let target = ModelState::new(json!({}), []);
    let converted = apply_transforms(&source, &target, &RENAMES, &transforms![combine_qkv])?;

    for (key, tensor) in converted.tensors() {
        let first: f32 = tensor.flatten_all()?.get(0)?.to_scalar()?;
        println!("{key:60} {:?} from layer {first}", tensor.dims());
    }
    Ok(())
}

const F32: candle_core::DType = candle_core::DType::F32;
