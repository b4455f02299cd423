//! What a pickle says of a tensor: which elements of which storage it is.
//!
//! ```text
//! torch._utils._rebuild_tensor_v2(
//!     ('storage', torch.BFloat16Storage, '0', 'cpu', numel),    a persistent id: the file data/0
//!     storage_offset, sizes, strides, requires_grad, hooks)     in elements
//! ```

use super::pickle::{PickleError, View};
use super::types;
use crate::store::Dtype;

/// A tensor as a call of torch would make it.
#[derive(Debug)]
pub(crate) struct Rebuilt<'a> {
    /// `None` for a type that connector does not know.
    pub dtype: Option<Dtype>,
    /// What torch calls the type, or the class of its storage.
    pub dtype_name: &'a str,
    /// The storage's name in the file.
    pub storage: &'a str,
    /// The first element in the storage.
    pub offset: u64,
    pub size: Vec<usize>,
    pub strides: Vec<usize>,
}

impl<'a> Rebuilt<'a> {
    /// The tensor that `view` is.
    pub fn parse(view: View<'_, 'a>) -> Result<Self, PickleError> {
        let unexpected = |found: View<'_, 'a>| found.unexpected("a tensor");
        let mut call = view.call().ok_or_else(|| unexpected(view))?;
        // A parameter is a call around the call, and a tensor with attributes of its own has its
        // function and arguments apart.
        if let ((_, "_rebuild_parameter" | "_rebuild_parameter_with_state"), args) = call {
            let inner = args.list()?.next().ok_or_else(|| unexpected(view))?;
            call = inner.call().ok_or_else(|| unexpected(inner))?;
        }
        if let ((_, "_rebuild_from_type_v2"), args) = call {
            let args: Vec<_> = args.list()?.collect();
            let [function, class, args, ..] = args[..] else { return Err(unexpected(view)) };
            if !matches!(class.global()?, ("torch" | "torch._tensor", "Tensor") | (_, "Parameter"))
            {
                return Err(unexpected(class));
            }
            call = (function.global()?, args);
        }
        let (("torch._utils", function), args) = call else { return Err(unexpected(view)) };
        let args: Vec<_> = args.list()?.collect();
        let (meta, typed) = match function {
            // Before torch 0.4; without a gradient's flag and hooks.
            "_rebuild_tensor" => (None, None),
            "_rebuild_tensor_v2" => (args.get(6), None),
            // The third version names the type itself, behind hooks.
            "_rebuild_tensor_v3" => (args.get(7), args.get(6)),
            _ => return Err(unexpected(view)),
        };
        let [storage, offset, size, strides, ..] = args[..] else {
            return Err(view.unexpected("a tensor with its storage, sizes and strides"));
        };
        // Set for views that are to be conjugated or negated when they are read.
        if let Some(meta) = meta.filter(|meta| !meta.is_none())
            && meta.dict()?.len() > 0
        {
            return Err(view.unexpected("a tensor without `neg` and `conj` bits"));
        }
        let id: Vec<_> = storage.persistent()?.list()?.collect();
        let [kind, class, key, ..] = id[..] else {
            return Err(storage.unexpected("a storage with its class and file"));
        };
        if kind.text()? != "storage" || id.get(5).is_some_and(|view| !view.is_none()) {
            return Err(storage.unexpected("a whole storage"));
        }
        let (dtype, dtype_name) = match typed {
            Some(dtype) => {
                let name = dtype.global()?.1;
                (types::dtype(name), name)
            }
            None => {
                let name = class.global()?.1;
                (types::of_storage(name), name)
            }
        };
        Ok(Rebuilt {
            dtype,
            dtype_name,
            storage: key.text()?,
            offset: offset.count()?,
            size: size.dimensions()?,
            strides: strides.dimensions()?,
        })
    }

    /// Whether its elements lie one behind the other in row-major order.
    pub fn is_contiguous(&self) -> bool {
        if self.size.contains(&0) {
            return true;
        }
        let mut expected = 1usize;
        self.size.len() == self.strides.len()
            && self.size.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
                // The stride along a single index says nothing.
                let fits = size == 1 || stride == expected;
                expected = expected.saturating_mul(size);
                fits
            })
    }

    /// How many elements of its storage lie before the end of its last one; `None` if no storage is
    /// that large, or it has not as many strides as dimensions.
    pub fn reach(&self) -> Option<u64> {
        if self.size.len() != self.strides.len() {
            return None;
        }
        if self.size.contains(&0) {
            return Some(self.offset);
        }
        let steps = self.size.iter().zip(&self.strides);
        steps.into_iter().try_fold(self.offset.checked_add(1)?, |reach, (&size, &stride)| {
            reach.checked_add((size as u64 - 1).checked_mul(stride as u64)?)
        })
    }
}
