//! What parameters a model has: names, shapes and the conditions under which they exist.
//!
//! [`param_schema!`](crate::param_schema) declares them once; the compiler holds the mappings
//! against the declaration and the plan expands it under a config.

mod assemble;
mod instance;

#[doc(hidden)]
pub use assemble::{
    Declared, Sizes, count, depends as depends_of, exclusive, experts as experts_of,
    names as names_of, parameters as list, sizes, spellings, terms, vocabulary as vocabulary_of,
};
pub use instance::{Configured, Instance, expand, holds};
pub(crate) use instance::{Existing, existing, names, parameters};

use crate::Location;
use crate::base::Dtype;
use crate::key::{Condition, Pattern, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every parameter of a model. Made by [`param_schema!`](crate::param_schema), usable in
/// constants.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The model's type, `LlamaModel`.
    pub model: &'static str,
    /// The axes that indices run over, `layer`.
    pub axes: &'static [&'static str],
    /// Numbers of the config that operations and index offsets ask for by name.
    pub fields: &'static [&'static str],
    /// The flags that conditions are made of.
    pub flags: &'static [&'static str],
    /// Flags of which at most one holds.
    pub one_of: &'static [Exclusive],
    /// The parameters.
    pub parameters: &'static [Parameter],
    /// The axis of experts.
    pub experts: Option<Experts>,
    /// What the config says of the vocabulary.
    pub vocabulary: Option<Vocabulary>,
    /// Flags and fields whose values differ along an axis.
    pub depends: &'static [Depends],
    /// Of a block: what it leaves to the schema that includes it.
    pub outer: Outer,
    /// Where the schema is declared.
    pub at: Location,
}

/// `flag moe(layer) = …;`: a value for each index of an axis.
#[derive(Clone, Copy, Debug)]
pub struct Depends {
    /// The flag, or the field.
    pub name: &'static str,
    /// The axis.
    pub axis: &'static str,
    /// Whether it is a flag.
    pub is_flag: bool,
}

/// `axis e: experts(grouped) = …;`: each parameter with this axis in its name has two spellings.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// The axis.
    pub axis: &'static str,
    /// The field of the config that says whether they are written as Megatron-core's grouped ones.
    pub grouped: Option<&'static str>,
}

/// `vocabulary tokens padded to divisor;`: fields of the config.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// How many tokens there are.
    pub tokens: &'static str,
    /// What the rows of the embedding are padded to a multiple of.
    pub divisor: Option<&'static str>,
}

/// `one of a, b, c;`, `at most one of a, b;`: flags that exclude each other at each index.
#[derive(Clone, Copy, Debug)]
pub struct Exclusive {
    /// The flags.
    pub flags: &'static [&'static str],
    /// Whether one of them holds always.
    pub exhaustive: bool,
}

impl Experts {
    /// Whether a config has them written as grouped ones.
    pub fn are_grouped(&self, config: &Value) -> bool {
        self.grouped.and_then(|field| config.get(field)?.as_bool()) == Some(true)
    }
}

impl Vocabulary {
    /// How many rows a config has for it, beside how many tokens: padded.
    pub fn rows(&self, config: &Value) -> Option<usize> {
        let number = |field| config.get(field)?.as_u64().and_then(|n| usize::try_from(n).ok());
        number(self.tokens)?.checked_next_multiple_of(number(self.divisor?)?.max(1))
    }

    /// Makes the padding of a config say how many rows there are: training on several ranks pads to
    /// a multiple of more than it says.
    pub(crate) fn fit(&self, config: &mut Value, rows: usize) {
        let tokens = config.get(self.tokens).and_then(Value::as_u64);
        if let (Some(tokens), Some(divisor)) = (tokens, self.divisor)
            && tokens <= rows as u64
            && self.rows(config) != Some(rows)
            && let Some(divisor) = config.get_mut(divisor)
        {
            *divisor = rows.into();
        }
    }
}

/// Names that a block uses and the schema around it declares.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// Axes. In `at` their indices come after those of the block's own.
    pub axes: &'static [&'static str],
    /// Flags.
    pub flags: &'static [&'static str],
}

/// One entry of a declaration.
#[derive(Clone, Copy, Debug)]
pub enum Entry {
    /// A parameter of its own.
    Parameter(Parameter),
    /// The parameters of a block.
    Block(Included),
}

/// A block where a schema includes it.
#[derive(Clone, Copy, Debug)]
pub struct Included {
    /// What the names of its parameters begin with there.
    pub prefix: Pattern<'static>,
    /// When they exist, beside their own conditions.
    pub when: Condition,
    /// The block.
    pub schema: Schema,
    /// Which entry of the declaration it is.
    pub entry: usize,
}

/// One parameter of a model, or one per value of the axes in its name.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub pattern: Pattern<'static>,
    /// When it exists.
    pub when: Condition,
    /// Other spellings of its name.
    pub aka: &'static [Pattern<'static>],
    /// Which of `aka` is written, by its number, and when. Where no condition holds, a row that
    /// has one of these spellings writes the name; any other row writes the spelling that it has.
    pub written_as: &'static [(Condition, usize)],
    /// The type that a cast leaves it in.
    pub keep: Option<Dtype>,
    /// What it is, as words say behind `as`.
    pub said: Role<'static>,
    /// Which entry of the declaration it is, and of a block that this includes which parameter.
    pub entry: (usize, usize),
    /// Where it is declared.
    pub at: Location,
}

/// A model's config: the numbers and switches that its parameters and its computation follow.
///
/// Implemented for whatever serde can write and read; `model.yaml` holds it.
pub trait ModelConfig: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> ModelConfig for T {}

/// A model that checkpoints are converted to.
///
/// [`param_schema!`](crate::param_schema) implements it. Implement it by hand for a model without
/// a schema: its mappings are then driven by what the source has, and nothing tells whether a
/// parameter is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    note = "declare its parameters with `param_schema! {{ pub {Self}(c: Config) {{ … }} }}`"
)]
pub trait Model: Send + Sync + 'static {
    /// Its config.
    type Config: ModelConfig;

    /// Its parameters.
    const SCHEMA: Option<Schema> = None;

    /// Its parameters under `config`; `None` without a schema.
    fn instance(config: &Self::Config) -> Option<Box<dyn Instance>> {
        let _ = config;
        None
    }
}

/// Declared parameters: of a model by [`param_schema!`](crate::param_schema), of a block by
/// [`param_block!`](crate::param_block).
///
/// The functions evaluate the declaration under a config. `at` holds the index of each axis that
/// is bound, by the axis's number in [`Schema::axes`], then in [`Outer::axes`]; the others are 0.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no declared parameters",
    note = "declare them with `param_schema! {{ pub {Self}(c: Config) {{ … }} }}`, those of a block with \
            `param_block!`"
)]
pub trait ParamSchema: 'static {
    /// The config that they follow.
    type Config: ModelConfig;

    /// The declaration.
    const PARAMETERS: Schema;

    /// The length of axis number `axis`.
    fn axis(config: &Self::Config, axis: usize) -> usize;
    /// The value of field number `field`.
    fn field(config: &Self::Config, field: usize, at: &[usize]) -> usize;
    /// The value of flag number `flag`.
    fn flag(config: &Self::Config, flag: usize, at: &[usize]) -> bool;
    /// The shape of parameter number `parameter`.
    fn shape(config: &Self::Config, parameter: usize, at: &[usize]) -> Vec<usize>;
}
