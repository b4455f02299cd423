//! The state of a model: names and tensors.

use super::Problem;
use crate::checkpoint::torch::pickle::{Pickle, View};
use crate::checkpoint::torch::tensor::Rebuilt;
use std::collections::HashSet;

/// The tensors of a state by their names, in order; all that is wrong with it if anything is.
pub(super) fn tensors<'a>(
    pickle: &Pickle<'a>,
) -> Result<Vec<(&'a str, Rebuilt<'a>)>, Vec<Problem>> {
    let top = pickle.top("the pickle");
    let one = |error| vec![Problem::Pickle(error)];
    let items = top.dict().map_err(|_| one(top.unexpected("a dict of tensors")))?;
    let (mut tensors, mut problems, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for (key, value) in items {
        let name = match key.text() {
            Ok(name) => name,
            Err(error) => {
                problems.push(error.into());
                continue;
            }
        };
        if !names.insert(name) {
            problems.push(Problem::Twice(name.into()));
            continue;
        }
        match Rebuilt::parse(value.named(name)) {
            Ok(tensor) => tensors.push((name, tensor)),
            Err(_) if is_dict(value) => problems.push(Problem::Nested { key: name.into() }),
            Err(error) => problems.push(error.into()),
        }
    }
    if tensors.is_empty() && problems.is_empty() {
        problems.push(Problem::Empty);
    }
    if problems.is_empty() { Ok(tensors) } else { Err(problems) }
}

fn is_dict(value: View<'_, '_>) -> bool {
    match value.call() {
        Some(((_, class), _)) => class == "OrderedDict",
        None => value.dict().is_ok(),
    }
}
