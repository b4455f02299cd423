//! The macros of `connector-core`. Use them through that crate, which re-exports them:
//!
//! | macro | says |
//! |---|---|
//! | [`state_transform`] | how tensors become others, and beside it which ones |
//! | [`param_schema!`] | which parameters a model has |
//! | [`mapping!`] | which tensor comes from which |
//! | [`config_map!`] | which field of a config says which |
//! | [`model_importer`], [`model_exporter`] | that a connector is for a model and a format |
//!
//! They expand to values of `connector-core`'s types and nothing else: what they say can be read
//! as data, by the compiler's proofs and by the plan. Every mistake in one invocation is reported
//! at once, and after a mistake there is still a type of the right name, so that one mistake is
//! one error.
//!
//! The generated code refers to `::connector_core`. A crate that re-exports it under another path
//! says so: `crate = path` among the arguments of the attributes, `crate = path;` as the first
//! words of the others.

extern crate proc_macro;

mod args;
mod attributes;
mod captures;
mod condition;
mod config_map;
mod connector;
mod core_path;
mod errors;
mod fingerprint;
mod fold;
mod mapping;
mod operation;
mod pattern;
mod role;
mod schema;
mod signature;
mod state_transform;

use connector::Direction;
use proc_macro::TokenStream;

/// Makes a function on tensors a step of conversions: a rule of its own if it states keys, an
/// operation that rows of [`mapping!`] apply with `via` if not.
///
/// ```ignore
#[doc = include_str!("../doc/state_transform.rs")]
/// ```
///
/// The function stays what it is. Beside it stands a type of its name, which carries the rule, so
/// that mappings and `transforms![…]` list it by name.
///
/// # Syntax
///
/// The arguments are separated by commas, in any order.
///
/// | argument | meaning |
/// |---|---|
/// | `source_key = "…"`, `= ("…", "…")` | the keys of the tensors that the function takes, in its order |
/// | `source_key(q = "…", k = "…")` | the same by the names of the parameters |
/// | `target_key = "…"`, `= ("…", "…")` | the keys of the tensors that it returns |
/// | `inverse = path` | the state transform or operation that undoes it; export needs it |
/// | `when = condition` | the rule applies where the condition holds, see [`mapping!`] |
/// | `repeat axis { rows }` | the same of all rows inside: one block that all layers share | heads of blocks |
/// | `optional` | the sources may be absent; then the targets are not produced |
/// | `stack = axis` | called for each index of an axis that only the sources have; the results become one tensor, the axis first |
/// | `unstack = axis` | called for each index of the sources' first dimension, which becomes an axis of the targets |
/// | `repeat = axis` | the results stand at each index of an axis that only the targets have |
/// | `reads = "…"`, `= ("…", "…")` | other source tensors that the function asks its context for; they capture what both sides do, or nothing; it has to read from its context |
/// | `crate = path` | where `connector_core` is, if not at `::connector_core` |
///
/// - Parameters: first, if wanted, `&TransformCtx`; then one `Tensor` for each source key; last,
///   if wanted, `&[Tensor]`: all tensors along the one axis that its source key has and the target
///   has not.
/// - Result: `Tensor`; for several target keys a tuple or an array; `Vec<Tensor>` for one along
///   the one axis that the target key has and the sources have not. Each may be in a `Result`
///   with any error.
/// - Keys are patterns, see `connector_core::key`. All keys of a rule capture the same, but for an
///   axis that is folded. A rule whose keys only have `*` binds them by position. A choice,
///   `{p:weight|bias}`, makes one rule for each text; other keys repeat it as `{p}`.
/// - The function is free-standing, and not `async`, `unsafe` or generic.
/// - Before anything is read, a plan calls it once on tensors of zeros, to learn and check its
///   result's shape and type; it must not fail on them or have effects of its own.
#[proc_macro_attribute]
pub fn state_transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    state_transform::expand(arguments.into(), item.into()).into()
}

