//! Products with weights that are not trained.

use super::kernels::matmul;
use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, Layout, MetalStorage, Result, Shape, Tensor,
};

/// `x·Wᵀ` for a weight `[out, in]` that is not trained, and `x`, `[rows, in]`, that has gradients.
///
/// candle's product computes the weight's gradient too, and keeps it until the whole pass is over:
/// an adapter would take the time and the memory of full training.
pub(super) fn product(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let y = matmul(&x.detach(), &weight.t()?)?;
    x.apply_op2(&y, Frozen { weight: weight.clone() })
}

/// Gives its second argument, which is the product of the first one.
struct Frozen {
    weight: Tensor,
}

impl CustomOp2 for Frozen {
    fn name(&self) -> &'static str {
        "frozen-product"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        y: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        y: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        y: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        Ok((y.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(matmul(gradient, &self.weight)?), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn only_the_input_has_a_gradient() {
        let random = |shape| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
        let (x, weight) = (Var::from_tensor(&random((3, 4))).unwrap(), random((5, 4)));
        let plain = x.matmul(&weight.t().unwrap()).unwrap();
        let frozen = product(&x, &weight).unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&frozen), values(&plain));
        let gradient = |y: &Tensor| {
            let gradients = y.sqr().unwrap().backward().unwrap();
            (values(gradients.get(&x).unwrap()), gradients.get(&weight).is_some())
        };
        assert_eq!(gradient(&plain), (gradient(&frozen).0, true));
        assert!(!gradient(&frozen).1);
    }
}
