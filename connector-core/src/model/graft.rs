//! Results with a backward pass of our own.
//!
//! candle's fused kernels have no backward pass, and its backward pass of a product computes the
//! gradients of both factors, also of one that is not trained. A result that was computed without
//! gradients is grafted on what it was computed from, with a function for them. Works on any device.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape, Tensor,
};

/// `made`, as a function of `x`. `backward` takes `made` and its gradient to the gradient of `x`.
pub(super) fn graft(
    x: &Tensor,
    made: &Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op2(made, OnOne(backward))
}

/// `made`, as a function of `x` and `weight`. `backward` takes its gradient to those of both; of the
/// weight only if that is trained.
pub(super) fn graft_on_both(
    x: &Tensor,
    weight: &Tensor,
    made: &Tensor,
    backward: impl Fn(&Tensor) -> Result<(Tensor, Option<Tensor>)> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op3(weight, made, OnBoth(backward))
}

/// Gives its second argument.
struct OnOne<F>(F);

/// Gives its third argument.
struct OnBoth<F>(F);

fn copy<S>(made: &S, layout: &Layout) -> Result<(S, Shape)>
where
    S: BackendStorage,
    S::Device: BackendDevice<Storage = S>,
{
    // The part of the storage that the tensor is, wherever that begins.
    let mut copy = made.device().zeros_impl(layout.shape(), made.dtype())?;
    made.copy_strided_src(&mut copy, 0, layout)?;
    Ok((copy, layout.shape().clone()))
}

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor>> CustomOp2 for OnOne<F> {
    fn name(&self) -> &'static str {
        "graft"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        made: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        copy(made, layout)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        made: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        copy(made, layout)
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        made: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        copy(made, layout)
    }

    fn bwd(
        &self,
        _: &Tensor,
        made: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some((self.0)(made, gradient)?), None))
    }
}

impl<F: Fn(&Tensor) -> Result<(Tensor, Option<Tensor>)>> CustomOp3 for OnBoth<F> {
    fn name(&self) -> &'static str {
        "graft"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        made: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        copy(made, layout)
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        made: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        copy(made, layout)
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        made: &MetalStorage,
        layout: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        copy(made, layout)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (x, weight) = (self.0)(gradient)?;
        Ok((Some(x), weight, None))
    }
}
