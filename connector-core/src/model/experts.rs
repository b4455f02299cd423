//! A mixture of experts: each token is seen by a few of them.

use super::kernels::wide;
use super::linear::Linear;
use super::mlp::Unit;
use super::router::Router;
use candle_core::{D, Result, Tensor};

/// A router and experts.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    pub router: Router,
    pub experts: Vec<Unit>,
    /// Whether the input of an expert is multiplied by its share, not its output.
    pub share_input: bool,
    pub shared: Option<SharedExpert>,
}

/// The expert that sees every token.
#[derive(Clone, Debug)]
pub(super) struct SharedExpert {
    pub unit: Unit,
    /// What it gives is multiplied by the sigmoid of this, `[1, hidden]`.
    pub gate: Option<Linear>,
}

impl Experts {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.flatten_to(D::Minus2)?;
        let routed = self.router.route(&rows)?;
        let device = x.device();
        let mut sum = rows.zeros_like()?;
        for (number, expert) in self.experts.iter().enumerate() {
            let (tokens, places) = routed.tokens_of(number);
            if tokens.is_empty() {
                continue;
            }
            let count = tokens.len();
            let tokens = Tensor::from_vec(tokens, count, device)?;
            let shares = Tensor::from_vec(places, count, device)?;
            let shares = routed.shares.index_select(&shares, 0)?.unsqueeze(1)?;
            let seen = rows.index_select(&tokens, 0)?;
            let seen = match self.share_input {
                true => expert.forward(&seen.broadcast_mul(&shares)?)?,
                false => expert.forward(&seen)?.broadcast_mul(&shares)?,
            };
            sum = sum.index_add(&tokens, &seen, 0)?;
        }
        if let Some(shared) = &self.shared {
            sum = (sum + shared.forward(&rows)?)?;
        }
        sum.reshape(x.dims())
    }
}

impl SharedExpert {
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let seen = self.unit.forward(rows)?;
        let Some(gate) = &self.gate else { return Ok(seen) };
        let open = gate.forward(rows)?.to_dtype(wide(rows.dtype()))?;
        seen.broadcast_mul(&candle_nn::ops::sigmoid(&open)?.to_dtype(rows.dtype())?)
    }
}
