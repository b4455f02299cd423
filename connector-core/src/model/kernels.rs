//! The operations that candle has fused, but without a backward pass, or whose backward pass does more
//! than is asked. Each has its own here, [grafted](super::graft) on the fused result.

use super::graft::{graft, graft_on_three, graft_on_two};
use candle_core::{D, DType, Result, Tensor};

/// The type in which norms and softmax are computed for a model of type `dtype`, as in transformers.
pub(super) fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A product of matrices. Where the device does not multiply bf16, in f32 and rounded, which is what
/// devices that do compute.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() == DType::BF16 && !a.device().supports_bf16() {
        let product = a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?)?;
        return product.to_dtype(DType::BF16);
    }
    a.matmul(b)
}

/// `x·Wᵀ`, of `[…, in]` and `[out, in]`: `[…, out]`.
///
/// A weight that is not trained gets no gradient: candle would compute one, and keep it until the
/// whole pass is over, so that an adapter would take the time and the memory of full training. One
/// that is gets it as it lies in memory, where candle would turn it round.
pub(super) fn project(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    // As one matrix: a batch of matrices against one weight is slower on every device.
    let (rows, plain) = (as_rows(&x.detach())?, weight.detach());
    let made = with_width(&matmul(&rows, &plain.t()?)?, x.dims(), plain.dim(0)?)?;
    let tracked = [x.track_op(), weight.track_op()];
    if tracked == [false; 2] {
        return Ok(made);
    }
    let dims = x.dims().to_vec();
    // dx = dy·W, dW = dyᵀ·x
    graft_on_two([x, weight], made, move |gradient| {
        let gradient = as_rows(gradient)?;
        let dx = wanted(tracked[0], || matmul(&gradient, &plain)?.reshape(dims.as_slice()))?;
        let dw = wanted(tracked[1], || matmul(&gradient.t()?, &rows))?;
        Ok([dx, dw])
    })
}

/// `x·Wᵀ + scale·(x·Aᵀ)·Bᵀ`, of `[…, in]`, `[out, in]`, `[dim, in]` and `[out, dim]`: `[…, out]`. The
/// weight is not trained.
///
/// As one operation: candle's backward pass adds every gradient to zeros, or to what is there. Composed of
/// its parts this takes ten such sums, four of them as large as `x` or the result; so it takes three.
pub(super) fn project_low_rank(
    x: &Tensor,
    weight: &Tensor,
    [a, b]: [&Tensor; 2],
    scale: f64,
) -> Result<Tensor> {
    let rows = as_rows(&x.detach())?;
    let [weight, plain_a, plain_b] = [weight, a, b].map(Tensor::detach);
    // Scaled where it is small.
    let inner = (matmul(&rows, &plain_a.t()?)? * scale)?;
    let made = (matmul(&rows, &weight.t()?)? + matmul(&inner, &plain_b.t()?)?)?;
    let made = with_width(&made, x.dims(), weight.dim(0)?)?;
    let tracked = [x, a, b].map(Tensor::track_op);
    if tracked == [false; 3] {
        return Ok(made);
    }
    let dims = x.dims().to_vec();
    // With h = scale·x·Aᵀ and dh = scale·dy·B: dx = dy·W + dh·A, dA = dhᵀ·x, dB = dyᵀ·h
    graft_on_three([x, a, b], made, move |gradient| {
        let gradient = as_rows(gradient)?;
        let d_inner = (matmul(&gradient, &plain_b)? * scale)?;
        let dx = wanted(tracked[0], || {
            let dx = (matmul(&gradient, &weight)? + matmul(&d_inner, &plain_a)?)?;
            dx.reshape(dims.as_slice())
        })?;
        let da = wanted(tracked[1], || matmul(&d_inner.t()?, &rows))?;
        let db = wanted(tracked[2], || matmul(&gradient.t()?, &inner))?;
        Ok([dx, da, db])
    })
}

/// `[…, width]` as `[rows, width]`.
fn as_rows(x: &Tensor) -> Result<Tensor> {
    x.flatten_to(D::Minus2)
}

/// Rows of `width` in the shape that `dims` is but for its last one.
fn with_width(rows: &Tensor, dims: &[usize], width: usize) -> Result<Tensor> {
    let mut dims = dims.to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    rows.reshape(dims)
}

fn wanted(is_wanted: bool, make: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
    is_wanted.then(make).transpose()
}

/// The softmax of the last dimension.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let made = candle_nn::ops::softmax_last_dim(&x)?;
    if !x.track_op() {
        return Ok(made);
    }
    // dx = y·(dy - Σ dy·y)
    graft(&x, made, |y, gradient| {
        let weighted = (gradient * y)?;
        &weighted - y.broadcast_mul(&weighted.sum_keepdim(D::Minus1)?)?
    })
}

