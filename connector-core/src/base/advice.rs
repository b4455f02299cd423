use serde::{Serialize, Serializer};
use std::fmt;

/// What can be done about an error or a finding.
///
/// Its text says so in words. A program with options of its own, as the command line has them, says
/// by which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// To replace the output that is there, or to choose another one.
    ReplaceOutput,
    /// To remove what is there by hand, or to choose another output.
    OtherOutput,
    /// To choose an output that is apart from the source.
    OutputApart,
    /// To name one of the iterations.
    NameIteration,
    /// To name one of the models that are known.
    NameModel,
    /// To take the model's config from Hugging Face's instead.
    TakeConfig,
    /// To keep the field, if it has no effect on what the model computes.
    CarryField,
    /// To accept that the framework computes this field of the model's config otherwise.
    Accept {
        /// The field.
        field: &'static str,
    },
    /// To correct the pattern, one of those that choose what is converted.
    CorrectOnly,
    /// To leave the tensor out.
    Ignore,
    /// To allow more memory.
    AllowMemory {
        /// How many bytes at least.
        least: u64,
    },
    /// To write safetensors.
    WriteSafetensors,
    /// To store each layer by itself.
    StorePerLayer,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Advice::ReplaceOutput => "replace it, or choose another output",
            Advice::OtherOutput => "remove it yourself, or choose another output",
            Advice::OutputApart => "choose an output outside of the source",
            Advice::NameIteration => "name one of them",
            Advice::NameModel => "name one of them as the model",
            Advice::TakeConfig => "take the config from a config.json of Hugging Face instead",
            Advice::CarryField => "carry it, if it has no effect on what this model computes",
            Advice::Accept { field } => {
                return write!(f, "accept \"{field}\" to write it all the same");
            }
            Advice::CorrectOnly => "it is one of the patterns that choose what is converted",
            Advice::Ignore => "ignore its key to drop it on purpose",
            Advice::AllowMemory { least } => return write!(f, "it takes at least {least}"),
            Advice::WriteSafetensors => "write safetensors instead",
            Advice::StorePerLayer => "store each layer by itself",
        })
    }
}

/// As its text.
impl Serialize for Advice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
