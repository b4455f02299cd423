//! What a user accepts that a framework computes otherwise.

use crate::framework::Unsaid;
use crate::plan::Finding;

/// What a framework cannot say of a model, divided by what the user accepts.
#[derive(Default)]
pub(super) struct Accepted {
    /// What keeps the checkpoint from being written.
    pub refused: Vec<Finding>,
    /// What stands in the record.
    pub accepted: Vec<Unsaid>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Accepted {
    /// `names` are fields of the model's config.
    pub fn new(unsaid: Vec<Unsaid>, names: &[String]) -> Self {
        let needless: Vec<&String> = names
            .iter()
            .filter(|name| unsaid.iter().all(|unsaid| unsaid.field != **name))
            .collect();
        let (accepted, refused): (Vec<_>, Vec<_>) =
            unsaid.into_iter().partition(|unsaid| names.iter().any(|name| name == unsaid.field));
        let mut warnings: Vec<String> = accepted.iter().map(Unsaid::accepted).collect();
        warnings.extend(needless.into_iter().map(|name| {
            format!("\"{name}\" is accepted, and need not be: it is computed as it is")
        }));
        let refused = refused.iter().map(Unsaid::finding).collect();
        Accepted { refused, accepted, warnings }
    }
}