/// Declares a model by its parameters: their names, their shapes, and when they exist.
///
/// ```ignore
#[doc = include_str!("../doc/param_schema.rs")]
/// ```
///
/// Makes the struct, with `new(config)` and `config(&self)`, and implements `Model` and
/// `ParamSchema` for it.
///
/// # Syntax
///
/// Attributes, visibility, the model's name, and in parentheses what the config is called in
/// expressions and its type: `pub MyModel(c: MyConfig) { … }`. Inside:
///
/// | entry | meaning |
/// |---|---|
/// | `axis name = usize;` | what an index `{name}` in names runs over: from 0 up to this |
/// | `axis name: experts = usize;`, `axis name: experts(field) = usize;` | the experts of a mixture; where the config's `field`, a `bool` or `Option<bool>`, says so, they are written as grouped ones |
/// | `vocabulary tokens;`, `vocabulary tokens padded to divisor;` | the config's fields for the number of tokens and what the rows are padded to a multiple of: options that pad set the second, `ops::pad_vocab` asks for the first |
/// | `field name = usize;` | a number that operations and offsets, `{name + axis}`, ask for |
/// | `flag name = bool;` | what conditions are made of; at most 16, of which 8 may meet at one parameter |
/// | `one of a, b, c;`, `at most one of a, b;` | flags that exclude each other, as kinds of layers do; the compiler relies on it, and a plan refuses a config under which it is not so |
/// | `field name(axis) = …;`, `flag name(axis) = …;` | the same for each index of an axis |
/// | `"name": [shape];` | a parameter, or one for each index of the axes in its name |
/// | `"name": [shape] as gate;` | what the parameter is, where its name does not say it: see [`model_importer`](macro@model_importer) |
/// | `"prefix" { … }`, `"prefix" if flags { … }` | parameters whose names begin with `prefix.` |
/// | `..BLOCK;`, `..BLOCK if flags;` | the parameters of a [`param_block!`], and its axes, fields and flags |
///
/// After a shape, in any order:
///
/// | suffix | meaning |
/// |---|---|
/// | `if condition` | the parameter exists where this holds, `moe && !(tied \|\| bias)`, `layer < first_moe` |
/// | `keep f32` | the type that `--dtype` leaves it in |
/// | `aka "…", "…"` | other spellings of its name, under the same prefix |
/// | `aka "…" when flags` | the spelling that is written where this holds; elsewhere it is the name |
///
/// - Expressions see the config and, as `usize`, the axes that the name or the head of the field
///   or flag has.
/// - A choice in a name, `{p:weight|bias}`, makes one parameter for each text.
/// - A parameter of experts is called as Megatron-core's local ones,
///   `mlp.experts.local_experts.{e}.linear_fc1.weight`. The name as a grouped one,
///   `mlp.experts.linear_fc1.weight{e}`, and that in torch_dist, where all are one tensor, follow.
/// - An entry may have `///` and, but for axes, `#[cfg(…)]` before it.
/// - `crate = path;` as the first words says where `connector_core` is.
#[proc_macro]
pub fn param_schema(tokens: TokenStream) -> TokenStream {
    schema::expand(schema::Kind::Schema, tokens.into()).into()
}

/// Declares parameters that schemas have in common, for [`param_schema!`] to include.
///
/// ```ignore
#[doc = include_str!("../doc/param_block.rs")]
/// ```
///
/// Makes a type without values and implements `ParamSchema` for it. A mapping of the block's rows can
/// be a constant of the same name, so that `..path::BLOCK` is the parameters in a schema and the rows
/// in a mapping.
///
/// # Syntax
///
/// As [`param_schema!`], but that an axis and a flag may do without their value, `axis layer;`,
/// `flag tied;`: then the schema that includes the block declares it. Blocks include blocks.
#[proc_macro]
pub fn param_block(tokens: TokenStream) -> TokenStream {
    schema::expand(schema::Kind::Block, tokens.into()).into()
}

