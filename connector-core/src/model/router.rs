//! Which experts see a token, and with what share.

use super::kernels::{softmax, wide};
use super::linear::Linear;
use super::spec::{RouterSpec, Score};
use candle_core::{DType, Result, Tensor};

/// Chooses experts.
#[derive(Clone, Debug)]
pub(super) struct Router {
    /// Scores each expert, `[experts, hidden]`.
    pub linear: Linear,
    /// `[experts]`, added to shares to choose.
    pub choice_bias: Option<Tensor>,
    pub spec: RouterSpec,
}

/// The experts of some tokens.
pub(super) struct Routed {
    /// Those of each token.
    chosen: Vec<Vec<u32>>,
    /// Their shares, of one token after the other, in the type of the model.
    pub shares: Tensor,
}

impl Router {
    /// `rows` are `[tokens, hidden]`.
    pub fn route(&self, rows: &Tensor) -> Result<Routed> {
        let wide = wide(rows.dtype());
        let scores = match self.choice_bias {
            // Where shares differ by so little that biases decide, transformers rounds nothing.
            Some(_) => self.linear.to_dtype(wide)?.forward(&rows.to_dtype(wide)?)?,
            None => self.linear.forward(rows)?.to_dtype(wide)?,
        };
        let scores = match self.spec.score {
            Score::SoftmaxOfAll => softmax(&scores)?,
            Score::SoftmaxOfChosen => scores,
            Score::Sigmoid => candle_nn::ops::sigmoid(&scores)?,
        };
        let by = match &self.choice_bias {
            Some(bias) => {
                let shares = match self.spec.score {
                    Score::SoftmaxOfChosen => softmax(&scores.detach())?,
                    Score::SoftmaxOfAll | Score::Sigmoid => scores.detach(),
                };
                shares.broadcast_add(&bias.detach().to_dtype(scores.dtype())?)?
            }
            None => scores.detach(),
        };
        let by: Vec<Vec<f32>> = by.to_dtype(DType::F32)?.to_vec2()?;
        let chosen: Vec<Vec<u32>> = by.iter().map(|scores| self.choose(scores)).collect();
        let top_k = self.spec.top_k;
        let picked = Tensor::new(chosen.concat(), rows.device())?;
        let shares = scores.gather(&picked.reshape((rows.dim(0)?, top_k))?, 1)?;
        // [tokens, top_k]: softmax over the chosen is softmax over all, scaled to a sum of 1.
        let mut shares = match self.spec.score {
            Score::SoftmaxOfChosen => softmax(&shares)?,
            Score::Sigmoid if top_k > 1 => {
                shares.broadcast_div(&(shares.sum_keepdim(1)? + 1e-20)?)?
            }
            Score::Sigmoid | Score::SoftmaxOfAll => shares,
        };
        if let Some(scale) = self.spec.scale {
            shares = (shares * scale)?;
        }
        Ok(Routed { chosen, shares: shares.to_dtype(rows.dtype())?.flatten_all()? })
    }

    /// The experts of a token, the highest score first; of equal ones the first.
    fn choose(&self, scores: &[f32]) -> Vec<u32> {
        let scores = match self.spec.groups {
            Some((chosen, groups)) => &*within_groups(scores, chosen, groups),
            None => scores,
        };
        let mut order = best_first(scores);
        order.truncate(self.spec.top_k);
        order
    }
}

fn best_first(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    order
}

/// The scores of the experts in the best groups, and 0 for the others, as in transformers. A group is
/// as good as its two best together.
fn within_groups(scores: &[f32], chosen: usize, groups: usize) -> Vec<f32> {
    let size = scores.len() / groups;
    let good = |group: &[f32]| best_first(group).iter().take(2).map(|&i| group[i as usize]).sum();
    let goods: Vec<f32> = scores.chunks(size).map(good).collect();
    let mut order = best_first(&goods);
    order.truncate(chosen);
    let of = |(expert, score): (usize, &f32)| match order.contains(&((expert / size) as u32)) {
        true => *score,
        false => 0.0,
    };
    scores.iter().enumerate().map(of).collect()
}

