//! What parameters a model has: names, shapes and the conditions under which they exist.
//!
//! [`param_schema!`](crate::param_schema) declares them once; the compiler holds the mappings
//! against the declaration and the plan expands it under a config.

mod assemble;
mod instance;

pub use assemble::{
    Declared, Sizes, check_include, count, names as names_of, parameters as list, sizes, spellings,
    terms,
};
pub use instance::{Configured, Instance, expand, flags_at};
pub(crate) use instance::{Existing, existing, names, parameters};

use crate::Location;
use crate::base::Dtype;
use crate::key::{Condition, Pattern};
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// The parameters.
    pub parameters: &'static [Parameter],
    /// Of a block: what it leaves to the schema that includes it.
    pub outer: Outer,
    /// Where the schema is declared.
    pub at: Location,
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
