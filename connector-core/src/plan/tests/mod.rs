//! The plan as a whole, on made-up models.

mod branches;
mod copies;
mod dropped;
mod folds;
mod leftovers;
mod optional;
mod origins;
mod outcome;
mod sources;
mod targets;

use crate::transform::BoxError;
use crate::{Tensor, param_schema, state_transform};
use serde::{Deserialize, Serialize};

/// The config of the models here.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
    experts: usize,
    /// How many layers come before the first with experts.
    dense: usize,
    tied: bool,
}

impl Sizes {
    fn new(layers: usize, experts: usize, dense: usize) -> Self {
        Sizes { layers, experts, dense, tied: false }
    }
}

param_schema! {
    /// Layers of two kinds.
    Toy(c: Sizes) {
        axis layer = c.layers;
        axis e = c.experts;
        flag tied = c.tied;
        flag moe(layer) = layer >= c.dense;

        "embed": [8, 4];
        "head": [8, 4] if !tied;
        "d.{layer}" {
            "norm": [4] aka "ln";
            "fc": [2, 4] if !moe;
            "weight{e}": [2, 4] if moe;
        }
    }
}

/// What a complete source for two layers and two experts has, the second layer with experts.
const SOURCE: [&str; 5] =
    ["embed: 8 4", "head: 8 4", "m.{0..2}.norm: 4", "m.0.fc: 2 4", "m.1.e.{0..2}.fc: 2 4"];

fn without(line: &str) -> Vec<&'static str> {
    assert!(SOURCE.contains(&line));
    SOURCE.into_iter().filter(|other| *other != line).collect()
}

const NEVER_CALLED: &str = "plans call no functions";

#[state_transform]
fn gather(_all: &[Tensor]) -> Result<Tensor, BoxError> {
    Err(NEVER_CALLED.into())
}

#[state_transform]
fn scale_and_gather(_scale: Tensor, _all: &[Tensor]) -> Result<Tensor, BoxError> {
    Err(NEVER_CALLED.into())
}

#[state_transform]
fn spread(_all: Tensor) -> Result<Vec<Tensor>, BoxError> {
    Err(NEVER_CALLED.into())
}

#[state_transform]
fn halves(_whole: Tensor) -> Result<(Tensor, Tensor), BoxError> {
    Err(NEVER_CALLED.into())
}
