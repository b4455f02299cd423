//! That memory is bounded, by the bound that a plan prints and whatever the size of the model,
//! counted at the allocator.

use connector_core::checkpoint::Checkpoint;
use connector_core::engine::{Io, NoProgress};
use connector_core::families::gpt::{self, GptConfig};
use connector_core::families::{HfLlama, LlamaModel};
use connector_core::store::Dtype;
use connector_core::{
    ImportOptions, Mapping, ModelConnector, PlannedImport, Result, Tensor, mapping, model_importer,
    ops, state_transform,
};
use connector_tests::{Bench, Model, options};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are allocated, and the most there were at once.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[state_transform(
    source_key = (
        "model.layers.{layer}.self_attn.q_proj.weight",
        "model.layers.{layer}.self_attn.k_proj.weight",
        "model.layers.{layer}.self_attn.v_proj.weight",
    ),
    target_key = "decoder.layers.{layer}.self_attention.linear_qkv.weight",
    when = !attention_bias,
)]
fn cat_qkv(q: Tensor, k: Tensor, v: Tensor) -> candle_core::Result<Tensor> {
    Tensor::cat(&[q, k, v], 0)
}

/// Llama with a function per layer.
struct HfWithFunction;

#[model_importer(LlamaModel, "hf-function", architectures = ["LlamaForCausalLM"])]
impl ModelConnector for HfWithFunction {
    const MAPPING: Mapping = mapping! {
        ..gpt::ENDS,
        cat_qkv,
        "model.layers.{layer}" => "decoder.layers.{layer}" {
            "input_layernorm.weight" => "self_attention.linear_qkv.layer_norm_weight",
            "self_attn.o_proj.{p:weight|bias}" => "self_attention.linear_proj.{p}",
            (
                "self_attn.q_proj.{p:weight|bias}",
                "self_attn.k_proj.{p:weight|bias}",
                "self_attn.v_proj.{p:weight|bias}",
            ) => "self_attention.linear_qkv.{p}" via ops::concat3 when attention_bias,
            ..gpt::GATED_MLP,
            ..gpt::MLP_BIASES,
        },
    };

    fn config(source: &Checkpoint) -> Result<GptConfig> {
        HfLlama::config(source)
    }
}

/// What threads, paths, headers and the record take beside the bound.
const REST: u64 = 512 << 10;

/// The bound of an import of so many layers, and the most that running it took.
fn import(layers: usize, dtype: &str, change: &dyn Fn(&mut ImportOptions)) -> (u64, u64) {
    let bench = Bench::new(&Model::llama(layers, dtype));
    let options = options(|options| {
        options.engine.threads = 2;
        options.engine.max_memory = 2 << 20;
        change(options);
    });
    let planned = PlannedImport::new(&bench.source(), options).unwrap();
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    planned.run(&bench.out(), &NoProgress).unwrap();
    let most = MOST.load(Ordering::Relaxed) - before;
    (planned.bound().total(), most as u64)
}

// One test, for all threads of the process are counted.
#[test]
fn running_a_plan_takes_what_it_says_whatever_the_size_of_the_model() {
    type Change = fn(&mut ImportOptions);
    let kinds: [(&str, &str, Change); 7] = [
        ("kept", "F32", |_| {}),
        ("cast", "F32", |o| o.plan.dtype = Some(Dtype::Bf16)),
        ("hashed", "F32", |o| o.hash = true),
        ("direct", "F32", |o| o.engine.io = Io::Direct),
        // What is read is four times what is written.
        ("narrowed", "F64", |o| o.plan.dtype = Some(Dtype::Bf16)),
        ("narrowed, direct", "F64", |o| {
            (o.plan.dtype, o.engine.io) = (Some(Dtype::Bf16), Io::Direct);
        }),
        ("function", "F32", |o| o.format = "hf-function".into()),
    ];
    for (kind, dtype, change) in kinds {
        let (bound, few) = import(2, dtype, &change);
        let (same, many) = import(8, dtype, &change);
        assert_eq!(bound, same, "{kind}");
        // Guards against a pass for want of work: the model is many times the bound.
        assert!(8 * 2_900_000 > 8 * bound, "{kind}: {bound}");
        assert!(few > bound / 8, "{kind}: {few} bytes of {bound} were used");
        assert!(many <= bound + REST, "{kind}: {many} bytes, the bound is {bound}");
        assert!(many <= few + few / 10 + REST / 4, "{kind}: {few} bytes, then {many}");
    }
}
