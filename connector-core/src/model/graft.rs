//! Results with a backward pass of our own.
//!
//! candle's fused kernels have no backward pass, and its backward pass of a product computes the
//! gradients of both factors, also of one that is not trained. A result that was computed without
//! gradients is grafted on what it was computed from, with a function for them. Works on any device.

use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape,
    Storage, Tensor,
};
use std::sync::{Mutex, PoisonError};

/// `made`, as a function of `x`. `backward` takes it and its gradient to the gradient of `x`.
pub(crate) fn graft(
    x: &Tensor,
    made: Tensor,
    backward: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op1(Graft::new(made, backward))
}

/// `made`, as a function of `x` and `weight`. `backward` takes its gradient to those of the two, or
/// to none for what is not trained.
pub(super) fn graft_on_two(
    [x, weight]: [&Tensor; 2],
    made: Tensor,
    backward: impl Fn(&Tensor) -> Result<[Option<Tensor>; 2]> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op2(weight, Graft::new(made, backward))
}

/// As [`graft_on_two`], for three.
pub(super) fn graft_on_three(
    [x, a, b]: [&Tensor; 3],
    made: Tensor,
    backward: impl Fn(&Tensor) -> Result<[Option<Tensor>; 3]> + Send + Sync + 'static,
) -> Result<Tensor> {
    x.apply_op3(a, b, Graft::new(made, backward))
}

/// An operation that gives what is made already.
struct Graft<F> {
    /// Let go as soon as it is given, so that it is not in memory twice until the backward pass.
    made: Mutex<Option<Tensor>>,
    backward: F,
}

impl<F> Graft<F> {
    fn new(made: Tensor, backward: F) -> Self {
        Graft { made: Mutex::new(Some(made)), backward }
    }

    /// What is made, of the storage that `pick` finds.
    fn give<S>(&self, pick: impl Fn(&Storage) -> Option<&S>) -> Result<(S, Shape)>
    where
        S: BackendStorage,
        S::Device: BackendDevice<Storage = S>,
    {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).take();
        let made =
            made.ok_or_else(|| candle_core::Error::Msg("a graft was given before".into()))?;
        let (storage, layout) = made.storage_and_layout();
        let other = || candle_core::Error::Msg("a graft is on another device".into());
        copy(pick(&storage).ok_or_else(other)?, layout)
    }

    fn give_cpu(&self) -> Result<(CpuStorage, Shape)> {
        self.give(|storage| if let Storage::Cpu(storage) = storage { Some(storage) } else { None })
    }

    fn give_cuda(&self) -> Result<(CudaStorage, Shape)> {
        self.give(|storage| if let Storage::Cuda(storage) = storage { Some(storage) } else { None })
    }

    fn give_metal(&self) -> Result<(MetalStorage, Shape)> {
        self.give(
            |storage| if let Storage::Metal(storage) = storage { Some(storage) } else { None },
        )
    }
}

/// The part of the storage that the tensor is, wherever that begins.
fn copy<S>(made: &S, layout: &Layout) -> Result<(S, Shape)>
where
    S: BackendStorage,
    S::Device: BackendDevice<Storage = S>,
{
    let mut copy = made.device().zeros_impl(layout.shape(), made.dtype())?;
    made.copy_strided_src(&mut copy, 0, layout)?;
    Ok((copy, layout.shape().clone()))
}

/// The name in candle's errors.
const NAME: &str = "graft";

impl<F: Fn(&Tensor, &Tensor) -> Result<Tensor>> CustomOp1 for Graft<F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.give_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.give_cuda()
    }

    fn metal_fwd(&self, _: &MetalStorage, _: &Layout) -> Result<(MetalStorage, Shape)> {
        self.give_metal()
    }

    fn bwd(&self, _: &Tensor, made: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&made.detach(), gradient).map(Some)
    }
}

impl<F: Fn(&Tensor) -> Result<[Option<Tensor>; 2]>> CustomOp2 for Graft<F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.give_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.give_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.give_metal()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        (self.backward)(gradient).map(Into::into)
    }
}

impl<F: Fn(&Tensor) -> Result<[Option<Tensor>; 3]>> CustomOp3 for Graft<F> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.give_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.give_cuda()
    }

    fn metal_fwd(
        &self,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
        _: &MetalStorage,
        _: &Layout,
    ) -> Result<(MetalStorage, Shape)> {
        self.give_metal()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        (self.backward)(gradient).map(Into::into)
    }
}
