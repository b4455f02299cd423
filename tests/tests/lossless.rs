//! `testing::prove_lossless`: what it shows, what it does not, and what it finds.

use candle_core::Result as CandleResult;
use connector_core::checkpoint::HfCheckpoint;
use connector_core::families::{HfGemma, HfLlama, HfMistral, HfMixtral};
use connector_core::gpt::GptConfig;
use connector_core::schema::Model;
use connector_core::testing::{Lossless, prove_lossless};
use connector_core::transform::{
    BoxError, Class, Kernel, LayOut, Move, Moves, Numbers, Operation, Shape, Signature, Transform,
};
use connector_core::{
    Error, Mapping, ModelConnector, Result, Tensor, TransformCtx, engine, mapping, model_importer,
    ops, param_schema, state_transform,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The config of a fixture, with some fields of the model's config changed.
fn config<C: ModelConnector<Model: Model<Config = GptConfig>>>(
    fixture: &str,
    change: &Value,
) -> GptConfig {
    let checkpoint =
        HfCheckpoint::open(connector_tests::fixture(&format!("{fixture}/hf"))).unwrap();
    let mut config = serde_json::to_value(C::config(&checkpoint).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

fn prove<C: ModelConnector<Model: Model<Config = GptConfig>>>(
    fixture: &str,
    change: Value,
    counts: (usize, usize),
) {
    let shown = prove_lossless::<C>(&config::<C>(fixture, &change)).unwrap();
    assert_eq!((shown.sources, shown.parameters), counts, "{fixture} {change}");
    assert_eq!(shown.computed, [""; 0]);
    // Every parameter is shown; what is not are copies and buffers of the source.
    let exempt: BTreeSet<&str> = shown.exempt.iter().map(|exempt| exempt.keys.as_str()).collect();
    let buffers = ["lm_head.weight", "model.rotary_emb.inv_freq"];
    assert!(exempt.is_superset(&buffers.into()), "{exempt:?}");
    assert!(exempt.iter().all(|key| buffers.contains(key) || key.contains("rotary")), "{exempt:?}");
}

#[test]
fn the_families_lose_nothing() {
    let deep = |layers: usize| json!({ "num_layers": layers });
    prove::<HfLlama>("llama", json!({}), (3 + 2 * 9, 3 + 2 * 6));
    prove::<HfLlama>("llama", deep(11), (3 + 11 * 9, 3 + 11 * 6));
    prove::<HfLlama>(
        "llama",
        json!({"attention_bias": true, "mlp_bias": true}),
        (3 + 2 * 16, 3 + 2 * 10),
    );
    // Rows of padding come in and go out again.
    let padded = json!({"make_vocab_size_divisible_by": 64});
    prove::<HfLlama>("llama", padded, (3 + 2 * 9, 3 + 2 * 6));
    prove::<HfLlama>("llama3_tied", deep(2), (2 + 2 * 9, 2 + 2 * 6));
    prove::<HfMistral>("mistral", deep(2), (3 + 2 * 9, 3 + 2 * 6));
    prove::<HfGemma>("gemma", deep(2), (2 + 2 * 9, 2 + 2 * 6));
    prove::<HfMixtral>("mixtral", deep(12), (3 + 12 * (7 + 4 * 3), 3 + 12 * (5 + 4 * 2)));
    let grouped = json!({"num_layers": 1, "num_moe_experts": 11, "moe_grouped_gemm": true});
    prove::<HfMixtral>("mixtral", grouped, (3 + 7 + 11 * 3, 3 + 5 + 11 * 2));
}

#[derive(Clone, Serialize, Deserialize)]
struct Config {
    layers: usize,
    experts: usize,
}

const CONFIG: Config = Config { layers: 12, experts: 3 };

fn no_config(_: &HfCheckpoint) -> Result<Config> {
    Err(Error::Cancelled)
}

/// A model of one parameter for each layer, and its importer.
macro_rules! importer {
    ($model:ident, $importer:ident, { $($name:literal: $shape:tt),* }, { $($rows:tt)* }) => {
        param_schema! {
            $model(c: Config) {
                axis layer = c.layers;
                axis expert = c.experts;
                "layers.{layer}" { $($name: $shape;)* }
            }
        }
        struct $importer;
        #[model_importer($model, "hf")]
        impl ModelConnector for $importer {
            const MAPPING: Mapping = mapping! {
                "h.{layer}" => "layers.{layer}" { $($rows)* }
            };
            fn config(source: &HfCheckpoint) -> Result<Config> {
                no_config(source)
            }
        }
    };
}

#[state_transform(inverse = transposed)]
fn transposed(x: Tensor) -> CandleResult<Tensor> {
    x.t()?.contiguous()
}

#[state_transform(inverse = minus_one)]
fn plus_one(x: Tensor) -> CandleResult<Tensor> {
    x + 1.0
}

#[state_transform(inverse = plus_one)]
fn minus_one(x: Tensor) -> CandleResult<Tensor> {
    x - 1.0
}

#[state_transform]
fn halved(ctx: &TransformCtx, x: Tensor) -> CandleResult<Tensor> {
    x * (0.5 + ctx.index("layer").map_or(0.0, |_| 0.0))
}

importer!(Fine, HfFine, {
    "t": [4, 2], "norm": [4], "experts": [3, 2], "one.{expert}": [2], "half": [3],
    "fused": [6, 2]
}, {
    "t" => "t" via transposed,
    "norm" => "norm" via plus_one,
    "e.{expert}" => "experts" stack expert,
    "all" => "one.{expert}" unstack expert,
    "half" => "half" via halved,
    one_of {
        two { ("gate", "up") => "fused" via ops::merge_fc1 }
        one { "gate_up" => "fused" }
    }
    ignore "buffer",
});

#[test]
fn functions_axes_and_branches_are_shown_and_the_rest_is_listed() {
    let shown = prove_lossless::<HfFine>(&CONFIG).unwrap();
    let Lossless { sources, parameters, elements, computed, exempt, .. } = &shown;
    // t, norm, three experts, all, gate and up; t, norm, experts, three of one, fused.
    assert_eq!((*sources, *parameters), (12 * 8, 12 * 7));
    assert_eq!(*elements, 12 * (8 + 4 + 6 + 6 + 12));
    assert!(matches!(&computed[..], [one] if one.starts_with("plus_one (")), "{computed:?}");
    let exempt: Vec<(&str, &str)> =
        exempt.iter().map(|exempt| (exempt.keys.as_str(), exempt.reason.as_str())).collect();
    let want = [
        ("h.{layer}.buffer", "is left behind"),
        ("layers.{0..11}.half", "`halved` has no inverse"),
    ];
    assert_eq!(exempt, want);
    let page = shown.to_string();
    for line in [
        "HfFine: 96 tensors → 84 parameters → the same tensors, each of 432 elements in its place",
        "\n  computes, its inverse brings everything back: plus_one (",
        "\n  not shown: layers.{0..11}.half `halved` has no inverse (",
    ] {
        assert!(page.contains(line), "{page}");
    }
}

#[state_transform(inverse = restored)]
fn first_twice(x: Tensor) -> CandleResult<Tensor> {
    Tensor::cat(&[x.narrow(0, 0, 1)?, x.narrow(0, 0, 1)?, x.narrow(0, 2, 2)?], 0)
}

#[state_transform(inverse = first_twice)]
fn restored(x: Tensor) -> Tensor {
    x
}

#[state_transform(inverse = rotated)]
fn rotated(x: Tensor) -> CandleResult<Tensor> {
    Tensor::cat(&[x.narrow(0, 1, 3)?, x.narrow(0, 0, 1)?], 0)
}

#[state_transform(inverse = rounded)]
fn rounded(x: Tensor) -> CandleResult<Tensor> {
    x.to_dtype(candle_core::DType::BF16)?.to_dtype(x.dtype())
}

#[state_transform(inverse = failing)]
fn failing(x: Tensor) -> CandleResult<Tensor> {
    x.matmul(&x)
}

/// An operation that moves elements, as the built-in ones do, and forgets the last.
#[derive(Debug)]
struct Forgets;

impl Transform for Forgets {
    const OPERATION: Operation = Operation {
        name: "forgets",
        class: Class::Bijective,
        sources: 1,
        targets: 1,
        signature: Signature::Unknown,
        kernel: Kernel::Moves(&Forgets),
        inverse: Some(|| Forgets::OPERATION),
        each: false,
    };
}

impl LayOut for Forgets {
    fn lay_out(
        &self,
        _: &Numbers<'_>,
        sources: &[Shape],
        _: Option<&[Shape]>,
    ) -> Result<Moves, String> {
        let moves = vec![Move::run(0, 0, 0, 0, sources[0][0] as u64 - 1)];
        Ok(Moves { shapes: sources.to_vec(), moves, equal: Vec::new() })
    }

    fn apply(
        &self,
        _: &TransformCtx<'_>,
        sources: &[Tensor],
        _: Option<&[Shape]>,
    ) -> Result<Vec<Tensor>, BoxError> {
        Ok(vec![sources[0].pad_with_zeros(0, 0, 1)?.narrow(0, 0, sources[0].dim(0)?)?])
    }
}

importer!(Loses, HfLoses, { "a": [4] }, { "a" => "a" via Forgets });
importer!(Doubles, HfDoubles, { "a": [4], "b": [2] }, {
    "a" => "a" via first_twice,
    "b" => "b",
});
importer!(Rotates, HfRotates, { "a": [4] }, { "a" => "a" via rotated });
importer!(Rounds, HfRounds, { "a": [400] }, { "a" => "a" via rounded });
importer!(Fails, HfFails, { "a": [4] }, { "a" => "a" via failing });

#[test]
fn what_is_lost_doubled_or_misplaced_is_named() {
    let refusal = |result: Result<Lossless>| match result {
        Err(Error::Refused(refusal)) => {
            refusal.findings.iter().map(|finding| finding.to_string()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    for (findings, want) in [
        // The tensors say what the moves do not.
        (
            refusal(prove_lossless::<HfLoses>(&CONFIG)),
            "layers.0.a[3]: holds h.0.a[3]; its operation puts nothing there",
        ),
        (refusal(prove_lossless::<HfDoubles>(&CONFIG)), "h.0.a[1]: was 2.0 and comes back as 1.0"),
        (refusal(prove_lossless::<HfRotates>(&CONFIG)), "h.0.a[0]: comes back as h.0.a[2]"),
        (
            refusal(prove_lossless::<HfRounds>(&CONFIG)),
            "h.0.a[256]: was 257.0 and comes back as 256.0",
        ),
    ] {
        assert_eq!(findings.len(), 12, "{findings:?}");
        assert!(findings[0].contains(want), "{}", findings[0]);
        assert!(findings[0].contains("lossless.rs:"), "{}", findings[0]);
    }
    let failed = prove_lossless::<HfFails>(&CONFIG);
    assert!(
        matches!(failed, Err(Error::Engine(engine::Error::Function { name: "failing", .. }))),
        "{failed:?}"
    );
}