/// `x / sqrt(mean(x²) + ε) · weight` over the last dimension, all of one type, f32 or f64.
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    if x.dtype() != DType::F32 {
        // candle's fused kernel is not for f64.
        return normalized(x, epsilon)?.broadcast_mul(weight);
    }
    let x = x.contiguous()?;
    let made = candle_nn::ops::rms_norm(&x, weight, epsilon as f32)?;
    if !x.track_op() && !weight.track_op() {
        return Ok(made);
    }
    let tracked = [&x, weight].map(Tensor::track_op);
    let (plain, scale) = (x.detach(), weight.detach());
    // With r = 1 / sqrt(mean(x²) + ε) and z = x·r: dw = Σ dy·z, dx = r·(dy·w - z·mean(dy·w·z))
    graft_on_two([&x, weight], made, move |gradient| {
        let r = inverse_root(&plain, epsilon)?;
        let z = plain.broadcast_mul(&r)?;
        let dx = wanted(tracked[0], || {
            let weighted = gradient.broadcast_mul(&scale)?;
            let along = (&weighted * &z)?.mean_keepdim(D::Minus1)?;
            (weighted - z.broadcast_mul(&along)?)?.broadcast_mul(&r)
        })?;
        let rows: Vec<usize> = (0..gradient.rank() - 1).collect();
        let dw = wanted(tracked[1], || (gradient * &z)?.sum(rows))?;
        Ok([dx, dw])
    })
}

/// `x / sqrt(mean(x²) + ε)` over the last dimension.
pub(super) fn normalized(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    x.broadcast_mul(&inverse_root(x, epsilon)?)
}

fn inverse_root(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()
}

/// Turns the pairs (element i of the first half, element i of the second) of the last dimension of
/// `x`, `[batch, heads, positions, size]`, or if they are `interleaved` the pairs of neighbours, by
/// angles whose cosines and sines are `[positions, size / 2]`.
pub(super) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    let rope = match interleaved {
        true => candle_nn::rotary_emb::rope_i,
        false => candle_nn::rotary_emb::rope,
    };
    let x = x.contiguous()?;
    let made = rope(&x, cos, sin)?;
    if !x.track_op() {
        return Ok(made);
    }
    // Gradients turn back.
    let (cos, back) = (cos.clone(), sin.neg()?);
    graft(&x, made, move |_, gradient| rope(&gradient.contiguous()?, &cos, &back))
}

/// `silu(gate) · up`, of `[…, gate over up]`: half as wide.
pub(super) fn swiglu(both: &Tensor) -> Result<Tensor> {
    let [gate, up] = halves(&both.detach())?;
    let made = (gate.silu()? * &up)?;
    if !both.track_op() {
        return Ok(made);
    }
    // With s = sigmoid(gate): d up = dy·gate·s, d gate = dy·up·s·(1 + gate·(1 - s))
    graft(both, made, move |_, gradient| {
        let s = candle_nn::ops::sigmoid(&gate)?;
        let silu = (&gate * &s)?;
        let slope = (&s + (&silu - (&silu * &s)?)?)?;
        let up = (gradient * &up)?;
        Tensor::cat(&[(up * slope)?, (gradient * silu)?], D::Minus1)
    })
}

