//! A model with functions of its own, with a schema (`Proven`) and without (`Loose`), and one with
//! the built-in operation in the place of the first function (`Merged`).

use connector_core::checkpoint::HfCheckpoint;
use connector_core::connector::ModelConnector;
use connector_core::mapping::Mapping;
use connector_core::schema::Model as CoreModel;
use connector_core::transform::BoxError;
use connector_core::{
    Result, Tensor, TransformCtx, mapping, model_importer, ops, param_schema, state_transform,
};
use connector_tests::{Fill, Model, Tensor as Made};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Clone, Serialize, Deserialize)]
pub struct Sizes {
    pub num_layers: usize,
    pub num_query_groups: usize,
    pub kv_channels: usize,
    pub num_attention_heads: usize,
    pub hidden: usize,
    pub experts: usize,
}

pub const SIZES: Sizes = Sizes {
    num_layers: 2,
    num_query_groups: 2,
    kv_channels: 4,
    num_attention_heads: 4,
    hidden: 6,
    experts: 3,
};

fn sizes(source: &HfCheckpoint) -> Result<Sizes> {
    source.fields().settle_rest(&["trouble"]);
    Ok(SIZES)
}

param_schema! {
    Proven(c: Sizes) {
        axis layer = c.num_layers;
        axis e = c.experts;
        "layers.{layer}" {
            "qkv.weight": [(c.num_attention_heads + 2 * c.num_query_groups) * c.kv_channels, c.hidden];
            "experts.up": [c.experts, 2, c.hidden];
            "experts.down": [c.experts, c.hidden, 2];
            "one.{e}": [2, c.hidden];
            "gate": [3];
            "value": [5];
            "scaled": [c.hidden];
        }
    }
}

/// The same without a schema.
struct Loose;

impl CoreModel for Loose {
    type Config = Sizes;
}

/// q, k and v by query group, written with candle's operations alone.
#[state_transform(
    source_key = ("model.{layer}.q.weight", "model.{layer}.k.weight", "model.{layer}.v.weight"),
    target_key = "layers.{layer}.qkv.weight",
)]
fn merge_by_hand(ctx: &TransformCtx, q: Tensor, k: Tensor, v: Tensor) -> Result<Tensor, BoxError> {
    let groups = ctx.number("num_query_groups").ok_or("no groups")?;
    let (hidden, rows) = (q.dim(1)?, q.dim(0)? + k.dim(0)? + v.dim(0)?);
    let by_group = |x: &Tensor| x.reshape((groups, x.dim(0)? / groups, hidden));
    let merged = Tensor::cat(&[by_group(&q)?, by_group(&k)?, by_group(&v)?], 1)?;
    let merged = merged.reshape((rows, hidden))?;
    if ctx.index("layer") != Some(1) {
        return Ok(merged);
    }
    match ctx.source().json()["trouble"].as_str() {
        None | Some("read") => Ok(merged),
        Some("shape") => Ok(merged.narrow(0, 1, rows - 1)?),
        Some("rank") => Ok(merged.flatten_all()?),
        Some("type") => Ok(merged.to_dtype(candle_core::DType::F64)?),
        Some("whole") => Ok(merged.to_dtype(candle_core::DType::I64)?),
        Some("narrow") => Ok(merged.to_dtype(candle_core::DType::BF16)?),
        Some("candle") => Ok(merged.matmul(&merged)?),
        Some("error") => Err("the moon is in the wrong house".into()),
        Some("panic") => panic!("division by cucumber"),
        Some(other) => Err(other.into()),
    }
}

/// A whole group at once.
#[state_transform(
    source_key = "model.{layer}.experts.{e}.up",
    target_key = "layers.{layer}.experts.up"
)]
fn gather(experts: &[Tensor]) -> Result<Tensor, BoxError> {
    Ok(Tensor::stack(experts, 0)?)
}

/// One expert at a time; what comes out is not contiguous.
#[state_transform(
    source_key = "model.{layer}.experts.{e}.down",
    target_key = "layers.{layer}.experts.down",
    stack = e
)]
fn transposed(x: Tensor) -> Result<Tensor, BoxError> {
    Ok(x.t()?)
}

