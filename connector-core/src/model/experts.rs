//! A mixture of experts: each token is seen by a few of them.

use super::kernels::{softmax, wide};
use super::linear::Linear;
use super::mlp::GatedMlp;
use candle_core::{D, DType, Result, Tensor};

/// A router and experts.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    /// Scores each expert, `[experts, hidden]`.
    pub router: Linear,
    pub experts: Vec<GatedMlp>,
    /// How many see a token.
    pub top_k: usize,
    /// Whether the softmax is over all experts, not over those chosen.
    pub pre_softmax: bool,
}

impl Experts {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.flatten_to(D::Minus2)?;
        let scores = self.router.forward(&rows)?.to_dtype(wide(x.dtype()))?;
        let chosen = self.choose(&scores.detach().to_dtype(DType::F32)?.to_vec2()?);
        let device = x.device();
        let picked = Tensor::new(chosen.concat(), device)?.reshape((rows.dim(0)?, self.top_k))?;
        // [tokens, top_k]: softmax over the chosen is softmax over all, scaled to a sum of 1.
        let shares = match self.pre_softmax {
            true => softmax(&scores)?.gather(&picked, 1)?,
            false => softmax(&scores.gather(&picked, 1)?)?,
        };
        let shares = shares.to_dtype(x.dtype())?.flatten_all()?;
        let mut sum = rows.zeros_like()?;
        for (number, expert) in self.experts.iter().enumerate() {
            let (tokens, places) = self.tokens_of(number, &chosen);
            if tokens.is_empty() {
                continue;
            }
            let count = tokens.len();
            let tokens = Tensor::from_vec(tokens, count, device)?;
            let shares = shares.index_select(&Tensor::from_vec(places, count, device)?, 0)?;
            let seen = expert.forward(&rows.index_select(&tokens, 0)?)?;
            sum = sum.index_add(&tokens, &seen.broadcast_mul(&shares.unsqueeze(1)?)?, 0)?;
        }
        sum.reshape(x.dims())
    }

    /// The experts of each token, the highest score first; of equal ones the first.
    fn choose(&self, scores: &[Vec<f32>]) -> Vec<Vec<u32>> {
        let of_token = |scores: &Vec<f32>| {
            let mut order: Vec<u32> = (0..scores.len() as u32).collect();
            order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
            order.truncate(self.top_k);
            order
        };
        scores.iter().map(of_token).collect()
    }

    /// The tokens that an expert sees, and where its share of each stands among all shares.
    fn tokens_of(&self, expert: usize, chosen: &[Vec<u32>]) -> (Vec<u32>, Vec<u32>) {
        let all = chosen.iter().enumerate().flat_map(|(token, experts)| {
            let place = experts.iter().position(|&other| other as usize == expert);
            place.map(|place| (token as u32, (token * self.top_k + place) as u32))
        });
        all.unzip()
    }
}
