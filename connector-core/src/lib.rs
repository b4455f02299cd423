//! Moves large language models between Hugging Face and Megatron/NeMo checkpoints.
//!
//! Both hold the same numbers under other names and in other layouts. A *mapping* says which tensor
//! comes from which; a *plan* holds it against the headers of one checkpoint and is complete or
//! refused; the *engine* runs the plan in bounded memory, and the output appears whole or not at
//! all.
//!
//! ```
//! use connector_core::{ImportOptions, import_ckpt};
//! # let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/llama/hf");
//! # let scratch = std::env::temp_dir().join(format!("connector-doc-{}", std::process::id()));
//! # let output = scratch.as_path();
//!
//! // A Hugging Face directory in, a directory with `weights/` and `context/` out.
//! let record = import_ckpt(fixture, output, ImportOptions::default())?;
//!
//! assert_eq!(record.model, "LlamaModel");
//! assert_eq!(record.plan.parameters, 15);
//! # std::fs::remove_dir_all(output).unwrap();
//! # Ok::<(), connector_core::Error>(())
//! ```
//!
//! # Importing a model that is known
//!
//! [`import_ckpt`] finds the importer by the architecture that `config.json` names. To look before
//! anything is written, make a [`Planned`]: it has the [`plan`](plan::Plan), the files that
//! will be written and the memory it takes, and [`Planned::run`] does it. The command line
//! ([`cli`]) does the same.
//!
//! # And back
//!
//! [`export_ckpt`] applies the importer's mapping in reverse and writes a Hugging Face directory;
//! [`Planned::export`] looks before anything is written.
//!
//! # Writing an importer
//!
//! 1. Declare the parameters with [`param_schema!`]: names, shapes, and when they exist; what models
//!    have in common with [`param_block!`].
//! 2. Write the rows with [`mapping!`], in the key patterns of [`key`].
//! 3. Where no built-in operation ([`ops`]) does it, write a function on tensors and annotate it with
//!    [`state_transform`].
//! 4. Say with [`config_map!`] which field of the format's config is which of the model's: of a
//!    [`GptConfig`](gpt::GptConfig), or of a struct that [`config_fields!`] declares.
//! 5. Join them in a [`ModelConnector`] annotated with [`model_importer`].
//!
//! [`scaffold`] drafts all of it from a checkpoint; `docs/tutorial.md` begins there, and
//! `examples/own_model` has everything by hand.
//!
//! # Running it
//!
//! `model` computes what was imported, on candle: logits, text, gradients.
//!
//! # Training it
//!
//! `train::finetune` goes on from there, in full or with a low-rank adapter, and what it writes is
//! exported as any checkpoint is.
//!
//! # In NeMo's words
//!
//! | NeMo 2 | here |
//! |---|---|
//! | `@io.state_transform(source_key, target_key)` | [`#[state_transform]`](state_transform) |
//! | `io.apply_transforms(source, target, mapping, transforms)` | `apply_transforms` |
//! | `TransformCTX` | [`TransformCtx`] |
//! | `_ModelState` | `ModelState` |
//! | `TransformFns.merge_qkv`, … | [`ops::merge_qkv`](struct@ops::merge_qkv), … |
//! | `@io.model_importer(Model, "hf")` | [`#[model_importer(Model, "hf")]`](model_importer) |
//! | `io.ModelConnector` | [`ModelConnector`] |
//! | `io.ConnectorMixin` | [`ConnectorMixin`] |
//! | `AutoResume` | [`AutoResume`] |
//! | `llm.finetune(model, data, trainer, resume)` | `train::finetune` |
//! | `llm.import_ckpt` | [`import_ckpt`] |
//! | `llm.export_ckpt` | [`export_ckpt`] |
//!
//! One thing is different on purpose: NeMo pairs source and target tensors by their rank in a sorted
//! list; here they are joined by the value that the pattern captured, so that a gap, another order
//! or a missing member is a finding and not a shifted layer.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `candle` | functions on tensors, `apply_transforms`, `revert_transforms`, `model` | yes |
//! | `cli` | the command line | yes |
//! | `hub` | downloads from the Hugging Face hub; its cache is read without | yes |
//! | `train` | `train`, `connector finetune` and `merge` | yes |
//! | `oracle` | `verify --logits` computes the source with candle-transformers | no |
//! | `cuda`, `metal` | devices for functions on tensors and models | no |
//!
//! Everything that only moves bytes works without candle.

// The macros write `::connector_core::…`, which must also work inside this crate.
extern crate self as connector_core;

mod base;
pub mod checkpoint;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod connector;
pub mod engine;
mod error;
pub mod families;
pub mod framework;
pub mod gpt;
pub mod mapping;
#[cfg(feature = "candle")]
pub mod model;
pub mod plan;
mod proof;
pub mod scaffold;
pub mod schema;
pub mod store;
pub mod testing;
#[cfg(feature = "train")]
pub mod train;
pub mod transform;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private_v0_1_0;

#[cfg(any(fuzzing, test))]
#[doc(hidden)]
#[path = "fuzzing.rs"]
pub mod __fuzzing;

pub use base::{
    Advice, Cancel, Cancelled, CandleError, DeviceChoice, Location, Refusal, WorkerPanicked,
};
pub use connector::{
    AutoModel, AutoResume, ConnectorMixin, ExportOptions, ImportOptions, ModelConnector, Planned,
    export_ckpt, import_ckpt,
};
#[cfg(feature = "candle")]
pub use connector::{ModelState, Pretrained, apply_transforms, revert_transforms};
#[doc(inline)]
pub use connector_key as key;
pub use connector_macros::{
    config_map, mapping, model_exporter, model_importer, param_block, param_schema, state_transform,
};
pub use error::{Error, Result};
pub use mapping::Mapping;
pub use transform::{Tensor, TransformCtx, ops};