/// One index of the first dimension at a time.
#[state_transform(source_key = "model.{layer}.all", target_key = "layers.{layer}.one.{e}", unstack = e)]
fn turned(x: Tensor) -> Result<Tensor, BoxError> {
    Ok(x.t()?.contiguous()?)
}

/// Two tensors from one, both views of its memory.
#[state_transform(
    source_key = "model.{layer}.gate_and_value",
    target_key = ("layers.{layer}.gate", "layers.{layer}.value")
)]
fn cut(x: Tensor) -> Result<(Tensor, Tensor), BoxError> {
    Ok((x.narrow(0, 0, 3)?, x.narrow(0, 3, 5)?))
}

/// A tensor that another one says how to scale.
#[state_transform(
    source_key = "model.{layer}.raw",
    target_key = "layers.{layer}.scaled",
    reads = ("model.{layer}.scale", "model.shift")
)]
fn scaled(ctx: &TransformCtx, x: Tensor) -> Result<Tensor, BoxError> {
    let layer = ctx.index("layer").ok_or("no layer")?;
    let scale = ctx.read(&format!("model.{layer}.scale"))?;
    if ctx.format().json()["trouble"] == "read" {
        ctx.read("model.0.q.weight")?;
    }
    Ok(x.broadcast_mul(&scale)?.broadcast_add(&ctx.read("model.shift")?)?)
}

const ROWS: Mapping = mapping! {
    merge_by_hand, gather, transposed, turned, cut, scaled,
};

struct HfProven;

#[model_importer(Proven, "hf", architectures = ["Proven"])]
impl ModelConnector for HfProven {
    const MAPPING: Mapping = ROWS;

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }
}

struct HfLoose;

#[model_importer(Loose, "hf", architectures = ["Loose"])]
impl ModelConnector for HfLoose {
    const MAPPING: Mapping = ROWS;

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }
}

param_schema! {
    Merged(c: Sizes) {
        axis layer = c.num_layers;
        "layers.{layer}.qkv.weight": [(c.num_attention_heads + 2 * c.num_query_groups) * c.kv_channels, c.hidden];
    }
}

struct HfMerged;

#[model_importer(Merged, "hf", architectures = ["Merged"])]
impl ModelConnector for HfMerged {
    const MAPPING: Mapping = mapping! {
        ("model.{layer}.q.weight", "model.{layer}.k.weight", "model.{layer}.v.weight")
            => "layers.{layer}.qkv.weight" via ops::merge_qkv,
    };

    fn config(source: &HfCheckpoint) -> Result<Sizes> {
        sizes(source)
    }
}

/// The three tensors that are merged.
pub fn attention(model: &mut Model, layer: usize) {
    for (name, rows) in [("q", 16), ("k", 8), ("v", 8)] {
        let name = format!("model.{layer}.{name}.weight");
        model.add(Made::noise(&name, &[rows, SIZES.hidden]));
    }
}

pub fn model(architecture: &str, trouble: Option<&str>) -> Model {
    let config = json!({"architectures": [architecture], "trouble": trouble});
    let mut model = Model { config, ..Model::default() };
    for layer in 0..SIZES.num_layers {
        attention(&mut model, layer);
        for e in 0..SIZES.experts {
            model.add(Made::noise(&format!("model.{layer}.experts.{e}.up"), &[2, SIZES.hidden]));
            model.add(Made::noise(&format!("model.{layer}.experts.{e}.down"), &[2, SIZES.hidden]));
        }
        model.add(Made::noise(&format!("model.{layer}.all"), &[SIZES.experts, SIZES.hidden, 2]));
        model.add(Made::noise(&format!("model.{layer}.gate_and_value"), &[8]));
        let values = Fill::Value(|i| i as f32 + 0.5);
        model.add(Made::new(&format!("model.{layer}.raw"), "F32", &[SIZES.hidden], values));
        let two = Fill::Value(|_| 2.0);
        model.add(Made::new(&format!("model.{layer}.scale"), "F32", &[1], two));
    }
    model.add(Made::new("model.shift", "F32", &[1], Fill::Value(|_| -1.0)));
    model
}
