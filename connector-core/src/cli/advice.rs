//! What can be done about errors and findings, by the options that do it.

use crate::base::{Advice, Finding};

pub(super) fn option(advice: &Advice) -> String {
    match advice {
        Advice::ReplaceOutput => "pass --overwrite to replace it, or another --output".into(),
        Advice::OtherOutput => "remove it yourself, or pass another --output".into(),
        Advice::OutputApart => "pass an --output outside of the source".into(),
        Advice::NameIteration => "--iteration N takes one".into(),
        Advice::NameModel => "--model NAME takes one".into(),
        Advice::TakeConfig => {
            "`--hf-config DIR` takes the config from the config.json in DIR instead".into()
        }
        Advice::CarryField => {
            "if it has no effect on what this model computes, `--carry` with its name keeps it"
                .into()
        }
        Advice::Accept { field } => format!("`--accept {field}` writes it all the same"),
        Advice::CorrectOnly => "it is a pattern of --only".into(),
        Advice::Ignore => "`--ignore` with its key drops it on purpose".into(),
        Advice::AllowMemory { least } => format!("--max-memory takes at least {least}"),
        Advice::WriteSafetensors => "--container safetensors holds what torch_dist cannot".into(),
        Advice::StorePerLayer => "--layout per-layer stores each layer by itself".into(),
    }
}

/// The finding with its advice among its notes.
pub(super) fn told(mut finding: Finding) -> Finding {
    finding.notes.extend(finding.advice.drain(..).map(|advice| option(&advice)));
    finding
}