/// The two halves of the last dimension. candle multiplies what lies apart one element at a time.
pub(super) fn halves(both: &Tensor) -> Result<[Tensor; 2]> {
    let width = both.dim(D::Minus1)? / 2;
    let half = |at| both.narrow(D::Minus1, at, width)?.contiguous();
    Ok([half(0)?, half(width)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn values(count: usize, seed: f64) -> Vec<f64> {
        (0..count).map(|i| (seed + 1.7 * i as f64).sin() * 1.5).collect()
    }

    fn softmax_composed(x: &Tensor) -> Result<Tensor> {
        let exp = x.exp()?;
        exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
    }

    fn rotate_composed(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let half = x.dim(D::Minus1)? / 2;
        let (a, b) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
        let first = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
        let second = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
        Tensor::cat(&[first, second], D::Minus1)
    }

    fn variable(shape: &[usize], seed: f64, dtype: DType) -> Var {
        let count = shape.iter().product();
        let tensor = Tensor::from_vec(values(count, seed), shape, &Device::Cpu).unwrap();
        Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
    }

    /// The result and the gradients of the variables.
    fn run(
        variables: &[&Var],
        compute: impl Fn(&[&Var]) -> Result<Tensor>,
    ) -> (Vec<f64>, Vec<Vec<f64>>) {
        let y = compute(variables).unwrap();
        let weights = Tensor::from_vec(values(y.elem_count(), 0.3), y.dims(), y.device()).unwrap();
        let loss = (&y * weights.to_dtype(y.dtype()).unwrap()).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let flat = |tensor: &Tensor| {
            let wide = tensor.to_dtype(DType::F64).unwrap();
            wide.flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        let gradients = variables.iter().map(|variable| flat(gradients.get(variable).unwrap()));
        (flat(&y), gradients.collect())
    }

    #[track_caller]
    fn same(
        variables: &[&Var],
        one: &dyn Fn(&[&Var]) -> Result<Tensor>,
        other: &dyn Fn(&[&Var]) -> Result<Tensor>,
    ) {
        let (one, other) = (run(variables, one), run(variables, other));
        let all = |(y, gradients): (Vec<f64>, Vec<Vec<f64>>)| [vec![y], gradients].concat();
        for (number, (one, other)) in all(one).into_iter().zip(all(other)).enumerate() {
            assert_eq!(one.len(), other.len());
            for (a, b) in one.iter().zip(&other) {
                assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{number}: {a} is not {b}");
            }
        }
    }

    #[test]
    fn grafts_have_the_gradients_of_what_is_composed() {
        for dtype in [DType::F32, DType::F64] {
            let x = variable(&[2, 3, 4, 6], 0.0, dtype);
            same(&[&x], &|x| softmax(x[0]), &|x| softmax_composed(x[0]));
            let angles = Tensor::from_vec(values(12, 2.0), (4, 3), &Device::Cpu).unwrap();
            let angles = angles.to_dtype(dtype).unwrap();
            let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
            same(&[&x], &|x| rotate(x[0], &cos, &sin, false), &|x| {
                rotate_composed(x[0], &cos, &sin)
            });
            let weight = variable(&[6], 1.0, dtype);
            same(&[&x, &weight], &|x| rms_norm(x[0], x[1], 1e-5), &|x| {
                normalized(x[0], 1e-5)?.broadcast_mul(x[1])
            });
            same(&[&x], &|x| swiglu(x[0]), &|x| {
                let [gate, up] = halves(x[0])?;
                gate.silu()? * up
            });
        }
    }

    #[test]
    fn projections_have_the_gradients_of_what_is_composed() {
        for dtype in [DType::F32, DType::F64] {
            let (x, weight) = (variable(&[2, 3, 4], 0.0, dtype), variable(&[5, 4], 1.0, dtype));
            let product = |x: &Tensor, w: &Tensor| x.broadcast_matmul(&w.t()?);
            same(&[&x, &weight], &|v| project(v[0], v[1]), &|v| product(v[0], v[1]));
            let (a, b) = (variable(&[2, 4], 2.0, dtype), variable(&[5, 2], 3.0, dtype));
            let frozen = weight.as_detached_tensor();
            same(&[&x, &a, &b], &|v| project_low_rank(v[0], &frozen, [v[1], v[2]], 1.5), &|v| {
                product(v[0], &frozen)? + (product(&product(v[0], v[1])?, v[2])? * 1.5)?
            });
            // Of a first layer, whose input is not trained.
            let plain = x.as_detached_tensor();
            same(&[&a, &b], &|v| project_low_rank(&plain, &frozen, [v[0], v[1]], 0.5), &|v| {
                product(&plain, &frozen)? + (product(&product(&plain, v[0])?, v[1])? * 0.5)?
            });
        }
    }

    /// Of what is not trained, no gradient is kept: it would be as large as the model.
    #[test]
    fn what_is_not_trained_has_no_gradient() {
        let x = variable(&[3, 4], 0.0, DType::F32);
        let weight = variable(&[5, 4], 1.0, DType::F32);
        let frozen = weight.as_detached_tensor();
        same(&[&x], &|x| project(x[0], &frozen), &|x| x[0].matmul(&frozen.t()?));
        let loss = project(&x, &frozen).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        assert!(gradients.get(&frozen).is_none() && gradients.get(&x).is_some());
        let loss = project(&x, &weight).unwrap().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&weight).is_some());
        let (a, b) = (variable(&[2, 4], 2.0, DType::F32), variable(&[5, 2], 3.0, DType::F32));
        let loss = project_low_rank(&x, &frozen, [&a, &b], 1.0).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        assert!(gradients.get(&frozen).is_none() && gradients.get(&b).is_some());
        let scale = variable(&[4], 1.0, DType::F32).as_detached_tensor();
        let loss = rms_norm(&x, &scale, 1e-5).unwrap().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&scale).is_none());
    }

    /// A part of a larger tensor is grafted as that part.
    #[test]
    fn parts_are_grafted() {
        let x = variable(&[4], 0.0, DType::F32);
        let made = variable(&[2, 4], 1.0, DType::F32).as_detached_tensor().get(1).unwrap();
        let y = graft(&x, made.clone(), |_, gradient| Ok(gradient.clone())).unwrap();
        assert_eq!(y.to_vec1::<f32>().unwrap(), made.to_vec1::<f32>().unwrap());
        assert!(y.track_op());
    }
}