/// Writes down which tensor comes from which: an expression of type `Mapping`, for constants.
///
/// ```ignore
#[doc = include_str!("../doc/mapping.rs")]
/// ```
///
/// # Syntax
///
/// Rows, separated by commas; after `}` none is needed.
///
/// | row | meaning |
/// |---|---|
/// | `"src" => "dst"` | the tensor under another name |
/// | `("a", "b") => "c" via op`, `"a" => ("b", "c") via op` | through an operation: one of `connector_core::ops`, or a function with [`macro@state_transform`] that has no keys of its own |
/// | `"a" => "b" via (first, second)` | through several, each of which takes what the one before it gives; export goes from the last to the first |
/// | `("a", "b", "c", "d") => "e" via (first each, second)` | `first` is applied to each group of as many tensors as it takes: to `a` and `b`, then to `c` and `d` |
/// | `"src" as gate => "dst"` | what a tensor is, on either side, where its name says something else or nothing |
/// | `"src" => "dst" { rows }` | rows under a prefix on each side; either may be `""` |
/// | `..PATH` | the rows of another mapping |
/// | `name` | the rule of a keyed state transform |
/// | `one_of { name { rows } name { rows } }` | the branch whose keys the source has; export writes the first |
/// | `"a" == "b"` | `a`, if it is there, must hold the same bytes as `b`, which may capture less |
/// | `copy "a" == "b"` | the same, and export writes `a` beside `b`, for each index of the axes in it |
/// | `ignore "a"` | left behind on purpose, and reported |
///
/// After the keys, in any order:
///
/// | suffix | meaning | after |
/// |---|---|---|
/// | `when condition` | the row applies where the condition holds, `tied && !(moe \|\| bias)`, `layer == 0` | all but names and includes |
/// | `stack axis` | the operation is applied for each index of an axis that only the source has; the results become one tensor, the axis first | `=>` |
/// | `unstack axis` | the operation is applied for each index of the source's first dimension, which becomes an axis of the target | `=>` |
/// | `repeat axis` | what the source gives stands at each index of an axis that only the target has; export asks that all of these are the same, and writes one | `=>` |
/// | `optional` | the source may be absent; then the target is not produced, which has a condition in the schema | `=>` |
/// | `optional { rows }` | for each index of the heads the sources of all rows inside are there, or none is, but for those of rows that are `optional` themselves | heads of blocks |
///
/// - Keys are patterns, see `connector_core::key`. Both sides of a row capture the same, but for
///   an axis that is folded or repeated; so do the two heads of a block, unless the rows inside
///   fold the difference. Rows whose keys only have `*` bind them by position.
/// - A condition is made of flags of the model's schema and of comparisons of an index with a number
///   or a field of the schema, `layer < 3`, `layer >= first_moe`, also with `<=`, `>`, `==` and `!=`;
///   the key captures the index. Of comparisons with numbers, or with one field, the compiler knows
///   which exclude each other and which leave nothing out.
/// - A key that shows an index less a number, `{layer - 1}`, needs a condition under which that is
///   not negative, `when layer > 0`.
/// - A choice, `{p:weight|bias}`, makes one row for each text; the other keys of the row, and the
///   rows of a block whose head has it, repeat it as `{p}`.
/// - Before a row may stand `#[cfg(…)]`, under which it is one, and comments, `///`.
/// - `crate = path;` as the first words says where `connector_core` is.
#[proc_macro]
pub fn mapping(tokens: TokenStream) -> TokenStream {
    mapping::expand(tokens.into()).into()
}

/// Writes down which field of a format's config is which of the model's: an expression of type
/// `ConfigMap`, for constants. Import reads it from left to right, export from right to left.
///
/// ```ignore
#[doc = include_str!("../doc/config_map.rs")]
/// ```
///
/// # Syntax
///
/// The type of the model's config, `GptConfig` or one that `config_fields!` declares, and in braces
/// rows, separated by commas.
///
/// | row | meaning |
/// |---|---|
/// | `"name" <=> field` | a field of the format that is one of the model; it has to be there |
/// | `"name" <=> field = absent` | the same, and what it means if it is absent or null |
/// | `"name" <=> field via codec` | the same, its values translated by a `Codec` |
/// | `"old" \| "new" <=> field` | one field in two spellings; the first is written unless the original has another |
/// | `only field = absent` | a field of the model that no field of the format says |
/// | `"name" = value` | a field that has this value in every file; it is written |
/// | `absent "name" = value` | what the field means if it is absent, in place of what an included row says; null means what that row says |
/// | `neutral "name" = value \| value` | a field that has no effect with these values, and is refused with others |
/// | `carry ["name", …]` | fields that have no effect on what the model computes |
/// | `..MAP` | the rows of another map |
///
/// Values are `true`, `8`, `1e-6`, `"silu"`, `null`, `[]`, `{}`. In place of one, `like other_field` is
/// the same as another field of the model, and `by function` what a
/// `fn(&serde_json::Map<String, Value>) -> Value` makes of those that were read before.
///
/// Dots in a name lead into objects, `"text_config.hidden_size"`. A field of a file that no row knows is
/// refused, unless it is null: it may change what the model computes. Of an object from which a row
/// reads, that is said of each field.
///
/// # What the compiler proves
///
/// At each row: the model has the field, and the value is one of its values. At the type of a
/// connector with this map: each field that the model needs is made, by one row; no field of the
/// format is read twice.
///
/// - Before a row may stand `#[cfg(…)]`, under which it is one, and comments, `///`.
/// - `crate = path;` as the first words says where `connector_core` is.
#[proc_macro]
pub fn config_map(tokens: TokenStream) -> TokenStream {
    config_map::expand(tokens.into()).into()
}

