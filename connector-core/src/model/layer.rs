//! A layer: attention and an MLP, each with norms before it, after it, or both.

use super::attention::{Attention, Shared};
use super::cache::LayerRows;
use super::linear::Linear;
use super::mlp::{Mlp, Unit};
use super::norm::Norm;
use candle_core::{Result, Tensor};

#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub attention: Attention,
    pub attention_norms: Norms,
    pub mlp: Mlp,
    pub mlp_norms: Norms,
    /// What either gives is multiplied by.
    pub residual: f64,
    /// Which of the model's rotary embeddings it has.
    pub rotary: Option<usize>,
}

/// The norms of attention or the MLP.
#[derive(Clone, Debug)]
pub(super) struct Norms {
    /// Of what it takes.
    pub before: Option<Norm>,
    /// Of what it gives.
    pub after: Option<Norm>,
}

impl Norms {
    /// `x`, and what `part` gives of it, times `residual`.
    fn around(
        &self,
        x: &Tensor,
        residual: f64,
        part: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let given = match &self.before {
            Some(norm) => part(&norm.forward(x)?)?,
            None => part(x)?,
        };
        let given = match &self.after {
            Some(norm) => norm.forward(&given)?,
            None => given,
        };
        match residual == 1.0 {
            true => x + given,
            false => x + (given * residual)?,
        }
    }
}

impl Layer {
    /// `x` and the result are `[batch, tokens, hidden]`.
    pub fn forward(
        &self,
        x: &Tensor,
        shared: &Shared<'_>,
        cache: Option<LayerRows<'_>>,
    ) -> Result<Tensor> {
        let attention = |x: &Tensor| self.attention.forward(x, shared, cache);
        let x = self.attention_norms.around(x, self.residual, attention)?;
        self.mlp_norms.around(&x, self.residual, |x| self.mlp.forward(x))
    }

    /// Its linear projections, by their names behind `prefix`.
    pub fn projections(&mut self, prefix: &str) -> Vec<(String, &mut Linear)> {
        let Attention { linear_qkv, linear_proj, .. } = &mut self.attention;
        let mut all = vec![
            (format!("{prefix}.self_attention.linear_qkv"), linear_qkv),
            (format!("{prefix}.self_attention.linear_proj"), linear_proj),
        ];
        let units: Vec<(String, &mut Unit)> = match &mut self.mlp {
            Mlp::Dense(unit) => vec![(format!("{prefix}.mlp"), unit)],
            Mlp::Experts(experts) => {
                let name = |number| format!("{prefix}.mlp.experts.local_experts.{number}");
                let numbered = experts.experts.iter_mut().enumerate();
                let routed = numbered.map(|(number, expert)| (name(number), expert));
                let shared = experts.shared.as_mut();
                let shared =
                    shared.map(|one| (format!("{prefix}.mlp.shared_experts"), &mut one.unit));
                routed.chain(shared).collect()
            }
        };
        for (prefix, Unit { linear_fc1, linear_fc2, .. }) in units {
            all.push((format!("{prefix}.linear_fc1"), linear_fc1));
            all.push((format!("{prefix}.linear_fc2"), linear_fc2));
        }
        all
    }
}
