//! A Llama checkpoint converted in memory: `apply_transforms` with the rows of the ready importer.
//!
//! Run it with `cargo run -p connector-examples --example in_memory`.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use candle_core::Device;
use connector_core::checkpoint::HfCheckpoint;
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::{ModelConnector, ModelState, apply_transforms};
use std::path::Path;

/// Loads the fixture that the repository ships, converts it and prints what came out.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/llama/hf");

    // The connector reads the config; the tensors go to any device that candle has.
    let checkpoint = HfCheckpoint::open(&path)?;
    let config = HfLlama::config(&checkpoint)?;
    let device = Device::cuda_if_available(0)?;
    let tensors = candle_core::safetensors::load(path.join("model.safetensors"), &device)?;

    // The source: tensors and the config they came with. The target: a model's config, whose
    // schema says which parameters there must be. What does not fit is refused, all at once.
    let source = ModelState::new(checkpoint.config().cloned().unwrap_or_default(), tensors);
    let target = ModelState::of::<LlamaModel>(&config)?;
    let model = apply_transforms(&source, &target, &HfLlama::MAPPING, &[])?;

    println!("{} tensors became {} parameters", source.tensors().len(), model.tensors().len());
    for (name, tensor) in model.tensors() {
        println!("  {name:60} {:?}", tensor.dims());
    }
    Ok(())
}