/// Registers a connector as the importer of a model from a format.
///
/// ```ignore
#[doc = include_str!("../doc/model_importer.rs")]
/// ```
///
/// Fills in `type Model`, unless it is written. The mapping goes from the format to the model.
///
/// # Syntax
///
/// First the model and the name of the format, `(MyModel, "hf")`, then, in any order:
///
/// | argument | meaning |
/// |---|---|
/// | `architectures = ["…"]` | the names in `architectures` of a `config.json` that it is for |
/// | `source_schema = MyModelOnHub` | the parameters of the other side, declared with [`param_schema!`]: the compiler also proves that each is read |
/// | `export` | export applies the mapping in reverse; every row needs an inverse |
/// | `dynamic` | its rows are not proven; a `convert_state` of its own needs it |
/// | `crate = path` | where `connector_core` is, if not at `::connector_core` |
///
/// # What the compiler proves
///
/// Under every combination of the flags of the model, and whichever branches of a `one_of` are
/// taken: each parameter that exists is produced, by one row; each target is a parameter; each row
/// applies somewhere; with `export`, each operation has an inverse. With a `source_schema` also:
/// each parameter of the source that exists is read, ignored or compared, and each source key is
/// one. A flag of both schemas is one flag.
///
/// Also, that rows mean what they say:
///
/// - *Indices.* What a target captures is called as the schema's axis there. Without a `source_schema` the
///   source's indices come in the target's order, a folded one last; with it, they are called as its axes
///   too. Several `*` need one, or names. An offset, `{1 + layer}`, goes on where another row has the
///   index 0 or a bare index, and behind the same words one axis has one offset.
/// - *Flags.* A row whose `when` has a flag of each layer has a target with that layer; `==` and `ignore`
///   have it in their key. What one row makes exists together. `optional` stands where the parameter has a
///   condition.
/// - *Readers.* No `ignore` matches what a rule reads where both apply. No tensor becomes two parameters
///   that exist together, but for one row that makes both. Branches of a `one_of` read different keys. A
///   target is the name of one parameter, and no `**`.
///
/// - *Roles.* What a tensor is, its name says, in the words of transformers and Megatron-core
///   (`mlp.gate_proj.weight` is the gate of an MLP, `linear_qkv` queries, keys and values by group), or a
///   word behind `as` in the row or the schema. Operations say what they take and give, and each row must
///   agree: `merge_fc1` takes gate and up, `deinterleave_rows` rows that alternate, `transpose` what is
///   stored `[in, out]`, `dequantise_fp8` a weight and its own scales, and a bias is laid out as its weight.
///   Behind `as` stand a word for what the tensor is (`q`, `k`, `v`, `qkv`, `gate`, `up`, `gate_up`, `down`,
///   `input_norm`, `router`, … or one of your own), and where it is needed `expert` or `shared`; `weight`,
///   `bias` or `scale`; `concatenated`, `grouped` or `interleaved`; `transposed`. Tensors whose names say
///   nothing may be anything, but two may not change names.
///
/// It sees patterns and conditions, not configs: that layer 31 is there, that shapes fit, and that
/// parameters with one source exclude each other where flags do not say so, the plan proves, for each
/// checkpoint. An `optional` row counts as one that produces.
///
/// What is wrong with a row is reported at the row, everything else at the connector's type, and all
/// of it at once. On two cores 100 rows for 100 parameters add 0.5 s to `cargo check`, 300 for 300
/// add 2.9 s; `connector-core/benches/proof_cost.py` measures it.
#[proc_macro_attribute]
pub fn model_importer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    connector::expand(Direction::Import, arguments.into(), item.into()).into()
}

/// Registers a connector as the exporter of a model to a format. The mapping goes from the model
/// to the format; see [`model_importer`] for an example.
///
/// # Syntax
///
/// As [`model_importer`], without `export`.
#[proc_macro_attribute]
pub fn model_exporter(arguments: TokenStream, item: TokenStream) -> TokenStream {
    connector::expand(Direction::Export, arguments.into(), item.into()).into()
}
