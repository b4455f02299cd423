//! What training makes small.

use crate::model::graft;
use candle_core::{D, DType, Result, Tensor};

/// The sum over all rows of `logits`, `[rows, vocabulary]`, of -log(softmax(logits)[label]);
/// `labels` is `[rows]`, u32. A scalar, in f32.
///
/// Not candle-nn's `cross_entropy`: that averages over the rows at hand, and rows may be split over
/// several micro-batches with unequal numbers of them; and it computes in the type of the logits,
/// which for bf16 loses all but 8 bits of the loss. Its gradient is that of the formula, not of its
/// parts, each of which would be as large as the logits.
pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let logits = logits.to_dtype(DType::F32)?;
    let plain = logits.detach();
    let labels = labels.unsqueeze(1)?;
    let plain = plain.broadcast_sub(&plain.max_keepdim(D::Minus1)?)?;
    let said = plain.gather(&labels, 1)?;
    let weights = plain.exp()?;
    let sums = weights.sum_keepdim(D::Minus1)?;
    let loss = (sums.log()? - said)?.sum_all()?;
    if !logits.track_op() {
        return Ok(loss);
    }
    // softmax(logits), less 1 at the label
    graft(&logits, loss, move |_, gradient| {
        let ones = gradient.broadcast_as(sums.shape())?.contiguous()?;
        let shares = weights.broadcast_mul(&ones.div(&sums)?)?;
        shares.scatter_add_set(&labels, &ones.neg()?, D::Minus1)?;
        Ok(shares)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn the_loss_is_that_of_the_formula() {
        let device = Device::Cpu;
        let logits = Tensor::new(&[[0f32, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]], &device).unwrap();
        let labels = Tensor::new(&[2u32, 0], &device).unwrap();
        let loss = cross_entropy(&logits, &labels).unwrap().to_scalar::<f32>().unwrap();
        let want = 4f32.ln() + (1f32.exp() + 2f32.exp() + 3f32.exp() + 4f32.exp()).ln() - 1.0;
        assert!((loss - want).abs() < 1e-5, "{loss} {want}");
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let device = Device::Cpu;
        let labels = Tensor::new(&[1u32], &device).unwrap();
        for (logits, want) in
            [([1e4f32, 1e4], 2f32.ln()), ([1e30, -1e30], f32::INFINITY), ([-1e4, 1e4], 0.0)]
        {
            let logits = Tensor::new(&[logits], &device).unwrap();
            let loss = cross_entropy(&logits, &labels).unwrap().to_scalar::<f32>().unwrap();
            assert!(loss == want || (loss - want).abs() < 1e-5 || loss > 1e30, "{loss} {want}");
        }
    }

    #[test]
    fn the_gradient_is_softmax_minus_one_hot() {
        let device = Device::Cpu;
        let values = [[0.3f32, -1.0, 2.0], [0.0, 0.5, 0.1]];
        let logits = Var::new(&values, &device).unwrap();
        let labels = Tensor::new(&[2u32, 1], &device).unwrap();
        let grads = cross_entropy(&logits, &labels).unwrap().backward().unwrap();
        let grad = grads.get(&logits).unwrap().to_vec2::<f32>().unwrap();
        for (row, (values, label)) in values.iter().zip([2, 1]).enumerate() {
            let sum: f32 = values.iter().map(|x| x.exp()).sum();
            for (at, value) in values.iter().enumerate() {
                let want = value.exp() / sum - f32::from(u8::from(at == label));
                assert!((grad[row][at] - want).abs() < 1e-6, "{} {want}", grad[row][at]);
            }
        }
    }
}