impl Routed {
    /// The tokens that an expert sees, and where its share of each stands among all shares.
    pub fn tokens_of(&self, expert: usize) -> (Vec<u32>, Vec<u32>) {
        let all = self.chosen.iter().enumerate().flat_map(|(token, experts)| {
            let place = experts.iter().position(|&other| other as usize == expert);
            place.map(|place| (token as u32, (token * experts.len() + place) as u32))
        });
        all.unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const PLAIN: RouterSpec = RouterSpec {
        top_k: 2,
        score: Score::SoftmaxOfChosen,
        linear_bias: false,
        choice_bias: false,
        groups: None,
        scale: None,
    };

    /// The experts and shares of one token whose scores are the logarithms of 1, 2, 3, 4.
    fn routed(spec: RouterSpec, bias: Option<[f32; 4]>) -> (Vec<u32>, Vec<f32>) {
        let weight: Vec<f32> = [1f32, 2.0, 3.0, 4.0].map(f32::ln).into();
        let weight = Tensor::from_vec(weight, (4, 1), &Device::Cpu).unwrap();
        let bias = bias.map(|bias| Tensor::new(&bias, &Device::Cpu).unwrap());
        let router = Router { linear: Linear::new(weight, None), choice_bias: bias, spec };
        let one = Tensor::new(&[[1f32]], &Device::Cpu).unwrap();
        let Routed { mut chosen, shares } = router.route(&one).unwrap();
        (chosen.remove(0), shares.to_vec1().unwrap())
    }

    #[test]
    fn routers_share_as_they_should() {
        // Sigmoids: x / (1 + x).
        let sigmoid = RouterSpec { score: Score::Sigmoid, ..PLAIN };
        let sum = 0.8 + 0.75;
        let one = RouterSpec { top_k: 1, ..sigmoid };
        let grouped = RouterSpec { groups: Some((1, 2)), ..sigmoid };
        for (spec, bias, experts, shares) in [
            (PLAIN, None, vec![3, 2], vec![4.0 / 7.0, 3.0 / 7.0]),
            (RouterSpec { score: Score::SoftmaxOfAll, ..PLAIN }, None, vec![3, 2], vec![0.4, 0.3]),
            (
                RouterSpec { scale: Some(3.0), ..PLAIN },
                None,
                vec![3, 2],
                vec![12.0 / 7.0, 9.0 / 7.0],
            ),
            // It is added to shares: 0.1, 0.2, 0.3, 0.4.
            (PLAIN, Some([0.25, 0.0, 0.0, 0.0]), vec![3, 0], vec![0.8, 0.2]),
            (sigmoid, None, vec![3, 2], vec![0.8 / sum, 0.75 / sum]),
            // Of one that is chosen the sigmoid itself.
            (one, None, vec![3], vec![0.8]),
            // The bias counts for the choice alone.
            (one, Some([1.0, 0.0, 0.0, 0.0]), vec![0], vec![0.5]),
            (sigmoid, Some([1.0, 0.0, 0.0, 0.0]), vec![0, 3], vec![0.5 / 1.3, 0.8 / 1.3]),
            // The best group has the best pair, 0 and 1 by their bias.
            (
                grouped,
                Some([0.5, 0.5, 0.0, 0.0]),
                vec![1, 0],
                vec![(2.0 / 3.0) / (7.0 / 6.0), 0.5 / (7.0 / 6.0)],
            ),
        ] {
            let (got_experts, got) = routed(spec, bias);
            assert_eq!(got_experts, experts, "{spec:?}");
            let near = got.iter().zip(&shares).all(|(got, want)| (got - want).abs() < 1e-6);
            assert!(near && got.len() == shares.len(), "{spec:?}: {got:?} is not {shares:?}");
        }
    }
}
