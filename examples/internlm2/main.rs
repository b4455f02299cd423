//! InternLM2, a family of one's own that does all that a shipped one does.
//!
//! `cargo run --release -p connector-examples --bin internlm2 -- import hf://internlm/internlm2_5-1_8b`
//! runs it, and so do `export`, `verify --logits`, `generate`, `finetune` and the other commands.

mod model;

fn main() -> std::process::ExitCode {
    connector_core::cli::main()
}
